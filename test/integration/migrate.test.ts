import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createClickHouse } from '../../src/clickhouse/client.ts';
import { migrateClickHouse, MigrationChanged, readMigrations } from '../../src/clickhouse/migrate.ts';
import { checkSchema } from '../../src/clickhouse/schema-check.ts';
import { createLog } from '../../src/log.ts';
import { migrateStores } from '../../src/migrate.ts';
import { readJournal } from '../../src/postgres/migrate.ts';
import { createPostgres } from '../../src/postgres/pool.ts';
import { startStores, type Stores } from '../support/stores.ts';

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
    return await migrateStores({ postgres: pool, clickhouse, database: stores.database }, log);
  } finally {
    await Promise.all([clickhouse.close(), pool.end()]);
  }
}

const command = (query: string) => stores.clickhouse.command({ query });

const recorded = () => stores.select<{ name: string }>('SELECT name FROM schema_migrations ORDER BY name');

test('four at once all succeed, and each migration is applied by one of them', async () => {
  const outcomes = await Promise.all([migrateOnce(), migrateOnce(), migrateOnce(), migrateOnce()]);
  expect(outcomes.flatMap(({ clickhouse }) => clickhouse)).toEqual(readMigrations().map(({ name }) => name));
  expect(outcomes.flatMap(({ postgres }) => postgres)).toEqual(readJournal().map(({ tag }) => tag));
  expect(await recorded()).toHaveLength(readMigrations().length);
  expect(await migrateOnce()).toEqual({ postgres: [], clickhouse: [] });
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
