import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { randomOf } from '../support/factory.ts';
import { type OpenDoor, openDoor } from '../support/door.ts';
import { startStores, type Stores } from '../support/stores.ts';
import { SEED } from '../support/seed.ts';

let stores: Stores;
let door: OpenDoor;

beforeAll(async () => {
  stores = await startStores();
  door = await openDoor(stores, { INGEST_DISABLED: 'false' });
  await door.weir.migrated;
});
afterAll(async () => {
  await door.stop();
  await stores.stop();
});

type Sent = { at: string | number; user?: string; anonymous?: string; channel?: string; id?: string; event?: string };
type Tenant = Awaited<ReturnType<typeof newTenant>>;
type Query = Record<string, string | number>;

/** A project of its own for each test, with both kinds of token. */
async function newTenant() {
  const { id } = await door.weir.projects.create({ name: 'shop', retentionSeconds: null, allowedOrigins: [] });
  const tokenOf = async (kind: 'public' | 'secret') =>
    (await door.weir.tokens.create({ projectId: id, kind, name: null, imported: null }))!.plaintext;
  const [secret, open] = await Promise.all([tokenOf('secret'), tokenOf('public')]);
  const headers = { authorization: `Bearer ${secret}` };
  return { id, secret, open, send, get, counts };

  async function send(...events: Sent[]) {
    const answer = await door.send({ events: events.map(eventOf) }, headers, '?ack=stored');
    expect(answer.json).toEqual({ accepted: events.length, rejected: 0 });
    expect(answer.headers.get('weir-ack')).toBe('stored');
  }

  function get(query: Query) {
    const params = new URLSearchParams(
      Object.entries(query).map(([name, value]): [string, string] => [name, String(value)]),
    );
    return door.ask(`/metrics?${params.toString()}`, { headers });
  }

  /** Of the event "visit" on the day that most tests are about. */
  async function counts(query: Query) {
    const answer = await get({ event_name: 'visit', from: DAY_START, to: DAY_END, ...query });
    expect(answer.status, answer.text).toBe(200);
    return answer.json!;
  }
}

const DAY_START = Date.UTC(2026, 1, 6);
const DAY_END = Date.UTC(2026, 1, 7);
const HOUR = 3_600_000;
const DAY = 86_400_000;

const eventOf = ({ at, user, anonymous, channel, id = randomUUID(), event = 'visit' }: Sent) => ({
  event,
  event_id: id,
  timestamp: at,
  user_id: user ?? null,
  anonymous_id: anonymous ?? null,
  ...(channel === undefined ? {} : { channel }),
});

const isExact = [{ exact: 'false' }, { exact: 'true' }];

