/**
 * Commits offsets of all partitions in one request, one under way at a time; what is asked for meanwhile goes with the
 * next. Only under the generation that the member has: what a member sends that the group has replaced is refused.
 */
import type { Clock } from '../runtime/clock.ts';
import { pause } from './backoff.ts';
import { apiErrorsOf } from './errors.ts';
import type { Identity } from './membership.ts';
import type { Requests } from './requests.ts';
import { noteOf } from './start-offsets.ts';
import type { Trouble } from './trouble.ts';

export type OffsetCommits = {
  /** Resolves when the group knows the offset, or a later one, or the tenure is over. Never rejects. */
  commit(tenure: { partition: number; topicId: string; over: AbortSignal }, offset: number): Promise<void>;
  /** Resolves when all that was asked for is known or its tenure over. */
  settled(): Promise<void>;
};

export type CommitDeps = {
  readonly clock: Clock;
  readonly random: () => number;
  readonly requests: Requests;
  readonly trouble: Trouble;
  readonly identity: () => Identity | null;
  /** The group does not take the member's word any more. */
  readonly onFenced: (identity: Identity) => void;
  readonly closing: AbortSignal;
};

/** That the group has replaced the member, or knows nothing of it. */
export const FENCED = new Set(['ILLEGAL_GENERATION', 'UNKNOWN_MEMBER_ID', 'FENCED_INSTANCE_ID']);
/** Those after which another broker coordinates the group. */
const MOVED = new Set(['NOT_COORDINATOR', 'COORDINATOR_NOT_AVAILABLE']);

type Wanted = {
  offset: number;
  readonly topicId: string;
  readonly over: AbortSignal;
  done: PromiseWithResolvers<void>;
};

export function createOffsetCommits(
  deps: CommitDeps,
  { topic, group, instanceId }: { topic: string; group: string; instanceId: string | null },
): OffsetCommits {
  const { requests, trouble, identity, closing } = deps;
  const wanted = new Map<number, Wanted>();
  let running: Promise<void> | null = null;

  return {
    commit({ partition, topicId, over }, offset) {
      if (over.aborted) return Promise.resolve();
      const earlier = wanted.get(partition);
      if (earlier !== undefined && earlier.over === over) {
        earlier.offset = offset;
        return earlier.done.promise;
      }
      earlier?.done.resolve();
      const next: Wanted = { offset, topicId, over, done: Promise.withResolvers() };
      wanted.set(partition, next);
      const end = () => drop(partition, next);
      over.addEventListener('abort', end, { once: true });
      running ??= run().finally(() => (running = null));
      return next.done.promise.finally(() => over.removeEventListener('abort', end));
    },
    settled: () => running ?? Promise.resolve(),
  };

  function drop(partition: number, dropped: Wanted) {
    if (wanted.get(partition) === dropped) wanted.delete(partition);
    dropped.done.resolve();
  }

  /** Never rejects. */
  async function run(): Promise<void> {
    for (let failures = 0; wanted.size > 0 && !closing.aborted;) {
      const who = identity();
      const isDone = who !== null && (await send(who, failures + 1));
      failures = isDone ? 0 : failures + 1;
      if (!isDone) await pause(deps, failures, closing);
    }
    for (const { done } of wanted.values()) done.resolve();
    wanted.clear();
  }

  async function send(who: Identity, attempt: number): Promise<boolean> {
    const sent = [...wanted];
    const offsets = new Map(sent.map(([partition, { offset }]) => [partition, offset]));
    // It may be asked for a later offset from now on, whose caller waits for the next request.
    for (const [partition] of sent) wanted.delete(partition);
    const partitions = sent.map(([partitionIndex, { offset, topicId }]) => ({
      partitionIndex,
      committedOffset: BigInt(offset),
      committedLeaderEpoch: -1,
      committedMetadata: noteOf(topicId),
    }));
    const refused = new Map<number, string>();
    try {
      const { generation, memberId } = who;
      const topics = [{ name: topic, partitions }];
      const answer = await requests.ask({ group }, 'OffsetCommit', [group, generation, memberId, instanceId, topics]);
      for (const { partitionIndex, errorCode } of answer.topics.flatMap((of) => of.partitions)) {
        if (errorCode === 0) continue;
        const error = new requests.driver.ProtocolError(errorCode);
        refused.set(partitionIndex, String(apiErrorsOf(error)[0]));
        trouble.failed(error, attempt);
      }
    } catch (error) {
      trouble.failed(error, attempt);
      requests.forgetCoordinator();
      for (const partition of offsets.keys()) refused.set(partition, 'no answer');
    }
    if ([...refused.values()].some((id) => MOVED.has(id))) requests.forgetCoordinator();
    if ([...refused.values()].some((id) => FENCED.has(id))) deps.onFenced(who);
    for (const [partition, commit] of sent) {
      if (!refused.has(partition) || commit.over.aborted) commit.done.resolve();
      else putBack(partition, commit);
    }
    if (refused.size === 0) trouble.well();
    return refused.size === 0;
  }

  function putBack(partition: number, commit: Wanted) {
    const later = wanted.get(partition);
    if (later === undefined) return void wanted.set(partition, commit);
    void later.done.promise.then(commit.done.resolve);
  }
}
