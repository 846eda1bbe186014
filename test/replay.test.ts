import { describe, expect, test } from 'vitest';
import { failureOf } from '../src/pipeline/outcome.ts';
import { type FailureClass, InsertFailure } from '../src/pipeline/ports.ts';
import type { ReplayPolicy } from '../src/pipeline/replay.ts';
import { numbersOf } from './support/fakes.ts';
import { createPipeline, createWorld, LEASE_MS } from './support/pipeline.ts';
import { batchIdAt, batchOf, goodRows, type Kind, type RowSpec } from './support/rows.ts';

/** A drainer with a well ClickHouse, and letters to replay by hand. */
async function setup(policy: Partial<ReplayPolicy> = {}) {
  const parts = createPipeline(createWorld(), { policy });
  const { clock, events, deadLetters, heartbeat, replayer } = parts;
  const stop = new AbortController();
  void heartbeat.run(stop.signal);
  await clock.advance(0);
  let ids = 0;

  return { ...parts, add, addCutNow, replayNext, replayUntil, landSomething };

  async function add(rows: readonly RowSpec[], failureClass: FailureClass = 'unavailable') {
    const failure = new InsertFailure('failed', { failureClass });
    await deadLetters.add(batchOf(++ids, rows), { failure, ambiguous: failureClass === 'ambiguous' });
  }
  /** In doubt, under an id that tells when the batch was cut. */
  async function addCutNow(rows: readonly RowSpec[]) {
    const failure = new InsertFailure('failed', { failureClass: 'ambiguous' });
    const batch = { ...batchOf(++ids, rows), id: batchIdAt(clock.now(), ids) };
    await deadLetters.add(batch, { failure, ambiguous: true });
    return batch;
  }
  /** Claims what is due and replays the first letter; the others are given back. */
  async function replayNext() {
    const letters = await deadLetters.claim({ maxRows: 100, maxBytes: 1_000_000, leaseMs: LEASE_MS });
    for (const letter of letters.slice(1)) await deadLetters.release(letter);
    if (letters[0]) await replayer.replay(letters[0], { isProbe: false, stop: stop.signal });
    return letters[0];
  }
  /** Replays whatever is due, second by second. */
  async function replayUntil(isDone: () => boolean, withinMs: number) {
    for (let waited = 0; !isDone() && waited < withinMs; waited += 1_000) {
      await replayNext();
      await clock.advance(1_000);
    }
    expect(isDone()).toBe(true);
  }
  async function landSomething() {
    const n = 900_000 + events.sent;
    await events.insert(batchOf(n, [{ n }]));
    parts.breaker.report('go', null);
  }
}

const mixed = (kinds: readonly Kind[]): RowSpec[] => kinds.map((kind, n) => ({ n, kind }));

