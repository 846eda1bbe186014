/**
 * Being a member of the group, one request at a time: joining, saying that one lives, leaving. Who is told of a rebalance
 * joins again and goes on with its work meanwhile, since two members may have one partition for a moment.
 */
import type { Clock } from '../runtime/clock.ts';
import { shareOut, type GroupMember } from './assignment.ts';
import { apiErrorsOf, KafkaFailure } from './errors.ts';
import type { Requests } from './requests.ts';

/** Under which the group knows this process. Whatever is sent under an old one is refused. */
export type Identity = { readonly memberId: string; readonly generation: number };

export type Assignment = {
  readonly partitions: readonly number[];
  /** Of how many, where this member shares them out; null where another one does. */
  readonly of: number | null;
  /** Nobody else can have held any of the member's earlier partitions since its last assignment. */
  readonly isContinuous: boolean;
  /** When the request was sent by whose answer the group knows that the member lives. Monotonic. */
  readonly aliveAt: number;
};

export type Membership = {
  /** Joins, or joins again, and resolves with what it may read. `owned`: what it has. Throws the driver's error. */
  join(owned: readonly number[]): Promise<Assignment>;
  /** Throws the driver's error: `REBALANCE_IN_PROGRESS` where the member should join again. */
  beat(): Promise<void>;
  /**
   * Tells the group at once, except of a static member: that may return before its session ends. `requests`: over whose
   * connections, since a request to join that is not answered yet keeps others on its connection waiting.
   */
  leave(requests: Requests): Promise<void>;
  /** null while it is no member. */
  identity(): Identity | null;
  /** The group no longer knows it, or may not. */
  forget(): void;
  /** What it had may be another's meanwhile. */
  interrupt(): void;
};

export type MembershipOptions = {
  readonly topic: string;
  readonly group: string;
  readonly instanceId: string | null;
  readonly sessionMs: number;
  readonly rebalanceMs: number;
};

/** Another name than other programs have: they cannot join this group by mistake. */
const PROTOCOL = 'weir-1';
const PROTOCOL_TYPE = 'consumer';
/** The version of a subscription that has what the member owns, and since when. */
const SUBSCRIPTION = 2;

export function createMembership(
  { clock, requests }: { clock: Clock; requests: Requests },
  options: MembershipOptions,
): Membership {
  const { topic, group, instanceId } = options;
  const { driver } = requests;
  const coordinator = { group };
  let identity: Identity | null = null;
  /** The broker gives it before the first assignment. */
  let memberId = '';
  let isInterrupted = true;

  return {
    join,
    async beat() {
      if (identity === null) throw new KafkaFailure('not a member of the group');
      await requests.ask(coordinator, 'Heartbeat', [group, identity.generation, identity.memberId, instanceId]);
    },
    async leave(requests) {
      if (memberId === '' || instanceId !== null) return;
      await requests.ask(coordinator, 'LeaveGroup', [group, [{ memberId }]]);
      forget();
    },
    identity: () => identity,
    forget,
    interrupt: () => void (isInterrupted = true),
  };

  function forget() {
    identity = null;
    memberId = '';
    isInterrupted = true;
  }

  async function join(owned: readonly number[]): Promise<Assignment> {
    const joined = await enter(owned);
    // Kept here: whoever forgets the member meanwhile must not change under which id it goes on.
    const { memberId: joinedAs, generationId: generation } = joined;
    memberId = joinedAs;
    const isLeader = joined.leader === joinedAs;
    const shares = isLeader && !joined.skipAssignment ? await shareAmong(joined.members) : null;
    const aliveAt = clock.elapsed();
    const synced = await requests.ask(coordinator, 'SyncGroup', [
      group,
      generation,
      joinedAs,
      instanceId,
      PROTOCOL_TYPE,
      PROTOCOL,
      shares?.assignments ?? [],
    ]);
    const assigned = driver.decodeConsumerProtocolAssignment(synced.assignment).assignedPartitions;
    const partitions = assigned.filter((share) => share.topic === topic).flatMap((share) => share.partitions);
    // In a generation that it missed, another member may have had its partitions.
    const isNext = identity !== null && joinedAs === identity.memberId && generation - identity.generation <= 1;
    const isContinuous = isNext && !isInterrupted;
    memberId = joinedAs;
    identity = { memberId, generation };
    isInterrupted = false;
    const of = isLeader ? (shares?.count ?? (await countPartitions())) : null;
    return { partitions, of, isContinuous, aliveAt };
  }

  async function enter(owned: readonly number[]) {
    try {
      return await askToJoin(owned);
    } catch (error) {
      const given = (error as { response?: { memberId?: string } }).response?.memberId;
      if (!apiErrorsOf(error).includes('MEMBER_ID_REQUIRED') || !given) throw error;
      memberId = given;
      return askToJoin(owned);
    }
  }

  function askToJoin(owned: readonly number[]) {
    const metadata = driver.encodeConsumerProtocolSubscription({
      version: SUBSCRIPTION,
      topics: [topic],
      userData: Buffer.alloc(0),
      ownedPartitions: [{ topic, partitions: [...owned] }],
      generationId: identity?.generation ?? -1,
    });
    const protocols = [{ name: PROTOCOL, metadata }];
    const { sessionMs, rebalanceMs } = options;
    return requests.ask(coordinator, 'JoinGroup', [
      group,
      sessionMs,
      rebalanceMs,
      memberId,
      instanceId,
      PROTOCOL_TYPE,
      protocols,
      null,
    ]);
  }

  async function shareAmong(joined: readonly { memberId: string; metadata: Buffer }[]) {
    const members = joined.map(({ memberId: id, metadata }): GroupMember => {
      const { ownedPartitions, generationId } = driver.decodeConsumerProtocolSubscription(metadata);
      const owned = ownedPartitions.filter((owned) => owned.topic === topic).flatMap(({ partitions }) => partitions);
      return { id, owned, generation: generationId ?? -1 };
    });
    const count = await countPartitions();
    const assignments = [...shareOut(members, count)].map(([id, partitions]) => ({
      memberId: id,
      assignment: driver.encodeConsumerProtocolAssignment({
        version: 0,
        assignedPartitions: [{ topic, partitions }],
        userData: null,
      }),
    }));
    return { assignments, count };
  }

  async function countPartitions(): Promise<number> {
    return (await requests.layout(topic, { isFresh: true })).partitions.length;
  }
}
