/**
 * Answers SQL questions about one project. What runs is the text that was parsed, byte for byte and by itself, in a
 * transaction that can change nothing, under a role that sees only the project's rows.
 */
import type { Pool, PoolClient } from 'pg';
import type { Clock } from '../../runtime/clock.ts';
import type { Asking, ProjectReader, QueryAnswer, QueryFailure, Schema } from '../../pipeline/read-ports.ts';
import { columnsOf, rowWriter } from './answer-values.ts';
import { describeTables, eventNames } from './reader-catalog.ts';
import { READ_LIMITS, TOO_SLOW, parseFailure, refused, runFailure } from './reader-errors.ts';
import { createReaderRole } from './reader-role.ts';
import { type Tree, asksForPeople, textProblem, treeProblem } from './query-guard.ts';
import { createQueryParser } from './query-parser.ts';
import { type RowStream, streamRows } from './row-stream.ts';
import { createRunningQueries, cut } from './running-queries.ts';

type Deps = { readonly pool: Pool; readonly clock: Clock; readonly stopping: AbortSignal };

/** How much longer than its own limit Postgres is waited for. */
const BEYOND_LIMIT_MS = 3_000;

const SCHEMAS = ['pg_catalog', 'analytics', 'pg_temp'];
/** Its views are those of `analytics`, and find the rows of given people by an index. */
const PEOPLES_SCHEMAS = ['pg_catalog', 'analytics_people', 'analytics', 'pg_temp'];

export function createProjectReader({ pool, clock, stopping }: Deps): ProjectReader {
  const running = createRunningQueries({ clock, stopping });
  const role = createReaderRole(pool);
  const parser = createQueryParser();

  return { query, stopped: running.stop, schema };

  async function query(projectId: string, sql: string, asking: Asking): Promise<QueryAnswer | QueryFailure> {
    const problem = textProblem(sql);
    if (problem !== null) return refused(problem);
    const parsed = await parser.parse(sql);
    if ('error' in parsed) return parseFailure(parsed.error, sql);
    const guilty = treeProblem(parsed);
    if (guilty !== null) return refused(guilty);
    try {
      return (await role.problem()) ?? (await run(projectId, sql, parsed, asking));
    } catch (error) {
      return failed(error, sql);
    }
  }

  async function schema(projectId: string): Promise<Schema | QueryFailure> {
    try {
      const [tables, events] = await Promise.all([describeTables(pool), eventNames(pool, projectId)]);
      return { kind: 'schema', tables, events };
    } catch (error) {
      return runFailure(error, '');
    }
  }

  function failed(error: unknown, sql: string): QueryFailure {
    const failure = runFailure(error, sql);
    if (failure.kind === 'unavailable') role.forget();
    return failure;
  }

  async function run(projectId: string, sql: string, tree: Tree, { queryId, signal }: Asking) {
    if (signal.aborted) return ABANDONED;
    const client = await pool.connect();
    const asked = running.began(queryId, client);
    let rows: RowStream;
    try {
      await role.begin(client, projectId, asksForPeople(tree) ? PEOPLES_SCHEMAS : SCHEMAS);
      rows = streamRows(client, sql);
    } catch (error) {
      await asked.statementEnded();
      client.release(true);
      asked.ended();
      throw error;
    }
    const leave = () => rows.discard();
    signal.addEventListener('abort', leave, { once: true });
    if (signal.aborted) leave();
    void rows.over.then(async ({ isLost }) => {
      signal.removeEventListener('abort', leave);
      const isClean = await asked.statementEnded();
      if (isLost || !isClean) client.release(true);
      else await giveBack(client);
      asked.ended();
    });
    return answered(rows, client, signal);
  }

  async function answered(
    rows: RowStream,
    client: PoolClient,
    signal: AbortSignal,
  ): Promise<QueryAnswer | QueryFailure> {
    const fields = await withinLimit(rows.fields, signal);
    if ('kind' in fields) {
      if (fields === TOO_SLOW) cut(client);
      return fields;
    }
    return { kind: 'answer', columns: columnsOf(fields), rows: following(rows, rowWriter(fields)) };
  }

  /** What is waited for, or why it is not waited for any longer. */
  async function withinLimit<T>(waiting: Promise<T>, signal: AbortSignal): Promise<T | QueryFailure> {
    const over = new AbortController();
    const left = AbortSignal.any([signal, over.signal]);
    const late = clock.sleep(READ_LIMITS.maxExecutionS * 1_000 + BEYOND_LIMIT_MS, left);
    const giveUp = late.then(() => (signal.aborted ? ABANDONED : TOO_SLOW));
    try {
      return await Promise.race([waiting, giveUp]);
    } finally {
      over.abort();
    }
  }
}

/** The client has left: this answer is not sent. */
const ABANDONED: QueryFailure = { kind: 'unavailable', isForOperator: false, error: null };

async function* following(rows: RowStream, write: ReturnType<typeof rowWriter>): AsyncGenerator<readonly string[]> {
  try {
    for (let group = await rows.take(); group !== null; group = await rows.take()) yield group.map(write);
  } finally {
    // A reader that stops early reads nothing more; `stopped` ends the query.
    rows.discard();
  }
}

/** A connection whose transaction could not be ended is not used again. */
async function giveBack(client: PoolClient): Promise<void> {
  try {
    await client.query('ROLLBACK');
    client.release();
  } catch {
    client.release(true);
  }
}
