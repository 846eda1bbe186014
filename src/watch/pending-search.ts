/** Looks for events among those that are pending, a little at a time: requests go on meanwhile. */
import type { Clock } from '../runtime/clock.ts';
import type { Batch } from '../pipeline/batch.ts';
import type { PendingEvent } from './messages.ts';
import { type RowSearch, shownRow } from './row-search.ts';

/** What is pending now. */
export type Pending = {
  /** Rows that are in no batch yet. */
  readonly queued: () => readonly Buffer[];
  /** Batches without a destination. */
  readonly held: () => readonly Pick<Batch, 'id' | 'chunks'>[];
};

/** Read through without a pause, in bytes: a millisecond or two. */
const BYTES_AT_ONCE = 2 * 1024 * 1024;
/** Read through for one question. */
const MAX_BYTES = 512 * 1024 * 1024;
const MAX_FOUND = 50;

export async function searchPending(
  { queued, held, clock }: Pending & { readonly clock: Pick<Clock, 'sleep'> },
  search: RowSearch,
): Promise<{ readonly events: readonly PendingEvent[]; readonly isCutShort: boolean }> {
  const places = [
    ...held().flatMap(({ id, chunks }) => chunks.map((rows) => ({ rows, batchId: id as string }))),
    ...queued().map((rows) => ({ rows, batchId: null })),
  ];
  const events: PendingEvent[] = [];
  let read = 0;
  let sincePause = 0;
  for (const { rows, batchId } of places) {
    if (events.length >= MAX_FOUND || read > MAX_BYTES) return { events, isCutShort: true };
    for (const found of search.find(rows, MAX_FOUND - events.length))
      events.push({ ...shownRow(rows, found), batchId });
    read += rows.length * search.passes;
    sincePause += rows.length * search.passes;
    if (sincePause < BYTES_AT_ONCE) continue;
    sincePause = 0;
    await clock.sleep(0);
  }
  return { events, isCutShort: false };
}