describe.each(isExact)('with exact=$exact', ({ exact }) => {
  let tenant: Tenant;
  beforeAll(async () => {
    tenant = await newTenant();
  });
  const counts = (query: Query) => tenant.counts({ exact, ...query });

  test('one user on two channels in one hour is one at the top, and one in each group', async () => {
    await tenant.send(
      { at: '2026-02-06T10:10:00Z', user: 'u1', channel: 'web' },
      { at: '2026-02-06T10:20:00Z', user: 'u1', channel: 'mobile' },
      { at: '2026-02-06T10:30:00Z', user: 'u1', channel: 'web' },
    );
    expect(await counts({ group_by: 'channel' })).toEqual({
      event_name: 'visit',
      from: DAY_START / 1_000,
      to: DAY_END / 1_000,
      grouped_by: 'channel',
      total_events: 3,
      unique_users: 1,
      data: [
        { group: 'mobile', total_events: 1, unique_users: 1 },
        { group: 'web', total_events: 2, unique_users: 1 },
      ],
    });
  });

  test('the same within an hour that the window cuts', async () => {
    const cut = { from: '2026-02-06T10:05:00Z', to: '2026-02-06T10:30:00Z', group_by: 'channel' };
    expect(await counts(cut)).toMatchObject({
      total_events: 2,
      unique_users: 1,
      data: [
        { group: 'mobile', total_events: 1, unique_users: 1 },
        { group: 'web', total_events: 1, unique_users: 1 },
      ],
    });
  });

  test('a user in an edge and in a whole hour is one', async () => {
    await tenant.send(
      { event: 'edge', at: '2026-02-06T09:59:59.999Z', user: 'u1' },
      { event: 'edge', at: '2026-02-06T10:00:00.000Z', user: 'u1' },
      { event: 'edge', at: '2026-02-06T11:00:00.000Z', user: 'u1' },
    );
    const cut = { event_name: 'edge', from: '2026-02-06T09:30:00Z', to: '2026-02-06T11:30:00Z' };
    expect(await counts(cut)).toMatchObject({ total_events: 3, unique_users: 1 });
    expect(await counts({ ...cut, group_by: 'hour' })).toMatchObject({
      total_events: 3,
      unique_users: 1,
      data: ['09', '10', '11'].map((hour) => ({
        group: `2026-02-06T${hour}:00:00Z`,
        total_events: 1,
        unique_users: 1,
      })),
    });
    expect(await counts({ ...cut, group_by: 'day' })).toMatchObject({
      unique_users: 1,
      data: [{ group: '2026-02-06T00:00:00Z', total_events: 3, unique_users: 1 }],
    });
  });

  test.each([
    ['in the middle of an hour', Date.UTC(2026, 1, 6, 15, 17, 23, 456)],
    ['on the hour', Date.UTC(2026, 1, 6, 16)],
    ['at midnight', Date.UTC(2026, 1, 7)],
    ['a millisecond before the hour', Date.UTC(2026, 1, 6, 18) - 1],
  ])('an event exactly at `from` counts, one exactly at `to` does not: %s', async (name, at) => {
    await tenant.send({ event: name, at, user: 'u1' });
    const total = async (from: number, to: number) => (await counts({ event_name: name, from, to }))['total_events'];
    expect(await total(at, at + 1)).toBe(1);
    expect(await total(at - 1, at)).toBe(0);
    expect(await total(at, at + 3 * HOUR)).toBe(1);
    expect(await total(at + 1, at + 3 * HOUR)).toBe(0);
    expect(await total(at - 3 * HOUR, at)).toBe(0);
    expect(await total(at - 3 * HOUR, at + 1)).toBe(1);
    expect(await total(0, Date.UTC(2200, 0, 1))).toBe(1);
  });

  test('an event of nobody is an event, and nobody is no user', async () => {
    await tenant.send(
      { event: 'nobody', at: '2026-02-06T10:10:00Z' },
      { event: 'nobody', at: '2026-02-06T10:10:00Z', anonymous: 'a' },
      { event: 'nobody', at: '2026-02-06T10:10:00Z', anonymous: 'a', user: 'u' },
      { event: 'nobody', at: '2026-02-06T10:10:00Z', user: 'a' },
    );
    expect(await counts({ event_name: 'nobody' })).toMatchObject({ total_events: 4, unique_users: 2 });
    const cut = { event_name: 'nobody', from: '2026-02-06T10:10:00Z', to: '2026-02-06T10:10:00.001Z' };
    expect(await counts(cut)).toMatchObject({ total_events: 4, unique_users: 2 });
  });

  test.each([{}, { group_by: 'channel' }, { group_by: 'hour' }, { group_by: 'day' }])(
    'nothing in the window is zeros: %j',
    async (grouping: Query) => {
      for (const to of [1, 36_000]) {
        expect(await counts({ ...grouping, from: 0, to })).toEqual({
          event_name: 'visit',
          from: 0,
          to,
          total_events: 0,
          unique_users: 0,
          ...('group_by' in grouping ? { grouped_by: grouping['group_by'], data: [] } : {}),
        });
      }
    },
  );

  test.each(["Robert'; DROP TABLE events_raw_v1 --", 'a\tb\\n{project:UUID}', 'ünïcode 🐎', 'nul \u0000 in it'])(
    'the name %j is only a name',
    async (event) => {
      await tenant.send({ event, at: '2026-02-06T10:10:00Z', user: 'u' });
      expect(await counts({ event_name: event })).toMatchObject({
        event_name: event,
        total_events: 1,
        unique_users: 1,
      });
    },
  );

  test('only the events of the name and the project count', async () => {
    const other = await newTenant();
    await other.send({ event: 'nobody', at: '2026-02-06T10:10:00Z', user: 'stranger' });
    expect(await counts({ event_name: 'nobody' })).toMatchObject({ total_events: 4 });
    expect(await other.counts({ exact })).toMatchObject({ total_events: 0 });
  });

  test('groups of no channel, and of hours around midnight and the end of February, are named and in order', async () => {
    const ats = ['2026-02-28T23:59:59.999Z', '2026-03-01T00:00:00Z', '2026-03-29T01:30:00Z', '2026-03-29T02:30:00Z'];
    await tenant.send(...ats.map((at) => ({ event: 'order', at, user: 'u' })), {
      event: 'order',
      at: ats[0]!,
      user: 'u',
      channel: 'web',
    });
    const asked = { event_name: 'order', from: '2026-02-01T00:00:00Z', to: '2026-05-01T00:00:00Z' };
    const groups = async (grouping: string) =>
      ((await counts({ ...asked, group_by: grouping }))['data'] as { group: string }[]).map(({ group }) => group);
    expect(await groups('channel')).toEqual(['', 'web']);
    expect(await groups('hour')).toEqual([
      '2026-02-28T23:00:00Z',
      '2026-03-01T00:00:00Z',
      '2026-03-29T01:00:00Z',
      '2026-03-29T02:00:00Z',
    ]);
    expect(await groups('day')).toEqual(['2026-02-28T00:00:00Z', '2026-03-01T00:00:00Z', '2026-03-29T00:00:00Z']);
  });
});

