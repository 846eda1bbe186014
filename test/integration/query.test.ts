/** Reading a project in SQL through the front: who may, what comes back, and how it ends. */
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { type OpenDoor, openDoor } from '../support/door.ts';
import { type Stores, startStores } from '../support/stores.ts';

const printed = vi.spyOn(console, 'error').mockImplementation(() => {});
let stores: Stores;
let door: OpenDoor;
let project: string;
let other: string;
let secret: string;
let othersSecret: string;
let publicToken: string;

beforeAll(async () => {
  stores = await startStores();
  door = await open();
  await door.weir.migrated;
  project = await newProject();
  other = await newProject();
  secret = await newToken('secret');
  othersSecret = await newToken('secret', other);
  publicToken = await newToken('public');
  await send('bought', secret);
  await send('sold', othersSecret);
});
afterAll(async () => {
  await door.stop();
  await stores.stop();
});

const open = (settings: Record<string, string> = {}) =>
  openDoor(
    { databaseUrl: stores.databaseUrl, clickhouseUrl: stores.clickhouseUrl },
    { INGEST_FLUSH_INTERVAL: '50ms', ...settings },
  );
const newProject = async () =>
  (await door.weir.projects.create({ name: 'shop', retentionSeconds: null, allowedOrigins: [] })).id;
const newToken = async (kind: 'public' | 'secret', projectId = project) =>
  (await door.weir.tokens.create({ projectId, kind, name: null, imported: null }))!.plaintext;
const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
const send = (event: string, token: string) =>
  door.send({ events: [{ event, user_id: 'u1', timestamp: Date.now() }] }, bearer(token), '?ack=stored');

const queryPath = (id = project) => `/api/v1/projects/${id}/query`;
const asking = (body: unknown, token = secret): RequestInit => ({
  method: 'POST',
  headers: bearer(token),
  body: typeof body === 'string' ? body : JSON.stringify(body),
});
const ask = (sql: string, { at = door, token = secret }: { at?: OpenDoor; token?: string } = {}) =>
  at.ask(queryPath(), asking({ sql }, token));

/** Runs until somebody stops it, or ClickHouse does after half a minute. */
const ENDLESS =
  'SELECT count() FROM (SELECT arrayJoin(range(1000000))) AS a CROSS JOIN (SELECT arrayJoin(range(1000000))) AS b';

const runningCount = async () => {
  const [row] = await stores.select<{ running: string }>(
    `SELECT toString(count()) AS running FROM system.processes WHERE query_kind = 'Select' AND query LIKE '%CROSS JOIN%' AND query NOT LIKE '%system.processes%'`,
  );
  return Number(row!.running);
};
async function untilRunning(count: number): Promise<void> {
  while ((await runningCount()) !== count) await new Promise((resolve) => setTimeout(resolve, 20));
}

