/** The topic for a member of the group that reads it. */
import type { Clock } from '../runtime/clock.ts';
import type { Log } from '../log/log.ts';
import type { TopicHolder, TopicReader } from '../topic/topic-port.ts';
import { pause } from './backoff.ts';
import type { KafkaSettings } from '../config/kafka-settings.ts';
import { hasApiError } from './errors.ts';
import { createFetcher } from './fetcher.ts';
import { createMembership, type Assignment, type Identity } from './membership.ts';
import { createOffsetCommits, FENCED } from './offset-commits.ts';
import { openRequests } from './requests.ts';
import { createTenures } from './tenures.ts';
import { createTroubles } from './trouble.ts';

export type ReaderDeps = { readonly clock: Clock; readonly log: Log; readonly random: () => number };

export type ReaderTimes = {
  readonly connectMs: number;
  readonly requestMs: number;
  /** A member that is not heard from for this long loses its partitions. Brokers allow 6 s to 30 min by default. */
  readonly sessionMs: number;
  readonly heartbeatMs: number;
  /** How long the group waits for its members to join again when something changes. */
  readonly rebalanceMs: number;
  /** How often the member that shares out the partitions looks whether there are more. */
  readonly layoutMs: number;
};

const TIMES: ReaderTimes = {
  connectMs: 5_000,
  requestMs: 10_000,
  sessionMs: 10_000,
  heartbeatMs: 1_000,
  rebalanceMs: 10_000,
  layoutMs: 30_000,
};

/** What is told to the group may take this long at the end. */
const GOODBYE_MS = 2_000;

