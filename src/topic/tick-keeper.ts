/**
 * Closes a batch to which nothing comes any more: a reader that has had it open for its interval, with nothing behind
 * it, appends a tick, which closes it for every reader. By the monotonic clock, since those of the makers of frames may
 * be wrong.
 */
import type { Clock } from '../runtime/clock.ts';
import type { Log } from '../log/log.ts';
import { failureOf } from '../pipeline/outcome.ts';
import { unlessAborted } from './bell.ts';
import type { OpenBatch } from './batch-cutter.ts';
import { tickEntry } from './frame.ts';
import type { TopicWriter } from './topic-port.ts';

export type TickKeeperDeps = {
  readonly partition: number;
  readonly writer: Pick<TopicWriter, 'append'>;
  /** The batch that waits for more, with nothing behind it; null while there is none. */
  readonly waiting: () => OpenBatch | null;
  /** Resolves after any change of `waiting`, and when `end` aborts. */
  readonly changed: () => Promise<void>;
  /** Whether one is needed at once: where this member begins, others may have begun elsewhere. */
  readonly isWanted: boolean;
  readonly onTrouble: (trouble: string | null) => void;
  readonly end: AbortSignal;
  readonly clock: Clock;
  readonly log: Log;
};

/** A tick that was appended and does not come, or was refused, is made again. */
const TICK_RETRY_MS = 10_000;

/** Works until `end` aborts. */
export async function keepTicking(deps: TickKeeperDeps): Promise<void> {
  const { waiting, changed, end, clock } = deps;
  let first: number | null = null;
  let dueAt = 0;
  if (deps.isWanted) await tick();
  while (!end.aborted) {
    const open = waiting();
    if (open === null) {
      await changed();
      continue;
    }
    if (open.first !== first) {
      first = open.first;
      dueAt = clock.elapsed() + open.limits.maxWaitMs;
    }
    if (clock.elapsed() < dueAt) {
      await sleepUntilDue();
      continue;
    }
    await tick();
    dueAt = clock.elapsed() + Math.max(TICK_RETRY_MS, open.limits.maxWaitMs);
  }

  /** Or until something changes: another batch may be open then, and due sooner. */
  async function sleepUntilDue() {
    const awake = new AbortController();
    const due = clock.sleep(dueAt - clock.elapsed(), AbortSignal.any([end, awake.signal]));
    await Promise.race([due, changed()]);
    awake.abort('awake');
  }

  async function tick() {
    const { partition, writer, onTrouble, log } = deps;
    const error = await unlessAborted(failureOf(writer.append(partition, tickEntry())), end);
    if (end.aborted) return;
    onTrouble(error ? error.message : null);
    if (error) log.error({ partition, err: error }, 'a batch cannot be closed: the topic refuses a tick');
  }
}
