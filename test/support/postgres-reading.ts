/** Events in a Postgres of the test's own, and what one project sees of it. */
import { randomUUID } from 'node:crypto';
import type { BatchId } from '../../src/pipeline/batch.ts';
import type { ProjectReader } from '../../src/pipeline/read-ports.ts';
import { createLog } from '../../src/log/log.ts';
import { openPostgresEvents } from '../../src/postgres/event-storage.ts';
import { createPostgres } from '../../src/postgres/connection/pool.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { startPostgresOnly } from './stores.ts';

export type PostgresEvents = Awaited<ReturnType<typeof startPostgresEvents>>;

/** A server with the tables of events, as its superuser or as `user`, which owns a database of its own. */
export async function startPostgresEvents({
  user = null,
  options = '',
}: { user?: string | null; options?: string } = {}) {
  const server = await startPostgresOnly();
  const admin = createPostgres({ url: server.url, maxConnections: 4 }, createLog('silent'));
  const url = user === null ? server.url : await ownerUrl();
  const postgres = createPostgres({ url, maxConnections: 4, statementMs: 120_000 }, createLog('silent'));
  const storage = openPostgresEvents(
    { url, maxInFlight: 2, insertTimeoutMs: 60_000, maxQueries: 4, workers: 1 },
    { clock: systemClock, log: createLog('silent') },
  );
  const stopping = new AbortController();
  const reading = storage.openReading({ downSignal: () => stopping.signal, stopping: stopping.signal });
  await storage.schema.migrate().catch(async (error: unknown) => {
    await stop();
    throw error;
  });

  return { server, url, admin: admin.pool, pool: postgres.pool, storage, reading, insert, stop };

  async function ownerUrl(): Promise<string> {
    // A server of somebody's does not know it.
    await admin.pool.query('DROP ROLE weir_reader');
    await admin.pool.query(`CREATE ROLE ${user} LOGIN ${options} PASSWORD 'secret'`);
    await admin.pool.query(`CREATE DATABASE ${user} OWNER ${user}`);
    return `postgres://${user}:secret@${new URL(server.url).host}/${user}`;
  }

  /** Rows with the members that `event/row.ts` writes, as one batch. */
  async function insert(rows: readonly object[]): Promise<void> {
    const bytes = Buffer.from(rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
    await storage.events.insert({ id: randomUUID() as BatchId, chunks: [bytes] });
  }

  async function stop() {
    stopping.abort();
    await Promise.all([storage.close(), postgres.pool.end(), admin.pool.end()]);
    await server.discard();
  }
}

/** Queries of one project: the rows in a fixed order, or the refusal. */
export function createProjectAsking(reader: ProjectReader, projectId: string) {
  let asked = 0;
  return { ask, askAll };

  async function ask(sql: string): Promise<string> {
    const queryId = `${projectId}-${asked++}`;
    const { signal } = new AbortController();
    const answer = await reader.query(projectId, sql, { queryId, signal });
    if (answer.kind !== 'answer') {
      await reader.stopped(queryId);
      return JSON.stringify(answer);
    }
    const rows: string[] = [];
    for await (const group of answer.rows) rows.push(...group);
    await reader.stopped(queryId);
    return JSON.stringify({ columns: answer.columns, rows: rows.sort() });
  }

  async function askAll(questions: readonly string[]): Promise<Map<string, string>> {
    const answers = new Map<string, string>();
    const waiting = [...questions];
    const askInTurn = async () => {
      for (let sql = waiting.pop(); sql !== undefined; sql = waiting.pop()) answers.set(sql, await ask(sql));
    };
    await Promise.all(Array.from({ length: 4 }, askInTurn));
    return answers;
  }
}

/** Of a row as `two-projects.ts` has it: its objects as objects, and its times as instants. */
export function asSent(row: Record<string, unknown>): object {
  const parsed = {
    ...row,
    properties: JSON.parse(String(row['properties'])),
    extras: JSON.parse(String(row['extras'])),
  };
  const instants = Object.entries(parsed).filter(([name]) => /^(timestamp|received_at|expires_at)$/.test(name));
  return { ...parsed, ...Object.fromEntries(instants.map(([name, at]) => [name, `${String(at).replace(' ', 'T')}Z`])) };
}
