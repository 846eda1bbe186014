/** Promoted properties and the rebuild of the table of events: whichever comes first, and while the other is under way. */
import type { ClickHouseClient } from '@clickhouse/client';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { createClickHouse } from '../../src/clickhouse/connection/client.ts';
import { createEventSchema } from '../../src/clickhouse/migrations/event-schema.ts';
import { EVENTS, NEW_KEY, REBUILT } from '../../src/clickhouse/migrations/event-tables.ts';
import { isAfterRebuild, migrateClickHouse, readMigrations } from '../../src/clickhouse/migrations/migrate.ts';
import type { PromotedProperty } from '../../src/clickhouse/migrations/promoted-properties.ts';
import { describeProperties, setProperties } from '../../src/clickhouse/operations/property-columns.ts';
import { fillProperty } from '../../src/clickhouse/operations/property-filling.ts';
import type { RebuildState } from '../../src/pipeline/storage-port.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { PROJECT } from '../support/factory.ts';
import { startClickHouseOnly } from '../support/stores.ts';

let server: Awaited<ReturnType<typeof startClickHouseOnly>>;
let made = 0;

beforeAll(async () => {
  server = await startClickHouseOnly();
});
afterAll(() => server?.discard());

const PLAN: PromotedProperty = { name: 'plan', type: 'String' };
const SEATS: PromotedProperty = { name: 'team.seats', type: 'Int64' };
const EVENTS_BEFORE = 3_000;

type Database = { readonly client: ClickHouseClient; readonly database: string };

/** As the version before left it, with events of two months. */
async function oldDatabase(): Promise<Database> {
  const database = `promoted${++made}`;
  const client = createClickHouse({ url: server.url, database, maxConnections: 16 });
  onTestFinished(async () => {
    await command(client, `DROP DATABASE ${database} SYNC`);
    await client.close();
  });
  await migrateClickHouse(
    client,
    database,
    readMigrations().filter((migration) => !isAfterRebuild(migration)),
  );
  await insert(client, 0, EVENTS_BEFORE);
  return { client, database };
}

const command = (client: ClickHouseClient, query: string) =>
  client.command({ query, clickhouse_settings: { wait_end_of_query: 1 } });

const insert = (client: ClickHouseClient, from: number, count: number) =>
  command(
    client,
    `INSERT INTO ${EVENTS} (project_id, event_id, event, timestamp, properties, extras, source, received_at)
     SELECT '${PROJECT}', toUUID(concat('01900000-0000-8000-8000-', leftPad(toString(number), 12, '0'))), concat('name ', toString(number % 5)), received_at,
       concat('{"plan":"p', toString(number), '","team":{"seats":', toString(number), '}}'), '{}', 'native',
       toDateTime64('2026-01-20 00:00:00', 3, 'UTC') + INTERVAL (number * 900) SECOND AS received_at
     FROM numbers(${from}, ${count})`,
  );

async function select<Row>(client: ClickHouseClient, query: string): Promise<Row[]> {
  const answer = await client.query({ query, format: 'JSONEachRow' });
  return answer.json<Row>();
}

/** Takes steps until `isReached`, or to the end and what waited for it. */
async function rebuild({ client, database }: Database, isReached: (state: RebuildState) => boolean = () => false) {
  const { rebuild: table, migrate } = createEventSchema(client, database);
  for (let steps = 0; steps < 200; steps += 1) {
    const { state, next } = await table.read();
    if (isReached(state)) return;
    if (next === 'none') {
      await migrate();
      return;
    }
    const after = await table.take(next);
    if (after.kind === 'running' && after.waitsFor !== null) await systemClock.sleep(100);
  }
  throw new Error('it does not come to an end');
}

/** In the middle of it: something is copied already, of what is copied. */
const isDoing = (doing: string) => (state: RebuildState) =>
  state.kind === 'running' && state.doing === doing && (doing !== 'copying' || state.rows > 0);

const set = ({ client, database }: Database, ...properties: PromotedProperty[]) =>
  setProperties(client, database, properties);
const fill = ({ client, database }: Database, { name }: PromotedProperty) =>
  fillProperty({ client, clock: systemClock }, { database, name });

