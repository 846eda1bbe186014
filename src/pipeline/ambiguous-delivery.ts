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
import type { EventStore, InsertMemory, Insertable } from './ports.ts';

/** An insert this young is among those that a store remembers which remembers so many, whatever the load. */
const SURELY_REMEMBERED = { ms: 5 * 60_000, inserts: 10_000 } as const;
/** Half of what is remembered counts: inserts continue while the answer is on its way. */
const SHARE = 0.5;
/** So many say that there were few, and are counted again only after a while. */
const FEW_INSERTS = 5_000;
/** How long such a count is valid: far less than the other half of the window is inserted in that time. */
const COUNT_MS = 2_000;

type Memory = Pick<EventStore, 'countInserts' | 'readMemory'>;

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
  events: Memory,
  { id, lastSentMsAgo, now }: AmbiguousInsert,
  signal?: AbortSignal,
): Promise<boolean> {
  const cutMsAgo = ageOf(id, now);
  // Parts that an operator made and replayed rejected events do not tell their age.
  if (cutMsAgo === null) return isSurelyWithin(await events.readMemory(signal), lastSentMsAgo);
  return isWithinMemory(events, Math.max(cutMsAgo, lastSentMsAgo), signal);
}

/**
 * Whether ClickHouse would recognise everything that landed in the last `ageMs`. Throws `InsertFailure` when it cannot
 * be asked.
 */
export async function isWithinMemory(events: Memory, ageMs: number, signal?: AbortSignal): Promise<boolean> {
  const memory = await events.readMemory(signal);
  if (isSurelyWithin(memory, ageMs)) return true;
  if (ageMs > memory.forMs * SHARE) return false;
  return (await events.countInserts(ageMs, signal)) <= memory.inserts * SHARE;
}

const isSurelyWithin = ({ inserts, forMs }: InsertMemory, ageMs: number) =>
  inserts >= SURELY_REMEMBERED.inserts && ageMs <= Math.min(SURELY_REMEMBERED.ms, forMs * SHARE);

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
export function countSparingly(events: Memory, clock: Clock): Memory {
  let few: { readonly since: number; readonly at: number; readonly inserts: number } | null = null;

  return {
    readMemory: (signal) => events.readMemory(signal),
    async countInserts(ageMs, signal) {
      const at = clock.elapsed();
      const since = at - ageMs;
      if (few && since >= few.since && at - few.at < COUNT_MS) return few.inserts;
      const inserts = await events.countInserts(ageMs, signal);
      if (inserts <= FEW_INSERTS) few = { since, at, inserts };
      return inserts;
    },
  };
}