describe('a replay that', () => {
  test('lands removes the letter and counts it once', async () => {
    const { events, deadLetters, ledger, used, add, replayNext } = await setup();
    await add(goodRows(3));
    await replayNext();
    expect(deadLetters.letters.size).toBe(0);
    expect([events.counted, ledger.replayed, [...used.values()]]).toEqual([3, 3, [3]]);
  });

  test('finds ClickHouse away gives the letter back untouched', async () => {
    const { events, deadLetters, add, replayNext } = await setup();
    await add(goodRows(3));
    events.down = true;
    await replayNext();
    expect(deadLetters.alive()).toMatchObject([{ attemptCount: 0, leaseToken: null, ambiguous: false }]);
  });

  test.each([
    ['ambiguous', true, 5_000],
    ['capacity', false, 15_000],
    ['operator', false, 10_000],
  ] as const)('fails as %s waits without counting a try', async (failureClass, ambiguous, mostMs) => {
    const { clock, events, deadLetters, add, replayNext, landSomething } = await setup();
    await add(goodRows(3));
    await landSomething();
    events.failWith = failureClass;
    await replayNext();
    const [letter] = deadLetters.alive();
    expect(letter).toMatchObject({ attemptCount: 0, exposedMs: 0, leaseToken: null, ambiguous });
    await clock.advance(mostMs / 2 - 1);
    expect(await replayNext()).toBeUndefined();
    events.failWith = null;
    await clock.advance(mostMs / 2 + 1);
    await replayNext();
    expect(deadLetters.letters.size).toBe(0);
  });

  test('fails as unknown counts a try and waits longer each time, on a store that takes other events', async () => {
    const { clock, events, deadLetters, add, replayNext, landSomething } = await setup();
    await add(goodRows(1));
    const waits: number[] = [];
    for (let i = 0; i < 4; i++) {
      await landSomething();
      events.failWith = 'unknown';
      const since = clock.elapsed();
      while (!(await replayNext())) await clock.advance(100);
      waits.push(Math.round((clock.elapsed() - since) / 1_000));
      events.failWith = null;
    }
    expect(waits).toEqual([0, 2, 3, 6]);
    expect(deadLetters.alive()).toMatchObject([{ attemptCount: 4 }]);
  });

  test('is not admitted by the breaker gives the letter back', async () => {
    const { breaker, events, deadLetters, add, replayNext } = await setup();
    await add(goodRows(1));
    breaker.trip('unavailable');
    await replayNext();
    expect(events.sent).toBe(0);
    expect(deadLetters.alive()).toMatchObject([{ leaseToken: null, ambiguous: false }]);
  });

  test('lost its lease sends nothing', async () => {
    const { clock, events, deadLetters, replayer, add } = await setup();
    await add(goodRows(1));
    const [stale] = await deadLetters.claim({ maxRows: 1, maxBytes: 1_000, leaseMs: 1_000 });
    await clock.advance(1_000);
    await deadLetters.claim({ maxRows: 1, maxBytes: 1_000, leaseMs: LEASE_MS });
    await replayer.replay(stale!, { isProbe: false, stop: new AbortController().signal });
    expect(events.sent).toBe(0);
  });

  test('lost its lease while inserting counts nothing (I7)', async () => {
    const { clock, events, deadLetters, ledger, used, replayer, add } = await setup();
    await add(goodRows(2));
    const [slow] = await deadLetters.claim({ maxRows: 1, maxBytes: 1_000, leaseMs: LEASE_MS });
    events.latencyMs = () => 1_000;
    const replaying = replayer.replay(slow!, { isProbe: false, stop: new AbortController().signal });
    await clock.advance(500);
    deadLetters.jump(LEASE_MS);
    await deadLetters.claim({ maxRows: 1, maxBytes: 1_000, leaseMs: LEASE_MS });
    await clock.advance(1_000);
    await replaying;
    expect([ledger.replayed, used.size, deadLetters.alive().length]).toEqual([0, 0, 1]);
  });
});

