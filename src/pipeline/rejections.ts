/**
 * How many events were rejected, at which family of doors and why: for the metrics since the start, and for the health
 * page as long as they keep coming. Numbers only, nothing that was sent.
 */
import type { Decoded } from '../event/decode.ts';
import { type RejectionCounts, sumOfCounts } from '../event/rejection-kind.ts';
import type { Clock } from '../runtime/clock.ts';

/** Rejections at one family of doors that follow each other. A plain value: workers send theirs to each other. */
export type RejectingDoor = {
  /** The source of its events, such as `segment`. */
  readonly door: string;
  /** In epoch milliseconds. */
  readonly since: number;
  readonly last: number;
  readonly rejected: number;
  readonly reasons: RejectionCounts;
};

export type Rejections = {
  /** Counts what a request had rejected. */
  note(door: string, decoded: Pick<Decoded, 'rejected' | 'kinds'>): void;
  /** Since the start, by door. */
  counts(): ReadonlyMap<string, RejectionCounts>;
  /** The doors that have rejected events within the last hour, since when and how many without such a pause. */
  recent(): readonly RejectingDoor[];
};

/** An hour without one ends a series: whoever looks once in a while still sees it, and a mended client is forgotten. */
const SERIES_ENDS_AFTER_MS = 3_600_000;

type Series = { readonly since: number; lastElapsed: number; last: number; rejected: number; reasons: RejectionCounts };

export function createRejections(clock: Pick<Clock, 'now' | 'elapsed'>): Rejections {
  const counts = new Map<string, RejectionCounts>();
  const series = new Map<string, Series>();

  return { note, counts: () => counts, recent };

  function note(door: string, { rejected, kinds }: Pick<Decoded, 'rejected' | 'kinds'>): void {
    if (rejected === 0) return;
    counts.set(door, sumOfCounts([counts.get(door) ?? {}, kinds]));
    const at = clock.now();
    const known = series.get(door);
    const current = known && isRunning(known) ? known : { since: at, rejected: 0, reasons: {} };
    series.set(door, {
      since: current.since,
      last: at,
      lastElapsed: clock.elapsed(),
      rejected: current.rejected + rejected,
      reasons: sumOfCounts([current.reasons, kinds]),
    });
  }

  function isRunning({ lastElapsed }: Series): boolean {
    return clock.elapsed() - lastElapsed < SERIES_ENDS_AFTER_MS;
  }

  function recent(): readonly RejectingDoor[] {
    const running = [...series].filter(([, one]) => isRunning(one));
    return running.map(([door, { since, last, rejected, reasons }]) => ({ door, since, last, rejected, reasons }));
  }
}

/** What several processes say of their doors, as one; the doors that reject most come first. */
export function mergeRejectingDoors(all: readonly RejectingDoor[]): readonly RejectingDoor[] {
  const merged = [...Map.groupBy(all, ({ door }) => door)].map(([door, parts]) => ({
    door,
    since: Math.min(...parts.map(({ since }) => since)),
    last: Math.max(...parts.map(({ last }) => last)),
    rejected: parts.reduce((sum, { rejected }) => sum + rejected, 0),
    reasons: sumOfCounts(parts.map(({ reasons }) => reasons)),
  }));
  return merged.toSorted((a, b) => b.rejected - a.rejected);
}
