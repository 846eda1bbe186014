/** The records that wait for the next round, in order of arrival. */
import type { JournalRecord } from './record.ts';
import { MAX_WRITE_BYTES, type Segment } from './segments.ts';
import type { JournalUnavailable } from '../pipeline/ports.ts';

export type QueuedRecord = {
  readonly record: JournalRecord;
  /** Its size in a segment. */
  readonly bytes: number;
  readonly outcome: RecordOutcome;
};

/** What becomes of a record: one of both is called, once. */
export type RecordOutcome = {
  /** It is on disk, in that segment. */
  onWritten(segment: Segment): void;
  /** It will not be. */
  onFailed(error: JournalUnavailable): void;
};

export type RecordQueue = {
  add(waiting: QueuedRecord): void;
  /** As many records as one write takes; at least one. */
  takeRound(): QueuedRecord[];
  takeAll(): QueuedRecord[];
  /** Puts the records back at the head of the queue. */
  putBack(waiting: readonly QueuedRecord[]): void;
  isEmpty(): boolean;
  bytes(): number;
};

export function createRecordQueue(): RecordQueue {
  let queue: QueuedRecord[] = [];
  let queuedBytes = 0;

  return { add, takeRound, takeAll, putBack, isEmpty: () => queue.length === 0, bytes: () => queuedBytes };

  function add(waiting: QueuedRecord) {
    queue.push(waiting);
    queuedBytes += waiting.bytes;
  }

  function takeRound() {
    let count = 0;
    let bytes = 0;
    while (count < queue.length) {
      const next = queue[count]!.bytes;
      if (count > 0 && bytes + next > MAX_WRITE_BYTES) break;
      bytes += next;
      count++;
    }
    queuedBytes -= bytes;
    return queue.splice(0, count);
  }

  function takeAll() {
    queuedBytes = 0;
    return queue.splice(0);
  }

  function putBack(waiting: readonly QueuedRecord[]) {
    queue = [...waiting, ...queue];
    for (const { bytes } of waiting) queuedBytes += bytes;
  }
}
