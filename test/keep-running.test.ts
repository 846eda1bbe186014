import { expect, test } from 'vitest';
import { keepRunning } from '../src/embedded/keep-running.ts';
import type { EmbeddedStore } from '../src/embedded/store-process.ts';
import { createLog } from '../src/log/log.ts';
import { createManualClock } from './support/clock.ts';

function setup() {
  const clock = createManualClock();
  const ends: (() => void)[] = [];
  const lines: string[] = [];
  const output = { write: (line: string) => void lines.push((JSON.parse(line) as { msg: string }).msg) };
  const world = { started: [] as (number | undefined)[], stopped: 0, failures: 0, isStuck: false };
  const start = async (port?: number, signal?: AbortSignal): Promise<EmbeddedStore> => {
    if (world.isStuck) {
      const over = Promise.withResolvers<never>();
      signal?.addEventListener('abort', () => over.reject(new Error('given up')));
      await over.promise;
    }
    if (world.failures > 0 && world.failures--) throw new Error('port taken');
    world.started.push(port);
    const exited = Promise.withResolvers<{ code: number | null; signal: NodeJS.Signals | null }>();
    const end = () => exited.resolve({ code: 1, signal: null });
    ends.push(end);
    const stop = async () => {
      world.stopped++;
      end();
    };
    return { url: 'http://127.0.0.1:4000', port: 4_000, pid: 1, exited: exited.promise, stop };
  };
  return {
    clock,
    world,
    die: () => ends.at(-1)!(),
    lines,
    keep: () => keepRunning('clickhouse', start, { clock, log: createLog('error', output) }),
  };
}

test('a store that dies is started again on its port', async () => {
  const { clock, world, keep, die } = setup();
  const kept = await keep();
  die();
  await clock.advance(0);
  die();
  await clock.advance(0);
  expect(world.started).toEqual([undefined, 4_000, 4_000]);
  expect(kept.url).toBe('http://127.0.0.1:4000');
  await kept.stop();
});

test('when it does not start, it is tried once a second', async () => {
  const { clock, world, keep, die } = setup();
  const kept = await keep();
  world.failures = 3;
  die();
  await clock.advance(2_999);
  expect(world.started).toHaveLength(1);
  await clock.advance(1);
  expect(world.started).toHaveLength(2);
  await kept.stop();
});

test('the first failure to start is the caller’s', async () => {
  const { world, keep } = setup();
  world.failures = 1;
  await expect(keep()).rejects.toThrow('port taken');
});

test('stopped, it stays so', async () => {
  const { clock, world, keep } = setup();
  const kept = await keep();
  await kept.stop();
  await clock.advance(10_000);
  expect(world.started).toHaveLength(1);
});

test('can be stopped while it waits to try again', async () => {
  const { clock, world, keep, die } = setup();
  const kept = await keep();
  world.failures = 1_000;
  die();
  await clock.advance(5_500);
  await kept.stop();
  expect(world.started).toHaveLength(1);
});

test('can be stopped while it starts again, which is then given up, and no failure', async () => {
  const { clock, world, keep, die, lines } = setup();
  const kept = await keep();
  world.isStuck = true;
  die();
  await clock.advance(0);
  await kept.stop();
  expect(world.started).toHaveLength(1);
  expect(lines).toEqual([expect.stringContaining('died')]);
});
