import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createClickHouse } from '../../src/clickhouse/connection/client.ts';
import { isAfterRebuild, migrateClickHouse, readMigrations } from '../../src/clickhouse/migrations/migrate.ts';
import { checkSomeHours } from '../../src/clickhouse/reading/counted-copies.ts';
import { type OpenDoor, openDoor } from '../support/door.ts';
import { type Stores, startClickHouseOnly, startStores } from '../support/stores.ts';

/** Copies of events in the hourly counts: clients send again what nobody answered. */
let stores: Stores;
let door: OpenDoor;

beforeAll(async () => {
  stores = await startStores();
  door = await openDoor(stores, { INGEST_FLUSH_INTERVAL: '20ms' });
  await door.weir.migrated;
});
afterAll(async () => {
  await door.stop();
  await stores.stop();
});

const HOUR = '2026-02-06T10';
type Sent = { readonly id: string; readonly at?: string; readonly channel?: string };

async function newTenant(retentionSeconds: number | null = null) {
  const { id } = await door.weir.projects.create({ name: 'shop', retentionSeconds, allowedOrigins: [] });
  const made = await door.weir.tokens.create({ projectId: id, kind: 'secret', name: null, imported: null });
  const headers = { authorization: `Bearer ${made!.plaintext}` };
  return { id, send, counted, exactly: () => counted('exact=true') };

  async function send(...events: Sent[]) {
    const body = {
      events: events.map(({ id: event_id, at = `${HOUR}:10:00Z`, channel }) => ({
        event: 'visit',
        event_id,
        timestamp: at,
        user_id: 'u',
        properties: {},
        extras: channel === undefined ? {} : { channel },
      })),
    };
    const answer = await door.send(body, headers, '?ack=stored');
    expect(answer.headers.get('weir-ack')).toBe('stored');
  }

  async function counted(more = '') {
    const query = `event_name=visit&from=${HOUR}:00:00Z&to=2026-02-06T12:00:00Z&${more}`;
    const { json } = await door.ask(`/metrics?${query}`, { headers });
    return json!['total_events'];
  }
}

const check = (quietS = 0) => checkSomeHours(stores.clickhouse, { sinceS: 3_600, quietS });
/** When something was added is known to the second: without a pause, so is the look. */
async function nextSecond() {
  await expect
    .poll(async () => (await stores.select('SELECT now() > max(touched) AS is FROM event_counts_hourly'))[0], POLL)
    .toEqual({ is: 1 });
}
const POLL = { timeout: 20_000 };
const ids = (count: number) => Array.from({ length: count }, () => ({ id: randomUUID() }));
const copies = (project: string) =>
  stores.select(`SELECT channel, copies FROM event_copies FINAL WHERE project_id = '${project}' ORDER BY channel`);

test('an event that was sent again counts once, before and after its copies merge', async () => {
  const tenant = await newTenant();
  const events = ids(7);
  await tenant.send(...events);
  await tenant.send(...events.slice(0, 3));
  await tenant.send(...events.slice(2, 3));
  expect(await tenant.counted()).toBe(11);

  expect(await check()).toBe(1);
  expect(await tenant.counted()).toBe(7);
  expect(await tenant.counted('group_by=hour')).toBe(7);
  expect(await tenant.exactly()).toBe(7);

  await stores.clickhouse.command({ query: 'OPTIMIZE TABLE events_raw_v1 FINAL' });
  await nextSecond();
  await tenant.send(...events.slice(0, 1), ...ids(1));
  expect(await check()).toBe(1);
  expect(await tenant.counted()).toBe(8);
  expect(await copies(tenant.id)).toEqual([{ channel: '', copies: '5' }]);
});

test('an hour is looked at once, and again when something is added to it', async () => {
  const tenant = await newTenant();
  const events = ids(3);
  await tenant.send(...events);
  expect(await check()).toBe(1);
  expect(await check()).toBe(0);
  await nextSecond();
  await tenant.send(...events);
  expect(await tenant.counted()).toBe(6);
  expect(await check()).toBe(1);
  expect(await tenant.counted()).toBe(3);
});

test('an hour that rows may be on their way to is left alone', async () => {
  const tenant = await newTenant();
  const events = ids(2);
  await tenant.send(...events);
  await tenant.send(...events);
  expect(await check(3_600)).toBe(0);
  expect(await tenant.counted()).toBe(4);
  await expect.poll(() => check(), POLL).toBe(0);
  expect(await tenant.counted()).toBe(2);
});

