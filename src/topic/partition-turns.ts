/**
 * Which partition a frame goes to: those that have nothing under way, by turns. A frame's id tells its partition, so
 * that it goes there again when a process repeats what an earlier one may have appended: behind it, in the same order
 * for every reader.
 */
import type { BatchId } from '../pipeline/batch.ts';

export type PartitionTurns = {
  /** Known from a broker; until then ids tell no partition of ours. May grow. */
  setCount(count: number): void;
  /** An id for a frame that is cut now. */
  newFrameId(): BatchId;
  /** Where the frame goes. Of an id that `newFrameId` did not make, any partition, but always the same. */
  partitionOf(id: BatchId): number;
  /** Runs what is to be done with a partition behind what came before. */
  inTurn<T>(partition: number, work: () => Promise<T>): Promise<T>;
  /** Resolves when some partition has nothing under way. */
  someFree(): Promise<void>;
};

/** Of the last 16 bits of an id. */
const MAX_PARTITIONS = 2 ** 16;
const TAIL_DIGITS = 4;

/** `newUuid`: version 7, random. */
export function createPartitionTurns({ newUuid }: { newUuid: () => string }): PartitionTurns {
  let count = 0;
  let turn = 0;
  /** The last of what was asked for, by partition. */
  const tails = new Map<number, Promise<unknown>>();

  return {
    setCount: (known) => {
      count = Math.min(known, MAX_PARTITIONS);
    },
    newFrameId,
    partitionOf: (id) => Number.parseInt(id.slice(-TAIL_DIGITS), 16) % Math.max(count, 1),
    inTurn,
    someFree,
  };

  function newFrameId(): BatchId {
    const uuid = newUuid();
    if (count === 0) return uuid as BatchId;
    return (uuid.slice(0, -TAIL_DIGITS) + nextPartition().toString(16).padStart(TAIL_DIGITS, '0')) as BatchId;
  }

  function nextPartition(): number {
    let chosen = turn % count;
    for (let step = 0; step < count && tails.has(chosen); step++) chosen = (chosen + 1) % count;
    if (tails.has(chosen)) chosen = turn % count;
    turn = chosen + 1;
    return chosen;
  }

  function inTurn<T>(partition: number, work: () => Promise<T>): Promise<T> {
    const before = tails.get(partition);
    const done = before === undefined ? work() : before.then(work, work);
    const tail: Promise<unknown> = done.then(leave, leave);
    tails.set(partition, tail);
    return done;

    function leave() {
      if (tails.get(partition) === tail) tails.delete(partition);
    }
  }

  async function someFree(): Promise<void> {
    while (tails.size >= Math.max(count, 1)) await Promise.race(tails.values());
  }
}
