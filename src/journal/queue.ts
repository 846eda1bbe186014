/** The records that wait for the next round, in the order they were asked for. */
import { type JournalRecord, sizeOf, totalSize } from './record.ts';
import { MAX_WRITE_BYTES, type Segment } from './segments.ts';
import type { JournalUnavailable } from './trouble.ts';

export type Waiting = {
  readonly record: JournalRecord;
  /** It is on disk, in that segment. */
  readonly done: (segment: Segment) => void;
  readonly failed: (error: JournalUnavailable) => void;
};

export type Queue = {
  /** Resolves once `done` was called, right after `onWritten`. */
  add(record: JournalRecord, onWritten: (segment: Segment) => void): Promise<void>;
  /** What one write takes; at least one. */
  takeRound(): Waiting[];
  takeAll(): Waiting[];
  /** They are next again. */
  putBack(waiting: readonly Waiting[]): void;
  isEmpty(): boolean;
  bytes(): number;
};

export function createQueue(): Queue {
  let queue: Waiting[] = [];
  let queuedBytes = 0;

  return { add, takeRound, takeAll, putBack, isEmpty: () => queue.length === 0, bytes: () => queuedBytes };

  function add(record: JournalRecord, onWritten: (segment: Segment) => void) {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const done = (segment: Segment) => {
      onWritten(segment);
      resolve();
    };
    queue.push({ record, done, failed: reject });
    queuedBytes += sizeOf(record);
    return promise;
  }

  function takeRound() {
    let count = 0;
    let bytes = 0;
    while (count < queue.length) {
      const size = sizeOf(queue[count]!.record);
      if (count > 0 && bytes + size > MAX_WRITE_BYTES) break;
      bytes += size;
      count++;
    }
    queuedBytes -= bytes;
    return queue.splice(0, count);
  }

  function takeAll() {
    queuedBytes = 0;
    return queue.splice(0);
  }

  function putBack(waiting: readonly Waiting[]) {
    queue = [...waiting, ...queue];
    queuedBytes += totalSize(waiting.map(({ record }) => record));
  }
}
