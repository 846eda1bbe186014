/** Tells the group how far a partition has settled: one commit at a time, the next one with all that settled meanwhile. */
import { unlessAborted } from './bell.ts';
import type { Tenure } from './topic-port.ts';

export type PartitionCommits = {
  /** Commits what has settled by now. */
  soon(): void;
  /** Resolves when no commit is under way. */
  done(): Promise<void>;
};

/** `settled`: where the first batch begins that has not; null where other readers may begin batches elsewhere. */
export function createPartitionCommits(
  { start, over, commit }: Pick<Tenure, 'start' | 'over' | 'commit'>,
  settled: () => number | null,
): PartitionCommits {
  let committed = start;
  let committing: Promise<void> | null = null;

  return {
    soon() {
      committing ??= commitAll().finally(() => {
        committing = null;
      });
    },
    done: async () => void (await committing),
  };

  async function commitAll(): Promise<void> {
    for (;;) {
      const offset = settled();
      if (over.aborted || offset === null || offset <= committed) return;
      await unlessAborted(commit(offset), over);
      committed = offset;
    }
  }
}