/** Connects when `run` is called. Throws `KafkaFailure` where a file of the settings cannot be read. */
export async function openTopicReader(
  deps: ReaderDeps,
  settings: KafkaSettings,
  times: Partial<ReaderTimes> = {},
): Promise<TopicReader> {
  const { clock, log } = deps;
  const { topic, group, instanceId } = settings;
  const { connectMs, requestMs, sessionMs, heartbeatMs, rebalanceMs, layoutMs } = { ...TIMES, ...times };
  // A broker answers the requests of a connection one after another, and some wait: so there are three.
  const [membersRequests, requests, fetches] = await Promise.all([
    openRequests(settings, 'member', { connectMs, requestMs: requestMs + rebalanceMs }),
    openRequests(settings, 'offsets', { connectMs, requestMs }),
    openRequests(settings, 'reader', { connectMs, requestMs }),
  ]);
  const troubles = createTroubles(log, 'reader');
  const [membersTrouble, trouble, fetchTrouble] = [troubles.part(), troubles.part(), troubles.part()];
  const member = createMembership(
    { clock, requests: membersRequests },
    { topic, group, instanceId, sessionMs, rebalanceMs },
  );
  const closing = new AbortController();
  const base = { clock, random: deps.random, closing: closing.signal };
  const commits = createOffsetCommits(
    { ...base, trouble, requests, identity: committing, onFenced },
    { topic, group, instanceId },
  );
  const held = () => tenures.held();
  const fetcher = createFetcher({ ...base, trouble: fetchTrouble, requests: fetches, held }, { topic });
  const tenures = createTenures({ ...deps, requests, trouble, commits, fetcher }, { topic, group });
  let of: number | null = null;
  /** When the last request was sent by whose answer the group knows that this member lives. */
  let aliveAt = 0;
  let isJoining = false;
  /** The one that it joined with: what it had then is not committed under a later one before it is known to have it still. */
  let identityBefore: Identity | null = null;
  let wakeUp = new AbortController();
  let missedBeats = 0;

  return {
    run,
    isUp: troubles.isUp,
    trouble: troubles.reason,
    isMember: () => member.identity() !== null,
    held: () => (of === null ? null : { partitions: held(), of }),
  };

  async function run(holder: TopicHolder, signal: AbortSignal): Promise<void> {
    let failures = 0;
    while (!signal.aborted) {
      try {
        const assignment = await joinAgain(holder, signal);
        failures = 0;
        membersTrouble.well();
        await stay(assignment, signal);
      } catch (error) {
        if (signal.aborted) break;
        failures += 1;
        lose(error, failures);
        await pause(deps, failures, signal);
      }
    }
    await leave();
  }

  async function joinAgain(holder: TopicHolder, signal: AbortSignal): Promise<Assignment> {
    identityBefore = member.identity();
    isJoining = true;
    try {
      const assignment = await joinInTime(signal);
      apply(assignment, holder);
      return assignment;
    } finally {
      isJoining = false;
    }
  }

  async function joinInTime(signal: AbortSignal): Promise<Assignment> {
    const assignment = await within(member.join(held()), rebalanceMs + sessionMs, signal);
    aliveAt = assignment.aliveAt;
    of = assignment.of ?? (await countPartitions()) ?? of;
    return assignment;
  }

  /** After a failure: what is certainly or probably lost is given up. */
  function lose(error: unknown, attempt: number) {
    if (hasApiError(error, REJOIN)) return;
    membersTrouble.failed(error, attempt);
    if (hasApiError(error, FENCED)) {
      member.forget();
      return tenures.endAll('the group has replaced this member');
    }
    if (error instanceof Late) membersRequests.reset();
    membersRequests.forgetCoordinator();
    if (clock.elapsed() - aliveAt > sessionMs) interrupt();
  }

  function interrupt() {
    member.interrupt();
    tenures.endAll('the group has not answered for longer than a session');
  }

  /** Under which offsets are committed. */
  function committing(): Identity | null {
    return isJoining ? identityBefore : member.identity();
  }

  function onFenced(fenced: Identity) {
    // The group ends a generation before this member knows the next one; whether it still is one, joining will tell.
    if (isJoining || member.identity() !== fenced) return;
    member.forget();
    tenures.endAll('the group has replaced this member');
    wakeUp.abort();
  }

  function apply({ partitions, isContinuous }: Assignment, holder: TopicHolder) {
    if (!isContinuous) tenures.endAll('the group may have had another holder');
    trouble.clear();
    fetchTrouble.clear();
    tenures.assign(partitions, holder);
  }

  /** Tells the group that this member lives, until it should join again. Throws when the group says that it is not. */
  async function stay({ of: shared }: Assignment, signal: AbortSignal): Promise<void> {
    let lookedAt = clock.elapsed();
    wakeUp = new AbortController();
    const woken = AbortSignal.any([signal, wakeUp.signal]);
    for (;;) {
      await clock.sleep(heartbeatMs, woken);
      if (woken.aborted) return;
      if (clock.elapsed() - aliveAt > sessionMs) return interrupt();
      if (!(await beat()) || shared === null || clock.elapsed() - lookedAt < layoutMs) continue;
      lookedAt = clock.elapsed();
      const count = await countPartitions();
      if (count !== null && count !== shared) return;
    }
  }

  /** Whether the group answered. Throws where it says that this member should join again, or is none. */
  async function beat(): Promise<boolean> {
    const sentAt = clock.elapsed();
    try {
      await within(member.beat(), Math.max(heartbeatMs, aliveAt + sessionMs - sentAt));
      aliveAt = sentAt;
      missedBeats = 0;
      membersTrouble.well();
      return true;
    } catch (error) {
      if (hasApiError(error, REJOIN) || hasApiError(error, FENCED)) throw error;
      missedBeats += 1;
      membersTrouble.failed(error, missedBeats);
      if (error instanceof Late) membersRequests.reset();
      membersRequests.forgetCoordinator();
      return false;
    }
  }

  /** null where that cannot be found out now. */
  async function countPartitions(): Promise<number | null> {
    try {
      return (await requests.layout(topic, { isFresh: true })).partitions.length;
    } catch (error) {
      trouble.failed(error, 1);
      return null;
    }
  }

  async function leave(): Promise<void> {
    await within(commits.settled(), GOODBYE_MS).catch(() => {});
    tenures.endAll('this process stops');
    await within(member.leave(requests), GOODBYE_MS).catch(() => {});
    closing.abort();
    await Promise.allSettled([membersRequests.close(), requests.close(), fetches.close()]);
  }

  /** Throws when it takes longer, or when `signal` aborts first. */
  async function within<T>(work: Promise<T>, ms: number, signal?: AbortSignal): Promise<T> {
    const timer = new AbortController();
    const either = signal === undefined ? timer.signal : AbortSignal.any([timer.signal, signal]);
    const late = clock.sleep(ms, either).then(() => Promise.reject(new Late('Kafka does not answer')));
    try {
      return await Promise.race([work, late]);
    } finally {
      late.catch(() => {});
      work.catch(() => {});
      timer.abort();
    }
  }
}

class Late extends Error {
  override readonly name = 'Late';
}

/** Something has changed in the group, and all members join again. */
const REJOIN = new Set(['REBALANCE_IN_PROGRESS']);
