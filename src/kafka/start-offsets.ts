/** Where to begin to read partitions that were just taken over. */
import type { Tenure } from '../topic/topic-port.ts';
import { KafkaFailure } from './errors.ts';
import type { Requests } from './requests.ts';

export type Start = Pick<Tenure, 'topicId' | 'start' | 'isBoundary' | 'takenAt' | 'removed'>;

/** What the broker has of a partition, and what the group committed; `committed` is null where it never did. */
export type PartitionOffsets = {
  readonly first: number;
  readonly end: number;
  readonly committed: number | null;
  /** The text that was committed with it. */
  readonly note: string | null;
};

/** The text that Weir commits with an offset where a batch begins. Tools that set offsets commit another one, or none. */
export const noteOf = (topicId: string): string => `weir ${topicId}`;

const EARLIEST = -2n;
const LATEST = -1n;

/** Throws the driver's error, or `KafkaFailure` where an answer is incomplete: then it may be asked again. */
export async function findStart(
  requests: Requests,
  { topic, group }: { topic: string; group: string },
  partition: number,
): Promise<Start> {
  // The topic may be another one of that name since it was last looked at, and led by others.
  const { id } = await requests.layout(topic, { isFresh: true });
  const offsets = await readOffsets(requests, { topic, group }, [partition]);
  return startOf(id, offsets.get(partition)!);
}

/** The rule. */
export function startOf(topicId: string, { first, end, committed, note }: PartitionOffsets): Start {
  const at = (start: number, isBoundary: boolean, removed = 0): Start => ({
    topicId,
    start,
    isBoundary,
    takenAt: end,
    removed,
  });
  if (committed === null) return at(first, first === 0);
  // Committed for another topic of that name, or what was there is gone since an unclean election.
  const isOfAnotherTopic = note !== null && note.startsWith('weir ') && note !== noteOf(topicId);
  if (isOfAnotherTopic || committed > end) return at(first, false);
  if (committed < first) return at(first, false, first - committed);
  return at(committed, note === noteOf(topicId) || committed === 0);
}

/** Of these partitions. Throws the driver's error, or `KafkaFailure` where an answer is incomplete. */
export async function readOffsets(
  requests: Requests,
  { topic, group }: { topic: string; group: string },
  partitions: readonly number[],
): Promise<ReadonlyMap<number, PartitionOffsets>> {
  const committed = await readCommitted(requests, { topic, group }, partitions);
  const first = await listOffsets(requests, topic, partitions, EARLIEST);
  // Asked last: whoever held a partition before has sent nothing from behind its end of now.
  const end = await listOffsets(requests, topic, partitions, LATEST);
  return new Map(
    partitions.map((partition) => {
      const { offset, note } = committed.get(partition) ?? { offset: null, note: null };
      return [partition, { first: first.get(partition)!, end: end.get(partition)!, committed: offset, note }];
    }),
  );
}

/** As `Tenure.offsetAt`. Throws the driver's error, or `KafkaFailure` where an answer is incomplete. */
export async function findOffsetAt(
  requests: Requests,
  topic: string,
  partition: number,
  epochMs: number,
): Promise<number | null> {
  const offsetOf = async (at: bigint) => (await listOffsets(requests, topic, [partition], at)).get(partition)!;
  // In this order, what is appended or removed meanwhile makes the answer earlier, or null, and no less true.
  const end = await offsetOf(LATEST);
  const found = await offsetOf(BigInt(epochMs));
  const first = await offsetOf(EARLIEST);
  if (found < 0) return end;
  return found > first || first === 0 ? found : null;
}

async function readCommitted(
  requests: Requests,
  { topic, group }: { topic: string; group: string },
  partitions: readonly number[],
) {
  const asked = [
    { groupId: group, memberId: null, memberEpoch: -1, topics: [{ name: topic, partitionIndexes: [...partitions] }] },
  ];
  const answer = await requests.ask({ group }, 'OffsetFetch', [asked, true]);
  // Redpanda and older brokers know of one group only.
  const { topics: ofOldForm } = answer as unknown as { topics?: (typeof answer.groups)[0]['topics'] };
  const found = ofOldForm ?? answer.groups[0]?.topics ?? [];
  const parts = [...answer.groups, ...found.flatMap(({ partitions }) => partitions)];
  const failed = parts.find(({ errorCode }) => errorCode !== 0);
  if (failed !== undefined) throw new requests.driver.ProtocolError(failed.errorCode);
  return new Map(
    found.flatMap((of) =>
      of.partitions.map(({ partitionIndex, committedOffset, metadata }) => {
        const offset = committedOffset < 0n ? null : Number(committedOffset);
        return [partitionIndex, { offset, note: metadata ?? null }] as const;
      }),
    ),
  );
}

async function listOffsets(
  requests: Requests,
  topic: string,
  partitions: readonly number[],
  timestamp: bigint,
): Promise<Map<number, number>> {
  const layout = await requests.layout(topic);
  const byLeader = Map.groupBy(partitions, (partition) => layout.partitions[partition]?.leader ?? -1);
  const found = new Map<number, number>();
  for (const [leader, led] of byLeader) {
    if (leader === -1) throw new requests.driver.ProtocolError('LEADER_NOT_AVAILABLE');
    const asked = led.map((partitionIndex) => ({ partitionIndex, currentLeaderEpoch: -1, timestamp }));
    const answer = await requests.ask({ node: leader }, 'ListOffsets', [-1, 0, [{ name: topic, partitions: asked }]]);
    for (const { partitionIndex, errorCode, offset } of answer.topics.flatMap((of) => of.partitions)) {
      if (errorCode !== 0) throw new requests.driver.ProtocolError(errorCode);
      found.set(partitionIndex, Number(offset));
    }
  }
  if (partitions.some((partition) => !found.has(partition))) throw new KafkaFailure('Kafka left out a partition');
  return found;
}