describe('an answer about people', () => {
  let project: string;
  let token: string;
  beforeAll(async () => {
    project = await newProject();
    token = await newToken('secret', project);
    const events = [
      { event: 'page_viewed', anonymous_id: 'a-linked', session_id: 'linked', timestamp: Date.now() },
      { event: '$identify', anonymous_id: 'a-linked', user_id: 'u-linked', timestamp: Date.now() },
    ];
    await door.send({ events }, bearer(token), '?ack=stored');
  });

  // Whether a query needs the links of anonymous ids is seen by its names: here are ways not to write them plainly.
  test.each([
    ["SELECT distinct_id FROM events WHERE session_id = 'linked'", ['u-linked']],
    ["SELECT e.`\\x64istinct_id` FROM events AS e WHERE session_id = 'linked'", ['u-linked']],
    ["SELECT COLUMNS('^distinct') FROM events WHERE session_id = 'linked'", ['u-linked']],
    ["SELECT * EXCEPT (properties) REPLACE (distinct_id AS event) FROM events WHERE session_id = 'linked'", null],
    ["WITH t AS (SELECT * FROM events) SELECT any(distinct_id) FROM t WHERE session_id = 'linked'", ['u-linked']],
    ["SELECT count(*) FROM events WHERE session_id = 'linked' AND distinct_id = 'u-linked'", ['1']],
    ["SELECT count(*) FROM events WHERE session_id = 'linked'", ['1']],
    ["SELECT count() FROM events AS a NATURAL JOIN persons AS p WHERE a.session_id = 'linked'", null],
    [
      "SELECT a.event FROM events AS a INNER JOIN (SELECT 'u-linked' AS distinct_id) AS b USING (distinct_id) WHERE session_id = 'linked'",
      ['page_viewed'],
    ],
    ["SELECT distinct_id FROM sessions WHERE session_id = 'linked'", ['u-linked']],
    [
      "SELECT count() FROM events WHERE anonymous_id IN (SELECT anonymous_id FROM identities) AND session_id = 'linked'",
      ['1'],
    ],
  ])('%s', async (sql, row) => {
    const { status, json } = await door.ask(queryPath(project), asking({ sql }, token));
    // What the same text says where every table can be read whole.
    const truth = await stores.clickhouse.query({ query: sql, format: 'JSONCompactEachRow' });
    expect(status).toBe(200);
    const { rows } = json as { rows: unknown[][] };
    expect(rows).toEqual(await truth.json());
    if (row !== null) expect(rows).toEqual([row]);
  });
});

describe('an answer', () => {
  test('has columns, rows and what it took', async () => {
    const { status, headers, json } = await ask(
      'SELECT event, user_id, toUInt64(18446744073709551615) AS big FROM events',
    );
    expect(status).toBe(200);
    expect(headers.get('content-type')).toContain('application/json');
    expect(json).toEqual({
      columns: [
        { name: 'event', type: 'LowCardinality(String)' },
        { name: 'user_id', type: 'Nullable(String)' },
        { name: 'big', type: 'UInt64' },
      ],
      rows: [['bought', 'u1', '18446744073709551615']],
      stats: { rows: 1, truncated: false, elapsed_ms: expect.any(Number) },
    });
  });

  test('may be empty', async () => {
    const { json } = await ask('SELECT event FROM events WHERE 0;');
    expect(json).toMatchObject({ columns: [{ name: 'event' }], rows: [], stats: { rows: 0, truncated: false } });
  });

  test('is each project’s own', async () => {
    const { json } = await door.ask(queryPath(other), asking({ sql: 'SELECT event FROM events' }, othersSecret));
    expect(json).toMatchObject({ rows: [['sold']] });
  });

  test('says that there were more rows than it gives', async () => {
    const { json } = await ask('SELECT arrayJoin(range(300000)) AS n');
    const { rows, stats } = json as { rows: unknown[]; stats: object };
    expect(rows).toHaveLength(100_000);
    expect(stats).toMatchObject({ rows: 100_000, truncated: true });
  });

  test('is cut off when ClickHouse fails on the way, and cannot be taken for a whole one', async () => {
    // Few rows a block and each of them long, so that much has been sent by the time one fails.
    const sql = `SELECT repeat('x', 100000), intDiv(1, a != 300) FROM (SELECT arrayJoin(range(1000)) AS a) AS l
                 CROSS JOIN (SELECT arrayJoin(range(100000)) AS b) AS r WHERE cityHash64(a, b) % 100000 = 0`;
    const answer = await fetch(door.url + queryPath(), asking({ sql }));
    expect(answer.status).toBe(200);
    await expect(answer.text()).rejects.toThrow();
    // Nor does what ClickHouse said, which may quote rows, go anywhere else.
    expect(printed.mock.calls.flat().join(' ')).not.toMatch(/Division|intDiv/);
  });

  test('is a refusal when ClickHouse fails early', async () => {
    const { status, json } = await ask("SELECT toUInt8('no number')");
    expect(status).toBe(400);
    expect(json).toEqual({
      error: 'the query failed in ClickHouse (6 CANNOT_PARSE_TEXT)',
      code: 'query_refused',
      details: [{ clickhouse_code: 6, clickhouse_name: 'CANNOT_PARSE_TEXT' }],
    });
  });
});

