/** What a running Weir says of a rebuild, and how often, on a clock moved by hand. */
import type { Pool } from 'pg';
import { expect, test, vi } from 'vitest';
import { createTableRebuild } from '../src/composition/table-rebuild.ts';
import { createLog } from '../src/log/log.ts';
import type { EventSchema, RebuildState } from '../src/pipeline/storage-port.ts';
import { createManualClock } from './support/clock.ts';

// There is no Postgres here, and nobody else.
vi.mock('../src/postgres/migrations/migrate.ts', async (original) => ({
  ...(await original<object>()),
  ifUnlocked: (_pool: Pool, _clock: unknown, _what: string, work: () => unknown) => work(),
  withMigrationLock: (_pool: Pool, _clock: unknown, work: (held: null) => unknown) => work(null),
  keepingLock: (_held: null, _clock: unknown, work: () => unknown) => work(),
}));

const MINUTE = 60_000;
const BLOCKED: RebuildState = { kind: 'blocked', why: 'a second copy needs 11.0 GiB, and 10.0 GiB are free' };
const RUNNING: RebuildState = { kind: 'running', doing: 'copying', rows: 25, total: 100, waitsFor: null };

/** A rebuild in the given state, which the test may change, looked at by a loop that has no Postgres. */
function watched(first: RebuildState | Error, { isPostponed = false } = {}) {
  let state = first;
  let tries = 0;
  let failures = 0;
  const lines: Record<string, unknown>[] = [];
  const clock = createManualClock();
  const log = createLog('info', { write: (line: string) => void lines.push(JSON.parse(line)) });
  const read = async () => {
    if (state instanceof Error) throw state;
    return { state, next: state.kind === 'running' ? ('rows' as const) : ('none' as const) };
  };
  const take = () => Promise.resolve(state as RebuildState);
  const migrate = async () => {
    tries += 1;
    if (tries <= failures) throw new Error('away');
  };
  const events = { migrate, rebuild: { read, take }, explain: (error: Error) => `ClickHouse is ${error.message}` };
  const rebuilding = createTableRebuild(
    { events: events as unknown as EventSchema, postgres: null as unknown as Pool, clock, random: () => 0, log },
    { isPostponed },
  );
  const stop = new AbortController();
  const done = rebuilding.run(stop.signal);
  return {
    state: rebuilding.state,
    lines,
    become: (next: RebuildState | Error) => void (state = next),
    failToMigrate: (times: number) => void (failures = times),
    tries: () => tries,
    async pass(minutes: number) {
      for (let n = 0; n < minutes; n += 1) await clock.advance(MINUTE);
    },
    async end() {
      stop.abort();
      await done;
    },
  };
}

test('one that cannot begin is said at once and every hour, with the reason, and known to the health page', async () => {
  const weir = watched(BLOCKED);
  await weir.pass(1);
  expect(weir.state()).toEqual(BLOCKED);
  expect(weir.lines).toMatchObject([{ why: BLOCKED.why, level: 40 }]);
  await weir.pass(50);
  expect(weir.lines).toHaveLength(1);
  await weir.pass(100);
  expect(weir.lines).toHaveLength(3);
  weir.become({ kind: 'done' });
  await weir.pass(6);
  expect(weir.state()).toEqual({ kind: 'done' });
  expect(weir.lines.at(-1)).toMatchObject({ msg: 'the events table is rebuilt' });
  await weir.end();
});

test('where there is nothing to rebuild nothing is said, also while the store is away', async () => {
  const weir = watched({ kind: 'done' });
  await weir.pass(60);
  weir.become(new Error('away'));
  await weir.pass(60);
  expect(weir.lines).toEqual([]);
  await weir.end();
});

test('one that is postponed is looked at and never taken further', async () => {
  const weir = watched(RUNNING, { isPostponed: true });
  await weir.pass(130);
  expect(weir.state()).toEqual(RUNNING);
  expect(weir.lines).toHaveLength(3);
  expect(weir.lines[0]).toMatchObject({ msg: 'the rebuild of the events table is postponed', percent: 25 });
  await weir.end();
});

test('a failure is said and tried again, less and less often', async () => {
  const weir = watched(new Error('away'));
  await weir.pass(10);
  const failures = weir.lines.length;
  expect(failures).toBeGreaterThan(3);
  expect(failures).toBeLessThan(30);
  expect(weir.lines[0]).toMatchObject({ attempt: 1, level: 40, why: 'ClickHouse is away' });
  weir.become(BLOCKED);
  await weir.pass(2);
  expect(weir.state()).toEqual(BLOCKED);
  await weir.end();
});

test('migrations that waited for it are tried until they are applied, and then no more', async () => {
  const weir = watched({ ...RUNNING, waitsFor: 'an insert' });
  await weir.pass(1);
  expect(weir.tries()).toBe(0);
  weir.failToMigrate(3);
  weir.become({ kind: 'done' });
  await weir.pass(60);
  expect(weir.tries()).toBe(4);
  expect(weir.state()).toEqual({ kind: 'done' });
  expect(weir.lines.filter(({ msg }) => String(msg).includes('Weir retries'))).toHaveLength(3);
  await weir.end();
});

test('nothing has waited where it was done from the beginning', async () => {
  const weir = watched({ kind: 'done' });
  await weir.pass(60);
  expect(weir.tries()).toBe(0);
  await weir.end();
});
