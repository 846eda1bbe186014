import { Readable } from 'node:stream';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { INSERTING } from '../../src/clickhouse/event-store/insert-settings.ts';
import { startStores, type Stores } from '../support/stores.ts';

let stores: Stores;

beforeAll(async () => {
  stores = await startStores();
});
afterAll(() => stores.stop());

let projectCount = 0;
/** A project of its own for each test. */
const newProject = () => `00000000-0000-4000-8000-${String(++projectCount).padStart(12, '0')}`;
const eventId = (n: number) => `00000000-0000-7000-8000-${String(n).padStart(12, '0')}`;

type Fields = { [name: string]: string };

/** A row as raw JSON values, so that a test decides about every byte. */
function row(projectId: string, n: number, fields: Fields = {}): string {
  const all: Fields = {
    project_id: `"${projectId}"`,
    event_id: `"${eventId(n)}"`,
    event: '"visit"',
    anonymous_id: 'null',
    user_id: 'null',
    timestamp: '"2026-03-01T10:00:00.000Z"',
    session_id: 'null',
    properties: '{}',
    extras: '{}',
    source: '"native"',
    received_at: '"2026-03-01T10:00:01.000Z"',
    ...fields,
  };
  return `{${Object.entries(all)
    .map(([name, value]) => `"${name}":${value}`)
    .join(',')}}\n`;
}

/** Inserts as the event store does: raw bytes, under a token. */
async function insert(token: string, ...rows: string[]): Promise<void> {
  const { stream } = await stores.clickhouse.exec({
    query:
      'INSERT INTO events_raw_v1 (project_id, event_id, event, anonymous_id, user_id, timestamp, session_id, properties, extras, source, received_at) FORMAT JSONEachRow',
    values: Readable.from([Buffer.from(rows.join(''))], { objectMode: false }),
    clickhouse_settings: {
      async_insert: 0,
      ...INSERTING,
      insert_deduplication_token: token,
      wait_end_of_query: 1,
      date_time_input_format: 'best_effort',
      input_format_parallel_parsing: 0,
      input_format_json_read_objects_as_strings: 1,
    },
  });
  stream.resume();
}

const countsOf = (projectId: string) =>
  stores.select(
    `SELECT event, toString(hour) AS hour, channel, toUInt32(sum(events)) AS events, toUInt32(uniqCombined64Merge(users)) AS users
     FROM event_counts_hourly WHERE project_id = '${projectId}' GROUP BY event, hour, channel ORDER BY event, hour, channel`,
  );

const HOSTILE_OBJECTS = [
  '{"n":12345678901234567890,"m":0.1000000000000000055511151231257827}',
  '{"n":1e400,"m":-1e-400}',
  '{"a":1,"a":2,"b":3,"a":"x"}',
  '{"z":1,"y":2,"x":{"c":1,"b":2}}',
  '{"nul":"a\\u0000b"}',
  '{"high":"\\ud800","low":"\\udc00 x","pair":"\\ud83d\\ude00"}',
  '{  "spaces" :\t[ 1 , 2 ]  }',
  '{"slash":"\\/","quote":"\\"","unicode":"žluťoučký 🐎"}',
  '{"":{"":{}}}',
];