describe('quarantine', () => {
  test('after the last counted try, and not before', async () => {
    const { clock, events, deadLetters, ledger, add, replayNext, landSomething } = await setup({ maxAttempts: 3 });
    await add(goodRows(1));
    for (let tries = 1; tries <= 3; tries++) {
      expect(deadLetters.quarantined()).toEqual([]);
      await landSomething();
      events.failWith = 'unknown';
      await replayNext();
      events.failWith = null;
      await clock.advance(10_000);
    }
    expect(deadLetters.quarantined()).toMatchObject([{ quarantinedFor: 'exhausted' }]);
    expect(ledger.quarantined).toBe(1);
  });

  test('of old age: only waiting beside a working ClickHouse makes a letter old', async () => {
    const { clock, events, deadLetters, add, replayNext, landSomething } = await setup({ maxAgeMs: 10_000 });
    await add(goodRows(1));
    events.down = true;
    await clock.advance(3_600_000);
    events.down = false;
    await clock.advance(2_000);
    for (let i = 0; i < 2; i++) {
      await landSomething();
      events.failWith = 'unknown';
      await replayNext();
      events.failWith = null;
      await clock.advance(12_000);
    }
    expect(deadLetters.quarantined()).toMatchObject([{ quarantinedFor: 'exhausted' }]);
  });

  test('never by a store that takes nothing at all, whatever it calls its trouble (I4)', async () => {
    const { clock, events, deadLetters, add, replayNext } = await setup({ maxAttempts: 3 });
    await add(goodRows(1));
    await add(goodRows(5, 10));
    events.failWith = 'unknown';
    for (let minute = 0; minute < 120; minute++) {
      await replayNext();
      await clock.advance(60_000);
    }
    expect(deadLetters.quarantined()).toEqual([]);
    expect(deadLetters.alive().map(({ attemptCount }) => attemptCount)).toEqual([0, 0]);
  });

  test('never because a clock jumped (I13)', async () => {
    const { clock, events, deadLetters, add, replayNext, landSomething } = await setup({ maxAgeMs: 3_600_000 });
    await add(goodRows(1));
    for (const jumpMs of [40, -40, 400].map((days) => days * 86_400_000)) {
      await landSomething();
      events.failWith = 'unknown';
      await replayNext();
      events.failWith = null;
      clock.jump(jumpMs);
      if (jumpMs > 0) deadLetters.jump(jumpMs);
      await clock.advance(20_000);
    }
    expect(deadLetters.quarantined()).toEqual([]);
    await replayNext();
    expect(events.stored.has(0)).toBe(true);
  });

  test('strict: every try counts, also while ClickHouse is away, and so does the calendar', async () => {
    const { clock, events, deadLetters, add, replayNext } = await setup({ maxAttempts: 2, quarantine: 'strict' });
    await add(goodRows(1));
    events.down = true;
    await replayNext();
    expect(deadLetters.alive()).toMatchObject([{ attemptCount: 1 }]);
    await clock.advance(1_500);
    await replayNext();
    expect(deadLetters.quarantined()).toMatchObject([{ quarantinedFor: 'exhausted' }]);

    const old = await setup({ maxAgeMs: 60_000, quarantine: 'strict' });
    await old.add(goodRows(1));
    old.events.failWith = 'capacity';
    await old.clock.advance(60_000);
    await old.replayNext();
    expect(old.deadLetters.quarantined()).toHaveLength(1);
  });
});

