/** A process that cannot even be created is one that has ended: it is tried again, and costs nothing else. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { parseConfig } from '../src/config/config.ts';
import { startConsoleProcess } from '../src/console/fork.ts';
import { createLog } from '../src/log/log.ts';
import { systemClock } from '../src/runtime/clock.ts';
import { createFork } from '../src/workers/fork.ts';
import { startSupervisor } from '../src/workers/supervisor.ts';

const { execPath } = process;
afterEach(() => {
  process.execPath = execPath;
});

const PATHS = [
  ['at once', 'a\0b', /null bytes/],
  ['a moment later', '/nowhere/node', /ENOENT/],
] as const;

test.each(PATHS)('a worker, where creating it fails %s', async (_when, path, why) => {
  const fork = createFork(null);
  process.execPath = path;
  const worker = fork(() => {});
  worker.send({ kind: 'start' });
  expect(await worker.exited).toEqual({ code: null, signal: null, error: expect.stringMatching(why) });
  worker.kill();
});

test.each(PATHS)(
  'a service whose first worker cannot be created %s says why, and does not start',
  async (_when, path, why) => {
    const dataDir = mkdtempSync(join(tmpdir(), 'weir-fork-'));
    process.execPath = path;
    const config = parseConfig({ WEIR_WORKERS: '2', WEIR_DATA_DIR: dataDir }, () => {
      throw Object.assign(new Error('no such file'), { code: 'ENOENT' });
    });
    const starting = startSupervisor({
      config,
      access: { databaseUrl: '', clickhouse: null },
      version: '',
      clock: systemClock,
      log: createLog('silent'),
      fork: createFork(null),
      random: () => 0.5,
      signal: new AbortController().signal,
    });
    await expect(starting).rejects.toThrow(why);
    rmSync(dataDir, { recursive: true });
  },
);

test.each(PATHS)('the console, where creating it fails %s', async (_when, path, why) => {
  const lines: object[] = [];
  process.execPath = path;
  const console = startConsoleProcess({
    assignment: {} as never,
    openWatch: () => ({ order: () => {}, find: () => null, close: () => {} }) as never,
    relay: null,
    clock: systemClock,
    random: () => 0.5,
    log: createLog('warn', { write: (line: string) => void lines.push(JSON.parse(line)) }),
  });
  expect(await console.listening).toBeNull();
  await console.stop();
  expect(lines).toMatchObject([{ msg: 'console ended; restarting it', reason: expect.stringMatching(why) }]);
});