/** All events have the values of their text, in the view as well as in the table, and stored. */
async function expectWhole({ client, database }: Database, events: number, ...properties: PromotedProperty[]) {
  const right = properties.map(({ name }) => {
    const path = name.split('.').map((part) => `'${part}'`);
    return `toString(properties.${name}) = JSONExtractString(properties, ${path.join(', ')})`;
  });
  for (const table of ['events', EVENTS]) {
    const [row] = await select(
      client,
      `SELECT toString(uniqExact(event_id)) AS events, toString(countIf(NOT ifNull(${right.join(' AND ')}, 0))) AS wrong FROM ${table}`,
    );
    expect(row, table).toEqual({ events: String(events), wrong: '0' });
  }
  const { properties: found, foreign } = await describeProperties(client, database);
  expect(foreign).toEqual([]);
  expect(found.map(({ name, stored, rows, isAltered }) => ({ name, isStored: stored === rows, isAltered }))).toEqual(
    expect.arrayContaining(properties.map(({ name }) => ({ name, isStored: true, isAltered: false }))),
  );
  expect(found).toHaveLength(properties.length);
  expect(await createEventSchema(client, database).check()).toEqual([]);
}

const keyAndId = async (client: ClickHouseClient, table: string) => {
  const [row] = await select<{ key: string; uuid: string }>(
    client,
    `SELECT sorting_key AS key, toString(uuid) AS uuid FROM system.tables WHERE database = currentDatabase() AND name = '${table}'`,
  );
  return row;
};

test('promoted under the old key: shown at once, in the views of then, and kept by the rebuild', async () => {
  const world = await oldDatabase();
  await set(world, PLAN, SEATS);
  expect(await select(world.client, "SELECT properties.plan AS plan FROM events WHERE properties.plan = 'p7'")).toEqual(
    [{ plan: 'p7' }],
  );
  await fill(world, PLAN);
  await fill(world, SEATS);
  await expectWhole(world, EVENTS_BEFORE, PLAN, SEATS);
  await rebuild(world);
  expect((await keyAndId(world.client, EVENTS))!.key).toBe(NEW_KEY);
  await expectWhole(world, EVENTS_BEFORE, PLAN, SEATS);
});

test('promoted, and not stored for old rows yet: the rebuild stores it', async () => {
  const world = await oldDatabase();
  await set(world, PLAN);
  await rebuild(world);
  await expectWhole(world, EVENTS_BEFORE, PLAN);
});

test.each(['copying', 'checking', 'finishing'])('promoted while it is %s: nothing is copied anew', async (doing) => {
  const world = await oldDatabase();
  await set(world, PLAN);
  await rebuild(world, isDoing(doing));
  const beside = await keyAndId(world.client, REBUILT);
  await set(world, PLAN, SEATS);
  await insert(world.client, EVENTS_BEFORE, 100);
  let isCopiedAnew = false;
  const tables = new Set([beside!.uuid, (await keyAndId(world.client, EVENTS))!.uuid]);
  const { rebuild: table } = createEventSchema(world.client, world.database);
  for (let { next } = await table.read(); next !== 'none'; { next } = await table.read()) {
    const after = await table.take(next);
    if (after.kind === 'running' && after.waitsFor !== null) await systemClock.sleep(100);
    isCopiedAnew ||= !tables.has((await keyAndId(world.client, EVENTS))!.uuid);
  }
  expect(isCopiedAnew).toBe(false);
  await rebuild(world);
  await fill(world, SEATS);
  await expectWhole(world, EVENTS_BEFORE + 100, PLAN, SEATS);
});

test('stored for old rows while it copies, which waits: in the table that stays', async () => {
  const world = await oldDatabase();
  await rebuild(world, isDoing('copying'));
  await set(world, PLAN);
  await fill(world, PLAN);
  await rebuild(world);
  await fill(world, PLAN);
  await expectWhole(world, EVENTS_BEFORE, PLAN);
});

test('demoted while it copies: gone from both', async () => {
  const world = await oldDatabase();
  await set(world, PLAN, SEATS);
  await rebuild(world, isDoing('checking'));
  await set(world, SEATS);
  await rebuild(world);
  await fill(world, SEATS);
  await expectWhole(world, EVENTS_BEFORE, SEATS);
});

test('promoted in the one table only, as a process that ends in between leaves it: the same again mends it', async () => {
  const world = await oldDatabase();
  await rebuild(world, isDoing('checking'));
  await set(world, PLAN);
  await command(world.client, `ALTER TABLE ${REBUILT} DROP COLUMN \`properties.plan\``);
  await set(world, PLAN);
  await rebuild(world);
  await fill(world, PLAN);
  await expectWhole(world, EVENTS_BEFORE, PLAN);
});

test('promoted in the one table only, and nobody mends it: the copy begins anew, with it', async () => {
  const world = await oldDatabase();
  await rebuild(world, isDoing('checking'));
  await set(world, PLAN);
  await command(world.client, `ALTER TABLE ${REBUILT} DROP COLUMN \`properties.plan\``);
  await rebuild(world);
  await fill(world, PLAN);
  await expectWhole(world, EVENTS_BEFORE, PLAN);
});
