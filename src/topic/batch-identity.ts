import { createHash, hash } from 'node:crypto';
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
  /** Of its records that hold rows. */
  readonly fingerprints: readonly Buffer[];
};

/** Of a record's value as it stands in the log: the same for all that read it, and of no other value. */
export const fingerprintOf = (stored: Buffer): Buffer => hash('sha256', stored, 'buffer');

/** The last instant of a UUID v7. */
const LATEST = 2 ** 48 - 1;

/**
 * The id of a batch, the same for whoever cuts it, whenever. It follows from the bytes in the log, since after the
 * unclean election of a leader other records may stand at the same offsets; and from the time of the first frame, so
 * that its age can be told.
 */
export function batchIdentity(
  { topicId, partition }: PartitionName,
  { first, last, at, fingerprints }: BatchRange,
): BatchId {
  const sum = createHash('sha256').update(`${JSON.stringify([topicId, partition, first, last])}\n`);
  for (const fingerprint of fingerprints) sum.update(fingerprint);
  return timedUuidOf(Math.min(Math.max(at, 0), LATEST), sum.digest()) as BatchId;
}