describe('an event id that was sent twice', () => {
  const twice = { at: '2026-02-06T10:10:00Z', user: 'u', id: randomUUID() };

  test('is one event when counted exactly, or in an hour that the window cuts; whole hours count what landed', async () => {
    const tenant = await newTenant();
    await tenant.send(twice);
    await tenant.send(twice);
    const cut = { from: '2026-02-06T10:05:00Z', to: '2026-02-06T10:50:00Z' };
    expect(await tenant.counts({ exact: 'true' })).toMatchObject({ total_events: 1, unique_users: 1 });
    expect(await tenant.counts(cut)).toMatchObject({ total_events: 1, unique_users: 1 });
    expect(await tenant.counts({})).toMatchObject({ total_events: 2, unique_users: 1 });
  });

  test('on two channels is one at the top and one in each group', async () => {
    const tenant = await newTenant();
    await tenant.send({ ...twice, channel: 'web' });
    await tenant.send({ ...twice, channel: 'api', at: '2026-02-06T10:10:00.001Z' });
    const cut = { from: '2026-02-06T10:05:00Z', to: '2026-02-06T10:50:00Z', group_by: 'channel' };
    for (const exact of ['true', 'false']) {
      expect(await tenant.counts({ ...cut, exact })).toMatchObject({
        total_events: 1,
        data: [{ total_events: 1 }, { total_events: 1 }],
      });
    }
  });
});

