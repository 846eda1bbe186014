/** Reading a project of a Weir on one Postgres: who may, what comes back, what it may take, and how it ends. */
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { FIRST_QUESTION } from '../../src/console/page/views/first-question.ts';
import { type OpenDoor, openDoor } from '../support/door.ts';
import { type PostgresStores, startPostgresStores } from '../support/stores.ts';
import type { ProjectId } from '../../src/event/event.ts';
import { asSent, createProjectAsking, startPostgresEvents } from '../support/postgres-reading.ts';
import { rowOf } from '../support/two-projects.ts';

const printed = vi.spyOn(console, 'error').mockImplementation(() => {});
let stores: PostgresStores;
let door: OpenDoor;
let project: string;
let other: string;
let secret: string;
let othersSecret: string;

beforeAll(async () => {
  stores = await startPostgresStores();
  door = await openDoor({ databaseUrl: stores.databaseUrl }, { INGEST_FLUSH_INTERVAL: '50ms' });
  await door.weir.migrated;
  project = await newProject();
  other = await newProject();
  secret = await newToken(project);
  othersSecret = await newToken(other);
  await send('bought', secret);
  await send('sold', othersSecret);
});
afterAll(async () => {
  await door?.stop();
  await stores?.stop();
});

const newProject = async () =>
  (await door.weir.projects.create({ name: 'shop', retentionSeconds: null, allowedOrigins: [] })).id;
const newToken = async (projectId: string) =>
  (await door.weir.tokens.create({ projectId, kind: 'secret', name: null, imported: null }))!.plaintext;
const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
const send = (event: string, token: string) =>
  door.send({ events: [{ event, user_id: 'u1', timestamp: Date.now() }] }, bearer(token), '?ack=stored');

const queryPath = (id = project) => `/api/v1/projects/${id}/query`;
const asking = (sql: string, token = secret): RequestInit => ({
  method: 'POST',
  headers: bearer(token),
  body: JSON.stringify({ sql }),
});
const ask = (sql: string) => door.ask(queryPath(), asking(sql));

/** Runs until somebody stops it, or Postgres does after half a minute. */
const ENDLESS = 'SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b WHERE a + b < 0';

const runningCount = async () => {
  const { rows } = await stores.postgres.pool.query<{ running: number }>(
    "SELECT count(*)::int AS running FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%generate_series(1, 100000)%' AND pid <> pg_backend_pid()",
  );
  return rows[0]!.running;
};
const untilRunning = (count: number) =>
  vi.waitFor(async () => expect(await runningCount()).toBe(count), { timeout: 25_000, interval: 20 });