describe('what a client sends as an object', () => {
  test.each(HOSTILE_OBJECTS)('%s is kept byte for byte', async (object) => {
    const projectId = newProject();
    await insert(projectId, row(projectId, 1, { properties: object, extras: object }));
    const [stored] = await stores.select(
      `SELECT hex(properties) AS properties, hex(extras) AS extras FROM events WHERE project_id = '${projectId}'`,
    );
    const bytes = Buffer.from(object).toString('hex').toUpperCase();
    expect(stored).toEqual({ properties: bytes, extras: bytes });
  });

  test.each([
    ['numbers where strings are expected', '{"channel":5,"trace_id":1.5,"tags":7}'],
    ['objects', '{"channel":{"a":1},"service":[1,2],"tags":{"a":"b"}}'],
    ['mixed tags', '{"tags":["a",1,null,{"b":2},["c"]]}'],
    ['nulls', '{"channel":null,"trace_id":null,"tags":null}'],
    ['a number out of range', '{"channel":1e400,"tags":[1e400]}'],
    ['broken surrogates', '{"channel":"\\ud800","tags":["\\udfff"]}'],
    ['a key twice', '{"channel":"a","channel":{"b":1}}'],
    ['a very long channel', `{"channel":"${'x'.repeat(200_000)}"}`],
    ['sixty levels', `{"channel":${'['.repeat(60)}${']'.repeat(60)}}`],
    ['two thousand levels', `{"channel":${'['.repeat(2000)}${']'.repeat(2000)}}`],
  ])('never fails the insert: %s', async (_name, extras) => {
    const projectId = newProject();
    await insert(projectId, row(projectId, 1, { extras }), row(projectId, 2));
    expect(
      await stores.select(`SELECT extras FROM events WHERE project_id = '${projectId}' ORDER BY event_id LIMIT 1`),
    ).toEqual([{ extras }]);
  });

  test('fills the computed columns', async () => {
    const projectId = newProject();
    const extras =
      '{"channel":"web","service":"shop","env":"prod","level":"info","trace_id":"t1","request_id":"r1","job_id":"j1","campaign_id":"c1","tags":["a","b"]}';
    await insert(projectId, row(projectId, 1, { extras }));
    const columns = 'channel, service, env, level, trace_id, request_id, job_id, campaign_id, tags';
    expect(await stores.select(`SELECT ${columns} FROM events WHERE project_id = '${projectId}'`)).toEqual([
      JSON.parse(extras),
    ]);
  });

  test('spread over 200 months is one insert', async () => {
    const projectId = newProject();
    const rows = Array.from({ length: 200 }, (_, n) =>
      row(projectId, n, {
        timestamp: `"${2000 + Math.floor(n / 12)}-${String((n % 12) + 1).padStart(2, '0')}-01T00:00:00.000Z"`,
      }),
    );
    await insert(projectId, ...rows);
    expect(await countsOf(projectId)).toHaveLength(200);
  });
});

describe('one batch inserted three times', () => {
  test('is one row in the table and one in what each materialized view feeds', async () => {
    const projectId = newProject();
    const both = row(projectId, 1, { event: '"$identify"', anonymous_id: '"a"', user_id: '"u"' });
    for (let n = 0; n < 3; n++) await insert(projectId, both);
    for (const table of ['events_raw_v1', 'identity_links', 'event_counts_hourly']) {
      const counted = await stores.select(
        `SELECT toUInt32(count()) AS rows FROM ${table} WHERE project_id = '${projectId}'`,
      );
      expect(counted, table).toEqual([{ rows: 1 }]);
    }
    expect(await stores.select(`SELECT seconds FROM event_users WHERE project_id = '${projectId}'`)).toEqual([
      { seconds: 3_600 },
      { seconds: 86_400 },
    ]);
    expect(await countsOf(projectId)).toMatchObject([{ events: 1, users: 1 }]);
    // The control: under another token nothing recognises it.
    await insert(`${projectId} again`, both);
    expect(await countsOf(projectId)).toMatchObject([{ events: 2, users: 1 }]);
  });
});

test('hourly counts tell hours and channels apart, and users once', async () => {
  const projectId = newProject();
  const web = '{"channel":"web"}';
  await insert(
    projectId,
    row(projectId, 1, { extras: web, user_id: '"u"' }),
    row(projectId, 2, { extras: web, user_id: '"u"', anonymous_id: '"a"' }),
    row(projectId, 3, { anonymous_id: '"a"' }),
    row(projectId, 4),
    row(projectId, 5, { timestamp: '"2026-03-01T11:59:59.999Z"' }),
  );
  expect(await countsOf(projectId)).toEqual([
    { event: 'visit', hour: '2026-03-01 10:00:00', channel: '', events: 2, users: 1 },
    { event: 'visit', hour: '2026-03-01 10:00:00', channel: 'web', events: 2, users: 1 },
    { event: 'visit', hour: '2026-03-01 11:00:00', channel: '', events: 1, users: 0 },
  ]);
});