describe('bad rows (I5)', () => {
  test.each([1, 3, 10])('%i unreadable among a hundred: they are set apart and the others land', async (bad) => {
    const { deadLetters, events, add, replayNext, ledger } = await setup();
    await add(mixed(Array.from({ length: 100 }, (_, n) => (n % 10 === 3 && n < bad * 10 ? 'unreadable' : 'good'))));
    await replayNext();
    expect(events.stored.size).toBe(100 - bad);
    expect(numbersOf(deadLetters.quarantined())).toEqual(Array.from({ length: bad }, (_, n) => n * 10 + 3));
    expect(deadLetters.quarantined().every(({ eventCount }) => eventCount === 1)).toBe(true);
    expect([deadLetters.alive().length, ledger.quarantined, ledger.replayed]).toEqual([0, bad, 100 - bad]);
  });

  test.each(['named', 'not named'])('forbidden ones, %s by the store, are found by real inserts', async (named) => {
    const { deadLetters, events, add, replayUntil } = await setup();
    if (named === 'not named') events.hint = () => null;
    await add(mixed(['good', 'good', 'forbidden', 'good', 'forbidden', 'good', 'good', 'good']));
    await replayUntil(() => deadLetters.alive().length === 0, 60_000);
    expect(new Set(numbersOf(deadLetters.quarantined()))).toEqual(new Set([2, 4]));
    expect(events.stored.size).toBe(6);
    expect(events.counted).toBe(6);
  });

  test('more than one pass can afford are found in the next ones', async () => {
    const { deadLetters, events, add, replayUntil } = await setup();
    events.hint = () => null;
    await add(mixed(Array.from({ length: 60 }, (_, n) => (n % 2 === 0 ? 'good' : 'unreadable'))));
    await replayUntil(() => deadLetters.alive().length === 0, 120_000);
    expect([events.stored.size, deadLetters.quarantined().length]).toEqual([30, 30]);
  });

  test('a letter of one bad row is quarantined as it is', async () => {
    const { deadLetters, add, replayNext } = await setup();
    await add([{ n: 1, kind: 'unreadable' }]);
    await replayNext();
    expect(deadLetters.quarantined()).toMatchObject([{ quarantinedFor: 'refused', parentId: null }]);
  });

  test('a single row refused only while storing is not blamed until other events land', async () => {
    const { clock, deadLetters, add, replayNext, landSomething } = await setup();
    await add([{ n: 1, kind: 'forbidden' }]);
    for (let i = 0; i < 30; i++) {
      await replayNext();
      await clock.advance(20_000);
    }
    expect(deadLetters.quarantined()).toEqual([]);
    for (let i = 0; i < 2; i++) {
      await landSomething();
      await clock.advance(20_000);
      await replayNext();
    }
    expect(deadLetters.quarantined()).toHaveLength(1);
  });

  test('unknown failures are tried three times before rows are suspected', async () => {
    const { clock, deadLetters, events, add, replayNext, landSomething } = await setup();
    await add(mixed(['good', 'forbidden', 'good', 'good']));
    // The store cannot say what is wrong.
    const insert = events.insert.bind(events);
    const vague = async (...given: Parameters<typeof insert>) => {
      await insert(...given).catch(() => {
        throw new InsertFailure('no idea', { failureClass: 'unknown' });
      });
    };
    Object.assign(events, { insert: vague });
    for (let tries = 1; tries <= 2; tries++) {
      await landSomething();
      await replayNext();
      expect(deadLetters.alive()).toMatchObject([{ eventCount: 4, attemptCount: tries }]);
      await clock.advance(10_000);
    }
    await landSomething();
    await replayNext();
    expect(deadLetters.alive().map(({ eventCount }) => eventCount)).not.toContain(4);
    expect(events.stored.has(2)).toBe(true);
  });
});

describe('a schema that changed', () => {
  test.each([1, 2, 7, 40])('blames none of %i good rows, also when events landed a moment ago', async (count) => {
    const { clock, breaker, deadLetters, events, add, replayNext, landSomething } = await setup();
    await add(goodRows(count));
    await landSomething();
    events.drifted = true;
    for (let i = 0; i < 10; i++) {
      breaker.allowProbe();
      await replayNext();
      await clock.advance(30_000);
    }
    expect(breaker.state()).toMatchObject({ kind: 'open', reason: 'operator' });
    expect(deadLetters.quarantined()).toEqual([]);
    expect(numbersOf(deadLetters.alive())).toHaveLength(count);
  });

  test('once mended, everything lands', async () => {
    const { clock, breaker, deadLetters, events, add, replayNext } = await setup();
    await add(goodRows(5));
    events.drifted = true;
    await replayNext();
    events.drifted = false;
    await clock.advance(60_000);
    breaker.report(breaker.admit(), null);
    await replayNext();
    expect([events.stored.size, deadLetters.letters.size]).toEqual([5, 0]);
  });
});

