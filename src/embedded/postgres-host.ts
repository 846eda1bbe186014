/**
 * Runs inside a process of its own: one postmaster, which ends when stdin
 * does. Argument: the command as JSON, see `ServerCommand`.
 */
import { spawn } from 'node:child_process';
import { systemClock } from '../runtime/clock.ts';
import { pidLine } from './pid-line.ts';
import type { ServerCommand } from './postgres-user.ts';

// A full disk under the log, or a Weir that is gone: neither is a reason to take the data away from clients.
process.stderr.on('error', () => {});
process.stdout.on('error', () => {});

const command = JSON.parse(process.argv[2] ?? '') as ServerCommand;

const postgres = spawn(command.file, command.args, {
  cwd: command.cwd,
  stdio: ['ignore', 2, 2],
  ...command.identity,
});

postgres.on('error', (error) => {
  process.stderr.write(`${error.message}\n`);
  process.exit(1);
});
// Die of the same signal, so that the waiting parent learns it.
postgres.on('exit', (code, signal) => {
  if (signal === null) process.exit(code ?? 1);
  process.removeAllListeners(signal);
  process.kill(process.pid, signal);
});

// First a fast shutdown (without waiting for clients), then one without checkpoint, then SIGKILL.
async function stop(): Promise<void> {
  postgres.kill('SIGINT');
  await systemClock.sleep(6000);
  postgres.kill('SIGQUIT');
  await systemClock.sleep(6000);
  postgres.kill('SIGKILL');
}

// Not awaited: the process ends with the postmaster, and `stop` cannot fail.
process.stdin.on('end', () => void stop()).resume();
process.on('SIGTERM', () => void stop());
process.on('SIGINT', () => void stop());

if (postgres.pid !== undefined) process.stdout.write(pidLine(postgres.pid));