describe('an answer', () => {
  test('is given to what the console’s page offers to ask first', async () => {
    const { status, json } = await ask(FIRST_QUESTION);
    expect(status).toBe(200);
    expect(json).toMatchObject({ rows: [['bought', '1']] });
  });

  test('has columns, rows and what it took', async () => {
    const { status, headers, json } = await ask(
      'SELECT event, user_id, 9223372036854775807 AS big, count(*) OVER () FROM events',
    );
    expect(status).toBe(200);
    expect(headers.get('content-type')).toContain('application/json');
    expect(json).toEqual({
      columns: [
        { name: 'event', type: 'text' },
        { name: 'user_id', type: 'text' },
        { name: 'big', type: 'int8' },
        { name: 'count', type: 'int8' },
      ],
      rows: [['bought', 'u1', '9223372036854775807', '1']],
      stats: { rows: 1, truncated: false, elapsed_ms: expect.any(Number) },
    });
  });

  test.each([
    ['1::int2, 2::int4, -3', [1, 2, -3]],
    ['1::int8, 1.50, 2::numeric(9, 4)', ['1', '1.50', '2.0000']],
    ["0.1::float8, 1e300::float8, 0.5::float4, 'NaN'::float8, '-Infinity'::float8", [0.1, 1e300, 0.5, null, null]],
    ['true, false, NULL', [true, false, null]],
    ["'é\"\\ 🎉', ''", ['é"\\ 🎉', '']],
    [
      "timestamptz '2026-05-04 12:00:00.5+02', timestamp '2026-05-04 12:00', timestamptz '2026-05-04 12:00:00.123456Z'",
      ['2026-05-04 10:00:00.500', '2026-05-04 12:00:00.000', '2026-05-04 12:00:00.123456'],
    ],
    [
      "timestamptz 'infinity', date '2026-05-04', time '12:00', interval '1 day 2 hours', timestamptz '0044-03-15 BC'",
      ['infinity', '2026-05-04', '12:00:00', '1 day 02:00:00', expect.stringContaining('BC')],
    ],
    ['\'{"a": [1, 20000000000000000000]}\'::json, \'{"b":null}\'::jsonb', [{ a: [1, 2e19] }, { b: null }]],
    [
      "ARRAY['a', 'b c', NULL, '\"x\\', '{,}'], ARRAY[[1, 2], [3, 4]], '{}'::text[], ARRAY['NULL']",
      [
        ['a', 'b c', null, '"x\\', '{,}'],
        [
          [1, 2],
          [3, 4],
        ],
        [],
        ['NULL'],
      ],
    ],
    [
      "ARRAY[true, NULL], ARRAY[1::int8], ARRAY['{\"a\":1}'::jsonb], '[0:1]={7,8}'::int[]",
      [[true, null], ['1'], [{ a: 1 }], [7, 8]],
    ],
    [
      "'\\x00ff'::bytea, B'101', '550e8400-e29b-41d4-a716-446655440000'::uuid, ROW (1, 'a')",
      ['\\x00ff', '101', '550e8400-e29b-41d4-a716-446655440000', '(1,a)'],
    ],
  ])('SELECT %s', async (values, row) => {
    const { status, json } = await ask(`SELECT ${values}`);
    expect(status).toBe(200);
    expect(json).toMatchObject({ rows: [row] });
  });

  test('may be empty, without rows or without columns', async () => {
    expect((await ask('SELECT event FROM events WHERE false;')).json).toMatchObject({
      columns: [{ name: 'event' }],
      rows: [],
      stats: { rows: 0, truncated: false },
    });
    expect((await ask('SELECT')).json).toMatchObject({ columns: [], rows: [[]] });
  });

  test('is each project’s own', async () => {
    const { json } = await door.ask(queryPath(other), asking('SELECT event FROM events', othersSecret));
    expect(json).toMatchObject({ rows: [['sold']] });
  });

  test('says that there were more rows than it gives', async () => {
    const { json } = await ask('SELECT generate_series(1, 300000) AS n');
    const { rows, stats } = json as { rows: unknown[]; stats: object };
    expect(rows).toHaveLength(100_000);
    expect(stats).toMatchObject({ rows: 100_000, truncated: true });
    await untilRunning(0);
  });

  test('says so as well when the rows are long', async () => {
    const { json } = await ask(
      "SELECT n, array_to_string(ARRAY(SELECT md5(i::text) FROM generate_series(1, 3000) i), '') AS text FROM generate_series(1, 2000) n",
    );
    const { rows, stats } = json as { rows: unknown[]; stats: object };
    expect(stats).toMatchObject({ truncated: true });
    expect(rows.length).toBeLessThan(800);
    expect(rows.length).toBeGreaterThan(600);
  });

  test('is cut off when Postgres fails on the way, and cannot be taken for a whole one', async () => {
    const sql =
      "SELECT n, array_to_string(ARRAY(SELECT md5(i::text) FROM generate_series(1, 300) i), ''), 1 / (n - 900) FROM generate_series(1, 1000) n";
    const answer = await fetch(door.url + queryPath(), asking(sql));
    expect(answer.status).toBe(200);
    await expect(answer.text()).rejects.toThrow();
    expect(printed.mock.calls.flat().join(' ')).not.toMatch(/division|zero/);
  });

  test('is a refusal when Postgres fails early', async () => {
    const { status, json } = await ask('SELECT event::int FROM events');
    expect(status).toBe(400);
    expect(json).toEqual({
      error: 'the query failed in Postgres (22P02 invalid_text_representation)',
      code: 'query_refused',
      details: [{ postgres_code: '22P02', postgres_name: 'invalid_text_representation' }],
    });
  });
});

describe('what is wrong with a query is said:', () => {
  test.each([
    ['SELEC 1', /^syntax error at or near "SELEC" \(line 1, column 1\)$/],
    ["SELECT 'é🎉',\n 2 3 from", /^syntax error at or near "3" \(line 2, column 4\)$/],
    ["SELECT 'é🎉',\n nothing FROM events", /^column "nothing" does not exist \(line 2, column 2\)$/],
    ['SELECT lower(1, 2)', /^function lower\(integer, integer\) does not exist/],
    ['SELECT event FROM nowhere', /^there is no table nowhere; GET …\/schema lists/],
    ['SELECT event, count(*) FROM events', /must appear in the GROUP BY clause/],
    ['SELECT pg_sleep(1)', /^the function pg_sleep is not available$/],
    ["INSERT INTO events (event) VALUES ('x')", /^only one SELECT/],
    ['EXPLAIN SELECT 1', /^only one SELECT/],
    ["SELECT repeat('x', 10)", /repeat is not available/],
    ["SELECT string_agg(md5(i::text), '') FROM generate_series(1, 1100000) AS i", /larger than 32 MiB/],
  ])('%s', async (sql, sentence) => {
    const { status, json } = await ask(sql);
    expect(status).toBe(400);
    expect(json).toMatchObject({ code: 'query_refused', error: expect.stringMatching(sentence) });
    expect(json!['error']).not.toMatch(/ClickHouse|weir_reader/);
  });
});

