/** An event store on a real Postgres, and rows with anything in them. */
import type { Pool } from 'pg';
import type { ProjectId } from '../../src/event/event.ts';
import { rowEncoder, type RowParts } from '../../src/event/row.ts';
import { createLog } from '../../src/log/log.ts';
import type { BatchId } from '../../src/pipeline/batch.ts';
import type { EventStorage } from '../../src/pipeline/storage-port.ts';
import type { InsertFailure } from '../../src/pipeline/ports.ts';
import { failureOf } from '../../src/pipeline/outcome.ts';
import { createPostgres } from '../../src/postgres/connection/pool.ts';
import { openPostgresEvents } from '../../src/postgres/event-storage.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { PROJECT } from './factory.ts';
import { batchIdOf, eventIdOf } from './rows.ts';
import { startPostgresOnly } from './stores.ts';

export type PostgresEvents = {
  readonly server: Awaited<ReturnType<typeof startPostgresOnly>>;
  readonly pool: Pool;
  readonly storage: EventStorage;
  select<Row extends object>(query: string, values?: unknown[]): Promise<Row[]>;
  stop(): Promise<void>;
};

/** `timeoutMs`: of an insert. */
export function openEventsAt(url: string, { timeoutMs = 30_000 } = {}): EventStorage {
  const sizes = { maxInFlight: 4, insertTimeoutMs: timeoutMs, maxQueries: 2, workers: 1 };
  return openPostgresEvents({ url, ...sizes }, { clock: systemClock, log: createLog('silent') });
}

export async function startPostgresEvents(): Promise<PostgresEvents> {
  const server = await startPostgresOnly();
  const { pool } = createPostgres({ url: server.url, maxConnections: 4 }, createLog('silent'));
  const storage = openEventsAt(server.url);
  await storage.schema.migrate();
  return {
    server,
    pool,
    storage,
    select: async <Row extends object>(query: string, values: unknown[] = []) =>
      (await pool.query<Row>(query, values)).rows,
    async stop() {
      await Promise.all([pool.end(), storage.close()]);
      await server.discard();
    },
  };
}

/** The parts are raw JSON, in UTF-16; the ids follow from `n`. */
export function anyRow(
  n: number,
  {
    receivedAt = Date.UTC(2026, 0, 1, 12),
    projectId = PROJECT,
    source = 'native',
    retentionSeconds = null,
    ...parts
  }: Partial<RowParts> & {
    receivedAt?: number;
    projectId?: ProjectId;
    source?: string;
    retentionSeconds?: number | null;
  } = {},
): Buffer {
  const raw = (text: string) => Buffer.from(text).toString('latin1');
  const written = Object.fromEntries(
    Object.entries(parts).map(([name, value]) => [name, typeof value === 'string' ? raw(value) : value]),
  ) as Partial<RowParts>;
  const encode = rowEncoder({ projectId, source, receivedAt, retentionSeconds });
  return Buffer.from(
    encode({
      eventId: eventIdOf(n),
      event: '"visit"',
      anonymousId: null,
      userId: '"u1"',
      timestamp: receivedAt,
      sessionId: null,
      properties: '{}',
      extras: '{}',
      ...written,
    }),
    'latin1',
  );
}

export const batchWith = (id: number, rows: readonly Buffer[]): { id: BatchId; chunks: readonly Buffer[] } => ({
  id: batchIdOf(id),
  chunks: rows,
});

/** How it failed; null when it did not. */
export const refusalOf = async (work: Promise<unknown>) => (await failureOf(work)) as InsertFailure | null;