describe('a doubt', () => {
  test('that is fresh is settled by sending the same bytes again', async () => {
    const { events, deadLetters, add, replayNext } = await setup();
    await add(goodRows(3), 'ambiguous');
    await events.insert(batchOf(1, goodRows(3)));
    await replayNext();
    expect([events.counted, deadLetters.letters.size]).toEqual([3, 0]);
  });

  test('that outlived an outage is sent again, and completes a view that missed it', async () => {
    const { clock, events, deadLetters, addCutNow, replayNext } = await setup();
    const batch = await addCutNow(goodRows(3));
    events.diesBeforeView = true;
    await failureOf(events.insert(batch));
    expect([events.stored.size, events.counted]).toEqual([3, 0]);
    await clock.advance(60 * 60_000);
    await replayNext();
    expect([events.counted, deadLetters.letters.size]).toEqual([3, 0]);
    expect([...events.stored.values()]).toEqual([1, 1, 1]);
  });

  test('waits when the inserts since cannot be counted', async () => {
    const { clock, events, deadLetters, addCutNow, replayNext } = await setup();
    await addCutNow(goodRows(3));
    await clock.advance(6 * 60_000);
    events.countInserts = () => Promise.reject(new InsertFailure('away', { failureClass: 'unavailable' }));
    await replayNext();
    expect(deadLetters.alive()).toMatchObject([{ ambiguous: true, attemptCount: 0, leaseToken: null }]);
    expect(events.sent).toBe(0);
  });

  test('that outlived an hour in which others inserted much is settled by asking', async () => {
    const { clock, events, deadLetters, addCutNow, replayNext } = await setup();
    await addCutNow(goodRows(3));
    await events.insert(batchOf(50, [{ n: 1 }]));
    await clock.advance(60 * 60_000);
    Object.assign(events, { countInserts: async () => 5_001 });
    await replayNext();
    expect([...events.stored.values()]).toEqual([1, 1, 1]);
    expect([events.counted, deadLetters.letters.size]).toEqual([3, 0]);
  });

  // A part of a batch may have landed with the whole, under its id.
  test.each([
    ['none is there: all are sent', [], 3],
    ['all are there: nothing is sent', [0, 1, 2], 3],
    ['some are there: the others are sent', [1], 3],
  ])('about a part that is old is settled by asking; %s', async (_name, there, counted) => {
    const { clock, events, deadLetters, add, replayNext, ledger } = await setup();
    await add(goodRows(3), 'ambiguous');
    for (const n of there) await events.insert(batchOf(50 + n, [{ n }]));
    await clock.advance(6 * 60_000);
    await replayNext();
    expect([...events.stored.values()]).toEqual([1, 1, 1]);
    expect([events.counted, deadLetters.letters.size, ledger.replayed]).toEqual([counted, 0, 3]);
  });

  test('comes before isolation: rows of a letter that may have landed are not split', async () => {
    const { events, deadLetters, add, replayNext } = await setup();
    await add(mixed(['good', 'unreadable', 'good']), 'ambiguous');
    const asked: number[] = [];
    const findStored = events.findStored.bind(events);
    Object.assign(events, {
      findStored: (rows: readonly Buffer[]) => {
        asked.push(rows.length);
        return findStored(rows);
      },
    });
    await replayNext();
    expect(asked).toEqual([3]);
    expect(numbersOf(deadLetters.quarantined())).toEqual([1]);
    expect(events.stored.size).toBe(2);
  });

  test('that cannot be settled now waits', async () => {
    const { clock, events, deadLetters, add, replayNext } = await setup();
    await add(goodRows(3), 'ambiguous');
    await clock.advance(6 * 60_000);
    events.findStored = () => Promise.reject(new InsertFailure('away', { failureClass: 'unavailable' }));
    await replayNext();
    expect(deadLetters.alive()).toMatchObject([{ ambiguous: true, attemptCount: 0, leaseToken: null }]);
    expect(events.sent).toBe(0);
  });
});

test('what is stopped while inserting says nothing about the store, and comes back in doubt', async () => {
  const { clock, breaker, events, deadLetters, replayer, add } = await setup();
  await add(goodRows(1));
  const stop = new AbortController();
  events.latencyMs = () => 1_000;
  const [letter] = await deadLetters.claim({ maxRows: 1, maxBytes: 1_000, leaseMs: LEASE_MS });
  const replaying = replayer.replay(letter!, { isProbe: false, stop: stop.signal });
  await clock.advance(500);
  stop.abort();
  await clock.advance(0);
  await replaying;
  expect(breaker.state().kind).toBe('closed');
  expect(deadLetters.alive()).toMatchObject([{ ambiguous: true, attemptCount: 0 }]);
});
