import { createHash } from 'node:crypto';
import { timedUuidOf } from '../event/uuid.ts';
import type { BatchId } from '../pipeline/batch.ts';
import type { Tenure } from './topic-port.ts';

/** A partition of one topic for good. */
export type PartitionName = Pick<Tenure, 'topicId' | 'partition'>;

/** Where in the partition a batch stands, and what it is made of. */
export type BatchRange = {
  /** Offsets of its first and last record. */
  readonly first: number;
  readonly last: number;
  /** Of its first frame. */
  readonly at: number;
  readonly chunks: readonly Buffer[];
};

/** The last instant of a UUID v7. */
const LATEST = 2 ** 48 - 1;

/**
 * The id of a batch, the same for whoever cuts it, whenever. It holds the bytes, since after the unclean election of a
 * leader other records may stand at the same offsets; and the time of the first frame, so that its age can be told.
 */
export function batchIdentity({ topicId, partition }: PartitionName, { first, last, at, chunks }: BatchRange): BatchId {
  const hash = createHash('sha256').update(`${JSON.stringify([topicId, partition, first, last])}\n`);
  for (const chunk of chunks) hash.update(chunk);
  return timedUuidOf(Math.min(Math.max(at, 0), LATEST), hash.digest()) as BatchId;
}
