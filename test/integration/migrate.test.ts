import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { createClickHouse } from '../../src/clickhouse/connection/client.ts';
import { migrateClickHouse, MigrationChanged, readMigrations } from '../../src/clickhouse/migrations/migrate.ts';
import { checkSchema } from '../../src/clickhouse/migrations/schema-check.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { createLog } from '../../src/log/log.ts';
import { createEventSchema } from '../../src/clickhouse/migrations/event-schema.ts';
import { migrateStores } from '../../src/composition/migrate-stores.ts';
import { finishRebuild } from '../../src/composition/table-rebuild.ts';
import type { RebuildState } from '../../src/pipeline/storage-port.ts';
import { keepingLock, withMigrationLock } from '../../src/postgres/migrations/migrate.ts';
import { readJournal } from '../../src/postgres/migrations/migrations.ts';
import { createPostgres } from '../../src/postgres/connection/pool.ts';
import { createSchemaKeeper } from '../../src/composition/schema-keeper.ts';
import { until } from '../chaos/rig.ts';
import { createManualClock } from '../support/clock.ts';
import { isolatedUrl, startStores, type Stores } from '../support/stores.ts';

const log = createLog('silent');
let stores: Stores;

beforeAll(async () => {
  stores = await startStores({ isMigrated: false });
});
afterAll(() => stores.stop());

/** As a process of its own would: own connections. */
async function migrateOnce() {
  const clickhouse = createClickHouse({ url: stores.clickhouseUrl, database: stores.database });
  const { pool } = createPostgres({ url: stores.databaseUrl, maxConnections: 1 }, log);
  try {
    return await migrateStores({ postgres: pool, events: createEventSchema(clickhouse, stores.database) }, log);
  } finally {
    await Promise.all([clickhouse.close(), pool.end()]);
  }
}

const command = (query: string) => stores.clickhouse.command({ query });

const recorded = () => stores.select<{ name: string }>('SELECT name FROM schema_migrations ORDER BY name');

test('four at once all succeed, and each migration is applied by one of them', async () => {
  const outcomes = await Promise.all([migrateOnce(), migrateOnce(), migrateOnce(), migrateOnce()]);
  expect(outcomes.flatMap(({ events }) => events)).toEqual(readMigrations().map(({ name }) => name));
  expect(outcomes.flatMap(({ postgres }) => postgres)).toEqual(readJournal().map(({ tag }) => tag));
  expect(await recorded()).toHaveLength(readMigrations().length);
  expect(await migrateOnce()).toEqual({ postgres: [], events: [] });
});

describe('the migration lock', () => {
  const holders = async () => {
    const { rows } = await stores.postgres.pool.query<{ pid: number }>(
      `SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND objid = $1`,
      [0x77656972],
    );
    return rows.map(({ pid }) => pid);
  };

  test('waits for a version before, whose lock belongs to its session', async () => {
    const before = await stores.postgres.pool.connect();
    await before.query('SELECT pg_advisory_lock($1)', [0x77656972]);
    let isInside = false;
    const after = withMigrationLock(stores.postgres.pool, systemClock, async () => void (isInside = true));
    await delay(500);
    expect(isInside).toBe(false);
    await before.query('SELECT pg_advisory_unlock($1)', [0x77656972]);
    before.release();
    await after;
    expect(isInside).toBe(true);
  });

  test('sees what others have committed, whatever isolation transactions have by default', async () => {
    const { pool } = createPostgres(
      { url: isolatedUrl(stores.databaseUrl, 'repeatable read'), maxConnections: 1 },
      log,
    );
    onTestFinished(() => pool.end());
    const other = stores.postgres.pool;
    await other.query('CREATE TABLE committed_meanwhile (one int)');
    const seen = await withMigrationLock(pool, systemClock, async (client) => {
      await other.query('INSERT INTO committed_meanwhile VALUES (1)');
      return (await client.query('SELECT one FROM committed_meanwhile')).rows;
    });
    await other.query('DROP TABLE committed_meanwhile');
    expect(seen).toEqual([{ one: 1 }]);
  });

  test('that is lost on the way is no success', async () => {
    const working = withMigrationLock(stores.postgres.pool, systemClock, (client) =>
      keepingLock(client, systemClock, async () => {
        const [pid] = await holders();
        await stores.postgres.pool.query('SELECT pg_terminate_backend($1, 5000)', [pid]);
      }),
    );
    await expect(working).rejects.toMatchObject({ name: 'PostgresFailure' });
    expect(await holders()).toEqual([]);
  });
});

test('dead letters are stored outside of the row, not compressed again', async () => {
  const { rows } = await stores.postgres.pool.query(
    `SELECT attstorage FROM pg_attribute WHERE attrelid = 'failed_events'::regclass AND attname = 'payload'`,
  );
  expect(rows).toEqual([{ attstorage: 'e' }]);
});

test('a file that was interrupted is applied again from its start', async () => {
  const half = { name: '9001_half', text: 'CREATE TABLE IF NOT EXISTS half (a UInt8) ENGINE = Memory; SELECT nothing' };
  await expect(migrateClickHouse(stores.clickhouse, stores.database, [half])).rejects.toMatchObject({ code: '47' });
  const whole = { ...half, text: half.text.replace('nothing', '1') };
  expect(await migrateClickHouse(stores.clickhouse, stores.database, [whole])).toEqual(['9001_half']);
});

