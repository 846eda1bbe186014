import { promisify } from 'node:util';
import { zstdDecompress } from 'node:zlib';
import type { BatchId } from '../../pipeline/batch.ts';
import type { DeadLetter } from '../../pipeline/dead-letter-port.ts';

const decompress = promisify(zstdDecompress);

/** The smallest size that zlib accepts. */
const MIN_CHUNK = 64;

/** A row of `failed_events` as read for a replay. */
export type ClaimedRow = {
  readonly id: string;
  readonly payload: Buffer;
  readonly raw_bytes: number;
  readonly event_count: number;
  readonly project_ids: string[];
  readonly ambiguous: boolean;
  readonly attempt_count: number;
  readonly exposed_ms: string;
  readonly error_fingerprint: string;
  readonly created_at_ms: string;
  readonly since_last_attempt_ms: string | null;
};

/** The letter without its rows. */
export function deadLetterOf(row: ClaimedRow, leaseToken: string): DeadLetter {
  return {
    id: row.id as BatchId,
    leaseToken,
    chunks: [],
    eventCount: row.event_count,
    projectIds: row.project_ids,
    ambiguous: row.ambiguous,
    attemptCount: row.attempt_count,
    exposedMs: Number(row.exposed_ms),
    createdAt: Number(row.created_at_ms),
    fingerprint: row.error_fingerprint,
    sinceLastAttemptMs: row.since_last_attempt_ms === null ? null : Number(row.since_last_attempt_ms),
  };
}

/** The letter with its rows; null when they are unreadable. */
export async function decodeDeadLetter(row: ClaimedRow, leaseToken: string): Promise<DeadLetter | null> {
  try {
    // In one piece: a spare byte shows that the end was reached.
    const rows = await decompress(row.payload, { chunkSize: Math.max(row.raw_bytes, MIN_CHUNK) + 1 });
    return { ...deadLetterOf(row, leaseToken), chunks: [rows] };
  } catch {
    // The kind of damage does not matter: nothing can be sent.
    return null;
  }
}
