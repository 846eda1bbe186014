/**
 * Rows that may have landed. Sending them again under their id is harmless, and better than asking for them, as long as
 * ClickHouse remembers the id: it also completes a view that missed the rows because ClickHouse died between the table
 * and the view. The memory counts inserts, so it outlasts an outage of any length, but not an hour in which others
 * inserted much.
 *
 * A dead letter that counts as unsent may still have landed: a Postgres restored from a backup brings back letters that
 * have landed since. Those are recognised as well, for as long as ClickHouse remembers.
 */
import type { Clock } from '../runtime/clock.ts';
import { splitRows } from '../event/rows.ts';
import { ageOf } from './batch.ts';
import type { EventStore, Insertable } from './ports.ts';

/** An insert this young is among those that ClickHouse remembers, whatever the load. */
const SURELY_REMEMBERED_MS = 5 * 60_000;
/** Half of `non_replicated_deduplication_window`: inserts continue while the answer is on its way. */
const REMEMBERED_INSERTS = 5_000;
/** How long a count is valid: far less than the other half of the window is inserted in that time. */
const COUNT_MS = 2_000;

export type AmbiguousInsert = {
  readonly id: string;
  /**
   * When it was last sent. The batch's own age counts if it is higher: being recognised does not renew ClickHouse's
   * memory.
   */
  readonly lastSentMsAgo: number;
  /** Epoch ms. */
  readonly now: number;
};

/** Whether ClickHouse would recognise the rows if they had landed. Throws `InsertFailure` when it cannot be asked. */
export async function isRemembered(
  events: Pick<EventStore, 'countInserts'>,
  { id, lastSentMsAgo, now }: AmbiguousInsert,
  signal?: AbortSignal,
): Promise<boolean> {
  const cutMsAgo = ageOf(id, now);
  // Parts that an operator made and replayed rejected events do not tell their age.
  if (cutMsAgo === null) return lastSentMsAgo <= SURELY_REMEMBERED_MS;
  return isWithinMemory(events, Math.max(cutMsAgo, lastSentMsAgo), signal);
}

/**
 * Whether ClickHouse would recognise everything that landed in the last `ageMs`. Throws `InsertFailure` when it cannot
 * be asked.
 */
export async function isWithinMemory(
  events: Pick<EventStore, 'countInserts'>,
  ageMs: number,
  signal?: AbortSignal,
): Promise<boolean> {
  return ageMs <= SURELY_REMEMBERED_MS || (await events.countInserts(ageMs, signal)) <= REMEMBERED_INSERTS;
}

export type RowLocation = 'nowhere' | 'partly' | 'everywhere';

/**
 * Where the rows are in ClickHouse, whatever ids they were sent under. Throws `InsertFailure` when it cannot be asked.
 */
export async function locateRows(
  events: Pick<EventStore, 'findStored'>,
  { chunks }: Pick<Insertable, 'chunks'>,
  signal?: AbortSignal,
): Promise<RowLocation> {
  const stored = await events.findStored(splitRows(Buffer.concat(chunks)), signal);
  if (stored.every(Boolean)) return 'everywhere';
  return stored.some(Boolean) ? 'partly' : 'nowhere';
}

/**
 * If there were few inserts since one moment, there are no more since a later one: for the letters of an outage, whose
 * oldest comes first, inserts are counted only once in a while.
 */
export function countSparingly(
  events: Pick<EventStore, 'countInserts'>,
  clock: Clock,
): Pick<EventStore, 'countInserts'> {
  let few: { readonly since: number; readonly at: number; readonly inserts: number } | null = null;

  return {
    async countInserts(ageMs, signal) {
      const at = clock.elapsed();
      const since = at - ageMs;
      if (few && since >= few.since && at - few.at < COUNT_MS) return few.inserts;
      const inserts = await events.countInserts(ageMs, signal);
      if (inserts <= REMEMBERED_INSERTS) few = { since, at, inserts };
      return inserts;
    },
  };
}
