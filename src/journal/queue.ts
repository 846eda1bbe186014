/** The records that wait for the next round, in the order they were asked for. */
import type { JournalRecord } from './record.ts';
import { MAX_WRITE_BYTES, type Segment } from './segments.ts';
import type { JournalUnavailable } from './trouble.ts';

export type Waiting = {
  readonly record: JournalRecord;
  /** What it takes in a segment. */
  readonly bytes: number;
  /** It is on disk, in that segment. */
  readonly onWritten: (segment: Segment) => void;
  readonly onFailed: (error: JournalUnavailable) => void;
};

export type Queue = {
  add(waiting: Waiting): void;
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

  function add(waiting: Waiting) {
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

  function putBack(waiting: readonly Waiting[]) {
    queue = [...waiting, ...queue];
    for (const { bytes } of waiting) queuedBytes += bytes;
  }
}
