import { describe, expect, test } from 'vitest';
import type { Batch } from '../src/pipeline/batch.ts';
import { type Leftovers, saveLeftovers, shutDown } from '../src/pipeline/shutdown.ts';
import { settled } from './support/clock.ts';
import { startPipeline, type Settings } from './support/pipeline.ts';
import { numbersIn } from './support/rows.ts';

const GRACE_MS = 10_000;

/** A running pipeline, and its end. */
function setup(settings: Settings = {}) {
  const parts = startPipeline(settings);
  const saved: Batch[] = [];
  const requests = Promise.withResolvers<void>();
  const server = { closed: false, wasCut: false };
  const disk = { isFull: false };
  const deps = {
    ...parts,
    server: {
      close: () => {
        server.closed = true;
        return requests.promise;
      },
      cut: () => {
        server.wasCut = true;
        requests.resolve();
      },
    },
    save: (batch: Batch) => {
      if (disk.isFull) throw new Error('no space left');
      saved.push(batch);
    },
  };
  const ending: { leftovers: Leftovers | null; tookMs: number } = { leftovers: null, tookMs: 0 };
  const begin = (graceMs = GRACE_MS) => {
    const startedAt = parts.clock.elapsed();
    return shutDown(deps, { graceMs }).then((leftovers) => {
      ending.leftovers = leftovers;
      ending.tookMs = parts.clock.elapsed() - startedAt;
    });
  };
  return { ...parts, deps, saved, server, disk, ending, begin, requestsEnd: () => requests.resolve() };
}

const savedNumbers = (batches: readonly Batch[]) =>
  batches.flatMap(({ chunks }) => numbersIn(chunks)).sort((a, b) => a - b);

test('with both stores well everything lands at once and nothing is left over', async () => {
  const { clock, events, flags, ending, saved, begin, requestsEnd, offerGood } = setup();
  for (let i = 0; i < 5; i++) offerGood(5);
  void begin();
  requestsEnd();
  await settled();
  expect(ending).toEqual({ leftovers: { saved: 0, lost: 0 }, tookMs: 0 });
  expect([events.counted, saved.length, flags.facts().intake]).toEqual([25, 0, 'draining']);
  await clock.advance(0);
});

test('requests under way still find the channel open, and are cut after half of the time for inserts', async () => {
  const { clock, events, server, ending, begin, offerGood } = setup();
  void begin();
  await settled();
  expect(server.closed).toBe(true);
  expect(offerGood(2)).toBe('queued');
  await clock.advance(2_499);
  expect(server.wasCut).toBe(false);
  await clock.advance(1);
  expect(server.wasCut).toBe(true);
  expect(offerGood(1)).toBe('closed');
  expect([events.counted, ending.leftovers]).toEqual([2, { saved: 0, lost: 0 }]);
});

test('whoever waits for a batch to be stored is not kept until the next interval', async () => {
  const { events, begin, offerGood } = setup();
  offerGood(1);
  void begin();
  await settled();
  expect(events.counted).toBe(1);
});

test('inserts have all but the last five seconds, the dead letters all but the last', async () => {
  const { clock, events, deadLetters, ending, begin, requestsEnd, offerGood } = setup();
  offerGood(10);
  events.latencyMs = () => 60_000;
  void begin();
  requestsEnd();
  await clock.advance(4_999);
  expect(deadLetters.letters.size).toBe(0);
  await clock.advance(1);
  expect(deadLetters.alive()).toMatchObject([{ eventCount: 10, ambiguous: true }]);
  expect(ending).toEqual({ leftovers: { saved: 0, lost: 0 }, tookMs: 5_000 });
});

test('with both stores away everything is saved within the grace: in hand, in flight and queued (I9)', async () => {
  const { clock, events, deadLetters, ending, saved, begin, requestsEnd, offerGood } = setup();
  events.down = deadLetters.down = true;
  for (let i = 0; i < 9; i++) offerGood(10);
  await clock.advance(3_000);
  offerGood(3);
  void begin();
  requestsEnd();
  await clock.advance(GRACE_MS);
  expect(savedNumbers(saved)).toEqual(Array.from({ length: 93 }, (_, n) => n));
  expect(ending.leftovers).toEqual({ saved: 93, lost: 0 });
  expect(ending.tookMs).toBeLessThanOrEqual(GRACE_MS);
});

test('hanging stores do not hold it up', async () => {
  const { clock, events, deadLetters, ending, saved, begin, requestsEnd, offerGood } = setup();
  events.hangs = true;
  deadLetters.latencyMs = () => 3_600_000;
  for (let i = 0; i < 9; i++) offerGood(10);
  void begin();
  requestsEnd();
  await clock.advance(GRACE_MS);
  expect(savedNumbers(saved)).toHaveLength(90);
  expect(ending.tookMs).toBeLessThanOrEqual(GRACE_MS);
});

test('with the breaker open no insert is tried', async () => {
  const { events, breaker, deadLetters, begin, requestsEnd, offerGood } = setup();
  await settled();
  breaker.trip('unavailable');
  for (let i = 0; i < 3; i++) offerGood(3);
  void begin();
  requestsEnd();
  await settled();
  expect([events.sent, deadLetters.alive().reduce((sum, { eventCount }) => sum + eventCount, 0)]).toEqual([0, 9]);
});

test.each([0, 1_000, 3_000, 30_000])('a grace of %i ms is split in the same order and kept', async (graceMs) => {
  const { clock, events, deadLetters, ending, begin, offerGood } = setup();
  events.hangs = deadLetters.down = true;
  offerGood(10);
  void begin(graceMs);
  await clock.advance(graceMs);
  expect(ending.leftovers).toEqual({ saved: 10, lost: 0 });
  expect(ending.tookMs).toBeLessThanOrEqual(graceMs);
});

describe('saving', () => {
  test('what no disk takes is said to be lost', async () => {
    const { clock, events, deadLetters, disk, ending, begin, requestsEnd, offerGood } = setup();
    events.down = deadLetters.down = disk.isFull = true;
    offerGood(10);
    void begin();
    requestsEnd();
    await clock.advance(GRACE_MS);
    expect(ending.leftovers).toEqual({ saved: 0, lost: 10 });
  });

  test('a second signal saves everything at once, without waiting for anything', async () => {
    const { clock, channel, deps, events, deadLetters, saved, begin, offerGood } = setup();
    events.hangs = deadLetters.down = true;
    for (let i = 0; i < 9; i++) offerGood(10);
    void begin();
    await clock.advance(1_000);
    expect(saveLeftovers(deps)).toEqual({ saved: 90, lost: 0 });
    expect(savedNumbers(saved)).toHaveLength(90);
    expect(offerGood(1)).toBe('closed');
    expect(channel.usage().events).toBe(90);
  });

  test('a second call writes what is held under the same ids again, nothing else', async () => {
    const { clock, deps, events, deadLetters, saved, offerGood } = setup();
    events.down = deadLetters.down = true;
    for (let i = 0; i < 9; i++) offerGood(10);
    await clock.advance(3_000);
    saveLeftovers(deps);
    const first = new Set(saved.map(({ id }) => id));
    saveLeftovers(deps);
    expect(new Set(saved.map(({ id }) => id))).toEqual(first);
  });
});
