/** Runs Weir's command line, as a real process or within this one. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runProgram } from '../../src/cli/program.ts';
import { SAME_SIGNAL_WITHIN_MS } from '../../src/runtime/signals.ts';
import { systemClock } from '../../src/runtime/clock.ts';

export type Finished = { readonly code: number | null; readonly stdout: string; readonly stderr: string };
export type Running = {
  readonly child: ChildProcess;
  readonly finished: Promise<Finished>;
  /** The output so far. */
  written(): string;
};

const { scripts } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  scripts: { start: string };
};
/** The flags that `npm start` passes to Node. */
export const NODE_FLAGS = scripts.start.split(' ').filter((word) => word.startsWith('--'));
/** What production runs, as `support/built.ts` has built it. `npm start` runs the sources; service.test.ts does, too. */
export const MAIN = fileURLToPath(new URL('../../dist/weir/main.js', import.meta.url));

/** Only the given settings reach the process, not those of the person who runs the tests. */
export function startWeir(
  args: readonly string[],
  {
    env = {},
    cwd,
    stdin = '',
    main = MAIN,
  }: { env?: Record<string, string>; cwd: string; stdin?: string; main?: string },
): Running {
  const child = spawn(process.execPath, [...NODE_FLAGS, main, ...args], {
    cwd,
    env: { PATH: process.env['PATH'], HOME: process.env['HOME'], CONSOLE_PORT: 'off', ...env },
    stdio: 'pipe',
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  // The process may end before it has read its input.
  child.stdin.on('error', () => {}).end(stdin);
  const finished = once(child, 'close').then(([code]) => ({ code: code as number | null, stdout, stderr }));
  return { child, finished, written: () => stdout + stderr };
}

/** Until a signal is no longer taken for another copy of the first. */
export const untilAnother = (): Promise<void> => systemClock.sleep(SAME_SIGNAL_WITHIN_MS + 100);

export function runWeir(...args: Parameters<typeof startWeir>): Promise<Finished> {
  return startWeir(...args).finished;
}

/**
 * One command within this process, with streams of its own: what a separate process would print and return, without the
 * half second it takes to start.
 */
export async function commandWeir(
  args: readonly string[],
  { env = {}, cwd, stdin = '' }: { env?: Record<string, string>; cwd: string; stdin?: string },
): Promise<Finished> {
  let stdout = '';
  let stderr = '';
  const bytes: Buffer[] = [];
  const code = await runProgram(args, {
    io: {
      stdout: (text) => (stdout += text),
      stderr: (text) => (stderr += text),
      send: async (sent) => void bytes.push(Buffer.from(sent)),
      isTTY: false,
    },
    input: {
      ask: () => Promise.reject(new Error('nobody is there')),
      askSecret: () => Promise.reject(new Error('nobody is there')),
      readAll: () => Promise.resolve(stdin),
      async *bytes() {
        yield Buffer.from(stdin);
      },
    },
    env: { WEIR_DATA_DIR: join(cwd, '.weir'), ...env },
    readFile: (path) => readFileSync(resolve(cwd, path), 'utf8'),
    clock: systemClock,
    user: userInfo().username,
    releaseSignals: () => {},
  });
  return { code, stdout: stdout + Buffer.concat(bytes).toString('utf8'), stderr };
}
