/** An hour of what the service counted: rates, latency and gaps. */
import { describe, expect, test } from 'vitest';
import { STORED_WITHIN_S } from '../src/metrics/stored-latency.ts';
import { type Counted, readCounted } from '../src/console/watch/metrics-text.ts';
import { createSamples } from '../src/console/watch/samples.ts';

const NONE: Counted = {
  accepted: 0,
  stored: 0,
  rejected: 0,
  deadLettered: 0,
  pendingEvents: 0,
  pendingBytes: 0,
  limitEvents: 100,
  limitBytes: 1_000,
  storedWithin: STORED_WITHIN_S.map(() => 0).concat(0),
};
const START = Date.UTC(2026, 4, 5);

function setup() {
  const samples = createSamples();
  let elapsed = 0;
  const after = (seconds: number, counted: Partial<Counted> | null) => {
    elapsed += seconds * 1_000;
    samples.add({ at: START + elapsed, elapsed }, counted && { ...NONE, ...counted });
  };
  return { samples, after };
}

/** Cumulative counts: as many within each bound. */
const within = (counts: Record<number, number>) => {
  let sum = 0;
  return [...STORED_WITHIN_S, Infinity].map((bound) => (sum += counts[bound] ?? 0));
};

describe('rates', () => {
  test('are those of the last seconds', () => {
    const { samples, after } = setup();
    expect(samples.rates()).toEqual({ accepted: null, stored: null, rejected: null, deadLettered: null });
    for (let second = 0; second <= 20; second += 1) after(1, { accepted: second * (second < 10 ? 10 : 100) });
    expect(samples.rates()).toEqual({ accepted: 100, stored: 0, rejected: 0, deadLettered: 0 });
  });

  test('use the time that passed, however rarely somebody samples', () => {
    const { samples, after } = setup();
    after(10, { accepted: 0 });
    after(10, { accepted: 500 });
    expect(samples.rates().accepted).toBe(50);
    expect(samples.series(3_600, null).accepted).toEqual([null, 50]);
  });

  test('are none where a counter fell, and go on behind it', () => {
    const { samples, after } = setup();
    after(1, { accepted: 1_000_000 });
    after(1, { accepted: 5 });
    expect(samples.rates().accepted).toBeNull();
    after(1, { accepted: 15 });
    expect(samples.series(3_600, null).accepted).toEqual([null, null, 10]);
  });

  test.each([
    ['the service did not answer', (after: ReturnType<typeof setup>['after']) => after(1, null)],
    ['nobody sampled for long', (after: ReturnType<typeof setup>['after']) => after(60, { accepted: 5_000 })],
  ])('are none across a gap: %s', (_, miss) => {
    const { samples, after } = setup();
    after(1, { accepted: 0 });
    miss(after);
    after(1, { accepted: 6_000 });
    after(1, { accepted: 6_001 });
    const [first, second, third, last] = samples.series(3_600, null).accepted;
    expect([first, second, last]).toEqual([null, null, 1]);
    expect(third === null || third === 1_000).toBe(true);
    expect(samples.rates().accepted).toBeLessThanOrEqual(1_000);
  });

  test('do not follow the clock of the wall when it jumps', () => {
    const samples = createSamples();
    samples.add({ at: START, elapsed: 0 }, NONE);
    samples.add({ at: START - 3_600_000, elapsed: 1_000 }, { ...NONE, accepted: 7 });
    samples.add({ at: START + 3_600_000, elapsed: 2_000 }, { ...NONE, accepted: 14 });
    expect(samples.series(3_600, null)).toMatchObject({
      at: [START, START, START + 3_600_000],
      accepted: [null, 7, 7],
    });
  });
});

describe('the latency', () => {
  test('is that of the last minute, between the bounds of its bucket', () => {
    const { samples, after } = setup();
    expect(samples.latency()).toEqual({ p50: null, p99: null });
    after(1, { storedWithin: within({ 300: 1_000 }) });
    after(1, { storedWithin: within({ 300: 1_000, 1: 98, 5: 2 }) });
    const { p50, p99 } = samples.latency();
    expect(p50).toBeGreaterThan(750);
    expect(p50).toBeLessThanOrEqual(1_000);
    expect(p99).toBeGreaterThan(2_500);
    expect(p99).toBeLessThanOrEqual(5_000);
    for (let second = 0; second < 70; second += 1) after(1, { storedWithin: within({ 300: 1_000, 1: 98, 5: 2 }) });
    expect(samples.latency()).toEqual({ p50: null, p99: null });
  });

  test('is the last bound at least, where it is beyond that', () => {
    const { samples, after } = setup();
    after(1, {});
    after(1, { storedWithin: within({ [Infinity]: 10 }) });
    expect(samples.latency()).toEqual({ p50: 300_000, p99: 300_000 });
  });
});

describe('the series', () => {
  test('holds an hour, in as many points as a chart can show, and no more memory for more', () => {
    const { samples, after } = setup();
    for (let second = 0; second < 10_000; second += 1) after(1, { accepted: second * 3 });
    const { at, accepted } = samples.series(3_600, null);
    expect(at.length).toBeLessThanOrEqual(720);
    expect(at.at(-1)! - at[0]!).toBeGreaterThan(3_590_000);
    expect(accepted.every((rate) => rate === 3)).toBe(true);
    expect(samples.series(60, null).at).toHaveLength(61);
  });

  test('gives what is new to whoever has the rest', () => {
    const { samples, after } = setup();
    for (let second = 0; second < 10; second += 1) after(1, { accepted: second });
    const { at } = samples.series(3_600, null);
    expect(samples.series(3_600, at[7]!).at).toEqual(at.slice(8));
    expect(samples.series(3_600, at.at(-1)!).at).toEqual([]);
  });
});

test('the numbers are read from the page, and what it lacks is not known', () => {
  const page = [
    '# HELP weir_events_total Events by result in this process.',
    'weir_events_total{result="accepted"} 12',
    'weir_events_total{result="stored"} 7',
    'weir_events_total{result="replayed"} 2',
    'weir_events_total{other="x",result="rejected"} 3',
    'weir_pending_events 3',
    'weir_stored_latency_seconds_bucket{le="0.05"} 4',
    'weir_stored_latency_seconds_bucket{le="+Inf"} 7',
    '',
  ].join('\n');
  const counted = readCounted(page);
  expect(counted).toMatchObject({ accepted: 12, stored: 9, rejected: 3, deadLettered: NaN, pendingEvents: 3 });
  expect(counted.storedWithin[0]).toBe(4);
  expect(counted.storedWithin.at(-1)).toBe(7);
});