const identify = (projectId: string, n: number, user: string, receivedAt: string, timestamp = receivedAt) =>
  row(projectId, n, {
    event: '"$identify"',
    anonymous_id: '"a"',
    user_id: `"${user}"`,
    received_at: `"2026-03-01T${receivedAt}Z"`,
    timestamp: `"2026-03-01T${timestamp}Z"`,
  });

async function userOf(projectId: string): Promise<string[]> {
  const rows = await stores.select<{ user_id: string }>(
    `SELECT user_id FROM identities WHERE project_id = '${projectId}' AND anonymous_id = 'a'`,
  );
  return rows.map(({ user_id }) => user_id);
}

const links = (projectId: string) => [
  identify(projectId, 2, 'first', '10:00:00'),
  identify(projectId, 1, 'thief', '11:00:00', '01:00:00'),
  identify(projectId, 3, 'tie', '10:00:00'),
];

describe('identity', () => {
  test.each([
    ['$identify', 'native', true],
    ['$alias', 'segment', true],
    ['$create_alias', 'posthog', true],
    ['opened', 'amplitude', true],
    ['opened', 'mixpanel', true],
    ['opened', 'segment', false],
  ])('%s of %s links its ids: %s', async (event, source, isLinking) => {
    const projectId = newProject();
    const sent = row(projectId, 1, { event: `"${event}"`, anonymous_id: '"a"', user_id: '"u"', source: `"${source}"` });
    await insert(projectId, sent);
    expect(await userOf(projectId)).toEqual(isLinking ? ['u'] : []);
  });

  test.each([[[0, 1, 2]], [[2, 1, 0]], [[1, 2, 0]], [[1, 0, 2]]])(
    'the first to arrive keeps the id, inserted in the order %j',
    async (order) => {
      const projectId = newProject();
      for (const index of order) await insert(`${projectId} ${index}`, links(projectId)[index]!);
      expect(await userOf(projectId)).toEqual(['first']);
      await stores.clickhouse.command({ query: 'OPTIMIZE TABLE identity_links FINAL' });
      expect(await userOf(projectId)).toEqual(['first']);
    },
  );

  test('all in one insert give the same', async () => {
    const projectId = newProject();
    await insert(projectId, ...links(projectId).toReversed());
    expect(await userOf(projectId)).toEqual(['first']);
  });

  test('resolves what came before and after the link, but only within the project', async () => {
    const [projectId, other] = [newProject(), newProject()];
    const anonymous = { anonymous_id: '"a"' };
    await insert(`${projectId} 1`, row(projectId, 10, anonymous), row(other, 11, anonymous), row(projectId, 12));
    await insert(`${projectId} 2`, identify(projectId, 13, 'u', '12:00:00'));
    await insert(
      `${projectId} 3`,
      row(projectId, 14, anonymous),
      row(projectId, 15, { user_id: '"v"', anonymous_id: '"a"' }),
    );
    const ids = await stores.select<{ distinct_id: string | null }>(
      `SELECT distinct_id FROM events WHERE project_id IN ('${projectId}', '${other}') ORDER BY event_id`,
    );
    expect(ids.map(({ distinct_id }) => distinct_id)).toEqual(['u', 'a', null, 'u', 'u', 'v']);
  });
});