test('a file that was applied and then changed is refused by name', async () => {
  const changed = readMigrations().map((migration) => ({ ...migration, text: `${migration.text}\n-- more` }));
  const migrating = migrateClickHouse(stores.clickhouse, stores.database, changed);
  await expect(migrating).rejects.toThrow(MigrationChanged);
  await expect(migrating).rejects.toThrow(/0001_events_raw_v1/);
});

test('a table that is rebuilt by two at once is rebuilt once, and both know it', async () => {
  const database = 'rebuilt';
  const clickhouse = createClickHouse({ url: stores.clickhouseUrl, database });
  onTestFinished(() => clickhouse.close());
  const events = createEventSchema(clickhouse, database);
  await migrateClickHouse(clickhouse, database);
  const rows = `INSERT INTO events_raw_v1 (project_id, event_id, event, timestamp, received_at)
    SELECT generateUUIDv4(), generateUUIDv4(), 'visit', now() - number, now() FROM numbers(5000)`;
  await clickhouse.command({ query: rows });
  const deps = { postgres: stores.postgres.pool, events, clock: systemClock };
  const seen: string[] = [];
  const note = (state: RebuildState) => seen.push(state.kind === 'running' ? state.doing : state.kind);
  expect(await Promise.all([finishRebuild(deps, note), finishRebuild(deps, note)])).toEqual([
    { kind: 'done' },
    { kind: 'done' },
  ]);
  expect(new Set(seen)).toEqual(new Set(['copying', 'checking', 'finishing', 'done']));
  const found = await clickhouse.query({
    query: `SELECT sorting_key AS key, toUInt32(total_rows) AS rows FROM system.tables WHERE database = '${database}' AND startsWith(name, 'events_raw_v1')`,
    format: 'JSONEachRow',
  });
  expect(await found.json()).toEqual([{ key: 'project_id, event, toStartOfHour(timestamp), event_id', rows: 5_000 }]);
});

describe('the schema check', () => {
  beforeEach(async () => {
    expect(await checkSchema(stores.clickhouse, stores.database)).toEqual([]);
  });

  test.each([
    [
      'does not recognise repeated inserts',
      'events_raw_v1',
      'ALTER TABLE events_raw_v1 MODIFY SETTING non_replicated_deduplication_window = 0',
    ],
    [
      'does not recognise repeated inserts',
      'identity_links',
      'ALTER TABLE identity_links RESET SETTING non_replicated_deduplication_window',
    ],
    [
      'has no column campaign_id',
      'events_raw_v1',
      'ALTER TABLE events_raw_v1 DROP INDEX campaign_id_bloom, DROP COLUMN campaign_id',
    ],
    ['has no column properties_sent', 'events_raw_v1', 'ALTER TABLE events_raw_v1 DROP COLUMN properties_sent'],
    [
      'has the column source as String, not LowCardinality(String)',
      'events_raw_v1',
      'ALTER TABLE events_raw_v1 MODIFY COLUMN source String',
    ],
    ['is missing', 'event_counts_hourly_mv', 'DROP TABLE event_counts_hourly_mv'],
    ['is missing', 'identity_links', 'DROP TABLE identity_links SYNC'],
    ['is missing', 'sessions', 'DROP TABLE sessions'],
    ['is missing', 'events', 'DROP TABLE events'],
  ])('finds that it %s (%s), with the statement that cures it', async (problem, table, damage) => {
    await command(damage);
    const drifts = await checkSchema(stores.clickhouse, stores.database);
    expect(drifts).toHaveLength(1);
    expect(drifts[0]).toMatchObject({ table, problem: expect.stringContaining(problem) });
    // Over HTTP a statement comes alone; the client's database stands for USE.
    await command(drifts[0]!.remedy.replace(/^USE \w+; /, ''));
  });

  test('finds everything missing when the database is', async () => {
    const drifts = await checkSchema(stores.clickhouse, 'nowhere');
    expect(drifts.map(({ table }) => table)).toContain('events_raw_v1');
  });
});

test('a table that is changed while Weir runs is noticed, and that it was mended, without a restart', async () => {
  const clock = createManualClock();
  const lines: string[] = [];
  const heard = createLog('info', { write: (line: string) => void lines.push(line) });
  const { clickhouse, postgres, database } = stores;
  const events = createEventSchema(clickhouse, database);
  const keeper = createSchemaKeeper({ postgres: postgres.pool, events, clock, random: Math.random, log: heard });
  const stop = new AbortController();
  await keeper.run(stop.signal);
  const watching = keeper.watch(stop.signal);
  const seen = async (isDifferent: boolean) => {
    await until('the tables were looked at', async () => {
      await clock.advance(5 * 60_000);
      return keeper.facts().drift.length > 0 === isDifferent;
    });
  };
  expect(keeper.facts().drift).toEqual([]);
  await command('ALTER TABLE events_raw_v1 MODIFY COLUMN source String');
  await seen(true);
  await command('ALTER TABLE events_raw_v1 MODIFY COLUMN source LowCardinality(String)');
  await seen(false);
  stop.abort();
  await watching;
  // Said once when it came, and once when it went.
  expect(lines.filter((line) => line.includes('"msg":"schema differs"'))).toHaveLength(1);
  expect(lines.filter((line) => line.includes('"msg":"schema is as it should be"'))).toHaveLength(1);
});