test('the schema names what can be asked, with the project’s own events, and nothing else', async () => {
  const { status, json } = await door.ask(`/api/v1/projects/${project}/schema`, { headers: bearer(secret) });
  expect(status).toBe(200);
  const { tables, events, limits } = json as {
    tables: { name: string; columns: { name: string; type: string }[] }[];
    events: string[];
    limits: object;
  };
  expect(tables.map(({ name }) => name)).toEqual([
    'events',
    'persons',
    'sessions',
    'identities',
    'event_counts_hourly',
    'monitor.events',
  ]);
  expect(tables[0]!.columns).toContainEqual({ name: 'event_id', type: 'uuid', comment: '' });
  expect(tables[1]!.columns).toContainEqual({ name: 'anonymous_ids', type: 'text[]', comment: '' });
  expect(events).toEqual(['bought']);
  expect(limits).toMatchObject({ rows: 100_000, result_bytes: 67_108_864, seconds: 30, queries_at_once: 2 });
  for (const { name, columns } of tables) {
    const names = columns.map((column) => `t."${column.name}"`).join(', ');
    expect(await ask(`SELECT ${names} FROM ${name} AS t`)).toMatchObject({ status: 200 });
  }
});

test('conditions on people find the same rows as any others', async () => {
  const token = await newToken(other);
  const events = [
    { event: 'viewed', anonymous_id: 'a-linked', session_id: 's-linked', timestamp: Date.now() },
    { event: '$identify', anonymous_id: 'a-linked', user_id: 'u-linked', timestamp: Date.now() },
    { event: 'viewed', anonymous_id: 'a-alone', timestamp: Date.now() },
    { event: 'viewed', anonymous_id: 'undefined', user_id: 'null', timestamp: Date.now() },
  ];
  await door.send({ events }, bearer(token), '?ack=stored');
  for (const [condition, found] of [
    ["distinct_id = 'u-linked'", ['$identify', 'viewed']],
    ["distinct_id = 'a-alone'", ['viewed']],
    ["distinct_id = 'a-linked'", []],
    ["distinct_id IN ('u-linked', 'a-alone')", ['$identify', 'viewed', 'viewed']],
    ["'u-linked' = distinct_id AND event = 'viewed'", ['viewed']],
    ["distinct_id = 'undefined' OR distinct_id = 'null'", []],
    ['distinct_id IS NULL', ['viewed']],
    ["distinct_id = lower('U-LINKED') OR distinct_id IS NULL", ['$identify', 'viewed', 'viewed']],
  ] as const) {
    const { json } = await door.ask(
      queryPath(other),
      asking(`SELECT event FROM events e WHERE ${condition} ORDER BY event`, token),
    );
    expect(
      (json as { rows: string[][] }).rows.map(([event]) => event),
      condition,
    ).toEqual(found);
  }
});