describe('what is wrong with a query is said:', () => {
  test.each([
    ['SELEC 1', /^Syntax error at line 1, column 1\./],
    ['SELECT 1,\n 2 3 from', /^Syntax error at line 2, column 4\. Expected one of: /],
    ['SELECT nothing FROM events', /Unknown expression identifier `nothing`/],
    ['SELECT lower(1, 2)', /argument/],
    ['SELECT event FROM nowhere', /^there is no table of that name/],
    ['SELECT event, count() FROM events', /not under aggregate function/],
    ['SELECT hostName()', /^the function hostName is not available$/],
    ["INSERT INTO events_raw_v1 (event) VALUES ('x')", /^only SELECT/],
    ['INSERT INTO events_raw_v1 FORMAT JSONEachRow {}', /^only SELECT/],
    ['EXPLAIN AST SELECT 1', /^only SELECT/],
    ['EXPLAIN PLAN SELECT 1', /^only SELECT/],
  ])('%s', async (sql, sentence) => {
    const { status, json } = await ask(sql);
    expect(status).toBe(400);
    expect(json).toMatchObject({ code: 'query_refused', error: expect.stringMatching(sentence) });
    expect(json!['error']).not.toMatch(/version|EXPLAIN|JSONCompact/);
  });
});

describe('who may ask', () => {
  test.each([
    ['nobody', {}, 401, 'unauthorized'],
    ['an unknown token', bearer(`mere_sec_${'0'.repeat(64)}`), 401, 'unauthorized'],
  ])('not %s', async (_who, headers, status, code) => {
    for (const [path, method] of [
      [queryPath(), 'POST'],
      [`/api/v1/projects/${project}/schema`, 'GET'],
    ] as const) {
      expect(await door.ask(path, { method, headers })).toMatchObject({ status, json: { code } });
    }
  });

  test('not a public token', async () => {
    expect(await ask('SELECT 1', { token: publicToken })).toMatchObject({ status: 403, json: { code: 'forbidden' } });
  });

  test('a project that is not one’s own is not told from one that does not exist', async () => {
    const answers = [other, '00000000-0000-4000-8000-000000000000', 'nonsense'].map(async (id) => {
      const { status, json } = await door.ask(queryPath(id), asking({ sql: 'SELECT 1' }));
      const schema = await door.ask(`/api/v1/projects/${id}/schema`, { headers: bearer(secret) });
      return { status, json, schema: schema.json };
    });
    const [first, ...rest] = await Promise.all(answers);
    expect(first).toMatchObject({ status: 403, json: { code: 'forbidden' }, schema: { code: 'forbidden' } });
    for (const answer of rest) expect(answer).toEqual(first);
  });

  test('its own project, however the id is cased', async () => {
    expect(await door.ask(queryPath(project.toUpperCase()), asking({ sql: 'SELECT 1' }))).toMatchObject({
      status: 200,
    });
  });
});

describe('the body', () => {
  test.each([
    ['no JSON', '{"sql"', 400, 'invalid_json', /JSON/],
    ['no object', '[]', 400, 'invalid_query', /object/],
    ['an unknown key', '{"sql": "SELECT 1", "settings": {}}', 400, 'invalid_query', /"settings"/],
    ['no sql', '{}', 400, 'invalid_query', /sql must be a string/],
    ['a number', '{"sql": 1}', 400, 'invalid_query', /sql must be a string/],
    ['too large', `{"sql": "${'x'.repeat(65_536)}"}`, 413, 'body_too_large', /larger/],
  ])('is refused: %s', async (_name, body, status, code, sentence) => {
    const answer = await door.ask(queryPath(), asking(body));
    expect(answer).toMatchObject({ status, json: { code, error: expect.stringMatching(sentence) } });
  });
});

