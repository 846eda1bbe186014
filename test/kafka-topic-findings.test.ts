import { describe, expect, test } from 'vitest';
import { topicFindings } from '../src/kafka/topic-findings.ts';
import type { TopicDescription, TopicSettings } from '../src/kafka/topic.ts';

const GOOD: TopicSettings = {
  minInSyncReplicas: 2,
  maxMessageBytes: 1_048_588,
  retentionMs: 7 * 86_400_000,
  retentionBytes: null,
  isUncleanElectionAllowed: false,
  cleanupPolicy: 'delete',
  isBrokersTime: true,
};
const PARTITION = { leader: 1, replicas: [1, 2, 3], inSync: [1, 2, 3] };

function findingsOf(settings: Partial<TopicSettings> = {}, other: Partial<TopicDescription> = {}) {
  const topic = {
    id: 'id',
    partitions: [PARTITION],
    replicationFactor: 3,
    settings: { ...GOOD, ...settings },
    ...other,
  };
  return topicFindings({ topic: 'weir.events' }, topic, { largestEventBytes: 256 * 1024 });
}
const problemsOf = (...given: Parameters<typeof findingsOf>) =>
  findingsOf(...given).filter(({ outcome }) => outcome !== 'ok');

describe('a topic', () => {
  test('that is as it should be has no problem', () => {
    expect(problemsOf()).toEqual([]);
  });

  test('that does not exist is to be made', () => {
    expect(topicFindings({ topic: 'gone' }, null, { largestEventBytes: 1 })).toMatchObject([
      { outcome: 'fail', detail: 'gone does not exist', remedy: 'Make it: weir channel create' },
    ]);
  });

  test.each<[string, 'warn' | 'fail', Partial<TopicSettings>, Partial<TopicDescription>]>([
    ['copies of a record', 'warn', {}, { replicationFactor: 1 }],
    ['copies of a record', 'warn', { minInSyncReplicas: 1 }, {}],
    ['copies of a record', 'warn', { minInSyncReplicas: 3 }, {}],
    ['max.message.bytes', 'fail', { maxMessageBytes: 200_000 }, {}],
    ['cleanup.policy', 'fail', { cleanupPolicy: 'compact,delete' }, {}],
    ['retention.ms', 'warn', { retentionMs: 3_600_000 }, {}],
    ['retention.bytes', 'warn', { retentionBytes: 1_000_000 }, {}],
    ['unclean.leader.election.enable', 'fail', { isUncleanElectionAllowed: true }, {}],
    ['message.timestamp.type', 'warn', { isBrokersTime: false }, {}],
    ['leaders', 'fail', {}, { partitions: [PARTITION, { ...PARTITION, leader: -1 }] }],
    ['replicas', 'warn', {}, { partitions: [{ ...PARTITION, inSync: [1] }] }],
    ['settings', 'warn', {}, { settings: null }],
  ])('%s: %s for %o %o, with a remedy', (subject, outcome, settings, other) => {
    expect(problemsOf(settings, other)).toMatchObject([{ subject, outcome, remedy: expect.any(String) as string }]);
  });
});
