/**
 * The channel between a topic and the flusher: the batches of all partitions that this member of the group holds, each
 * partition in its order and all of them by turns. What is not settled stays in the topic, so it is never full, and
 * nothing is lost when it is left.
 */
import type { Clock } from '../runtime/clock.ts';
import { freeMemory } from '../runtime/freed-memory.ts';
import type { Log } from '../log/log.ts';
import type { Batch } from '../pipeline/batch.ts';
import type { Channel } from '../pipeline/channel-port.ts';
import { createBell } from './bell.ts';
import { type PartitionFeed, type PartitionLag, createPartitionFeed } from './partition-feed.ts';
import { createPauseWatch } from './pause-watch.ts';
import { createReadBudget } from './read-budget.ts';
import type { Tenure, TopicReader, TopicWriter } from './topic-port.ts';

export type TopicChannelDeps = {
  readonly reader: Pick<TopicReader, 'run'>;
  /** Serial: a partition that was lost and is back may have two that tick for a moment. */
  readonly writer: Pick<TopicWriter, 'append'>;
  readonly clock: Clock;
  readonly log: Log;
};

export type TopicChannel = Pick<Channel, 'take' | 'settle' | 'setBatchScale' | 'close'> & {
  /** Takes part in the group until `signal` aborts, and then until the last commit was sent. */
  run(signal: AbortSignal): Promise<void>;
  /** Someone else will deliver the batch, or this process later. */
  letGo(batch: Batch): void;
  /** By partition that is held now. */
  lag(): readonly PartitionLag[];
  /** What keeps events in the topic, besides stores that are away: sentences for a person. */
  problems(): readonly string[];
  /** Since the start: records that brokers removed unread, and that Weir did not write. */
  counts(): { readonly removed: number; readonly foreign: number };
  /** Of the batches that were taken and not settled. */
  usage(): { readonly events: number; readonly bytes: number };
};

const LAST_COMMITS_MS = 2_000;

/** `maxBytes`: of all rows that are held in memory. */
export function createTopicChannel(
  { reader, writer, clock, log }: TopicChannelDeps,
  { maxBytes }: { readonly maxBytes: number },
): TopicChannel {
  const budget = createReadBudget(maxBytes);
  const pauses = createPauseWatch({ clock });
  const changed = createBell();
  const closed = new AbortController();
  const feeds = new Map<number, PartitionFeed>();
  const taken = new Map<Batch, PartitionFeed>();
  const running = new Set<Promise<void>>();
  const failed = Promise.withResolvers<never>();
  /** Of partitions that are held no more. */
  let before = { removed: 0, foreign: 0 };
  let turn = 0;

  return {
    run,
    take,
    settle,
    letGo: (batch) => release(batch, { isLeft: true }),
    // Where batches begin and end stands in the topic.
    setBatchScale: () => {},
    close,
    lag: () => [...feeds.values()].map((feed) => feed.lag()).sort((a, b) => a.partition - b.partition),
    problems: () => [...feeds.values()].flatMap((feed) => feed.problem() ?? []),
    counts,
    usage,
  };

  async function run(signal: AbortSignal): Promise<void> {
    const stop = new AbortController();
    const leave = new AbortController();
    const watching = pauses.run(stop.signal);
    const stay = async () => {
      await lastCommits();
      leave.abort();
    };
    if (signal.aborted) leave.abort();
    else signal.addEventListener('abort', () => void stay(), { once: true });
    try {
      await Promise.race([reader.run({ taken: begin }, leave.signal), failed.promise]);
      close();
      await Promise.all(running);
    } finally {
      stop.abort();
      await watching;
    }
  }

  /** Only a member may commit. Brokers that are away are not waited for: what is not committed is read again. */
  async function lastCommits(): Promise<void> {
    const answered = new AbortController();
    const all = Promise.all([...feeds.values()].map((feed) => feed.committed()));
    await Promise.race([all, clock.sleep(LAST_COMMITS_MS, answered.signal)]);
    answered.abort('answered');
  }

  function close() {
    closed.abort();
    changed.ring();
  }

  function begin(tenure: Tenure): void {
    const { partition, start, removed, over } = tenure;
    if (over.aborted) return;
    if (removed > 0) log.error({ partition, records: removed, start }, 'records were removed from the topic unread');
    const end = AbortSignal.any([over, closed.signal]);
    const hasPausedSince = pauses.hasPausedSince;
    const feed = createPartitionFeed({ tenure, writer, budget, hasPausedSince, end, onChange: wakeAll, clock, log });
    feeds.set(partition, feed);
    const work = feed.run().finally(() => running.delete(work));
    running.add(work);
    work.catch(failed.reject);
    const leave = () => {
      if (feeds.get(partition) !== feed) return;
      feeds.delete(partition);
      // Counters do not fall.
      before = sumOf([before, feed.lag()]);
    };
    over.addEventListener('abort', leave, { once: true });
  }

  function wakeAll() {
    changed.ring();
    for (const feed of feeds.values()) if (feed.isStarved()) feed.wake();
  }

  async function take(): Promise<Batch | null> {
    while (!closed.signal.aborted) {
      const feed = nextReady();
      if (feed !== null) {
        const batch = feed.take();
        taken.set(batch, feed);
        return batch;
      }
      await changed.next();
    }
    return null;
  }

  /** Partitions take turns, so that a long backlog of one keeps no other waiting. */
  function nextReady(): PartitionFeed | null {
    const inOrder = [...feeds.values()].sort((a, b) => a.partition - b.partition);
    const after = inOrder.filter(({ partition }) => partition >= turn);
    const next = [...after, ...inOrder].find((feed) => feed.isReady()) ?? null;
    if (next !== null) turn = next.partition + 1;
    return next;
  }

  function settle(batch: Batch) {
    release(batch, { isLeft: false });
    freeMemory(batch.chunks);
  }

  function release(batch: Batch, how: { readonly isLeft: boolean }): void {
    taken.get(batch)?.settle(batch, how);
    taken.delete(batch);
    wakeAll();
  }

  function counts() {
    return sumOf([before, ...[...feeds.values()].map((feed) => feed.lag())]);
  }

  function usage() {
    const batches = [...taken.keys()];
    return {
      events: batches.reduce((sum, { eventCount }) => sum + eventCount, 0),
      bytes: batches.reduce((sum, { byteCount }) => sum + byteCount, 0),
    };
  }
}

function sumOf(all: readonly { readonly removed: number; readonly foreign: number }[]) {
  return {
    removed: all.reduce((sum, { removed }) => sum + removed, 0),
    foreign: all.reduce((sum, { foreign }) => sum + foreign, 0),
  };
}