describe('the schema', () => {
  test('names what can be asked, with the project’s own events', async () => {
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
      'event_copies',
      'events_raw_v1',
      'monitor.events',
    ]);
    expect(tables[0]!.columns).toContainEqual({ name: 'event_id', type: 'UUID', comment: '' });
    expect(events).toEqual(['bought']);
    expect(limits).toEqual({
      sql_bytes: 65_536,
      rows: 100_000,
      result_bytes: 67_108_864,
      seconds: 30,
      queries_at_once: 2,
    });
  });

  test('names nothing that cannot be asked', async () => {
    const { json } = await door.ask(`/api/v1/projects/${project}/schema`, { headers: bearer(secret) });
    for (const { name, columns } of (json as { tables: { name: string; columns: { name: string }[] }[] }).tables) {
      const names = columns.map((column) => `\`${column.name}\``).join(', ');
      // With rows to read: what an ephemeral column lacks shows only then.
      expect(await ask(`SELECT ${names} FROM ${name} LIMIT 1`)).toMatchObject({ status: 200 });
    }
  });
});

describe('places', () => {
  test('a project has two at a time; leaving gives them back and stops the query', async () => {
    const loggedBefore = door.logged().length;
    const leaving = new AbortController();
    const endless = [0, 1].map(() =>
      fetch(door.url + queryPath(), { ...asking({ sql: ENDLESS }), signal: leaving.signal }).catch(() => null),
    );
    await untilRunning(2);
    const third = await ask('SELECT 1');
    expect(third).toMatchObject({ status: 429, json: { code: 'too_many_queries' } });
    expect(third.headers.get('retry-after')).toBe('1');
    const others = await door.ask(queryPath(other), asking({ sql: 'SELECT 1' }, othersSecret));
    expect(others.status).toBe(200);
    leaving.abort();
    await Promise.all(endless);
    await untilRunning(0);
    // By leaving, not by the limit that Weir or the store would have ended them at.
    const unanswered = door
      .logged()
      .slice(loggedBefore)
      .match(/"outcome":"(?!answered)[^"]+"/g);
    expect(unanswered).toEqual(['"outcome":"unavailable"', '"outcome":"unavailable"']);
    expect((await ask('SELECT 1')).status).toBe(200);
  });
});

describe('whatever else happens', () => {
  test('intake that is switched off does not stop reading', async () => {
    const disabled = await open({ INGEST_DISABLED: 'true' });
    expect(await ask('SELECT event FROM events', { at: disabled })).toMatchObject({
      status: 200,
      json: { rows: [['bought']] },
    });
    await disabled.stop();
  });

  test('the log has what a query took and not what it said', async () => {
    await ask(`SELECT 'personal' AS word FROM events`);
    const line = door
      .logged()
      .split('\n')
      .findLast((text) => text.includes('"query ended"'))!;
    expect(JSON.parse(line)).toMatchObject({
      requestId: expect.any(String),
      projectId: project,
      queryId: expect.any(String),
      outcome: 'answered',
      rows: 1,
      elapsedMs: expect.any(Number),
    });
    expect(door.logged()).not.toContain('personal');
  });

  test('without ClickHouse it is to be asked again', async () => {
    await stores.clickhouseServer.stop();
    for (const [path, init] of [
      [queryPath(), asking({ sql: 'SELECT 1' })],
      [`/api/v1/projects/${project}/schema`, { headers: bearer(secret) }],
    ] as const) {
      const answer = await door.ask(path, init);
      expect(answer).toMatchObject({ status: 503, json: { code: 'store_unavailable' } });
      expect(answer.headers.get('retry-after')).toBe('5');
    }
    await stores.clickhouseServer.start();
    expect((await ask('SELECT 1')).status).toBe(200);
  });
});