test('of copies with different channels the last one counts, as in the table', async () => {
  const tenant = await newTenant();
  const [event] = ids(1);
  await tenant.send({ ...event!, channel: 'web' });
  await tenant.send({ ...event!, channel: 'app' });
  await check();
  expect(await copies(tenant.id)).toEqual([
    { channel: 'app', copies: '0' },
    { channel: 'web', copies: '1' },
  ]);
  expect(await tenant.counted('group_by=channel')).toBe(1);
});

test('two hours, two projects and two names do not mix', async () => {
  const [one, other] = [await newTenant(), await newTenant()];
  const [event] = ids(1);
  await one.send(event!, { id: event!.id, at: `2026-02-06T11:10:00Z` });
  await other.send(event!);
  await other.send(event!);
  await check();
  expect([await one.counted(), await other.counted()]).toEqual([2, 1]);
});

test('what has expired stays counted: it is no copy', async () => {
  const tenant = await newTenant();
  const insert = (expiry: string, id: string) =>
    stores.clickhouse.command({
      query: `INSERT INTO events_raw_v1 (project_id, event_id, event, user_id, timestamp, properties, extras, source, received_at, expires_at)
        SELECT {project:UUID}, {id:UUID}, 'visit', 'u', '2026-02-06 10:10:00.000', '{}', '{}', 'test', now64(3), ${expiry}`,
      query_params: { project: tenant.id, id },
    });
  const [first, second] = [randomUUID(), randomUUID()];
  await insert('now() + 86400 * 3650', first);
  await insert('now() + 86400 * 3650', first);
  await check();
  expect(await tenant.counted()).toBe(1);
  await nextSecond();
  // With a retention under which the hour is over: how many of its events are gone already, nobody knows.
  await insert('now() + 60', second);
  await expect.poll(() => check(), POLL).toBe(0);
  expect(await tenant.counted()).toBe(2);
  expect(await copies(tenant.id)).toEqual([{ channel: '', copies: '1' }]);
});

test('a name with quotes, zero bytes and emoji', async () => {
  const tenant = await newTenant();
  await stores.clickhouse.command({
    query: `INSERT INTO events_raw_v1 (project_id, event_id, event, timestamp, properties, extras, source, received_at)
      SELECT {project:UUID}, {id:UUID}, {name:String}, now64(3), '{}', '{}', 'test', now64(3) FROM numbers(3)`,
    query_params: { project: tenant.id, id: randomUUID(), name: `it's "a" \\ \t\n😀` },
    clickhouse_settings: { optimize_on_insert: 0 },
  });
  await check();
  expect(await copies(tenant.id)).toEqual([{ channel: '', copies: '2' }]);
});

test('rows of an insert that failed half way look like copies until a second look', async () => {
  const tenant = await newTenant();
  const [first] = ids(1);
  const run = (query: string) => stores.clickhouse.command({ query, query_params: { project: tenant.id } });
  await tenant.send(first!);
  // What a look has found before the row was in the table, half an hour ago.
  await run(`INSERT INTO event_copies (project_id, event, hour, channel, copies, touched, checked_at)
    SELECT project_id, event, hour, channel, 1, touched - 1800, touched - 1700 FROM event_counts_hourly WHERE project_id = {project:UUID}`);
  expect(await tenant.counted()).toBe(0);
  await run(`ALTER TABLE event_counts_hourly UPDATE touched = (SELECT max(touched) FROM event_copies WHERE project_id = {project:UUID})
    WHERE project_id = {project:UUID} SETTINGS mutations_sync = 1`);
  // From now on the Weir of the door may come first.
  await check();
  expect(await tenant.counted()).toBe(1);
  expect(await check()).toBe(0);
});

test('hours that an older version counted are not taken for new ones', async () => {
  const server = await startClickHouseOnly();
  const client = createClickHouse({ url: server.url, database: 'old', maxConnections: 2 });
  try {
    const migrations = readMigrations().filter((migration) => !isAfterRebuild(migration));
    const before = migrations.filter(({ name }) => name < '0013');
    await migrateClickHouse(client, 'old', before);
    const insert = () =>
      client.command({
        query: `INSERT INTO events_raw_v1 (project_id, event_id, event, timestamp, properties, extras, source, received_at)
          SELECT toUUID('22222222-2222-4222-8222-222222222222'), generateUUIDv4(number), 'visit', now64(3), '{}', '{}', 'test', now64(3) FROM numbers(1000)`,
      });
    await insert();
    await migrateClickHouse(client, 'old', migrations);
    expect(await checkSomeHours(client, { sinceS: 86_400, quietS: 0 })).toBe(0);
    await insert();
    expect(await checkSomeHours(client, { sinceS: 86_400, quietS: 0 })).toBe(1);
  } finally {
    await client.close();
    await server.discard();
  }
});
