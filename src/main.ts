#!/usr/bin/env -S node --max-semi-space-size=16 --heap-growing-percent=100
/**
 * The command line's only contact with the process: arguments, environment,
 * streams and the exit code. What the commands do is in `cli/`.
 */
import { existsSync, readFileSync } from 'node:fs';
import { enableCompileCache } from 'node:module';
import { constants, userInfo } from 'node:os';
import { createInterface } from 'node:readline/promises';
import { Writable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { compileCacheDir } from './runtime/own-files.ts';

const releaseSignals = answerSignals();

// TypeScript and its dependencies are compiled once, not at every start: 0.1 s of CPU instead of 0.4 for a command.
// Where the directory cannot be written nothing is kept.
enableCompileCache(compileCacheDir());
const { runProgram } = await import('./cli/program.ts');
const { systemClock } = await import('./runtime/clock.ts');

// `weir query … | head` closes the pipe early, which is no failure. A service installs its own listener here.
process.stdout.on('error', ({ code }: NodeJS.ErrnoException) => {
  if (code === 'EPIPE') process.exit(0);
  process.stderr.write(`standard output cannot be written (${code})\n`);
  process.exit(1);
});
// There is nowhere left to report it.
process.stderr.on('error', () => {});

// Variables that are already set take precedence over the file.
if (existsSync('.env')) process.loadEnvFile('.env');

process.exitCode = await runProgram(process.argv.slice(2), {
  io: {
    stdout: (written) => void process.stdout.write(written),
    stderr: (written) => void process.stderr.write(written),
    send,
    isTTY: process.stdin.isTTY && process.stderr.isTTY,
  },
  input: { ask, askSecret, readAll: () => text(process.stdin), bytes: () => process.stdin as AsyncIterable<Buffer> },
  env: process.env,
  readFile: (path) => readFileSync(path, 'utf8'),
  clock: systemClock,
  user: userName(),
  releaseSignals,
});

/**
 * Installed before anything is loaded. Until a service has begun something there is nothing to save; `serve` then
 * installs its own listeners. Every other command ends by the signal itself, which process 1 has to do for itself.
 * Returns what removes the listeners.
 */
function answerSignals(): () => void {
  const isService = process.argv[2] === 'serve';
  const answered = ['SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGTERM'] as const;
  const answer = (signal: NodeJS.Signals) => process.exit(isService ? 0 : 128 + constants.signals[signal]);
  if (isService || process.pid === 1) for (const signal of answered) process.on(signal, answer);
  return () => {
    for (const signal of answered) process.off(signal, answer);
  };
}

async function ask(question: string): Promise<string> {
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return await terminal.question(question);
  } finally {
    terminal.close();
  }
}

/** The terminal repeats nothing of the answer. */
async function askSecret(question: string): Promise<string> {
  process.stderr.write(question);
  const unseen = new Writable({ write: (_chunk, _encoding, done) => done() });
  const terminal = createInterface({ input: process.stdin, output: unseen, terminal: true });
  try {
    return await terminal.question('');
  } finally {
    terminal.close();
    process.stderr.write('\n');
  }
}

/** Errors reach the listener above. */
function send(bytes: Uint8Array): Promise<void> {
  return new Promise((resolve) => void process.stdout.write(bytes, () => resolve()));
}

function userName(): string {
  try {
    return userInfo().username;
  } catch {
    // Containers often run under a user id that has no entry in the user list.
    return `uid ${process.getuid?.() ?? 'unknown'}`;
  }
}