describe('places', () => {
  test('a project has two at a time; leaving gives them back and stops the query', { timeout: 60_000 }, async () => {
    const loggedBefore = door.logged().length;
    const leaving = new AbortController();
    const endless = [0, 1].map(() =>
      fetch(door.url + queryPath(), { ...asking(ENDLESS), signal: leaving.signal }).catch(() => null),
    );
    await untilRunning(2);
    expect(await ask('SELECT 1')).toMatchObject({ status: 429, json: { code: 'too_many_queries' } });
    expect((await door.ask(queryPath(other), asking('SELECT 1', othersSecret))).status).toBe(200);
    leaving.abort();
    await Promise.all(endless);
    await untilRunning(0);
    // By leaving, not by the limit that Weir or the store would have ended them at.
    const unanswered = door
      .logged()
      .slice(loggedBefore)
      .match(/"outcome":"(?!answered)[^"]+"/g);
    expect(unanswered).toEqual(['"outcome":"unavailable"', '"outcome":"unavailable"']);
    await vi.waitFor(async () => expect((await ask('SELECT 1')).status).toBe(200), { timeout: 20_000 });
  });

  test('a client that reads slowly keeps Postgres waiting, and nothing in memory', { timeout: 60_000 }, async () => {
    const { memoryUsage } = process;
    const before = memoryUsage.rss();
    const answer = await fetch(
      door.url + queryPath(),
      asking(
        "SELECT n, array_to_string(ARRAY(SELECT md5(i::text) FROM generate_series(1, 100) i), '') FROM generate_series(1, 1000000) n",
      ),
    );
    const reader = answer.body!.getReader();
    await reader.read();
    await vi.waitFor(async () => {
      const { rows } = await stores.postgres.pool.query(
        "SELECT FROM pg_stat_activity WHERE wait_event = 'ClientWrite'",
      );
      expect(rows).toHaveLength(1);
    }, 25_000);
    // The whole answer would be three gigabytes.
    expect(memoryUsage.rss() - before).toBeLessThan(600 * 1024 * 1024);
    await reader.cancel();
  });

  test('what is asked next is not hit by what stopped another', async () => {
    for (let round = 0; round < 30; round++) {
      const leaving = new AbortController();
      const left = fetch(door.url + queryPath(), {
        ...asking('SELECT count(*) FROM generate_series(1, 200000)'),
        signal: leaving.signal,
      }).catch(() => null);
      if (round % 3 > 0) await new Promise(setImmediate);
      leaving.abort();
      await left;
      expect((await door.ask(queryPath(other), asking('SELECT count(*) FROM events', othersSecret))).status).toBe(200);
    }
  });
});

test('the log has what a query took and not what it said', async () => {
  await ask(`SELECT 'personal' AS word FROM events`);
  await ask(`SELECT 'personal'::int`);
  expect(door.logged()).toContain('"query ended"');
  expect(door.logged()).not.toContain('personal');
});

test('without Postgres it is to be asked again, and then answered', { timeout: 60_000 }, async () => {
  await stores.postgresServer.stop();
  expect(await ask('SELECT 1')).toMatchObject({ status: 503 });
  await stores.postgresServer.start();
  await vi.waitFor(async () => expect((await ask('SELECT 1')).status).toBe(200), { timeout: 30_000, interval: 100 });
});

describe('the role that projects read under', () => {
  const QUESTION = 'SELECT count(*) FROM events';
  const PROJECT = '66666666-6666-4666-8666-666666666666';

  test(
    'needs an administrator where the user may not make roles, and nothing else does',
    { timeout: 60_000 },
    async () => {
      const events = await startPostgresEvents({ user: 'plain' });
      const { ask: asked } = createProjectAsking(events.reading.projectReader, PROJECT);
      const refusal = JSON.parse(await asked(QUESTION)) as { message: string };
      expect(refusal).toMatchObject({ kind: 'unavailable', isForOperator: true });
      const remedy = /run: (CREATE ROLE weir_reader NOLOGIN; GRANT weir_reader TO plain)$/.exec(refusal.message)?.[1];
      expect(remedy).toBeDefined();
      expect(await events.storage.schema.check()).toEqual([]);
      await events.insert([asSent(rowOf({ project: PROJECT, id: 1, event: 'visit', user: 'u' }))]);
      expect(await countIn(events)).toBe(1);
      await events.admin.query(remedy!);
      expect(JSON.parse(await asked(QUESTION))).toMatchObject({ rows: ['["1"]'] });

      // Taken away again, it is missing again; and a remedy never needs more than what is missing.
      await events.admin.query('REVOKE weir_reader FROM plain');
      expect(JSON.parse(await asked(QUESTION))).toMatchObject({ kind: 'unavailable', isForOperator: true });
      expect(JSON.parse(await asked(QUESTION))).toMatchObject({
        message: expect.stringMatching(/run: GRANT weir_reader TO plain$/),
      });
      await events.stop();
    },
  );

  test('is made by a user that may make roles', { timeout: 60_000 }, async () => {
    const events = await startPostgresEvents({ user: 'maker', options: 'CREATEROLE' });
    const { ask: asked } = createProjectAsking(events.reading.projectReader, PROJECT);
    expect(JSON.parse(await asked(QUESTION))).toMatchObject({ rows: ['["0"]'] });
    await events.stop();
  });

  const countIn = async (events: Awaited<ReturnType<typeof startPostgresEvents>>) => {
    const window = { fromMs: Date.UTC(2026, 0), toMs: Date.UTC(2027, 0), groupBy: null, isExact: false } as const;
    const question = { projectId: PROJECT as ProjectId, event: 'visit', ...window };
    return (await events.reading.countEvents(question, new AbortController().signal)).total.events;
  };
});