test('an event that has expired stays counted in whole hours, and is gone at the edges and when counted exactly', async () => {
  const tenant = await newTenant();
  const command = (query: string) => stores.clickhouse.command({ query, query_params: { project: tenant.id } });
  const cut = { from: '2026-02-06T10:05:00Z', to: '2026-02-06T10:50:00Z' };
  // Merging would remove it: what is tested is that nobody needs to wait for that.
  await command('SYSTEM STOP TTL MERGES events_raw_v1');
  try {
    await command(
      `INSERT INTO events_raw_v1 (project_id, event_id, event, user_id, timestamp, properties, extras, source, received_at, expires_at)
      SELECT {project:UUID}, generateUUIDv4(number), 'visit', 'u', '2026-02-06 10:10:00.000', '{}', '{}', 'test', now64(3), now() + 1000 * number - 500
      FROM numbers(2)`,
    );
    expect(await tenant.counts({})).toMatchObject({ total_events: 2 });
    expect(await tenant.counts(cut)).toMatchObject({ total_events: 1 });
    expect(await tenant.counts({ exact: 'true' })).toMatchObject({ total_events: 1 });
  } finally {
    await command('SYSTEM START TTL MERGES events_raw_v1');
  }
});

/** What is in a window, group by group, the plain way. */
function modelOf(events: readonly Sent[], from: number, to: number, groupBy: string) {
  const inside = events.filter(({ at }) => Number(at) >= from && Number(at) < to);
  const count = (some: readonly Sent[]) => ({
    total_events: some.length,
    unique_users: new Set(some.map(({ user, anonymous }) => user ?? anonymous).filter((who) => who !== undefined)).size,
  });
  const begin = (at: number, unit: number) =>
    new Date(Math.floor(at / unit) * unit).toISOString().replace('.000Z', 'Z');
  const groupOf = ({ at, channel }: Sent) =>
    groupBy === 'channel' ? (channel ?? '') : begin(Number(at), groupBy === 'hour' ? HOUR : DAY);
  const groups = [...Map.groupBy(inside, groupOf)].sort(([one], [other]) => (one < other ? -1 : 1));
  return { ...count(inside), data: groups.map(([group, some]) => ({ group, ...count(some) })) };
}

const ROUNDS = 40;

test(`random windows over random events are what a plain model says, counted either way (SEED=${SEED})`, async () => {
  const random = randomOf(SEED);
  const pick = <T>(all: readonly T[]): T => all[Math.floor(random() * all.length)]!;
  const tenant = await newTenant();
  const start = Date.UTC(2025, 11, 30);
  const SPAN = 5 * DAY;
  // Many on the edges of hours, where a window may begin or end.
  const instant = () => {
    const at = start + Math.floor(random() * SPAN);
    const edge = Math.floor(at / pick([HOUR, DAY])) * HOUR + pick([-1, 0, 0, 1]);
    return random() < 0.3 && edge > start ? edge : at;
  };
  const events = Array.from({ length: 2_000 }, (): Sent => {
    const user = random() < 0.6 ? `u${Math.floor(random() * 80)}` : undefined;
    const anonymous = random() < 0.7 ? `a${Math.floor(random() * 40)}` : undefined;
    const channel = pick([undefined, 'web', 'mobile', 'api']);
    return {
      at: instant(),
      ...(user === undefined ? {} : { user }),
      ...(anonymous === undefined ? {} : { anonymous }),
      ...(channel === undefined ? {} : { channel }),
    };
  });
  for (let from = 0; from < events.length; from += 500) await tenant.send(...events.slice(from, from + 500));

  for (let round = 0; round < ROUNDS; round += 1) {
    const from = random() < 0.3 ? Number(pick(events).at) : instant();
    const length = pick([1, 1_000, HOUR / 2, HOUR, 3 * HOUR, DAY, 2 * DAY, 400 * DAY]);
    const to = random() < 0.3 ? from + length : from + 1 + Math.floor(random() * length);
    const grouping = pick(['channel', 'hour', 'day']);
    const expected = modelOf(events, from, to, grouping);
    for (const exact of ['false', 'true']) {
      const asked = `round ${round}: ${from} to ${to} by ${grouping}, exact=${exact}`;
      const { total_events, unique_users, data } = await tenant.counts({ from, to, exact, group_by: grouping });
      expect({ total_events, unique_users, data }, asked).toEqual(expected);
    }
  }
});

