/**
 * Weir behind a pooler. PgBouncer refuses startup parameters it does not track,
 * and in transaction mode hands every statement to whichever connection is free:
 * nothing that belongs to a session may be relied on, nor left behind.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { createClickHouse } from '../../src/clickhouse/connection/client.ts';
import { readMigrations } from '../../src/clickhouse/migrations/migrate.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { createLog } from '../../src/log/log.ts';
import { createEventSchema } from '../../src/clickhouse/migrations/event-schema.ts';
import { migrateStores } from '../../src/composition/migrate-stores.ts';
import { createDeadLetters } from '../../src/postgres/dead-letters/dead-letters.ts';
import { keepingLock, withMigrationLock } from '../../src/postgres/migrations/migrate.ts';
import { readJournal } from '../../src/postgres/migrations/migrations.ts';
import { createPostgres } from '../../src/postgres/connection/pool.ts';
import { InsertFailure } from '../../src/pipeline/ports.ts';
import { readRuntime } from '../../src/service/runtime-file.ts';
import { startHttpProxy } from '../support/fault-proxy.ts';
import { findPgBouncer, type PgBouncer, startPgBouncer } from '../support/pgbouncer.ts';
import { batchOf, goodRows } from '../support/rows.ts';
import { startPostgresOnly, startStores, type Stores } from '../support/stores.ts';
import { commandWeir, startWeir } from '../support/weir.ts';

const log = createLog('silent');
const SETTLED = { timeout: 20_000, interval: 50 };
const file = findPgBouncer();
const isRequired = Boolean(process.env['CI']);
if (file === null && !isRequired) {
  console.warn('NOT RUN: Weir behind PgBouncer. Install it first (Debian: apt-get install pgbouncer).');
}

describe.skipIf(file === null && !isRequired).each(['session', 'transaction'] as const)(
  'behind PgBouncer in %s mode',
  (poolMode) => {
    let stores: Stores;
    let pooler: PgBouncer;
    let postgres: ReturnType<typeof createPostgres>;

    beforeAll(async () => {
      expect(file, 'PgBouncer is not installed, and in CI it has to be').not.toBeNull();
      stores = await startStores({ isMigrated: false });
      // In session mode a client keeps its connection: as many as all clients together.
      const maxServers = poolMode === 'session' ? 60 : 3;
      pooler = await startPgBouncer({ file: file!, databaseUrl: stores.databaseUrl, poolMode, maxServers });
      postgres = createPostgres({ url: pooler.url, maxConnections: 8 }, log);
    });
    afterAll(async () => {
      await postgres?.pool.end();
      await pooler?.stop();
      await stores?.stop();
    });

    async function migrateOnce() {
      const clickhouse = createClickHouse({ url: stores.clickhouseUrl, database: stores.database });
      const { pool } = createPostgres({ url: pooler.url, maxConnections: 1 }, log);
      try {
        return await migrateStores({ postgres: pool, events: createEventSchema(clickhouse, stores.database) }, log);
      } finally {
        await Promise.all([clickhouse.close(), pool.end()]);
      }
    }

    /** Around the pooler. */
    async function rowsOf<Row extends object>(query: string): Promise<Row[]> {
      return (await stores.postgres.pool.query<Row>(query)).rows;
    }

    test('four processes migrate at once: each migration is applied by one of them, and the lock is free', async () => {
      const outcomes = await Promise.all([migrateOnce(), migrateOnce(), migrateOnce(), migrateOnce()]);
      expect(outcomes.flatMap(({ events }) => events)).toEqual(readMigrations().map(({ name }) => name));
      expect(outcomes.flatMap((applied) => applied.postgres)).toEqual(readJournal().map(({ tag }) => tag));
      expect(await rowsOf(`SELECT pid FROM pg_locks WHERE locktype = 'advisory'`)).toEqual([]);
      expect(await migrateOnce()).toEqual({ postgres: [], events: [] });
    });

    test('the migration lock excludes, for as long as it is held and no longer', async () => {
      let inside = 0;
      let most = 0;
      const enter = () =>
        withMigrationLock(postgres.pool, systemClock, async () => {
          most = Math.max(most, ++inside);
          await delay(300);
          inside--;
        });
      await Promise.all([enter(), enter(), enter(), enter()]);
      expect(most).toBe(1);
      expect(await rowsOf(`SELECT pid FROM pg_locks WHERE locktype = 'advisory'`)).toEqual([]);
    });

    test('dead letters go in, are claimed, divided and completed', async () => {
      const store = createDeadLetters(postgres.db, log);
      const batches = Array.from({ length: 20 }, (_, place) => batchOf(place + 1, goodRows(5, place * 10)));
      const failure = new InsertFailure('away', { failureClass: 'unavailable' });
      await Promise.all(batches.map((batch) => store.add(batch, { failure, ambiguous: false })));
      const limits = { maxRows: 10, maxBytes: 1_000_000, leaseMs: 60_000 };
      const claimed = (await Promise.all([store.claim(limits), store.claim(limits)])).flat();
      expect(claimed.map(({ id }) => id).sort()).toEqual(batches.map(({ id }) => id).sort());
      for (const letter of claimed) expect(await store.quarantine(letter, 'refused', failure)).toBe(true);
      expect(await store.measure()).toMatchObject({ rows: 0, quarantinedRows: 20, quarantinedEvents: 100 });
    });

    test('a statement that takes too long is ended on the server too, in a transaction and outside of one', async () => {
      const asleep = async () =>
        rowsOf(
          `SELECT pid FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%pg_sleep(77%' AND pid <> pg_backend_pid()`,
        );
      const alone = postgres.pool.query('SELECT pg_sleep(77)');
      const inside = postgres.db.transaction((tx) => tx.execute('SELECT pg_sleep(77.5)'));
      const outcomes = Promise.allSettled([alone, inside]);
      await vi.waitFor(async () => expect(await asleep()).toHaveLength(2), SETTLED);
      for (const outcome of await outcomes) expect(outcome.status).toBe('rejected');
      await vi.waitFor(async () => expect(await asleep()).toEqual([]), SETTLED);
    });

    test('a transaction whose process froze is ended by the server', async () => {
      const thawed = Promise.withResolvers<void>();
      const frozen = postgres.db.transaction(() => thawed.promise);
      const idle = () => rowsOf(`SELECT pid FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'`);
      await vi.waitFor(async () => expect(await idle()).toHaveLength(1), SETTLED);
      await vi.waitFor(async () => expect(await idle()).toEqual([]), SETTLED);
      thawed.resolve();
      await expect(frozen).rejects.toThrow();
    });

    test('nothing of it stays in the connections that others are given', async () => {
      await postgres.db.transaction((tx) => tx.execute('SELECT 1'));
      const settings = `current_setting('statement_timeout') AS statement, current_setting('idle_in_transaction_session_timeout') AS idle`;
      const asked = await Promise.all(
        Array.from({ length: 8 }, () => postgres.pool.query(`SELECT ${settings}, pg_sleep(0.1)::text`)),
      );
      for (const { rows } of asked) expect(rows).toMatchObject([{ statement: '0', idle: '0' }]);
      const prepared = await postgres.pool.query('SELECT name FROM pg_prepared_statements');
      expect(prepared.rows).toEqual([]);
    });

    test('a whole Weir takes events in, spills them and drains them', async () => {
      const cwd = mkdtempSync(join(tmpdir(), 'weir-pooler-'));
      onTestFinished(() => rmSync(cwd, { recursive: true, force: true }));
      const clickhouse = await startHttpProxy(stores.clickhouseUrl);
      onTestFinished(() => clickhouse.stop());
      const env = { DATABASE_URL: pooler.url, CLICKHOUSE_URL: clickhouse.url };
      const project = (await commandWeir(['project', 'create', 'shop'], { cwd, env })).stdout.trim();
      const token = (await commandWeir(['token', 'create', '--project', project], { cwd, env })).stdout.trim();
      const weir = startWeir(['serve'], { cwd, env: { ...env, PORT: '0', HOST: '127.0.0.1', WEIR_DATA_DIR: cwd } });
      onTestFinished(() => void weir.child.kill('SIGKILL'));
      const url = await vi.waitFor(async () => {
        const runtime = readRuntime(cwd);
        const at = runtime.kind === 'running' ? runtime.url : null;
        expect((await fetch(new URL('/ready', at ?? 'http://127.0.0.1:1'))).status).toBe(200);
        return at!;
      }, SETTLED);
      const send = async (event: string) => {
        const body = JSON.stringify({ events: [{ event, timestamp: Math.floor(Date.now() / 1_000), user_id: 'u1' }] });
        const headers = { authorization: `Bearer ${token}` };
        return (await fetch(`${url}/api/v1/ingest/events`, { method: 'POST', headers, body })).status;
      };
      const stored = async () =>
        (await stores.select<{ event: string }>('SELECT event FROM events ORDER BY event')).map(({ event }) => event);

      expect(await send('before')).toBe(202);
      await vi.waitFor(async () => expect(await stored()).toEqual(['before']), SETTLED);
      await clickhouse.refuse();
      expect(await send('meanwhile')).toBe(202);
      const letters = () => rowsOf('SELECT 1 FROM failed_events WHERE quarantined_at IS NULL');
      await vi.waitFor(async () => expect(await letters()).toHaveLength(1), SETTLED);
      await clickhouse.accept();
      await vi.waitFor(async () => expect(await stored()).toEqual(['before', 'meanwhile']), SETTLED);
      await vi.waitFor(async () => expect(await letters()).toEqual([]), SETTLED);
      weir.child.kill('SIGTERM');
      expect(await weir.finished).toMatchObject({ code: 0 });
    });

    test('a pooler that goes away in between is survived', async () => {
      onTestFinished(async () => void (await vi.waitFor(() => postgres.pool.query('SELECT 1'), SETTLED)));
      await pooler.stop();
      await expect(postgres.pool.query('SELECT 1')).rejects.toThrow();
      pooler = await startPgBouncer({ file: file!, databaseUrl: stores.databaseUrl, poolMode, port: pooler.port });
    });
  },
);

test.skipIf(file === null && !isRequired)(
  'the migration lock outlives a pooler with little patience for transactions that wait',
  async () => {
    const server = await startPostgresOnly();
    onTestFinished(() => server.discard());
    const at = { file: file!, databaseUrl: server.url, poolMode: 'transaction', patienceS: 3 } as const;
    const pooler = await startPgBouncer(at);
    onTestFinished(() => pooler.stop());
    const { pool } = createPostgres({ url: pooler.url, maxConnections: 1 }, log);
    onTestFinished(() => pool.end());
    // The control: without a sign of life it is ended.
    await expect(withMigrationLock(pool, systemClock, () => delay(5_000))).rejects.toThrow();
    const work = (client: Client) => keepingLock(client, systemClock, () => delay(5_000, 'done'));
    expect(await withMigrationLock(pool, systemClock, work)).toBe('done');
  },
);
