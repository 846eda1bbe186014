/** The topic for those who operate it: what it is like, making it, and how far the group has read. */
import { systemClock } from '../runtime/clock.ts';
import { pause } from './backoff.ts';
import type { KafkaSettings } from '../config/kafka-settings.ts';
import { apiErrorsOf, explainKafka, hasApiError, isUnknownTopic, KafkaFailure } from './errors.ts';
import { openRequests, type PartitionLayout, type Requests } from './requests.ts';
import { noteOf, readOffsets } from './start-offsets.ts';
import { maxMessageBytesIn, readTopicSettings } from './topic-facts.ts';

export type TopicDescription = {
  readonly id: string;
  readonly partitions: readonly PartitionLayout[];
  /** Of the partition that has the fewest replicas. */
  readonly replicationFactor: number;
  /** null where the user may not see settings (it needs DescribeConfigs). */
  readonly settings: TopicSettings | null;
};

export type TopicSettings = {
  readonly minInSyncReplicas: number;
  readonly maxMessageBytes: number;
  /** null: for ever. */
  readonly retentionMs: number | null;
  /** Of each partition; null: without a limit. */
  readonly retentionBytes: number | null;
  readonly isUncleanElectionAllowed: boolean;
  readonly cleanupPolicy: string;
  /** Whether the broker's clock says how old a record is, and not the sender's. */
  readonly isBrokersTime: boolean;
};

export type PartitionStatus = PartitionLayout & {
  readonly partition: number;
  readonly first: number;
  readonly end: number;
  /** null: the group has committed nothing. */
  readonly committed: number | null;
  /** Whether Weir committed it, and no tool. */
  readonly isWeirs: boolean;
  /** Records that are not committed and still there. */
  readonly lag: number;
  /** The id of the member that has it; null: nobody. */
  readonly member: string | null;
};

export type GroupMemberStatus = {
  readonly id: string;
  readonly instanceId: string | null;
  readonly host: string;
  readonly partitions: readonly number[];
};

export type ChannelStatus = {
  readonly partitions: readonly PartitionStatus[];
  readonly members: readonly GroupMemberStatus[];
  /** The protocol's name of it: Stable, PreparingRebalance, CompletingRebalance, Empty, Dead. */
  readonly groupState: string;
};

const TIMES = { connectMs: 5_000, requestMs: 10_000 };
const CREATE_WITHIN_MS = 30_000;

/** null: the topic does not exist. Throws `KafkaFailure`, whose message is for operators. */
export function describeTopic(settings: KafkaSettings): Promise<TopicDescription | null> {
  return withRequests(settings, async (requests) => {
    try {
      const { id, partitions } = await requests.layout(settings.topic, { isFresh: true });
      const replicationFactor = Math.min(...partitions.map(({ replicas }) => replicas.length));
      return {
        id,
        partitions,
        replicationFactor,
        settings: settingsIn(await readTopicSettings(requests, settings.topic)),
      };
    } catch (error) {
      if (isUnknownTopic(error)) return null;
      throw error;
    }
  });
}

function settingsIn(read: ReadonlyMap<string, string>): TopicSettings | null {
  if (read.size === 0) return null;
  const limit = (name: string) => (Number(read.get(name) ?? -1) < 0 ? null : Number(read.get(name)));
  return {
    minInSyncReplicas: Number(read.get('min.insync.replicas') ?? 1),
    maxMessageBytes: maxMessageBytesIn(read),
    retentionMs: limit('retention.ms'),
    retentionBytes: limit('retention.bytes'),
    isUncleanElectionAllowed: read.get('unclean.leader.election.enable') === 'true',
    cleanupPolicy: read.get('cleanup.policy') ?? 'delete',
    isBrokersTime: read.get('message.timestamp.type') === 'LogAppendTime',
  };
}

export type NewTopic = {
  readonly partitions: number;
  readonly replicationFactor: number;
  /** null: for ever. */
  readonly retentionMs: number | null;
};

