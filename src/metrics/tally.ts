/**
 * A histogram that is written far more often than read: an observation is an addition to an array. The client library's
 * histogram looks its labels up each time, which takes as long as routing a request.
 */
import type { MetricsPage } from './pages.ts';

export type Tally = {
  /** `times`: how often it occurred; 1 by default. */
  observe(value: number, times?: number): void;
  /** For each bound, how many values were at most that; then the count and the sum of all values. */
  read(): { readonly atMost: readonly number[]; readonly count: number; readonly sum: number };
};

/** `bounds` must be in ascending order. */
export function createTally(bounds: readonly number[]): Tally {
  const counts = new Float64Array(bounds.length + 1);
  let sum = 0;

  return {
    observe(value, times = 1) {
      let place = 0;
      while (place < bounds.length && value > bounds[place]!) place++;
      counts[place]! += times;
      sum += value * times;
    },
    read() {
      let count = 0;
      const upTo = Array.from(counts, (more) => (count += more));
      return { atMost: upTo.slice(0, -1), count, sum };
    },
  };
}

export type LabelledTally = { readonly labels: Readonly<Record<string, string>>; readonly tally: Tally };

/** The tallies as one histogram of a page. */
export function histogramOf(
  { name, help, bounds }: { name: string; help: string; bounds: readonly number[] },
  tallies: readonly LabelledTally[],
): MetricsPage[number] {
  const values = tallies.flatMap(({ labels, tally }) => {
    const { atMost, count, sum } = tally.read();
    const buckets = [...bounds, '+Inf'].map((le, place) => ({
      metricName: `${name}_bucket`,
      labels: { ...labels, le },
      value: atMost[place] ?? count,
    }));
    return [
      ...buckets,
      { metricName: `${name}_sum`, labels, value: sum },
      { metricName: `${name}_count`, labels, value: count },
    ];
  });
  return { name, help, type: 'histogram', aggregator: 'sum', values };
}
