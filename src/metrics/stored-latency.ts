/**
 * How long events take from their arrival to the store's confirmation. A batch is observed at some of its requests, evenly
 * spread, each for its neighbours: the arrival stands in the rows, so that the way through a journal or a topic counts.
 */
import { arrivalOf } from '../event/rows.ts';
import type { Batch } from '../pipeline/batch.ts';
import type { MetricsPage } from './pages.ts';
import { type Tally, createTally, histogramOf } from './tally.ts';

/** In seconds: the buckets of the histogram. */
export const STORED_WITHIN_S: readonly number[] = [0.05, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2.5, 5, 10, 30, 60, 300];

const LATENCY = {
  name: 'weir_stored_latency_seconds',
  help: 'From the arrival of events until the store confirmed them; those that were dead letters meanwhile are not in it.',
  bounds: STORED_WITHIN_S,
};

/** Requests of a batch that are looked at: enough for a percentile, and some ten microseconds. */
const MAX_OBSERVED = 64;

export const createStoredLatency = (): Tally => createTally(LATENCY.bounds);

export const storedLatencyOf = (tally: Tally): MetricsPage[number] => histogramOf(LATENCY, [{ labels: {}, tally }]);

/** Adds the `events` of the batch that are stored `now`, in epoch ms; each as old as the request that it is close to. */
export function observeStored(tally: Tally, { chunks, byteCount }: Batch, events: number, now: number): void {
  const step = Math.max(1, Math.ceil(chunks.length / MAX_OBSERVED));
  let bytes = 0;
  let counted = 0;
  for (let first = 0; first < chunks.length; first += step) {
    const group = chunks.slice(first, first + step);
    for (const chunk of group) bytes += chunk.length;
    // Rounded from the start each time, so that the counts add up.
    const upTo = Math.round((events * bytes) / byteCount);
    const arrivedAt = arrivalOf(group[group.length >> 1]!);
    if (upTo > counted && arrivedAt !== null) tally.observe(Math.max(0, now - arrivedAt) / 1_000, upTo - counted);
    counted = upTo;
  }
}
