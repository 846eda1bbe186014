/** Follows requests of which somebody saw an event, from the channel to where they settle. */
import { splitRows } from '../event/rows.ts';
import type { Batch } from '../pipeline/batch.ts';
import type { Destination } from '../pipeline/channel-port.ts';
import type { Step } from './messages.ts';

export type Trails = {
  /** Begins to follow the rows of an envelope; returns the number under which its steps are told. */
  begin(rows: Buffer): number;
  cut(batch: Batch): void;
  settled(batch: Batch, destination: Destination, takenOut: readonly number[]): void;
  tell(trail: number, stage: Step['stage'], batchId?: string, apart?: readonly number[]): void;
  clear(): void;
};

/** What waits longer than for so many others is lost sight of. */
const MAX_TRAILS = 4_096;

export function createTrails({
  now,
  onStep,
}: {
  readonly now: () => number;
  readonly onStep: (step: Step) => void;
}): Trails {
  /** By rows, which are one object from the channel to the batch. */
  const trails = new Map<Buffer, number>();
  // Not those of a process before this one, of whose trails somebody may still know.
  let last = now() * 1_000;

  return { begin, cut, settled, tell, clear: () => trails.clear() };

  function begin(rows: Buffer): number {
    if (trails.size >= MAX_TRAILS) trails.delete(trails.keys().next().value!);
    last += 1;
    trails.set(rows, last);
    return last;
  }

  function cut({ id, chunks }: Batch) {
    if (trails.size === 0) return;
    for (const chunk of chunks) {
      const trail = trails.get(chunk);
      if (trail !== undefined) tell(trail, 'batched', id);
    }
  }

  function settled({ id, chunks }: Batch, destination: Destination, takenOut: readonly number[]) {
    if (trails.size === 0) return;
    let firstRow = 0;
    for (const chunk of chunks) {
      const trail = trails.get(chunk);
      const rows = takenOut.length === 0 ? 0 : splitRows(chunk).length;
      if (trail !== undefined) {
        trails.delete(chunk);
        const from = firstRow;
        const apart = takenOut.filter((row) => row >= from && row < from + rows).map((row) => row - from);
        tell(trail, destination, id, apart);
      }
      firstRow += rows;
    }
  }

  function tell(trail: number, stage: Step['stage'], batchId: string | null = null, apart: readonly number[] = []) {
    onStep({ trail, stage, at: now(), batchId, apart });
  }
}
