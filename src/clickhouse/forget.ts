/**
 * Deletes what ClickHouse holds of one project: the rows themselves, not only
 * their visibility. A deletion is a mutation that the server carries out on its
 * own; this waits for it and can be repeated after being cut short.
 */
import type { ClickHouseClient } from '@clickhouse/client';
import type { Clock } from '../clock.ts';
import { ask, mutate } from './mutation.ts';

/** The events first: what is derived from them cannot come back then. */
const TABLES = ['events_raw_v1', 'event_counts_hourly', 'event_users', 'identity_links'] as const;
/** Rows may go on arriving while a table is cleaned; what comes after that many rounds is left to the next call. */
const ROUNDS = 3;

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

/** Throws `MutationFailed`, and what the driver throws. */
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
      const deleting = left;
      onProgress({ table, rows: deleting, partsToDo: 0 });
      await mutate(
        { client, clock },
        { table, change: 'DELETE WHERE project_id = {project:UUID}', projectId, doing: `delete from ${table}` },
        (partsToDo) => onProgress({ table, rows: deleting, partsToDo }),
      );
      left = await countIn(client, table, projectId);
    }
    return { table, rows: rows - left, left };
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
