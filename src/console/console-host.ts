/**
 * Runs inside a process of its own: the console, from its assignment to its end. Signals that Ctrl-C and a service
 * manager send to the whole process group are left to the service; the console ends when it is told to, or when the
 * service is gone.
 */
import { enableCompileCache } from 'node:module';
import closeWithGrace from 'close-with-grace';
import { compileCacheDir } from '../runtime/own-files.ts';
import { CRASHES, LEFT_TO_SERVICE } from '../runtime/signals.ts';
import type { ConsoleMessage, ConsoleRequests, ServiceMessage, ServiceRequests } from './messages.ts';

// Before anything else is loaded.
for (const signal of LEFT_TO_SERVICE) process.on(signal, () => {});

enableCompileCache(compileCacheDir());
const { systemClock } = await import('../runtime/clock.ts');
const { createLog, openStandardError } = await import('../log/log.ts');
const { createIpcChannel } = await import('../workers/ipc-channel.ts');
const { collectStartupGarbage } = await import('../runtime/startup-garbage.ts');
const { startConsole } = await import('./console.ts');

// There is nowhere left to report it. Creating the stream also makes writes to a pipe non-blocking.
process.stderr.on('error', () => {});
process.stdout.on('error', () => {});
const output = openStandardError(systemClock);
process.on('exit', () => output.finish(FOR_LAST_LINES_MS));

/** Time for the last log lines when their reader is slow or absent. */
const FOR_LAST_LINES_MS = 500;
/** Longer than the service waits for its workers. */
const PENDING_WITHIN_MS = 8_000;
/** Time for what is under way to end. */
const GRACE_MS = 3_000;

const assigned = Promise.withResolvers<Extract<ServiceMessage, { kind: 'start' }> | null>();
const stopped = Promise.withResolvers<void>();
const send = (message: unknown) => {
  // The code below notices the end of the service.
  if (process.connected) process.send!(message, undefined, undefined, () => {});
};
const service = createIpcChannel<ServiceRequests, ConsoleMessage, ConsoleRequests, ServiceMessage>({
  send,
  clock: systemClock,
  answerers: { link: async (of) => ({ url: await (await starting).link(of) }) },
  onMessage(message) {
    if (message.kind === 'start') assigned.resolve(message);
    else if (message.kind === 'watched') starting.then(({ receive }) => receive(message.report), ignore);
    else if (message.kind === 'stop') leave();
  },
  onFailure: (error, about) => log.warn({ err: error, about }, 'request from the service failed'),
});
process.on('message', (message) => service.receive(message));
process.on('disconnect', leave);
// If the service is already gone, there is no further event.
if (!process.connected) leave();

const assignment = await assigned.promise;
if (assignment === null) process.exit(0);
const log = createLog(assignment.config.logLevel, output).child({ part: 'console' });
const starting = startConsole(assignment, {
  watched: {
    order: (streams) => service.tell({ kind: 'watch', streams }),
    findPending: (question) => service.ask('pending', question, PENDING_WITHIN_MS),
  },
  clock: systemClock,
  log,
});

const ending = closeWithGrace(
  {
    delay: GRACE_MS,
    logger: { error: (err: unknown) => log.error({ err }, 'shutdown failed') },
    skip: [...LEFT_TO_SERVICE, ...CRASHES],
  },
  async ({ err }) => {
    if (err) log.fatal({ err }, 'unexpected error: the console ends');
    await (await starting).stop();
  },
);

try {
  const { origin, port } = await starting;
  service.tell({ kind: 'listening', origin, port });
  collectStartupGarbage(systemClock);
  await stopped.promise;
  ending.close();
} catch (error) {
  const { CannotListen } = await import('../http/listener/server.ts');
  if (!(error instanceof CannotListen)) throw error;
  ending.uninstall();
  // The service says it.
  const message: ConsoleMessage = { kind: 'cannot start', message: error.message };
  if (process.connected) process.send!(message, undefined, undefined, () => process.exit(1));
  else process.exit(1);
}

function leave() {
  service.close();
  assigned.resolve(null);
  stopped.resolve();
}

function ignore() {}
