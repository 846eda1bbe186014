/** Erases everything that Postgres holds of one project's events: the rows themselves. May be repeated. */
import type { Pool } from 'pg';
import type { ErasedTable, EraseProgress } from '../../pipeline/operator-port.ts';
import { plainAnswerOf } from '../connection/errors.ts';
import { changeInChunks, partitionsOf } from './in-chunks.ts';

const EVENTS = 'events_raw';
/** Events first: what is derived from them cannot reappear afterwards. */
const TABLES = [EVENTS, 'event_counts_hourly', 'event_users_daily', 'identities'] as const;
const OF_PROJECT = 'project_id = $1';

/** The project's rows in each table. Throws `PostgresFailure`. */
export async function countRows(pool: Pool, projectId: string): Promise<ErasedTable[]> {
  const counted: ErasedTable[] = [];
  for (const table of TABLES) {
    const rows = await countIn(pool, table, projectId);
    counted.push({ table, rows, left: rows });
  }
  return counted;
}

/** The project's events that landed and were not deleted, each once. Throws `PostgresFailure`. */
export async function countLanded(pool: Pool, projectId: string): Promise<number> {
  const { rows } = await plainAnswerOf(
    pool.query<{ events: string }>(
      `SELECT coalesce(sum(events), 0) AS events FROM analytics.event_counts_hourly WHERE ${OF_PROJECT}`,
      [projectId],
    ),
  );
  return Number(rows[0]!.events);
}

/** What arrives meanwhile is left to the next call. Throws `PostgresFailure`. */
export async function eraseProject(
  pool: Pool,
  projectId: string,
  onProgress: (progress: EraseProgress) => void,
): Promise<ErasedTable[]> {
  const done: ErasedTable[] = [];
  for (const table of TABLES) done.push(await eraseIn(table));
  return done;

  async function eraseIn(table: string): Promise<ErasedTable> {
    const rows = await countIn(pool, table, projectId);
    let erased = 0;
    for (const part of table === EVENTS ? await partitionsOf(pool) : [`analytics.${table}`]) {
      await changeInChunks(
        pool,
        {
          table: part,
          where: OF_PROJECT,
          statement: (isChosen) => `DELETE FROM ONLY ${part} WHERE ${isChosen} AND ${OF_PROJECT}`,
        },
        [projectId],
        (count) => {
          erased += count;
          onProgress({ table, rows, toDo: Math.max(0, rows - erased), unit: 'row' });
        },
      );
    }
    return { table, rows: erased, left: await countIn(pool, table, projectId) };
  }
}

async function countIn(pool: Pool, table: string, projectId: string): Promise<number> {
  const { rows } = await plainAnswerOf(
    pool.query<{ rows: string }>(`SELECT count(*) AS rows FROM analytics.${table} WHERE ${OF_PROJECT}`, [projectId]),
  );
  return Number(rows[0]!.rows);
}
