/**
 * An hour of what the service counted, in columns of fixed size. Rates are differences of neighbours: where a counter
 * fell, or a sample is missing, there is none.
 */
import { STORED_WITHIN_S } from '../../metrics/stored-latency.ts';
import type { Counted } from './metrics-text.ts';
import type { Latency, Rates, Series } from './answers.ts';

/** A sample a second for an hour, and some for what is missing. */
const CAPACITY = 3_700;
const HOUR_MS = 3_600_000;
/** Neighbours farther apart are none: whoever sampled was not there. */
const LONGEST_STEP_MS = 30_000;
/** The rates of this moment are those of the last few seconds, and the latency that of the last minute. */
const RATE_MS = 5_000;
const LATENCY_MS = 60_000;
/** What a chart can show. */
const MAX_POINTS = 720;

const COUNTERS = ['accepted', 'stored', 'rejected', 'deadLettered'] as const;
const GAUGES = ['pendingEvents', 'pendingBytes'] as const;

/** Epoch ms for charts, and monotonic ms for intervals: the clock of the wall may jump. */
export type Moment = { readonly at: number; readonly elapsed: number };

export type Samples = {
  /** `counted`: null where the service did not answer. */
  add(moment: Moment, counted: Counted | null): void;
  rates(): Rates;
  latency(): Latency;
  /** The samples of that many seconds before now, and after the given time; fewer where there are many. */
  series(seconds: number, after: number | null): Series;
};

type Column = Float64Array<ArrayBuffer>;

const column = (): Column => new Float64Array(CAPACITY).fill(NaN);

export function createSamples(): Samples {
  const at = column();
  const elapsed = column();
  const counters = { accepted: column(), stored: column(), rejected: column(), deadLettered: column() };
  const gauges = { pendingEvents: column(), pendingBytes: column() };
  const within = Array.from({ length: STORED_WITHIN_S.length + 1 }, column);
  /** Samples ever added; the place of one is its number modulo the capacity. */
  let added = 0;

  return { add, rates, latency, series };

  function add(moment: Moment, counted: Counted | null) {
    const place = added % CAPACITY;
    // A chart goes one way.
    at[place] = added === 0 ? moment.at : Math.max(moment.at, at[(added - 1) % CAPACITY]!);
    elapsed[place] = moment.elapsed;
    for (const name of COUNTERS) counters[name][place] = counted?.[name] ?? NaN;
    for (const name of GAUGES) gauges[name][place] = counted?.[name] ?? NaN;
    for (const [index, values] of within.entries()) values[place] = counted?.storedWithin[index] ?? NaN;
    added += 1;
  }

  function rates(): Rates {
    const last = added - 1;
    const first = reachBack(last, RATE_MS);
    const rate = (name: (typeof COUNTERS)[number]) => (last < 0 ? null : rateOf(counters[name], first, last));
    return {
      accepted: rate('accepted'),
      stored: rate('stored'),
      rejected: rate('rejected'),
      deadLettered: rate('deadLettered'),
    };
  }

  function latency(): Latency {
    const last = added - 1;
    return last < 0 ? { p50: null, p99: null } : latencyOf(reachBack(last, LATENCY_MS), last);
  }

  function series(seconds: number, after: number | null): Series {
    const last = added - 1;
    const since = last < 0 ? 0 : timeOf(last) - Math.min(seconds * 1_000, HOUR_MS);
    const oldest = Math.max(0, added - CAPACITY);
    let first = oldest;
    while (first < added && (timeOf(first) < since || at[first % CAPACITY]! <= (after ?? -Infinity))) first += 1;
    const made: Record<keyof Series, (number | null)[]> = {
      at: [],
      accepted: [],
      stored: [],
      rejected: [],
      deadLettered: [],
      pendingEvents: [],
      pendingBytes: [],
      p50: [],
      p99: [],
    };
    const step = Math.max(1, Math.ceil((added - first) / MAX_POINTS));
    for (let from = first; from < added; from += step) {
      const to = Math.min(from + step, added) - 1;
      const before = Math.max(from - 1, oldest);
      made.at.push(at[to % CAPACITY]!);
      for (const name of COUNTERS) made[name].push(rateOf(counters[name], before, to));
      for (const name of GAUGES) made[name].push(known(gauges[name][to % CAPACITY]!));
      const { p50, p99 } = latencyOf(before, to);
      made.p50.push(p50);
      made.p99.push(p99);
    }
    return made as Series;
  }

  /** The earliest sample within the time before `last` that nothing is missing behind. */
  function reachBack(last: number, ms: number): number {
    let first = last;
    const oldest = Math.max(0, added - CAPACITY);
    while (first > oldest && areNeighbours(first - 1, first) && timeOf(last) - timeOf(first - 1) <= ms) first -= 1;
    // Where samples are rarer than that, the one before.
    if (first === last && last > oldest && areNeighbours(last - 1, last)) first -= 1;
    return first;
  }

  function areNeighbours(earlier: number, later: number): boolean {
    const isMissing = Number.isNaN(counters.accepted[earlier % CAPACITY]!);
    return !isMissing && timeOf(later) - timeOf(earlier) <= LONGEST_STEP_MS;
  }

  function timeOf(sample: number): number {
    return elapsed[sample % CAPACITY]!;
  }

  /** A second; null where nothing is known of a part of the time, or the counter fell in it. */
  function rateOf(values: Column, from: number, to: number): number | null {
    const elapsedMs = timeOf(to) - timeOf(from);
    return elapsedMs > 0 ? scaled(growthOf(values, from, to), 1_000 / elapsedMs) : null;
  }

  function growthOf(values: Column, from: number, to: number): number | null {
    for (let sample = from + 1; sample <= to; sample += 1) {
      const growth = values[sample % CAPACITY]! - values[(sample - 1) % CAPACITY]!;
      if (!(growth >= 0) || timeOf(sample) - timeOf(sample - 1) > LONGEST_STEP_MS) return null;
    }
    return to > from ? values[to % CAPACITY]! - values[from % CAPACITY]! : null;
  }

  function latencyOf(from: number, to: number): Latency {
    const grown = within.map((values) => growthOf(values, from, to));
    const all = grown.at(-1);
    if (!all || grown.includes(null)) return { p50: null, p99: null };
    return { p50: quantileOf(grown as number[], 0.5), p99: quantileOf(grown as number[], 0.99) };
  }
}

/** In ms, as if the events of a bucket were spread evenly; beyond the last bound, that bound. */
function quantileOf(upTo: readonly number[], quantile: number): number {
  const wanted = upTo.at(-1)! * quantile;
  const bucket = upTo.findIndex((count) => count >= wanted);
  const upper = STORED_WITHIN_S[bucket];
  if (upper === undefined) return STORED_WITHIN_S.at(-1)! * 1_000;
  const lower = STORED_WITHIN_S[bucket - 1] ?? 0;
  const below = upTo[bucket - 1] ?? 0;
  const inBucket = upTo[bucket]! - below;
  const part = inBucket === 0 ? 1 : (wanted - below) / inBucket;
  return Math.round((lower + (upper - lower) * part) * 1_000);
}

const scaled = (value: number | null, factor: number) =>
  value === null ? null : Math.round(value * factor * 100) / 100;
const known = (value: number) => (Number.isNaN(value) ? null : value);
