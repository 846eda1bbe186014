/**
 * Product events, as a service that had Postgres and nothing else gets them: what its clients and dashboards are
 * answered is the same as with ClickHouse, text by text.
 */
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { createProjects } from '../../src/postgres/accounts/projects.ts';
import { type OpenDoor, openDoor } from '../support/door.ts';
import { randomOf } from '../support/factory.ts';
import { type PostgresStores, type Stores, startPostgresStores, startStores } from '../support/stores.ts';

const WAIT = { timeout: 30_000, interval: 50 };
const DAY_S = 86_400;
const FROM = 1_769_904_000;

let withClickHouse: { stores: Stores; door: OpenDoor };
let withPostgres: { stores: PostgresStores; door: OpenDoor };

beforeAll(async () => {
  const [clickhouse, postgres] = await Promise.all([startStores(), startPostgresStores()]);
  withClickHouse = { stores: clickhouse, door: await openFor(clickhouse) };
  withPostgres = { stores: postgres, door: await openFor(postgres) };
});
afterAll(async () => {
  for (const { door, stores } of [withClickHouse, withPostgres]) {
    await door?.stop();
    await stores?.stop();
  }
});

async function openFor(stores: Stores | PostgresStores): Promise<OpenDoor> {
  const wanted = { name: 'shop', retentionSeconds: null, allowedOrigins: [] };
  const { id } = await createProjects(stores.postgres.db).create(wanted);
  const settings = { INGEST_ANONYMOUS_PROJECT: id, INGEST_FLUSH_INTERVAL: '50ms' };
  const { databaseUrl } = stores;
  const at = 'clickhouse' in stores ? { databaseUrl, clickhouseUrl: stores.clickhouseUrl } : { databaseUrl };
  const door = await openDoor(at, settings);
  await vi.waitFor(async () => expect((await door.ask('/ready')).status).toBe(200), WAIT);
  return door;
}

/** What a door answers to all of them: status and text. */
async function answersOf(door: OpenDoor, requests: readonly [path: string, body?: unknown][]) {
  const answers: [number, string][] = [];
  for (const [path, body] of requests) {
    const init =
      body === undefined ? {} : { method: 'POST', body: typeof body === 'string' ? body : JSON.stringify(body) };
    const { status, text } = await door.ask(path, init);
    answers.push([status, text]);
  }
  return answers;
}

/** The answers, which are the same of both. */
async function sameOf(requests: readonly [path: string, body?: unknown][]) {
  const [one, other] = await Promise.all([withClickHouse, withPostgres].map(({ door }) => answersOf(door, requests)));
  expect(other).toEqual(one);
  return other!;
}

test('the requests of a dashboard and its clients', async () => {
  const one =
    '{"event_name":"product_view","channel":"web","campaign_id":"summer_sale_2024","user_id":"user_12345","timestamp":1708732800000,"tags":["electronics","featured"],"metadata":{"product_id":"SKU-001","page_url":"/products/laptop"}}';
  const several = [
    { event_name: 'page_view', channel: 'web', user_id: 'user_123', timestamp: FROM },
    { event_name: 'page_view', channel: 'mobile', user_id: 'user_456', timestamp: FROM + 60 },
  ];
  const sent = await sameOf([
    ['/events?ack=stored', one],
    ['/events/bulk?ack=stored', several],
  ]);
  expect(sent).toEqual([
    [202, '{"status":"accepted"}'],
    [202, '{"status":"accepted","accepted":2,"rejected":0}'],
  ]);
  const [total, byDay] = await sameOf([
    [`/metrics?event_name=page_view&from=${FROM}&to=${FROM + DAY_S}`],
    [`/metrics?event_name=page_view&from=${FROM}&to=${FROM + DAY_S}&group_by=day`],
    [`/metrics?event_name=page_view&from=${FROM}&to=${FROM + DAY_S}&group_by=channel`],
    ['/metrics?event_name=product_view&from=1708700000&to=1708800000&group_by=hour'],
    [`/metrics?event_name=nothing&from=${FROM}&to=${FROM + 1}`],
    ['/metrics'],
    ['/metrics?event_name=page_view&group_by=week'],
  ]);
  expect(JSON.parse(total![1])).toMatchObject({ total_events: 2, unique_users: 2 });
  expect(JSON.parse(byDay![1])).toMatchObject({ data: [{ total_events: 2, unique_users: 2 }] });
});

test('rejections, one by one', async () => {
  await sameOf([
    ['/events', { event_name: 'x' }],
    ['/events', '{'],
    ['/events/bulk', [{ event_name: 'x', user_id: 'u', timestamp: FROM }, { user_id: 'u' }, 7]],
    ['/events/bulk', []],
    [
      '/events',
      { event_name: 'null \u0000 inside', user_id: 'u\u0000', timestamp: FROM, metadata: { '\u0000': '\u0000' } },
    ],
  ]);
});

test('three weeks of events, by hour, day, channel and exactly', async () => {
  const random = randomOf(5);
  const channels = ['web', 'mobile', 'api', 'email', 'push', ''];
  const events = Array.from({ length: 3_000 }, (_, index) => ({
    event_name: index % 3 === 0 ? 'order_placed' : 'visit',
    user_id: `user-${Math.floor(random() * 400)}`,
    timestamp: FROM + Math.floor(random() * 21 * DAY_S),
    channel: channels[Math.floor(random() * channels.length)],
    metadata: { amount: index },
  }));
  await sameOf(
    Array.from({ length: 3 }, (_, part) => ['/events/bulk?ack=stored', events.slice(part * 1_000, (part + 1) * 1_000)]),
  );
  const windows = [
    [FROM, FROM + 21 * DAY_S],
    [FROM + 1_234, FROM + 5 * DAY_S + 77],
    [FROM + 3_600, FROM + 3_601],
  ];
  const asked = windows.flatMap(([from, to]) =>
    ['', '&group_by=hour', '&group_by=day', '&group_by=channel'].flatMap((group) =>
      ['', '&exact=true'].map((exact): [string] => [`/metrics?event_name=visit&from=${from}&to=${to}${group}${exact}`]),
    ),
  );
  const answers = await sameOf(asked);
  expect(JSON.parse(answers[0]![1])).toMatchObject({ total_events: 2_000 });
});
