/**
 * The dead-letter table as the pipeline sees it. Each operation is one short
 * statement or transaction; nothing here waits for the network of another store.
 */
import { hash } from 'node:crypto';
import { promisify } from 'node:util';
import { zstdCompress } from 'node:zlib';
import { sql } from 'drizzle-orm';
import type { Batch } from '../pipeline/batch.ts';
import type { DeadLetterStore, InsertFailure, LetterCause } from '../pipeline/ports.ts';
import { answerOf } from './errors.ts';
import type { Database } from './pool.ts';
import { failedEvents } from './schema.ts';

const compress = promisify(zstdCompress);

const MAX_ERROR_CHARACTERS = 2_000;

export function createDeadLetters(db: Database): DeadLetterStore {
  return { add };

  async function add(batch: Batch, { failure, ambiguous }: LetterCause): Promise<void> {
    const payload = await compress(Buffer.concat(batch.chunks));
    await answerOf(
      db
        .insert(failedEvents)
        .values({
          id: batch.id,
          payload,
          rawBytes: batch.byteCount,
          eventCount: batch.eventCount,
          projectIds: [...batch.useByProject.keys()],
          ...describeFailure(failure),
          ambiguous,
          lastAttemptAt: sql`now()`,
        })
        .onConflictDoNothing(),
    );
  }
}

function describeFailure(failure: InsertFailure) {
  const { failureClass, code, message } = failure;
  return {
    errorClass: failureClass,
    errorCode: code,
    errorFingerprint: fingerprintOf(failure),
    lastError: message.slice(0, MAX_ERROR_CHARACTERS),
  };
}

/** The same for failures with the same cause: class, code, and the message without its numbers. */
export function fingerprintOf({ failureClass, code, message }: InsertFailure): string {
  const normalised = message.replaceAll(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, 'ID').replaceAll(/\d+/g, 'N');
  return hash('sha256', `${failureClass} ${code} ${normalised}`).slice(0, 16);
}