test(`many events of many users agree with what is counted exactly, users within one in a hundred (SEED=${SEED})`, async () => {
  const random = randomOf(SEED + 1);
  const tenant = await newTenant();
  const start = Date.UTC(2026, 2, 1);
  // Twelve days; users that come back, some of them anonymous, and events of nobody.
  await stores.clickhouse.command({
    query: `INSERT INTO events_raw_v1 (project_id, event_id, event, user_id, anonymous_id, timestamp, properties, extras, source, received_at)
      SELECT {project:UUID}, generateUUIDv4(number), 'visit',
        if(number % 3 = 0, NULL, concat('u', toString(cityHash64(number, 1) % 20000))),
        if(number % 7 = 0, NULL, concat('a', toString(cityHash64(number, 2) % 9000))),
        fromUnixTimestamp64Milli(toInt64(${start} + number * 5184), 'UTC'), '{}', '{}', 'test', now64(3)
      FROM numbers(200000)`,
    query_params: { project: tenant.id },
  });
  for (let round = 0; round < 10; round += 1) {
    const from = start + Math.floor(random() * 4 * DAY);
    // From four days on there are enough events for bitmaps.
    const to = from + (3.2 + random() * 5) * DAY;
    for (const grouping of [{}, { group_by: 'day' }]) {
      const asked = { from, to: Math.floor(to), ...grouping };
      const counted = await tenant.counts(asked);
      const exactly = await tenant.counts({ ...asked, exact: 'true' });
      const lines = (counts: Record<string, unknown>) =>
        [counts, ...((counts['data'] as Record<string, unknown>[] | undefined) ?? [])].map(
          ({ group, total_events, unique_users }) => ({ group, events: total_events, users: Number(unique_users) }),
        );
      expect(counted['total_events']).toBeGreaterThan(50_000);
      const expected = lines(exactly).map(({ group, events, users }) => {
        const near: unknown = expect.closeTo(users, 0);
        return {
          group,
          events,
          users: users < 100 ? near : expect.toSatisfy((n: number) => Math.abs(n / users - 1) < 0.01),
        };
      });
      expect(lines(counted), `round ${round}: ${JSON.stringify(asked)}`).toEqual(expected);
    }
  }
});

test('hours and days of decades are listed up to a bound, and the total has them all', async () => {
  const tenant = await newTenant();
  const hours = 10_500;
  await stores.clickhouse.command({
    query: `INSERT INTO events_raw_v1 (project_id, event_id, event, user_id, timestamp, properties, extras, source, received_at)
      SELECT {project:UUID}, generateUUIDv4(number), 'visit', 'u', fromUnixTimestamp64Milli(toInt64(number * ${HOUR}), 'UTC'), '{}', '{}', 'test', now64(3)
      FROM numbers(${hours})`,
    query_params: { project: tenant.id },
  });
  for (const exact of ['false', 'true']) {
    const counted = await tenant.counts({ exact, from: 0, group_by: 'hour' });
    expect(counted).toMatchObject({ total_events: hours, unique_users: 1, data_truncated: true });
    expect(counted['data']).toHaveLength(10_000);
    expect((counted['data'] as unknown[])[0]).toMatchObject({ group: '1970-01-01T00:00:00Z' });
    expect(await tenant.counts({ exact, from: 0, group_by: 'day' })).not.toHaveProperty('data_truncated');
  }
});

test('events of other people’s future are found behind the last hour that 32 bits can write', async () => {
  const tenant = await newTenant();
  await stores.clickhouse.command({
    query: `INSERT INTO events_raw_v1 (project_id, event_id, event, user_id, timestamp, properties, extras, source, received_at)
      VALUES ({project:UUID}, generateUUIDv4(), 'visit', 'u', '2150-01-01 00:30:00.000', '{}', '{}', 'test', now64(3))`,
    query_params: { project: tenant.id },
  });
  const asked = { from: '2149-01-01T00:00:00Z', to: '2151-01-01T00:00:00Z', group_by: 'hour' };
  const found = { total_events: 1, data: [{ group: '2150-01-01T00:00:00Z', total_events: 1, unique_users: 1 }] };
  for (const exact of ['false', 'true']) expect(await tenant.counts({ ...asked, exact })).toMatchObject(found);
});

