import { describe, expect, test } from 'vitest';
import { createDrain, type DrainLimits } from '../src/pipeline/drain.ts';
import { InsertFailure } from '../src/pipeline/ports.ts';
import type { Replayer } from '../src/pipeline/replay.ts';
import { settled } from './support/clock.ts';
import { createPipeline, createWorld, LEASE_MS, type Settings } from './support/pipeline.ts';
import { batchOf, goodRows } from './support/rows.ts';

/** A pipeline whose drain is run by hand, with `letters` to drain. */
async function setup(letters: number, settings: Settings = {}) {
  const parts = createPipeline(createWorld(), settings);
  for (let id = 1; id <= letters; id++) {
    const failure = new InsertFailure('failed', { failureClass: 'unavailable' });
    await parts.deadLetters.add(batchOf(id, goodRows(2, id * 10)), { failure, ambiguous: false });
  }
  const stop = new AbortController();
  return { ...parts, stop, pass: () => parts.drain.drainOnce(stop.signal) };
}

/** A drain on a replayer that shows how many letters are replayed at once, each for a second. */
async function withSlowReplays(letters: number, limits: Partial<DrainLimits> = {}) {
  const parts = await setup(letters);
  const { clock, deadLetters, breaker, flags, log } = parts;
  const seen = { running: 0, most: [] as number[], isBusy: false };
  const replayer: Replayer = {
    async replay(letter) {
      seen.most.push(++seen.running);
      await clock.sleep(1_000);
      await deadLetters.complete(letter);
      seen.running--;
    },
  };
  const drain = createDrain(
    {
      deadLetters,
      replayer,
      locked: { ...deadLetters.lockedBy(), replayer },
      breaker,
      flags,
      isFreshBusy: () => seen.isBusy,
      isPaused: () => false,
      onPass: () => {},
      clock,
      random: () => 0.5,
      log,
    },
    { intervalMs: 2_000, maxRows: 10, maxInFlight: 8, leaseMs: LEASE_MS, ...limits },
  );
  return { ...parts, drain, seen };
}

test('a pass replays what is due and measures what is left', async () => {
  const { events, flags, pass } = await setup(3);
  expect(await pass()).toBe('done');
  expect(events.counted).toBe(6);
  expect(flags.facts().deadLetters).toMatchObject({ rows: 0, events: 0, quarantinedRows: 0 });
});

test('a full pass says that there may be more, the last one that it is done', async () => {
  const { pass } = await setup(25);
  expect([await pass(), await pass(), await pass()]).toEqual(['more', 'more', 'done']);
});

test('a pass is full by its bytes as well', async () => {
  const { deadLetters, pass } = await setup(0);
  const failure = new InsertFailure('failed', { failureClass: 'unavailable' });
  const properties = `{"note":"${'x'.repeat(7 * 1024 * 1024)}"}`;
  for (let id = 1; id <= 6; id++)
    await deadLetters.add(batchOf(id, [{ n: id, properties }]), { failure, ambiguous: false });
  expect([await pass(), deadLetters.alive().length]).toEqual(['more', 2]);
  expect([await pass(), deadLetters.alive().length]).toEqual(['done', 0]);
});

test('it goes on at once after a full pass, and every interval otherwise', async () => {
  const { clock, events, deadLetters, drain, stop } = await setup(25);
  const done = drain.run(stop.signal);
  await settled();
  expect(events.counted).toBe(50);
  const failure = new InsertFailure('failed', { failureClass: 'unavailable' });
  await deadLetters.add(batchOf(99, goodRows(1)), { failure, ambiguous: false });
  await clock.advance(1_999);
  expect(events.counted).toBe(50);
  await clock.advance(1);
  expect(events.counted).toBe(51);
  stop.abort();
  await done;
});

describe('while the breaker is open', () => {
  test('it claims nothing, and still measures', async () => {
    const { breaker, deadLetters, flags, pass } = await setup(3);
    breaker.trip('unavailable');
    expect(await pass()).toBe('rested');
    expect(deadLetters.alive().every(({ leaseToken }) => leaseToken === null)).toBe(true);
    expect(flags.facts().deadLetters).toMatchObject({ rows: 3 });
  });

  test('the probe is one letter, and when it lands the next pass takes all', async () => {
    const { breaker, deadLetters, pass } = await setup(5);
    breaker.trip('unavailable');
    breaker.allowProbe();
    expect(await pass()).toBe('more');
    expect([deadLetters.alive().length, breaker.state().kind]).toEqual([4, 'closed']);
    await pass();
    expect(deadLetters.alive()).toEqual([]);
  });

  test('a probe that fails leaves it open and the letter whole', async () => {
    const { breaker, events, deadLetters, pass } = await setup(5);
    breaker.trip('operator');
    breaker.allowProbe();
    events.down = true;
    expect(await pass()).toBe('done');
    expect(events.sent).toBe(1);
    expect(breaker.state().kind).toBe('open');
    expect(deadLetters.alive()).toHaveLength(5);
  });

  test.each(['there is no letter', 'the table is away'])('the probe goes back when %s', async (what) => {
    const { breaker, deadLetters, pass } = await setup(0);
    breaker.trip('unavailable');
    breaker.allowProbe();
    deadLetters.down = what === 'the table is away';
    await pass().catch(() => {});
    expect(breaker.admit()).toBe('probe');
  });

  test('the probe goes back when its letter came to an end without an insert', async () => {
    const { clock, breaker, events, deadLetters, pass } = await setup(1);
    await clock.advance(6 * 60_000);
    deadLetters.alive()[0]!.ambiguous = true;
    await events.insert(batchOf(50, goodRows(2, 10)));
    breaker.trip('unavailable');
    breaker.allowProbe();
    await pass();
    expect(deadLetters.letters.size).toBe(0);
    expect(breaker.admit()).toBe('probe');
  });
});