/** The settings of a new topic, by their names in Kafka. */
export const settingsOfNew = ({ replicationFactor, retentionMs }: NewTopic): Readonly<Record<string, string>> => ({
  // One replica may be away, where there are three.
  'min.insync.replicas': String(Math.max(1, replicationFactor - 1)),
  'retention.ms': String(retentionMs ?? -1),
  'retention.bytes': '-1',
  'cleanup.policy': 'delete',
  'unclean.leader.election.enable': 'false',
  // A sender whose clock is wrong would have its records removed too early, or refused.
  'message.timestamp.type': 'LogAppendTime',
});

/** `exists`: it was there already, and is as it was. Throws `KafkaFailure`, whose message is for operators. */
export function createTopic(settings: KafkaSettings, topic: NewTopic): Promise<'created' | 'exists'> {
  return withRequests(settings, async (requests) => {
    const { partitions: numPartitions, replicationFactor } = topic;
    const configs = Object.entries(settingsOfNew(topic)).map(([name, value]) => ({ name, value }));
    const asked = [{ name: settings.topic, numPartitions, replicationFactor, assignments: [], configs }];
    const answer = await requests.ask('controller', 'CreateTopics', [asked, CREATE_WITHIN_MS, false]);
    const code = answer.topics[0]?.errorCode ?? -1;
    if (code === 0) return 'created';
    const error = new requests.driver.ProtocolError(code);
    if (apiErrorsOf(error).includes('TOPIC_ALREADY_EXISTS')) return 'exists';
    throw error;
  });
}

/** Throws `KafkaFailure`, whose message is for operators. */
export function readChannelStatus(settings: KafkaSettings): Promise<ChannelStatus> {
  return withRequests(settings, async (requests) => {
    const { topic, group } = settings;
    const { id, partitions } = await requests.layout(topic, { isFresh: true });
    const offsets = await readOffsets(requests, { topic, group }, [...partitions.keys()]);
    const { members, groupState } = await readMembers(requests, settings);
    const status = partitions.map((layout, partition): PartitionStatus => {
      const { first, end, committed, note } = offsets.get(partition)!;
      const from = Math.max(first, committed ?? first);
      const member = members.find((member) => member.partitions.includes(partition))?.id ?? null;
      const lag = Math.max(0, end - from);
      return { partition, ...layout, first, end, committed, isWeirs: note === noteOf(id), lag, member };
    });
    return { partitions: status, members, groupState };
  });
}

async function readMembers(requests: Requests, { topic, group }: KafkaSettings) {
  const answer = await requests.ask({ group }, 'DescribeGroups', [[group], false]);
  const described = answer.groups[0];
  const members = (described?.members ?? []).map(
    ({ memberId, groupInstanceId, clientHost, memberAssignment }): GroupMemberStatus => {
      const { assignedPartitions } = requests.driver.decodeConsumerProtocolAssignment(memberAssignment);
      const assigned = assignedPartitions.filter((share) => share.topic === topic);
      const partitions = assigned.flatMap((share) => share.partitions);
      return { id: memberId, instanceId: groupInstanceId ?? null, host: clientHost.replace(/^\//, ''), partitions };
    },
  );
  return { members, groupState: described?.groupState ?? 'Dead' };
}

/** A cluster that nobody has used yet, or that is starting, chooses its coordinators only when it is asked, and leaders of a new topic a moment later. */
const PASSING = new Set([
  'COORDINATOR_NOT_AVAILABLE',
  'COORDINATOR_LOAD_IN_PROGRESS',
  'NOT_COORDINATOR',
  'LEADER_NOT_AVAILABLE',
  'NOT_LEADER_OR_FOLLOWER',
  'NOT_CONTROLLER',
]);
const TRIES = 10;

async function withRequests<T>(settings: KafkaSettings, work: (requests: Requests) => Promise<T>): Promise<T> {
  const requests = await openRequests(settings, 'operator', TIMES);
  try {
    for (let attempt = 1; ; attempt++) {
      try {
        return await work(requests);
      } catch (error) {
        if (attempt === TRIES || !hasApiError(error, PASSING)) throw explained(error);
        requests.forgetCoordinator();
        await pause({ clock: systemClock, random: () => 0 }, attempt, NEVER);
      }
    }
  } finally {
    await requests.close();
  }
}

const NEVER = new AbortController().signal;

const explained = (error: unknown): KafkaFailure =>
  error instanceof KafkaFailure ? error : new KafkaFailure(explainKafka(error), { cause: error });