describe('the view of events', () => {
  test('shows one row per name and id, the last to arrive, whatever the copies of an hour differ in', async () => {
    const projectId = newProject();
    const copy = (name: string, receivedAt: string, timestamp: string) =>
      row(projectId, 1, { event: `"${name}"`, received_at: `"${receivedAt}"`, timestamp: `"${timestamp}"` });
    await insert(`${projectId} 1`, copy('paid', '2026-04-02T00:00:00.000Z', '2026-01-01T00:00:00.000Z'));
    await insert(`${projectId} 2`, copy('sent', '2026-02-02T00:00:00.000Z', '2026-02-01T00:00:00.000Z'));
    await insert(`${projectId} 3`, copy('paid', '2026-03-02T00:00:00.000Z', '2026-01-01T00:59:59.999Z'));
    const shown = () =>
      stores.select(
        `SELECT event, toString(timestamp) AS at FROM events WHERE project_id = '${projectId}' ORDER BY event`,
      );
    // Two names under one id are two events: it may be that of an order.
    const last = [
      { event: 'paid', at: '2026-01-01 00:00:00.000' },
      { event: 'sent', at: '2026-02-01 00:00:00.000' },
    ];
    expect(await shown()).toEqual(last);
    await stores.clickhouse.command({ query: 'OPTIMIZE TABLE events_raw_v1 FINAL' });
    expect(await shown()).toEqual(last);
    const [paid] = await stores.select<{ at: string }>(
      `SELECT toString(timestamp) AS at FROM events WHERE project_id = '${projectId}' AND event = 'paid'`,
    );
    expect(paid).toEqual({ at: '2026-01-01 00:00:00.000' });
  });

  test('the same id in two projects is two events', async () => {
    const [one, two] = [newProject(), newProject()];
    await insert(`${one} ${two}`, row(one, 1), row(two, 1));
    const shown = await stores.select(`SELECT project_id FROM events WHERE project_id IN ('${one}', '${two}')`);
    expect(shown).toHaveLength(2);
  });
});

const at = (time: string) => ({ timestamp: `"2026-03-01T${time}Z"` });

test('persons and sessions add up', async () => {
  const projectId = newProject();
  await insert(
    projectId,
    row(projectId, 1, { ...at('10:00:00.000'), anonymous_id: '"a"', session_id: '"s"' }),
    row(projectId, 2, {
      ...at('10:00:01.500'),
      anonymous_id: '"a"',
      user_id: '"u"',
      session_id: '"s"',
      event: '"$identify"',
    }),
    row(projectId, 3, { ...at('09:00:00.000'), anonymous_id: '"b"' }),
    row(projectId, 4, at('08:00:00.000')),
  );
  expect(
    await stores.select(
      `SELECT * EXCEPT project_id FROM persons WHERE project_id = '${projectId}' ORDER BY distinct_id`,
    ),
  ).toEqual([
    {
      distinct_id: 'b',
      first_seen: '2026-03-01 09:00:00.000',
      last_seen: '2026-03-01 09:00:00.000',
      events: '1',
      sessions: '0',
      is_identified: 0,
      anonymous_ids: ['b'],
    },
    {
      distinct_id: 'u',
      first_seen: '2026-03-01 10:00:00.000',
      last_seen: '2026-03-01 10:00:01.500',
      events: '2',
      sessions: '1',
      is_identified: 1,
      anonymous_ids: ['a'],
    },
  ]);
  expect(await stores.select(`SELECT * EXCEPT project_id FROM sessions WHERE project_id = '${projectId}'`)).toEqual([
    {
      session_id: 's',
      distinct_id: 'u',
      started_at: '2026-03-01 10:00:00.000',
      ended_at: '2026-03-01 10:00:01.500',
      duration_seconds: 1.5,
      events: '2',
    },
  ]);
});

test('monitor.events has the columns of the older service', async () => {
  const projectId = newProject();
  const extras = '{"service":"shop","env":"prod","trace_id":"trc_z","level":"warn"}';
  await insert(projectId, row(projectId, 1, { extras, properties: '{"n":1}' }), row(projectId, 2));
  expect(await stores.select(`SELECT * FROM monitor.events WHERE trace_id = 'trc_z'`)).toEqual([
    {
      timestamp: '2026-03-01 10:00:00.000',
      service: 'shop',
      name: 'visit',
      env: 'prod',
      job_id: '',
      request_id: '',
      trace_id: 'trc_z',
      level: 'warn',
      data: '{"n":1}',
    },
  ]);
});

