import type { Envelope, ProjectId } from '../event/event.ts';

export type BatchId = string & { readonly __brand: 'BatchId' };

/**
 * The rows of one insert, frozen when cut. The id is also the insert's
 * deduplication token, so one id must stand for one byte string for ever: a
 * batch is never re-cut, re-ordered or re-encoded (invariant I8).
 */
export type Batch = {
  readonly id: BatchId;
  /** NDJSON in pieces that are sent one after the other; each ends with `\n`. */
  readonly chunks: readonly Buffer[];
  readonly eventCount: number;
  readonly byteCount: number;
  readonly useByProject: ReadonlyMap<ProjectId, ProjectShare>;
  /** Where its envelopes stand in the journal, in the order of the rows; empty when the journal does not have them. */
  readonly sequences?: readonly number[];
  /** An earlier process held it and may have inserted it. */
  readonly mayHaveLanded?: boolean;
};

/** How much of a batch belongs to one project. */
export type ProjectShare = { readonly events: number; readonly bytes: number };

/** The bytes of rows in pieces. */
export const bytesOf = (chunks: readonly Buffer[]) => chunks.reduce((sum, chunk) => sum + chunk.length, 0);

/** Freezes envelopes, in the order given, into the batch called `id`. */
export function freezeBatch(id: BatchId, envelopes: readonly Envelope[]): Batch {
  const useByProject = new Map<ProjectId, ProjectShare>();
  let eventCount = 0;
  let byteCount = 0;
  for (const { projectId, rows, eventCount: count } of envelopes) {
    const so = useByProject.get(projectId);
    useByProject.set(projectId, { events: (so?.events ?? 0) + count, bytes: (so?.bytes ?? 0) + rows.length });
    eventCount += count;
    byteCount += rows.length;
  }
  return { id, chunks: envelopes.map(({ rows }) => rows), eventCount, byteCount, useByProject };
}
