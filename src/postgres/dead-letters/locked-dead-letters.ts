/**
 * Dead letters on their way out of a full disk. There, claiming fails: it is an UPDATE, which writes a new version of
 * the row. Locking a row and deleting it need no room in the table. So a letter is held by its row's lock in a separate
 * transaction while it is inserted, then deleted and committed: the lock is the fence that the lease otherwise is. A
 * process that dies in between leaves the letter unchanged, and its id keeps it from landing twice.
 */
import type { Pool, PoolClient } from 'pg';
import type { Clock } from '../../runtime/clock.ts';
import { failureOf } from '../../pipeline/outcome.ts';
import type { DeadLetter, LockedDeadLetters } from '../../pipeline/dead-letter-port.ts';
import { BEGIN } from '../connection/connection.ts';
import { answerOf } from '../connection/errors.ts';
import { type ClaimedRow, decodeDeadLetter } from './dead-letter-row.ts';

/** The pause after a try that did not remove the letter; isolating it has to wait until there is room. */
const PAUSE_MS = 60_000;
const RELEASED_MS = 2_000;
/** Letters that are remembered as tried; beyond, the first ones are tried again. */
const MAX_TRIED = 1_000;

const NO_LEASE = '';

const LOCK_NEXT = `
  SELECT id, payload, raw_bytes, event_count, project_ids, attempt_count, exposed_ms, error_fingerprint,
    ambiguous OR lease_token IS NOT NULL AS ambiguous,
    floor(extract(epoch from created_at) * 1000) AS created_at_ms,
    floor(extract(epoch from now() - last_attempt_at) * 1000) AS since_last_attempt_ms
  FROM failed_events
  WHERE quarantined_at IS NULL AND visible_at <= now() AND id <> ALL($1::uuid[])
  ORDER BY failed_events.ambiguous DESC, visible_at LIMIT 1 FOR UPDATE SKIP LOCKED`;

type Note = { notBefore: number; ambiguous: boolean };

/** `lockMs`: longer than an insert may take. Postgres ends a transaction that holds a lock for longer. */
export function createLockedDeadLetters(
  { pool, clock }: { pool: Pool; clock: Clock },
  { lockMs }: { lockMs: number },
): LockedDeadLetters {
  const held = new Map<string, PoolClient>();
  const notes = new Map<string, Note>();

  return {
    take,
    giveBack,
    store: {
      renew: async ({ id }) => held.has(id),
      complete,
      retry: async ({ id }, { ambiguous, delayMs }) =>
        note(id, { ambiguous, notBefore: clock.elapsed() + Math.max(delayMs, PAUSE_MS) }),
      release: async ({ id, ambiguous }) => note(id, { ambiguous, notBefore: clock.elapsed() + RELEASED_MS }),
      clearAmbiguity: async ({ id }) => note(id, { ambiguous: false, notBefore: clock.elapsed() + PAUSE_MS }),
      // Both have to be written down.
      quarantine: async () => false,
      split: async () => null,
    },
  };

  async function take(): Promise<DeadLetter | null> {
    for (;;) {
      const locked = await lockNext();
      if (locked === null) return null;
      const { connection, row } = locked;
      const letter = await decodeDeadLetter(row, NO_LEASE);
      if (letter !== null) {
        held.set(letter.id, connection);
        return { ...letter, ambiguous: letter.ambiguous || (notes.get(letter.id)?.ambiguous ?? false) };
      }
      // Damaged: it is quarantined when there is room to record that.
      note(row.id, { ambiguous: row.ambiguous, notBefore: clock.elapsed() + PAUSE_MS });
      await unlock(connection);
    }
  }

  async function lockNext(): Promise<{ connection: PoolClient; row: ClaimedRow } | null> {
    const connection = await answerOf(pool.connect());
    try {
      await answerOf(connection.query(BEGIN));
      await answerOf(
        connection.query(`SELECT set_config('idle_in_transaction_session_timeout', $1, true)`, [String(lockMs)]),
      );
      const { rows } = await answerOf(connection.query<ClaimedRow>(LOCK_NEXT, [triedLately()]));
      if (rows[0]) return { connection, row: rows[0] };
    } catch (error) {
      connection.release(true);
      throw error;
    }
    await unlock(connection);
    return null;
  }

  /** False when the lock was lost, with the transaction: then the letter still exists, or another process has it. */
  async function complete({ id }: DeadLetter): Promise<boolean> {
    const connection = held.get(id);
    if (!connection) return false;
    held.delete(id);
    try {
      const { rowCount } = await answerOf(connection.query('DELETE FROM failed_events WHERE id = $1', [id]));
      await answerOf(connection.query('COMMIT'));
      connection.release();
      notes.delete(id);
      return rowCount === 1;
    } catch (error) {
      connection.release(true);
      throw error;
    }
  }

  async function giveBack({ id, ambiguous }: DeadLetter): Promise<boolean> {
    const connection = held.get(id);
    if (!connection) return false;
    held.delete(id);
    if (!notes.has(id)) note(id, { ambiguous, notBefore: clock.elapsed() + PAUSE_MS });
    await unlock(connection);
    return true;
  }

  function note(id: string, what: Note): boolean {
    notes.delete(id);
    notes.set(id, what);
    for (const oldest of notes.keys()) {
      if (notes.size <= MAX_TRIED) break;
      notes.delete(oldest);
    }
    return true;
  }

  function triedLately(): string[] {
    const now = clock.elapsed();
    return [...notes].filter(([, { notBefore }]) => notBefore > now).map(([id]) => id);
  }
}

/** Nothing was written. If ending the transaction fails, the connection is closed, which does the same. */
async function unlock(connection: PoolClient): Promise<void> {
  connection.release((await failureOf(connection.query('ROLLBACK'))) !== null);
}
