import type { Envelope, ProjectId } from '../event/event.ts';
import { idsOf, splitRows } from '../event/rows.ts';
import { uuidOf } from '../event/uuid.ts';

export type BatchId = string & { readonly __brand: 'BatchId' };

/**
 * The rows of one insert, frozen when cut. The id is also the insert's deduplication token, so one id must stand for
 * one byte string forever: a batch is never re-cut, re-ordered or re-encoded (invariant I8).
 */
export type Batch = {
  readonly id: BatchId;
  /** NDJSON in chunks that are sent one after the other; each ends with `\n`. */
  readonly chunks: readonly Buffer[];
  readonly eventCount: number;
  readonly byteCount: number;
  readonly useByProject: ReadonlyMap<ProjectId, ProjectShare>;
  /** The journal sequences of its envelopes, in the order of the rows; empty when the journal does not have them. */
  readonly sequences?: readonly number[];
  /** An earlier process held it and may have inserted it. */
  readonly mayHaveLanded?: boolean;
  /**
   * Its rows may have been sent under other ids, by a process that had the same records: ClickHouse must be asked about
   * them before they are sent.
   */
  readonly mayBeElsewhere?: boolean;
  /** A log keeps it until it is settled: it need not go anywhere else while no store takes it. */
  readonly inLog?: LogHome;
};

/** What a batch knows of the log that it was read from. */
export type LogHome = {
  /** Aborts when another process may have the log: the batch is that one's then. */
  readonly over: AbortSignal;
  /** Whether another process may have had the log, and sent the batch, for longer than this one can tell. */
  isInDoubt(): boolean;
};

/** How much of a batch belongs to one project. */
export type ProjectShare = { readonly events: number; readonly bytes: number };

/** The total size of the chunks. */
export const bytesOf = (chunks: readonly Buffer[]) => chunks.reduce((sum, chunk) => sum + chunk.length, 0);

/** Freezes envelopes, in the order given, into the batch called `id`. */
export function freezeBatch(id: BatchId, envelopes: readonly Envelope[]): Batch {
  const useByProject = new Map<ProjectId, { events: number; bytes: number }>();
  let eventCount = 0;
  let byteCount = 0;
  for (const { projectId, rows, eventCount: count } of envelopes) {
    let use = useByProject.get(projectId);
    if (use === undefined) useByProject.set(projectId, (use = { events: 0, bytes: 0 }));
    use.events += count;
    use.bytes += rows.length;
    eventCount += count;
    byteCount += rows.length;
  }
  return { id, chunks: envelopes.map(({ rows }) => rows), eventCount, byteCount, useByProject };
}

/**
 * The id of a part of a batch or of a dead letter. It follows from the parent's id and the part's rows, so that a
 * process that divides the parent again after a crash makes the same parts; like the parent's, it tells when the batch
 * was cut. `twin` distinguishes parts of the same rows.
 */
export function partIdOf(parentId: string, rows: Buffer, twin = 0): BatchId {
  const own = uuidOf(Buffer.concat([Buffer.from(twin === 0 ? parentId : `${parentId} ${twin}`), rows]));
  return (tellsTime(parentId) ? `${parentId.slice(0, 15)}${own.slice(15)}` : own) as BatchId;
}

/** Whether it may be the id of a part of that batch: parts tell the same moment. */
export const mayBePartOf = (id: string, parentId: string): boolean =>
  tellsTime(parentId) && id.slice(0, 15) === parentId.slice(0, 15);

/** Whether the id is a UUID v7, which begins with its time of creation. */
const tellsTime = (id: string) => id[14] === '7';

/** How long ago the batch was cut that has this id, or a part of which has it; null for an id that does not tell. */
export function ageOf(id: string, now: number): number | null {
  return tellsTime(id) ? now - Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16) : null;
}

/** The batch without the rows at `takenOut`, as a batch of its own; null when nothing remains. */
export function remainderOf(batch: Batch, takenOut: readonly number[]): Batch | null {
  const rows = splitRows(Buffer.concat(batch.chunks));
  const out = new Set(takenOut);
  const kept = Buffer.concat(rows.filter((_, index) => !out.has(index)));
  if (kept.length === 0) return null;
  const useByProject = new Map(batch.useByProject);
  for (const index of out) {
    const row = rows[index]!;
    const projectId = idsOf(row)?.projectId as ProjectId | undefined;
    const use = projectId && useByProject.get(projectId);
    if (use) useByProject.set(projectId, { events: use.events - 1, bytes: use.bytes - row.length });
  }
  return {
    id: partIdOf(batch.id, kept),
    chunks: [kept],
    eventCount: batch.eventCount - out.size,
    byteCount: kept.length,
    useByProject,
  };
}