describe('who may ask', () => {
  test('a secret token, in any header; not a public one, not nobody', async () => {
    const { id, secret, open } = await newTenant();
    const ask = async (headers: Record<string, string>) => {
      const { status, json } = await door.ask('/metrics?event_name=visit', { headers });
      return [status, json!['code']];
    };
    expect(await ask({ authorization: `Bearer ${secret}` })).toEqual([200, undefined]);
    expect(await ask({ authorization: `Bearer ${id}:${secret}` })).toEqual([200, undefined]);
    expect(await ask({ 'x-api-key': secret })).toEqual([200, undefined]);
    expect(await ask({ authorization: `Bearer ${open}` })).toEqual([403, 'forbidden']);
    expect(await ask({ authorization: `Bearer mere_sec_${'0'.repeat(64)}` })).toEqual([401, 'unauthorized']);
    expect(await ask({})).toEqual([401, 'unauthorized']);
  });

  test('whoever, where a project is open to everybody; what is refused names the parameter', async () => {
    const { id, send } = await newTenant();
    await send({ at: Date.now() - 1_000, user: 'u' });
    const other = await openDoor(stores, { INGEST_ANONYMOUS_PROJECT: id, INGEST_DISABLED: 'true' });
    try {
      await other.weir.migrated;
      // Intake is disabled there: reading goes on.
      expect(await other.ask('/metrics?event_name=visit')).toMatchObject({ status: 200, json: { total_events: 1 } });
      const refused = await other.ask('/metrics?event_name=visit&group_by=week');
      expect(refused).toMatchObject({
        status: 400,
        json: { code: 'invalid_query', error: 'group_by must be one of channel, hour, day' },
      });
      expect(await other.ask('/metrics', { method: 'POST' })).toMatchObject({ status: 405 });
    } finally {
      await other.stop();
    }
  });

  test('nobody sees more of the window than a whole second by default', async () => {
    const { secret } = await newTenant();
    const headers = { authorization: `Bearer ${secret}` };
    const { json } = await door.ask('/metrics?event_name=visit', { headers });
    const to = json!['to'] as number;
    expect(Number.isInteger(to)).toBe(true);
    expect(to - (json!['from'] as number)).toBe(86_400);
    expect(Math.abs(to - Date.now() / 1_000)).toBeLessThan(30);
  });
});

describe('while ClickHouse', () => {
  test('hangs, the question is refused within seconds and not answered with zeros', async () => {
    const tenant = await newTenant();
    await tenant.send({ at: '2026-02-06T10:10:00Z', user: 'u' });
    stores.clickhouseServer.pause();
    try {
      const startedAt = performance.now();
      const answer = await tenant.get({ event_name: 'visit' });
      expect(answer).toMatchObject({ status: 503, json: { code: 'store_unavailable' } });
      expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
      expect(performance.now() - startedAt).toBeLessThan(20_000);
    } finally {
      stores.clickhouseServer.resume();
    }
    await expect.poll(async () => (await tenant.get({ event_name: 'visit' })).status, { timeout: 20_000 }).toBe(200);
  });

  test('is away, the same, in our words; and afterwards it is answered again', async () => {
    const tenant = await newTenant();
    await tenant.send({ at: '2026-02-06T10:10:00Z', user: 'u' });
    await stores.clickhouseServer.stop();
    const answer = await tenant.get({ event_name: 'visit' });
    await stores.clickhouseServer.start();
    expect(answer).toMatchObject({
      status: 503,
      json: { error: 'the store of the events does not answer at the moment', code: 'store_unavailable' },
    });
    await expect.poll(async () => (await tenant.get({ event_name: 'visit' })).status, { timeout: 20_000 }).toBe(200);
    expect(await tenant.counts({})).toMatchObject({ total_events: 1 });
  });
});