test('paused, it replays nothing and still measures', async () => {
  const { draining, events, flags, pass } = await setup(3);
  draining.isPaused = true;
  expect(await pass()).toBe('rested');
  expect([events.sent, flags.facts().deadLetters?.rows]).toEqual([0, 3]);
});

test('a pass that fails is followed by the next, and what it had claimed comes back', async () => {
  const { clock, deadLetters, drain, events, stop } = await setup(3);
  deadLetters.commitThenCut = true;
  const done = drain.run(stop.signal);
  await clock.advance(LEASE_MS + 2_000);
  expect([events.counted, deadLetters.letters.size]).toEqual([6, 0]);
  stop.abort();
  await done;
});

describe('where the disk of the letters is full', () => {
  test('letters land and leave, the probe first; once, also when an answer is lost', async () => {
    const { breaker, clock, deadLetters, events, pass, ledger } = await setup(5);
    deadLetters.full = true;
    breaker.trip('unavailable');
    breaker.allowProbe();
    await pass();
    expect([events.counted, deadLetters.letters.size, breaker.state().kind]).toEqual([2, 4, 'closed']);
    events.commitThenCut = true;
    await pass();
    await clock.advance(61_000);
    await pass();
    expect([events.counted, deadLetters.letters.size, ledger.replayed]).toEqual([10, 0, 10]);
    expect([...events.stored.values()]).toEqual(Array.from({ length: 10 }, () => 1));
  });

  test('a bad letter stands in nobody’s way and is taken apart when there is room', async () => {
    const { clock, deadLetters, drain, events, stop } = await setup(0);
    const failure = new InsertFailure('failed', { failureClass: 'unavailable' });
    await deadLetters.add(batchOf(1, [{ n: 1 }, { n: 2, kind: 'unreadable' }]), { failure, ambiguous: false });
    for (const id of [2, 3]) await deadLetters.add(batchOf(id, goodRows(2, id * 10)), { failure, ambiguous: false });
    deadLetters.full = true;
    const done = drain.run(stop.signal);
    await clock.advance(10_000);
    expect([events.counted, deadLetters.alive().length, deadLetters.quarantined().length]).toEqual([4, 1, 0]);
    deadLetters.full = false;
    await clock.advance(10_000);
    expect([events.counted, deadLetters.alive().length, deadLetters.quarantined().length]).toEqual([5, 0, 1]);
    stop.abort();
    await done;
  });

  test('a probe that finds no letter is given back', async () => {
    const { breaker, deadLetters, pass } = await setup(0);
    deadLetters.full = true;
    breaker.trip('unavailable');
    breaker.allowProbe();
    await pass();
    expect(breaker.state().kind).toBe('open');
    breaker.allowProbe();
    expect(breaker.admit()).toBe('probe');
  });
});

test('letters are claimed within a budget of bytes', async () => {
  const { deadLetters, pass } = await setup(3);
  const limits: number[] = [];
  const claim = deadLetters.claim.bind(deadLetters);
  Object.assign(deadLetters, {
    claim: (given: Parameters<typeof claim>[0]) => {
      limits.push(given.maxBytes);
      return claim(given);
    },
  });
  await pass();
  expect(limits).toEqual([32 * 1024 * 1024]);
});

describe('how many letters at once', () => {
  test('one at first, twice as many with each pass that went well, up to the limit', async () => {
    const { clock, drain, seen, stop } = await withSlowReplays(60);
    const done = drain.run(stop.signal);
    const most: number[] = [];
    for (const pauseMs of [9_900, 5_000, 3_000, 2_000]) {
      seen.most = [];
      await clock.advance(pauseMs);
      most.push(Math.max(...seen.most));
    }
    expect(most).toEqual([1, 2, 4, 8]);
    stop.abort();
    await clock.advance(10_000);
    await done;
  });

  test('a quarter of the limit while fresh batches use every slot, and at least one (I12)', async () => {
    const { clock, drain, seen, stop } = await withSlowReplays(80);
    void drain.run(stop.signal);
    await clock.advance(20_000);
    expect(seen.running).toBe(8);
    seen.isBusy = true;
    await clock.advance(2_000);
    expect(seen.running).toBe(2);
    stop.abort();

    const small = await withSlowReplays(20, { maxInFlight: 2 });
    small.seen.isBusy = true;
    void small.drain.run(small.stop.signal);
    await small.clock.advance(5_000);
    expect(small.seen.running).toBe(1);
    small.stop.abort();
  });

  test('a slot that is free for a moment does not count, one that stays free does', async () => {
    const { clock, drain, seen, stop } = await withSlowReplays(160, { maxRows: 8 });
    void drain.run(stop.signal);
    seen.isBusy = true;
    await clock.advance(20_000);
    seen.most = [];
    for (let turn = 0; turn < 30; turn++) {
      seen.isBusy = !seen.isBusy;
      await clock.advance(700);
    }
    expect(Math.max(...seen.most)).toBe(2);
    seen.isBusy = false;
    await clock.advance(10_000);
    expect(seen.running).toBe(8);
    stop.abort();
  });

  test('one again after an outage', async () => {
    const { clock, breaker, drain, seen, stop } = await withSlowReplays(100);
    void drain.run(stop.signal);
    await clock.advance(20_000);
    breaker.trip('unavailable');
    await clock.advance(10_000);
    breaker.allowProbe();
    breaker.report(breaker.admit(), null);
    seen.most = [];
    await clock.advance(4_000);
    expect(Math.max(...seen.most)).toBe(1);
    stop.abort();
  });
});
