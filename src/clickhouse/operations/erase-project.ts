/**
 * Erases everything that ClickHouse holds of one project: the rows themselves, not only their visibility. A deletion is
 * a mutation that the server runs on its own; this waits for it and may be repeated after an interruption.
 */
import type { ClickHouseClient } from '@clickhouse/client';
import type { ErasedTable } from '../../pipeline/operator-port.ts';
import { ask } from '../connection/ask.ts';
import { EVENTS } from '../migrations/event-tables.ts';
import { inEachEventTable } from './each-event-table.ts';
import { type MutationDeps, mutate } from './mutation.ts';

/** Events first: derived rows cannot reappear afterwards. */
const TABLES = [EVENTS, 'event_counts_hourly', 'event_copies', 'event_users', 'identity_links'] as const;
/**
 * Rows may keep arriving while a table is cleaned; rows that arrive after this many rounds are left to the next call.
 */
const ROUNDS = 3;

type EraseProgress = { readonly table: string; readonly rows: number; readonly partsToDo: number };

/** The project's rows in each table. Throws what the driver throws. */
export async function countRows(client: ClickHouseClient, projectId: string): Promise<ErasedTable[]> {
  const counted: ErasedTable[] = [];
  for (const table of TABLES) {
    const rows = await countIn(client, table, projectId);
    counted.push({ table, rows, left: rows });
  }
  return counted;
}

/** The project's events that landed and were not deleted, each counted as often as it was stored. */
export async function countLanded(client: ClickHouseClient, projectId: string): Promise<number> {
  const [sum] = await ask<{ events: string }>(
    client,
    'SELECT toString(sum(events)) AS events FROM event_counts_hourly WHERE project_id = {project:UUID}',
    { project: projectId },
  );
  return Number(sum!.events);
}

/** Throws `MutationFailed`, and what the driver throws. */
export async function eraseProject(
  { client, clock, replicas = null }: MutationDeps,
  projectId: string,
  onProgress: (progress: EraseProgress) => void,
): Promise<ErasedTable[]> {
  const done: ErasedTable[] = [];
  for (const table of TABLES) done.push(table === EVENTS ? await forgetEvents() : await forgetIn(table));
  return done;

  /** Also where a rebuild of the table has a second copy of them, which is no news to whoever asks. */
  async function forgetEvents(): Promise<ErasedTable> {
    let erased: ErasedTable | null = null;
    await inEachEventTable({ client, clock }, async (table) => {
      const { rows, left } = await forgetIn(table);
      if (table === EVENTS) erased = { table, rows: (erased?.rows ?? 0) + rows, left };
      return rows;
    });
    return erased ?? { table: EVENTS, rows: 0, left: 0 };
  }

  async function forgetIn(table: string): Promise<ErasedTable> {
    let rows = 0;
    let left = await countIn(client, table, projectId);
    for (let round = 0; left > 0 && round < ROUNDS; round++) {
      rows += left;
      const deleting = left;
      onProgress({ table, rows: deleting, partsToDo: 0 });
      await mutate(
        { client, clock, replicas },
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
