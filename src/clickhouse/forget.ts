/**
 * Deletes what ClickHouse holds of one project: the rows themselves, not only
 * their visibility. A deletion is a mutation that the server carries out on its
 * own; this waits for it and can be repeated after being cut short.
 */
import type { ClickHouseClient } from '@clickhouse/client';
import type { Clock } from '../clock.ts';

/** The events first: what is derived from them cannot come back then. */
const TABLES = ['events_raw_v1', 'event_counts_hourly', 'identity_links'] as const;
const POLL_MS = 250;
/** Rows may go on arriving while a table is cleaned; what comes after that many rounds is left to the next call. */
const ROUNDS = 3;

/** ClickHouse gave up on a deletion. The code says why; its text stays here, it may quote rows. */
export class ForgetFailed extends Error {
  override readonly name = 'ForgetFailed';

  constructor(table: string, code: string) {
    super(`ClickHouse cannot delete from ${table} (code ${code}) and goes on trying: see system.mutations`);
  }
}

export type Forgotten = { readonly table: string; readonly rows: number; readonly left: number };
export type ForgetProgress = { readonly table: string; readonly rows: number; readonly partsToDo: number };

/** Rows of the project in each table. Throws what the driver throws. */
export async function countRows(client: ClickHouseClient, projectId: string): Promise<Forgotten[]> {
  const counted: Forgotten[] = [];
  for (const table of TABLES) {
    const rows = await countIn(client, table, projectId);
    counted.push({ table, rows, left: rows });
  }
  return counted;
}

/** Events of the project that ever landed and were not deleted: each counts as often as it was stored. */
export async function countLanded(client: ClickHouseClient, projectId: string): Promise<number> {
  const [sum] = await ask<{ events: string }>(
    client,
    'SELECT toString(sum(events)) AS events FROM event_counts_hourly WHERE project_id = {project:UUID}',
    { project: projectId },
  );
  return Number(sum!.events);
}

/** Throws `ForgetFailed`, and what the driver throws. */
export async function forgetProject(
  { client, clock }: { client: ClickHouseClient; clock: Clock },
  projectId: string,
  onProgress: (progress: ForgetProgress) => void,
): Promise<Forgotten[]> {
  const done: Forgotten[] = [];
  for (const table of TABLES) done.push(await forgetIn(table));
  return done;

  async function forgetIn(table: string): Promise<Forgotten> {
    let rows = 0;
    let left = await countIn(client, table, projectId);
    for (let round = 0; left > 0 && round < ROUNDS; round++) {
      rows += left;
      onProgress({ table, rows: left, partsToDo: 0 });
      // Not waited for by the statement: it may take hours, a connection does not live that long.
      await client.command({
        query: `ALTER TABLE ${table} DELETE WHERE project_id = {project:UUID}`,
        query_params: { project: projectId },
        clickhouse_settings: { mutations_sync: '0' },
      });
      await untilDone(table, left);
      left = await countIn(client, table, projectId);
    }
    return { table, rows: rows - left, left };
  }

  async function untilDone(table: string, rows: number): Promise<void> {
    for (;;) {
      const open = await ask<{ parts: string; reason: string }>(
        client,
        `SELECT toString(parts_to_do) AS parts, latest_fail_reason AS reason FROM system.mutations
         WHERE database = currentDatabase() AND table = {table:String} AND NOT is_done AND position(command, {project:String}) > 0`,
        { table, project: projectId },
      );
      if (open.length === 0) return;
      const reason = open.find(({ reason }) => reason !== '')?.reason;
      if (reason !== undefined) throw new ForgetFailed(table, /^Code: (\d+)/.exec(reason)?.[1] ?? 'unknown');
      onProgress({ table, rows, partsToDo: open.reduce((sum, { parts }) => sum + Number(parts), 0) });
      await clock.sleep(POLL_MS);
    }
  }
}

async function countIn(client: ClickHouseClient, table: string, projectId: string): Promise<number> {
  const [count] = await ask<{ rows: string }>(
    client,
    `SELECT toString(count()) AS rows FROM ${table} WHERE project_id = {project:UUID}`,
    { project: projectId },
  );
  return Number(count!.rows);
}

async function ask<Row>(client: ClickHouseClient, query: string, query_params: Record<string, unknown>) {
  const answer = await client.query({ query, query_params, format: 'JSONEachRow' });
  return answer.json<Row>();
}
