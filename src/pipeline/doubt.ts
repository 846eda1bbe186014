/**
 * Rows that may have landed. Sending them again under their id is harmless, and
 * better than asking for them, as long as ClickHouse remembers the id: it also
 * completes a view that missed the rows because ClickHouse died between the
 * table and the view. The memory counts inserts, so it outlasts an outage of any
 * length, and not an hour in which others inserted much.
 */
import type { EventStore } from './ports.ts';

/** What is this young is among the inserts that ClickHouse remembers, whatever the load. */
const SURELY_REMEMBERED_MS = 5 * 60_000;
/** Half of `non_replicated_deduplication_window`: inserts go on while the answer is on its way. */
const REMEMBERED_INSERTS = 5_000;

export type Doubt = {
  readonly id: string;
  /** When it was last sent. A batch's own age counts for more: being recognised does not renew the memory of it. */
  readonly lastSentMsAgo: number;
  /** Epoch ms. */
  readonly now: number;
};

/** Whether ClickHouse would recognise the rows if they had landed. Throws `InsertFailure` when it cannot be asked. */
export async function isRemembered(
  events: Pick<EventStore, 'countInserts'>,
  { id, lastSentMsAgo, now }: Doubt,
): Promise<boolean> {
  const cutMsAgo = ageOfBatch(id, now);
  // A part of a batch: what is in doubt may have landed with the whole, under another id.
  if (cutMsAgo === null) return lastSentMsAgo <= SURELY_REMEMBERED_MS;
  const ageMs = Math.max(cutMsAgo, lastSentMsAgo);
  return ageMs <= SURELY_REMEMBERED_MS || (await events.countInserts(ageMs)) <= REMEMBERED_INSERTS;
}

/** How long ago a batch was cut, told by its id, a UUID v7; null for the id of a part, which follows from its rows. */
function ageOfBatch(id: string, now: number): number | null {
  return id[14] === '7' ? now - Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16) : null;
}
