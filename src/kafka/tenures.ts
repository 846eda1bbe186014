/** The partitions that this member has, each with the tenure in which its holder reads it. */
import type { Clock } from '../runtime/clock.ts';
import type { Log } from '../log/log.ts';
import type { Tenure, TopicHolder } from '../topic/topic-port.ts';
import { pause } from './backoff.ts';
import type { Fetcher } from './fetcher.ts';
import type { OffsetCommits } from './offset-commits.ts';
import type { Requests } from './requests.ts';
import { findOffsetAt, findStart } from './start-offsets.ts';
import type { Trouble } from './trouble.ts';

export type Tenures = {
  /** Ends those of other partitions, and begins those that are new. */
  assign(partitions: readonly number[], holder: TopicHolder): void;
  endAll(why: string): void;
  /** From their assignment on, also while it is being found out where to begin. */
  held(): number[];
};

export type TenureDeps = {
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  readonly requests: Requests;
  readonly trouble: Trouble;
  readonly commits: OffsetCommits;
  readonly fetcher: Fetcher;
};

export function createTenures(deps: TenureDeps, { topic, group }: { topic: string; group: string }): Tenures {
  const { log, requests, trouble, commits, fetcher } = deps;
  const endings = new Map<number, AbortController>();

  return { assign, endAll, held: () => [...endings.keys()].sort((a, b) => a - b) };

  function assign(partitions: readonly number[], holder: TopicHolder) {
    for (const partition of endings.keys()) {
      if (!partitions.includes(partition)) end(partition, 'the partition is another member’s now');
    }
    const taken = partitions.filter((partition) => !endings.has(partition));
    for (const partition of taken) void begin(partition, holder);
    log.info({ partitions, taken }, 'kafka has given partitions to this process');
  }

  /** Never rejects. */
  async function begin(partition: number, holder: TopicHolder, { isAnew = false } = {}): Promise<void> {
    const ending = new AbortController();
    endings.set(partition, ending);
    const over = ending.signal;
    if (isAnew) await pause(deps, 1, over);
    for (let attempt = 1; !over.aborted; attempt++) {
      try {
        const start = await findStart(requests, { topic, group }, partition);
        if (over.aborted) return;
        trouble.well();
        const { topicId } = start;
        return holder.taken({ partition, ...start, over, ...reading(partition, topicId, over, holder) });
      } catch (error) {
        if (over.aborted) return;
        trouble.failed(error, attempt);
        requests.forgetCoordinator();
        await pause(deps, attempt, over);
      }
    }
  }

  function reading(
    partition: number,
    topicId: string,
    over: AbortSignal,
    holder: TopicHolder,
  ): Pick<Tenure, 'read' | 'offsetAt' | 'commit'> {
    const reader = { partition, topicId, over, onGone: () => beginAnew(partition, holder) };
    return {
      read: (offset, maxBytes) => fetcher.read(reader, offset, maxBytes),
      offsetAt: (epochMs) => offsetAt(partition, epochMs, over),
      commit: (offset) => commits.commit(reader, offset),
    };
  }

  async function offsetAt(partition: number, epochMs: number, over: AbortSignal): Promise<number | null> {
    for (let attempt = 1; !over.aborted; attempt++) {
      try {
        if (attempt > 1) await requests.layout(topic, { isFresh: true });
        const offset = await findOffsetAt(requests, topic, partition, epochMs);
        if (!over.aborted) return offset;
      } catch (error) {
        if (over.aborted) break;
        trouble.failed(error, attempt);
        await pause(deps, attempt, over);
      }
    }
    throw over.reason as Error;
  }

  /** The broker has nothing where the tenure would read: it was removed, or is gone since an election. */
  function beginAnew(partition: number, holder: TopicHolder) {
    end(partition, 'the broker has no records at that offset');
    // Whatever the reason is, it may be the same the next time.
    void begin(partition, holder, { isAnew: true });
  }

  function endAll(why: string) {
    for (const partition of endings.keys()) end(partition, why);
  }

  function end(partition: number, why: string) {
    endings.get(partition)?.abort(new Error(`the tenure of partition ${partition} is over: ${why}`));
    endings.delete(partition);
  }
}
