/**
 * Cuts the records of one partition into batches. Whoever begins where a batch begins cuts the same ones: the rule
 * knows the records and nothing else, no clock, no setting, no count of readers.
 *
 * A batch begins with a frame, whose limits hold for it. It is closed before a frame that would exceed its events or
 * bytes, was made its interval later than the first one, or is in doubt; and behind a frame that reaches its events or
 * bytes, or is in doubt, which is alone. A tick closes the batch that is open, and is its last record. What Weir did not
 * write changes nothing.
 */
import type { ProjectId } from '../event/event.ts';
import type { Batch, BatchId, ProjectShare } from '../pipeline/batch.ts';
import { type BatchRange, type PartitionName, batchIdentity } from './batch-identity.ts';
import { type CutLimits, type Frame, type Head, readHead } from './frame.ts';
import { addUse } from './frame-division.ts';
import type { TopicRecord } from './topic-port.ts';

export type CutBatch = BatchRange &
  Pick<Batch, 'id' | 'chunks' | 'eventCount' | 'byteCount' | 'useByProject'> & {
    /** The frame that is alone in it may stand in the partition already, under this id. */
    readonly repeatOf: BatchId | null;
    /** Its rows may be elsewhere, in the partition or in a store. */
    readonly mayBeElsewhere: boolean;
  };

/** The batch that may still grow. */
export type OpenBatch = {
  readonly first: number;
  readonly at: number;
  readonly limits: CutLimits;
  readonly eventCount: number;
  readonly byteCount: number;
};

/** What became of a record. */
export type Cut = {
  readonly kind: Head['kind'];
  /** At most two: the one that was open, and the record itself. */
  readonly closed: readonly CutBatch[];
  /** Where a batch begins for whoever cuts the partition, wherever it started; null where the record makes no such place. */
  readonly commonBoundary: number | null;
  /** Why it is not taken; null for one that is. */
  readonly refusal: string | null;
};

export type BatchCutter = {
  /**
   * The next record in order. One that is `newer` or `unreadable` is not taken, and none behind it may follow: what is
   * open is never closed, and its rows are let go.
   */
  feed(record: TopicRecord): Cut;
  open(): OpenBatch | null;
  /** Where a batch begins: that which is open, or the next one; `start` before any record. */
  boundary(): number;
};

type Growing = {
  readonly first: number;
  last: number;
  readonly at: number;
  readonly limits: CutLimits;
  readonly chunks: Buffer[];
  readonly fingerprints: Buffer[];
  eventCount: number;
  byteCount: number;
  readonly useByProject: Map<ProjectId, ProjectShare>;
  readonly repeatOf: BatchId | null;
  readonly mayBeElsewhere: boolean;
};

export function createBatchCutter(of: PartitionName, { start }: { start: number }): BatchCutter {
  let open: Growing | null = null;
  let next = start;

  return { feed, open: () => open, boundary: () => open?.first ?? next };

  function feed(record: TopicRecord): Cut {
    const head = readHead(record);
    const { kind } = head;
    if (head.kind === 'newer' || head.kind === 'unreadable') {
      open?.chunks.splice(0);
      return { kind, closed: [], commonBoundary: null, refusal: refusalOf(head) };
    }
    next = record.offset + 1;
    if (head.kind === 'foreign') return { kind, closed: [], commonBoundary: null, refusal: null };
    if (head.kind === 'tick') {
      if (open !== null) open.last = record.offset;
      return { kind, closed: closeIf(true), commonBoundary: next, refusal: null };
    }
    const before = closeIf(open !== null && isClosedBy(open, head, record.value));
    add(head, record);
    const closed = [...before, ...closeIf(isFull(open!))];
    return { kind, closed, commonBoundary: isInDoubt(head) ? record.offset : null, refusal: null };
  }

  function add(frame: Frame, { offset, value, fingerprint }: TopicRecord) {
    const { id, at, limits, isRepeat, mayBeElsewhere } = frame;
    open ??= {
      first: offset,
      last: offset,
      at,
      limits,
      chunks: [],
      fingerprints: [],
      eventCount: 0,
      byteCount: 0,
      useByProject: new Map(),
      repeatOf: isRepeat ? id : null,
      mayBeElsewhere,
    };
    open.last = offset;
    open.chunks.push(value);
    open.fingerprints.push(fingerprint);
    open.eventCount += frame.eventCount;
    open.byteCount += value.length;
    addUse(open.useByProject, frame.useByProject);
  }

  function closeIf(isSo: boolean): CutBatch[] {
    if (!isSo || open === null) return [];
    const { limits: _, ...batch } = open;
    open = null;
    return [{ ...batch, id: batchIdentity(of, batch) }];
  }
}

function refusalOf(head: Extract<Head, { kind: 'newer' | 'unreadable' }>): string {
  return head.kind === 'newer'
    ? `records of a later version (${head.version}): upgrade the processes that flush before those that ingest`
    : `a record that cannot be read (${head.why})`;
}

const isInDoubt = ({ isRepeat, mayBeElsewhere }: Frame) => isRepeat || mayBeElsewhere;

function isClosedBy({ at, limits, eventCount, byteCount }: Growing, frame: Frame, value: Buffer): boolean {
  return (
    isInDoubt(frame) ||
    frame.at >= at + limits.maxWaitMs ||
    eventCount + frame.eventCount > limits.maxEvents ||
    byteCount + value.length > limits.maxBytes
  );
}

function isFull({ limits, eventCount, byteCount, repeatOf, mayBeElsewhere }: Growing): boolean {
  return repeatOf !== null || mayBeElsewhere || eventCount >= limits.maxEvents || byteCount >= limits.maxBytes;
}
