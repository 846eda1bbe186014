import { describe, expect, test } from 'vitest';
import { failureOf } from '../src/pipeline/outcome.ts';
import { type FailureClass, InsertFailure } from '../src/pipeline/ports.ts';
import type { ReplayPolicy } from '../src/pipeline/replay-attempts.ts';
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

  test('is too large for something in front is divided until all of it lands, once, a letter at a time', async () => {
    const { events, deadLetters, add, replayUntil } = await setup();
    await add(goodRows(40));
    const { rows } = deadLetters.alive()[0]!;
    events.maxBytes = Math.floor(rows.length / 9);
    await replayUntil(() => deadLetters.letters.size === 0, 60_000);
    expect([...events.stored.values()]).toEqual(Array.from({ length: 40 }, () => 1));
    expect([events.counted, events.changedIds.size, Math.max(...events.landed) < 40]).toEqual([40, 0, true]);
  });

  test('is too large and in doubt asks what is there before it is divided', async () => {
    const { events, deadLetters, add, replayUntil } = await setup();
    await add(goodRows(40), 'ambiguous');
    const { rows } = deadLetters.alive()[0]!;
    await events.insert(batchOf(1, goodRows(40)));
    events.maxBytes = Math.floor(rows.length / 9);
    await replayUntil(() => deadLetters.letters.size === 0, 60_000);
    expect([...events.stored.values()]).toEqual(Array.from({ length: 40 }, () => 1));
  });

  test('holds one event that is too large is not quarantined while nothing else lands', async () => {
    const { clock, events, deadLetters, add, replayNext } = await setup();
    await add(goodRows(1));
    events.maxBytes = 0;
    for (let n = 0; n < 30; n++) {
      await replayNext();
      await clock.advance(60_000);
    }
    expect(deadLetters.quarantined()).toEqual([]);
  });

  test('fails as unknown counts a try and waits longer each time, on a store that takes other events', async () => {
    const { clock, events, deadLetters, add, replayNext, landSomething } = await setup();
    await add(goodRows(1));
    const waits: number[] = [];
    for (let i = 0; i < 4; i++) {
      await landSomething();
      events.failInserts = 'unknown';
      const since = clock.elapsed();
      while (!(await replayNext())) await clock.advance(100);
      waits.push(Math.round((clock.elapsed() - since) / 1_000));
      events.failInserts = null;
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
  test.each([
    ['after the last counted try, and not before', 15, 15],
    ['after twelve failures nobody can explain at the earliest, whatever the policy', 3, 12],
  ])('%s', async (_name, maxAttempts, last) => {
    const { clock, events, deadLetters, ledger, add, replayNext, landSomething } = await setup({ maxAttempts });
    await add(goodRows(1));
    for (let tries = 1; tries <= last; tries++) {
      expect(deadLetters.quarantined()).toEqual([]);
      do {
        events.failInserts = null;
        await clock.advance(1_000);
        await landSomething();
        events.failInserts = 'unknown';
      } while (!(await replayNext()));
    }
    expect(deadLetters.quarantined()).toMatchObject([{ quarantinedFor: 'exhausted' }]);
    expect(ledger.quarantined).toBe(1);
  });

  test('never by failures nobody can explain while ordinary events fail as well, or while they are not alike', async () => {
    const { clock, events, deadLetters, add, replayNext, landSomething } = await setup({ maxAttempts: 3 });
    await add(goodRows(1));
    let failure = 0;
    for (let tries = 1; tries <= 60; tries++) {
      await landSomething();
      const insert = events.insert.bind(events);
      if (tries % 2 === 0) events.failWith = 'unknown';
      else {
        const error = new InsertFailure(`fault ${'abc'[failure++ % 3]}`, { failureClass: 'unknown' });
        Object.assign(events, { insert: () => Promise.reject(error) });
      }
      while (!(await replayNext())) await clock.advance(1_000);
      Object.assign(events, { insert, failWith: null });
    }
    expect(deadLetters.alive()).toHaveLength(1);
    await clock.advance(60_000);
    await replayNext();
    expect(events.stored.has(0)).toBe(true);
  });

  test('never of several rows by failures nobody can explain: they are divided, and each is asked about alone', async () => {
    const { clock, events, deadLetters, add, replayNext, landSomething } = await setup({ maxAttempts: 3 });
    await add(goodRows(4));
    while (deadLetters.alive().some(({ eventCount }) => eventCount > 1)) {
      await landSomething();
      events.failInserts = 'unknown';
      while (!(await replayNext())) await clock.advance(1_000);
      events.failInserts = null;
    }
    expect(deadLetters.quarantined()).toEqual([]);
    expect(deadLetters.alive()).toHaveLength(4);
  });

  test('of old age: only waiting beside a working ClickHouse makes a letter old', async () => {
    const { clock, events, deadLetters, add, replayNext, landSomething } = await setup({ maxAgeMs: 10_000 });
    await add([{ n: 1, kind: 'unreadable' }]);
    events.refusesOrdinary = true;
    events.down = true;
    await clock.advance(3_600_000);
    events.down = false;
    await clock.advance(2_000);
    for (let i = 0; i < 2; i++) {
      await landSomething();
      await replayNext();
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
    // One cause, one letter.
    expect(deadLetters.quarantined()).toMatchObject([{ eventCount: bad, quarantinedFor: 'refused' }]);
    expect([deadLetters.alive().length, ledger.quarantined, ledger.replayed]).toEqual([0, bad, 100 - bad]);
  });

  test.each(['named', 'not named'])('nothing explains, %s by the store, are found by real inserts', async (named) => {
    const { deadLetters, events, add, replayUntil } = await setup();
    events.explains = false;
    if (named === 'not named') events.hint = () => null;
    await add(mixed(['good', 'good', 'forbidden', 'good', 'forbidden', 'good', 'good', 'good']));
    await replayUntil(() => deadLetters.alive().length === 0, 60_000);
    expect(new Set(numbersOf(deadLetters.quarantined()))).toEqual(new Set([2, 4]));
    expect(events.stored.size).toBe(6);
    expect(events.counted).toBe(6);
  });

  test('more than one pass can afford to search for are found in the next ones', async () => {
    const { deadLetters, events, add, replayUntil } = await setup();
    Object.assign(events, { explains: false, hint: () => null });
    await add(mixed(Array.from({ length: 60 }, (_, n) => (n % 2 === 0 ? 'good' : 'forbidden'))));
    await replayUntil(() => deadLetters.alive().length === 0, 600_000);
    expect([events.stored.size, numbersOf(deadLetters.quarantined()).length]).toEqual([30, 30]);
  });

  test('of two causes are two letters', async () => {
    const { deadLetters, add, replayNext } = await setup();
    await add(mixed(['unreadable', 'good', 'forbidden', 'unreadable', 'good', 'good']));
    await replayNext();
    expect(deadLetters.quarantined().map((letter) => numbersOf([letter]))).toEqual([[0, 3], [2]]);
  });

  test('that cannot be looked at are left alone', async () => {
    const { deadLetters, events, add, replayNext } = await setup();
    await add(mixed(['unreadable', 'good']));
    events.inspect = () => Promise.reject(new InsertFailure('no idea', { failureClass: 'unknown' }));
    await replayNext();
    expect(deadLetters.alive()).toMatchObject([{ eventCount: 2, attemptCount: 0, leaseToken: null }]);
  });

  test('a letter of one bad row is quarantined as it is', async () => {
    const { deadLetters, add, replayNext } = await setup();
    await add([{ n: 1, kind: 'unreadable' }]);
    await replayNext();
    expect(deadLetters.quarantined()).toMatchObject([{ quarantinedFor: 'refused', parentId: null }]);
  });

  test('a single row refused for a reason nobody finds is not blamed until other events land', async () => {
    const { clock, deadLetters, events, add, replayNext, landSomething } = await setup();
    events.explains = false;
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

  test('an unknown failure is explained by looking at the rows', async () => {
    const { deadLetters, events, add, replayNext } = await setup();
    await add(mixed(['good', 'forbidden', 'good', 'good']));
    const insert = events.insert.bind(events);
    const vague = (...given: Parameters<typeof insert>) =>
      insert(...given).catch(() => Promise.reject(new InsertFailure('no idea', { failureClass: 'unknown' })));
    Object.assign(events, { insert: vague });
    await replayNext();
    expect(numbersOf(deadLetters.quarantined())).toEqual([1]);
    expect([...events.stored.keys()]).toEqual([0, 2, 3]);
  });

  test('unknown failures are tried three times before rows are suspected', async () => {
    const { clock, deadLetters, events, add, replayNext, landSomething } = await setup();
    events.explains = false;
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

  test('for some rows only does not hold the others, nor the breaker; who is in the majority is not to blame', async () => {
    const { breaker, deadLetters, events, add, replayNext } = await setup();
    events.refusesOrdinary = true;
    await add(mixed(['unreadable', 'unreadable', 'unreadable', 'good']));
    await replayNext();
    expect([...events.stored.keys()]).toEqual([3]);
    expect(breaker.state().kind).toBe('closed');
    expect(deadLetters.alive()).toMatchObject([{ eventCount: 3, leaseToken: null }]);
    expect(deadLetters.quarantined()).toEqual([]);
  });

  test('long ago, as most rows show, makes those it refuses bad, also where they are alone', async () => {
    const { clock, deadLetters, events, add, replayNext } = await setup();
    events.refusesOrdinary = true;
    await add(mixed(['good', 'unreadable', 'good', 'good']));
    await add([{ n: 9, kind: 'unreadable' }]);
    await replayNext();
    await clock.advance(20_000);
    await replayNext();
    expect(new Set(numbersOf(deadLetters.quarantined()))).toEqual(new Set([1, 9]));
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

  // ClickHouse was killed after it had noted the batch, and before it had the rows.
  test.each([
    ['sent again', async () => 0],
    ['asked about first', async () => 5_001],
  ])('about a batch that is remembered and not there ends with its rows; %s', async (_name, countInserts) => {
    const { clock, events, deadLetters, addCutNow, replayNext } = await setup();
    const batch = await addCutNow(goodRows(3));
    events.diesBeforePart = true;
    await failureOf(events.insert(batch));
    expect(events.stored.size).toBe(0);
    await clock.advance(60 * 60_000);
    Object.assign(events, { countInserts });
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

describe('a letter that nobody doubts, of before more inserts than are remembered', () => {
  /** A letter of five rows that waits for an hour, in which others insert so much that ClickHouse forgets everything. */
  async function setupOld(rows = goodRows(5), policy: Partial<ReplayPolicy> = {}) {
    const parts = await setup(policy);
    await parts.add(rows);
    const asked: number[] = [];
    const { events } = parts;
    const findStored = events.findStored.bind(events);
    events.findStored = (some) => {
      asked.push(some.length);
      return findStored(some);
    };
    const counted: number[] = [];
    const followedBy = (inserts: number) => {
      events.countInserts = async (ageMs) => {
        counted.push(ageMs);
        return inserts;
      };
      events.dedupes = inserts <= 5_000;
    };
    followedBy(5_001);
    await parts.clock.advance(60 * 60_000);
    return { ...parts, asked, counted, followedBy };
  }

  test.each([
    ['not there: it lands', [], []],
    ['there: it has landed before the table was restored', [0, 1, 2, 3, 4], []],
    ['there in part: the rest lands', [1, 3], []],
    ['there but for what is bad: that is quarantined', [0, 1, 4], [3]],
  ] as const)('is asked for before it is sent: %s', async (_what, there, bad) => {
    const rows = goodRows(5).map((row) =>
      (bad as readonly number[]).includes(row.n) ? { ...row, kind: 'forbidden' as const } : row,
    );
    const { events, deadLetters, replayNext, asked } = await setupOld(rows);
    for (const n of there) await events.insert(batchOf(50 + n, [{ n }]));
    const sent = events.sent;
    await replayNext();
    const good = [0, 1, 2, 3, 4].filter((n) => !(bad as readonly number[]).includes(n));
    expect(new Map(events.stored)).toEqual(new Map(good.map((n) => [n, 1])));
    expect(events.counted).toBe(good.length);
    expect(asked).toEqual([5]);
    if (there.length === 5) expect(events.sent).toBe(sent);
    expect(deadLetters.alive()).toEqual([]);
    expect(numbersOf(deadLetters.quarantined())).toEqual(bad);
  });

  test('is sent without asking when few inserts followed, however old it is', async () => {
    const { clock, events, deadLetters, replayNext, asked, counted, followedBy } = await setupOld();
    followedBy(5_000);
    await clock.advance(2 * 3_600_000);
    await replayNext();
    expect([asked, counted.length, events.counted, deadLetters.letters.size]).toEqual([[], 1, 5, 0]);
  });

  test('is one of many for which inserts are counted once', async () => {
    const { events, deadLetters, add, clock, replayNext, asked, counted, followedBy } = await setupOld();
    await add(goodRows(5, 100));
    await add(goodRows(5, 200));
    await clock.advance(60 * 60_000);
    followedBy(5_000);
    for (let i = 0; i < 3; i++) await replayNext();
    expect([asked, events.stored.size, deadLetters.letters.size, counted.length]).toEqual([[], 15, 0, 1]);
  });

  test('has waited for no long time since it was last sent, and is sent', async () => {
    const { clock, events, deadLetters, add, replayNext, landSomething } = await setup();
    await add(goodRows(1));
    events.countInserts = () => Promise.reject(new Error('not to be asked'));
    events.failWith = 'unknown';
    await replayNext();
    events.failWith = null;
    await landSomething();
    await clock.advance(4 * 60_000);
    await replayNext();
    expect([events.stored.get(0), deadLetters.letters.size]).toEqual([1, 0]);
  });

  test('waits when nobody can be asked', async () => {
    const { events, deadLetters, replayNext, clock } = await setupOld();
    events.findStored = () => Promise.reject(new InsertFailure('away', { failureClass: 'unavailable' }));
    await replayNext();
    expect(deadLetters.alive()).toMatchObject([{ ambiguous: false, attemptCount: 0, leaseToken: null }]);
    events.countInserts = () => Promise.reject(new InsertFailure('away', { failureClass: 'unavailable' }));
    await clock.advance(60_000);
    await replayNext();
    expect(deadLetters.alive()).toMatchObject([{ ambiguous: false, attemptCount: 0, leaseToken: null }]);
    expect(events.sent).toBe(0);
  });

  test.each(['healthy', 'strict'] as const)(
    'is asked for again after a query that failed, which was no sending of it: %s',
    async (quarantine) => {
      const { clock, events, deadLetters, replayNext, asked } = await setupOld(goodRows(5), { quarantine });
      await events.insert(batchOf(50, goodRows(5)));
      const { findStored } = events;
      events.findStored = () => Promise.reject(new InsertFailure('away', { failureClass: 'unavailable' }));
      await replayNext();
      events.findStored = findStored;
      await clock.advance(60_000);
      await replayNext();
      expect([asked, events.sent, events.counted, deadLetters.letters.size]).toEqual([[5], 1, 5, 0]);
    },
  );

  test('strict: a try that could not even ask counts', async () => {
    const { clock, events, deadLetters, add, replayNext } = await setup({ maxAttempts: 2, quarantine: 'strict' });
    await add(goodRows(1));
    await clock.advance(60 * 60_000);
    events.failWith = 'unavailable';
    for (let i = 0; i < 2; i++) {
      await replayNext();
      await clock.advance(60_000);
    }
    expect(deadLetters.quarantined()).toMatchObject([{ quarantinedFor: 'exhausted' }]);
  });
});

describe.each(['healthy', 'strict'] as const)('what this process stops itself, %s:', (quarantine) => {
  test('an insert says nothing about the store, counts as no try, and the letter comes back in doubt', async () => {
    const { clock, breaker, events, deadLetters, replayer, add } = await setup({ quarantine });
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
    expect(deadLetters.alive()).toMatchObject([{ ambiguous: true, attemptCount: 0, leaseToken: null }]);
  });

  test.each([
    ['a question', 'ambiguous', 'good', 'findStored'],
    ['an inspection', 'unavailable', 'unreadable', 'inspect'],
  ] as const)('%s counts as no try', async (_what, failureClass, kind, method) => {
    const { clock, events, deadLetters, replayer, add } = await setup({ quarantine });
    await add([{ n: 0, kind }], failureClass);
    if (failureClass === 'ambiguous') await clock.advance(60 * 60_000);
    const stop = new AbortController();
    const cut = () => {
      stop.abort();
      return Promise.reject(new InsertFailure('cut', { failureClass: 'unavailable' }));
    };
    Object.assign(events, { [method]: cut });
    const [letter] = await deadLetters.claim({ maxRows: 1, maxBytes: 1_000, leaseMs: LEASE_MS });
    await replayer.replay(letter!, { isProbe: false, stop: stop.signal });
    expect(stop.signal.aborted).toBe(true);
    expect(deadLetters.alive()).toMatchObject([{ attemptCount: 0, leaseToken: null }]);
  });
});
