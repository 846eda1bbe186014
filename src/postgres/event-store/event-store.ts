import type { Pool } from 'pg';
import { isUuid } from '../../event/uuid.ts';
import {
  type EventStore,
  InsertFailure,
  type InsertMemory,
  type Insertable,
  type Inspection,
} from '../../pipeline/ports.ts';
import type { Clock } from '../../runtime/clock.ts';
import { addPartitions } from '../event-tables/partitions.ts';
import { monthAfter, monthsOf, startOf } from './arrivals.ts';
import { hasLostToAnother, insertFailureOf, lacksPartition } from './insert-failures.ts';
import { insertRows, lockMonths, RECORD_COPIES, recordBatch } from './insert-statements.ts';
import { type RowHead, rowHeadOf } from './row-head.ts';
import { failureOf, inspectRows, ordinaryBeside, tryRows } from './row-inspection.ts';
import { type SentRows, sentRowsOf } from './sent-rows.ts';
import { createTransactions, type Run } from './transactions.ts';

/**
 * No plan but to look each row up by an index, whatever the statistics say of a partition that is young; and room for
 * the rows of a batch, which the server otherwise writes to disk on the way.
 */
const SETTINGS = `SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; SET LOCAL enable_seqscan = off;
  SET LOCAL work_mem = '64MB'; SET LOCAL jit = off`;

/** How often a transaction is tried that others were in the way of, or that lacked a partition. */
const MAX_TRIES = 8;
/** As many inserts are sent again without a question as with ClickHouse. */
const REMEMBERED: InsertMemory = { inserts: 10_000, forMs: Infinity };
/** Batches are remembered for longer than that. */
const REMEMBERED_MS = 90 * 24 * 60 * 60_000;
/** The caller counts time by another clock than Postgres's. */
const CLOCK_MARGIN_MS = 60_000;
/** A transaction that is cut may last a little longer in the server. */
const BEYOND_TIMEOUT_MS = 60_000;

/** The event store on Postgres: one transaction a batch, which records the batch's id. */
export function createEventStore(
  { pool, clock }: { pool: Pool; clock: Clock },
  { timeoutMs }: { readonly timeoutMs: number },
): EventStore {
  const transactions = createTransactions({ pool, clock }, { timeoutMs, settings: SETTINGS });

  return { insert, dryRun, inspect, findStored, countInserts, readMemory: () => Promise.resolve(REMEMBERED) };

  async function insert({ id, chunks }: Insertable, signal?: AbortSignal): Promise<void> {
    if (!isUuid(id)) throw new Error('the id of a batch is a UUID');
    const rows = sentRowsOf(chunks);
    for (let tries = 1; ; tries += 1) {
      try {
        return await transactions.commit(async (run) => {
          // A statement of its own: those behind it see what was committed while it waited.
          await run(lockMonths(rows.months, timeoutMs + BEYOND_TIMEOUT_MS));
          await store(run, id, rows, tries > 1);
        }, signal);
      } catch (error) {
        if (tries === MAX_TRIES || !(await isWorthAnother(error, rows))) throw verdictOn(error, rows);
      }
    }
  }

  /** Puts right what was in the way of a transaction, where that can be. */
  async function isWorthAnother(error: unknown, { months }: SentRows): Promise<boolean> {
    const cause = error instanceof InsertFailure ? error.cause : error;
    if (hasLostToAnother(cause)) return true;
    if (months === null || !lacksPartition(cause)) return false;
    await makePartitions(months);
    return true;
  }

  async function makePartitions(months: readonly string[]): Promise<void> {
    try {
      await addPartitions(pool, months);
    } catch (error) {
      throw insertFailureOf(error, 'sending');
    }
  }

  async function dryRun(rows: readonly Buffer[], signal?: AbortSignal): Promise<void> {
    const refused = await transactions.rollBack((run) => tryRows(run, rows, { isStoring: false }), signal);
    const [first] = refused;
    if (!first) return;
    const { message, failureClass, code } = failureOf(first);
    throw new InsertFailure(message, { failureClass, code, rowHint: first.place });
  }

  async function inspect(rows: readonly Buffer[], signal?: AbortSignal): Promise<Inspection> {
    if (rows.length === 0) return { refusals: [], isComplete: true };
    const ordinary = ordinaryBeside(rows, clock.now());
    const told = [...rows, ordinary].flatMap((row) => monthsOf(row.toString('latin1')) ?? []);
    await makePartitions([...new Set(told)].sort());
    return transactions.rollBack((run) => inspectRows(run, rows, ordinary), signal);
  }

  async function findStored(rows: readonly Buffer[], signal?: AbortSignal): Promise<readonly boolean[]> {
    const heads = rows.map(rowHeadOf);
    const asked = heads.filter((head) => head !== null);
    if (asked.length === 0) return heads.map(() => false);
    const found = await transactions.rollBack((run) => storedAmong(run, asked), signal);
    let at = 0;
    return heads.map((head) => head !== null && found[at++]!);
  }

  async function countInserts(ageMs: number, signal?: AbortSignal): Promise<number> {
    if (ageMs + CLOCK_MARGIN_MS > REMEMBERED_MS) return Infinity;
    const { rows } = await transactions.rollBack(
      (run) =>
        run<{ inserts: number }>(
          `SELECT count(*)::float8 AS inserts FROM analytics.event_batches
           WHERE stored_at > now() - make_interval(secs => $1)`,
          [(ageMs + CLOCK_MARGIN_MS) / 1_000],
        ),
      signal,
    );
    return rows[0]!.inserts;
  }
}

/** Where a row does not tell when it arrived, that no partition takes one says something about the rows. */
function verdictOn(error: unknown, { months }: SentRows): unknown {
  if (months !== null || !(error instanceof InsertFailure) || !lacksPartition(error.cause)) return error;
  const { message, code, cause } = error;
  return new InsertFailure(message, { failureClass: 'data', code, cause });
}

async function store(run: Run, id: string, rows: SentRows, isOrdered: boolean): Promise<void> {
  const { rowCount } = await run(recordBatch(id, rows.count));
  if (rowCount === 0) return;
  let added = 0;
  const months = rows.months ?? [null];
  for (const month of months) {
    const { rows: answer } = await run<{ added: number }>(insertRows(month, months.length === 1, isOrdered), [
      rows.array,
    ]);
    added += answer[0]!.added;
  }
  if (added < rows.count) await run(RECORD_COPIES, [id, rows.count - added]);
}

async function storedAmong(run: Run, asked: readonly RowHead[]): Promise<readonly boolean[]> {
  const months = asked.map(({ receivedAt }) => receivedAt.slice(0, 7)).sort();
  // Copies that arrived in neighbouring months are the same events.
  const { rows } = await run<{ is_stored: boolean }>(
    `SELECT EXISTS (
       SELECT FROM analytics.events_raw AS stored
       WHERE stored.project_id = asked.project_id AND stored.event_id = asked.event_id AND stored.event = asked.event
       AND stored.received_at >= ${startOf(monthAfter(months[0]!, -1))}
       AND stored.received_at < ${startOf(monthAfter(months.at(-1)!, 2))}) AS is_stored
     FROM unnest($1::uuid[], $2::uuid[], $3::text[]) WITH ORDINALITY AS asked (project_id, event_id, event, place)
     ORDER BY place`,
    [asked.map(({ projectId }) => projectId), asked.map(({ eventId }) => eventId), asked.map(({ event }) => event)],
  );
  return rows.map(({ is_stored: isStored }) => isStored);
}
