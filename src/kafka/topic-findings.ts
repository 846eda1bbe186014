/** What is wrong with a topic for Weir, and what mends it: as data, for `weir doctor`. */
import type { KafkaSettings } from '../config/kafka-settings.ts';
import { largestRecordBytes } from './topic-facts.ts';
import type { TopicDescription, TopicSettings } from './topic.ts';

export type TopicFinding = {
  readonly subject: string;
  readonly outcome: 'ok' | 'warn' | 'fail';
  readonly detail: string;
  /** null when none is needed. */
  readonly remedy: string | null;
};

/** What an event, encoded, takes at most, in bytes. */
export type TopicNeeds = { readonly largestEventBytes: number };

const DAY_MS = 86_400_000;
/** A head names the projects of a frame; one event has one. */
const HEAD_BYTES = 1_024;

const ok = (subject: string, detail: string): TopicFinding => ({ subject, outcome: 'ok', detail, remedy: null });
const warn = (subject: string, detail: string, remedy: string): TopicFinding => ({
  subject,
  outcome: 'warn',
  detail,
  remedy,
});
const fail = (subject: string, detail: string, remedy: string): TopicFinding => ({
  subject,
  outcome: 'fail',
  detail,
  remedy,
});

/** `topic`: null where it does not exist. */
export function topicFindings(
  { topic: name }: Pick<KafkaSettings, 'topic'>,
  topic: TopicDescription | null,
  needs: TopicNeeds,
): TopicFinding[] {
  if (topic === null) return [fail('topic', `${name} does not exist`, 'Make it: weir channel create')];
  const { partitions, settings, replicationFactor } = topic;
  const leaderless = partitions.filter(({ leader }) => leader === -1).length;
  const behind = partitions.filter(({ replicas, inSync }) => inSync.length < replicas.length).length;
  return [
    ok('topic', `${name}, ${partitions.length} ${partitions.length === 1 ? 'partition' : 'partitions'}`),
    ...(leaderless > 0
      ? [
          fail(
            'leaders',
            `${leaderless} of the partitions have none`,
            'Bring the brokers back that have their replicas.',
          ),
        ]
      : []),
    ...(behind > 0
      ? [warn('replicas', `${behind} of the partitions have fewer in sync than they should`, 'Check the brokers.')]
      : []),
    copiesFinding(name, replicationFactor, settings),
    ...(settings === null
      ? [
          warn(
            'settings',
            'the user may not see them',
            'Grant DescribeConfigs on the topic; nothing below was checked.',
          ),
        ]
      : settingsFindings(name, settings, needs)),
  ];
}

function copiesFinding(name: string, replicationFactor: number, settings: TopicSettings | null): TopicFinding {
  const subject = 'copies of a record';
  const inSync = settings?.minInSyncReplicas ?? null;
  const detail = `replication factor ${replicationFactor}${inSync === null ? '' : `, min.insync.replicas ${inSync}`}`;
  if (replicationFactor < 2)
    return warn(
      subject,
      detail,
      'Whoever loses that broker’s disk loses what is waiting there: three replicas, in production.',
    );
  if (inSync === null) return ok(subject, detail);
  if (inSync < 2)
    return warn(
      subject,
      `${detail}: "replicated" may mean one broker`,
      `Set it to 2: ${alter(name, 'min.insync.replicas=2')}`,
    );
  if (inSync >= replicationFactor)
    return warn(
      subject,
      `${detail}: nothing can be written while one broker is away`,
      'One less than the replication factor lets one broker be away.',
    );
  return ok(subject, detail);
}

function settingsFindings(name: string, settings: TopicSettings, needs: TopicNeeds): TopicFinding[] {
  const { maxMessageBytes, retentionMs, retentionBytes, isUncleanElectionAllowed, cleanupPolicy, isBrokersTime } =
    settings;
  const room = largestRecordBytes(maxMessageBytes);
  const needed = needs.largestEventBytes + HEAD_BYTES;
  const days = retentionMs === null ? null : retentionMs / DAY_MS;
  return [
    room < needed
      ? fail(
          'max.message.bytes',
          `${maxMessageBytes}: the largest events do not fit`,
          `Raise it: ${alter(name, 'max.message.bytes=1048588')}`,
        )
      : ok('max.message.bytes', String(maxMessageBytes)),
    cleanupPolicy === 'delete'
      ? ok('cleanup.policy', cleanupPolicy)
      : fail(
          'cleanup.policy',
          `${cleanupPolicy}: compaction removes records without a key, which all of Weir’s are`,
          `Correct it: ${alter(name, 'cleanup.policy=delete')}`,
        ),
    days !== null && days < 1
      ? warn(
          'retention.ms',
          `${(days * 24).toFixed(1)} h: what is not stored by then is removed`,
          `Raise it to the longest outage of ClickHouse that is to cost nothing: ${alter(name, `retention.ms=${7 * DAY_MS}`)}`,
        )
      : ok('retention.ms', days === null ? 'for ever' : `${Number(days.toFixed(1))} d`),
    ...(retentionBytes === null
      ? []
      : [
          warn(
            'retention.bytes',
            `${retentionBytes} a partition: what is not stored when that is reached is removed`,
            `Let only time decide: ${alter(name, 'retention.bytes=-1')}`,
          ),
        ]),
    isUncleanElectionAllowed
      ? fail(
          'unclean.leader.election.enable',
          'true: a broker that lacks confirmed records may lead',
          `Correct it: ${alter(name, 'unclean.leader.election.enable=false')}`,
        )
      : ok('unclean.leader.election.enable', 'false'),
    isBrokersTime
      ? ok('message.timestamp.type', 'LogAppendTime')
      : warn(
          'message.timestamp.type',
          'CreateTime: a node whose clock is wrong has its records removed too early, or refused',
          `Let the broker’s clock count: ${alter(name, 'message.timestamp.type=LogAppendTime')}`,
        ),
  ];
}

const alter = (topic: string, setting: string): string =>
  `kafka-configs.sh --bootstrap-server … --alter --topic ${topic} --add-config ${setting}`;