test.each([
  ['a number beyond every double', '{"n":1e400,"service":"shop","trace_id":"trc_1"}', 'trc_1'],
  [
    'an integer beyond 64 bits',
    '{"service" : "shop","n":123456789012345678901234567890,"trace_id":"trc_\\"2"}',
    'trc_"2',
  ],
  ['half a surrogate pair', '{"service":"shop","trace_id":"trc_3","text":"\\ud800"}', 'trc_3'],
  ['half a surrogate pair in another field', '{"env":"\\ud800","trace_id":"trc_\\u00344","service":"shop"}', 'trc_44'],
  [
    'half a pair here and a whole one there',
    '{"service":"shop","trace_id":"trc_\\uD83D\\uDC0E","x":"\\udc00"}',
    'trc_🐎',
  ],
])('an event with %s in its extras is found like any other', async (_what, extras, traceId) => {
  const projectId = newProject();
  await insert(projectId, row(projectId, 1, { extras }));
  expect(await stores.select(`SELECT service, trace_id FROM monitor.events WHERE trace_id = '${traceId}'`)).toEqual([
    { service: 'shop', trace_id: traceId },
  ]);
  expect(await stores.select(`SELECT extras FROM events WHERE project_id = '${projectId}'`)).toEqual([{ extras }]);
});

describe('among many rows', () => {
  const crowd = newProject();

  beforeAll(async () => {
    await stores.clickhouse.command({
      query: `INSERT INTO events_raw_v1 (project_id, event_id, event, timestamp, properties, extras, source, received_at)
        SELECT if(number % 8 = 0, toUUID('${crowd}'), generateUUIDv4(intDiv(number, 20000))), generateUUIDv4(number), 'visit', now64(3), '{}',
          concat('{"service":"s","trace_id":"t', toString(number), '","request_id":"r', toString(number), '","job_id":"j', toString(number), '"}'), 'n', now64(3)
        FROM numbers(200000)`,
    });
    await stores.clickhouse.command({ query: 'OPTIMIZE TABLE events_raw_v1 FINAL' });
  });

  test.each(['events', 'persons', 'sessions'])('a project in %s is found by the primary key', async (view) => {
    expect(await rowsReadBy(`SELECT count() FROM ${view} WHERE project_id = '${crowd}'`)).toBeLessThan(60_000);
  });

  test.each(['trace_id', 'request_id', 'job_id'])('a %s in monitor.events is found by its index', async (column) => {
    const value = `${column[0]}123456`;
    expect(await stores.select(`SELECT service FROM monitor.events WHERE ${column} = '${value}'`)).toHaveLength(1);
    // A bloom filter lets some granules through by chance; without it all 200 000 rows are read.
    expect(await rowsReadBy(`SELECT * FROM monitor.events WHERE ${column} = '${value}'`)).toBeLessThan(120_000);
  });
});

test('an event whose time has come is gone from the views at once and from the table with the next merge', async () => {
  const projectId = newProject();
  const names = (table: string, name = 'event') =>
    stores.select(`SELECT ${name} FROM ${table} WHERE service = 'expiry' ORDER BY 1`);
  await stores.clickhouse.command({ query: 'SYSTEM STOP TTL MERGES events_raw_v1' });
  await stores.clickhouse.command({
    query: `INSERT INTO events_raw_v1 (project_id, event_id, event, timestamp, user_id, session_id, properties, extras, source, received_at, expires_at)
      SELECT '${projectId}', generateUUIDv4(), 'old', now64(3), 'gone', 'gone', '{}', '{"service":"expiry"}', 'n', now64(3), now() - 10`,
  });
  await insert(projectId, row(projectId, 1, { extras: '{"service":"expiry"}' }));
  expect(await names('events_raw_v1')).toEqual([{ event: 'old' }, { event: 'visit' }]);
  expect(await names('events')).toEqual([{ event: 'visit' }]);
  expect(await names('monitor.events', 'name')).toEqual([{ name: 'visit' }]);
  expect(await stores.select(`SELECT 1 FROM persons WHERE distinct_id = 'gone'`)).toEqual([]);
  expect(await stores.select(`SELECT 1 FROM sessions WHERE session_id = 'gone'`)).toEqual([]);

  await stores.clickhouse.command({ query: 'SYSTEM START TTL MERGES events_raw_v1' });
  await stores.clickhouse.command({ query: 'OPTIMIZE TABLE events_raw_v1 FINAL' });
  expect(await names('events_raw_v1')).toEqual([{ event: 'visit' }]);
});

async function rowsReadBy(query: string): Promise<number> {
  const answer = await stores.clickhouse.query({ query, format: 'JSON' });
  return (await answer.json()).statistics?.rows_read ?? Number.NaN;
}
