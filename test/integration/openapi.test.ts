/** Sends what the description of the API promises, and nearly that; and compares every answer with it. */
import { brotliCompressSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { candidatesOf } from '../support/candidates.ts';
import { type Description, type Operation, type Schema, readDescription } from '../support/description.ts';
import { type OpenDoor, openDoor } from '../support/door.ts';
import { dial, exchange } from '../support/line.ts';
import { type TcpProxy, startTcpProxy } from '../support/fault-proxy.ts';
import { type Stores, startStores } from '../support/stores.ts';

const NOWHERE = { databaseUrl: 'postgres://weir@127.0.0.1:9/weir', clickhouseUrl: 'http://127.0.0.1:9' };
const ORIGIN = 'https://shop.example';
const DOORS = ['/api/v1/ingest/events', '/v1/events', '/events', '/events/bulk', '/ingest'];
const PROBES = ['/healthz', '/health', '/health/live', '/livez', '/health/ready', '/readyz', '/ready'];
const GETS = [...PROBES, '/internal/metrics', '/openapi.json'];

/** What is promised and not provoked here, each with the reason. */
const NOT_SEEN = [
  { what: / 408 request_timeout$/, why: 'the server gives a request a minute to arrive' },
  { what: / 503 not_replicated$/, why: 'brokers have half a minute to confirm; kafka-weir.test.ts waits for them' },
  { what: /^GET \/(?!metrics|api).* 500 internal$/, why: 'only a bug could be the reason' },
];

let stores: Stores;
let door: OpenDoor;
let description: Description;
let project: string;
let token: string;
/** Of a project whose tokens are good on one page only. */
let boundToken: string;
const opened: OpenDoor[] = [];
const seen = new Set<string>();

beforeAll(async () => {
  stores = await startStores();
  door = await open();
  await door.weir.migrated;
  const { json } = await door.ask('/openapi.json');
  description = readDescription(json);
  ({ project, token } = await newTenant());
  ({ token: boundToken } = await newTenant([ORIGIN]));
});
afterAll(async () => {
  for (const one of opened) await one.stop();
  await stores.stop();
});

async function open(settings: Record<string, string> = {}, at: Partial<typeof NOWHERE> = {}): Promise<OpenDoor> {
  const one = await openDoor({ ...stores, ...at }, { INGEST_FLUSH_INTERVAL: '50ms', ...settings });
  opened.push(one);
  return one;
}

async function newTenant(allowedOrigins: string[] = []) {
  const { id } = await door.weir.projects.create({ name: 'shop', retentionSeconds: null, allowedOrigins });
  const made = await door.weir.tokens.create({ projectId: id, kind: 'public', name: null, imported: null });
  return { project: id, token: made!.plaintext };
}

type Asked = { readonly body?: string | Buffer; readonly headers?: Record<string, string>; readonly query?: string };

/** But for those of clients of other services: `test/sdk-*.test.ts` send what those send, and provoke their refusals. */
function ownOperations(): readonly Operation[] {
  return description.operations.filter(({ tags }) => !tags.includes('Clients'));
}

/** Asks, compares the answer with the description, and remembers that it was seen. */
async function ask(method: 'GET' | 'POST', path: string, { body, headers = {}, query = '' }: Asked = {}, of = door) {
  const init = body === undefined ? { method, headers } : { method, headers, body };
  const reply = await of.ask(path + query, init);
  check(method, path, reply);
  return reply;
}

function check(method: string, path: string, reply: { status: number; headers: Headers; text: string }) {
  const problems = description.problemsWithAnswer(description.operation(method, path), reply);
  expect(problems, `${method} ${path} ${reply.status} ${reply.text}`).toEqual([]);
  const code = /^\{"error":.*?"code":"(\w+)"/.exec(reply.text)?.[1];
  seen.add([method, path, reply.status, code].filter((part) => part !== undefined).join(' '));
}

const post = (path: string, asked: Asked = {}, of = door) =>
  ask('POST', path, { ...asked, headers: { authorization: `Bearer ${token}`, ...asked.headers } }, of);

/** A raw answer, as `ask` gives it. */
function parsed(raw: string) {
  const [head = '', text = ''] = raw.split('\r\n\r\n');
  const [first = '', ...lines] = head.split('\r\n');
  const headers = new Headers(
    lines.map((line): [string, string] => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1)]),
  );
  // Either the body's length is given, or it comes as one chunk.
  const isChunked = headers.get('transfer-encoding') === 'chunked';
  return { status: Number(first.split(' ')[1]), headers, text: isChunked ? text.split('\r\n')[1]! : text };
}

const eventSchema = (path: string) => {
  const { body } = description.operation('POST', path);
  const found = /"\$ref":"#(\/components\/schemas\/\w+)"/.exec(JSON.stringify(body!.schema));
  return found![1]!;
};
const exampleOf = (path: string) => {
  const { examples } = description.operation('POST', path);
  const { value } = examples.find(({ schema }) => schema.includes('/requestBody/'))!;
  return typeof value === 'string' ? value : JSON.stringify(value);
};

/** A request of these events in the door's format. */
function bodyOf(path: string, events: readonly unknown[]): string {
  if (path === '/events') return JSON.stringify(events[0]);
  if (path === '/v1/events') return events.map((event) => `${JSON.stringify(event)}\n`).join('');
  return JSON.stringify({ events });
}

/** The places of the events that the answer says were rejected. */
function rejectedIn(
  path: string,
  { status, json }: { status: number; json: Record<string, unknown> | null },
): number[] {
  if (path === '/events') return status === 202 ? [] : [0];
  const listed = (json!['errors'] ?? json!['details'] ?? []) as { index?: number; line?: number }[];
  return listed.map(({ index, line }) => index ?? line! - 1);
}

describe.each(DOORS)('POST %s', (path) => {
  test('takes its example, in every encoding and with every way to acknowledge', async () => {
    const body = Buffer.from(exampleOf(path));
    const encodings = {
      identity: body,
      gzip: gzipSync(body),
      'x-gzip': gzipSync(body),
      deflate: deflateSync(body),
      br: brotliCompressSync(body),
      zstd: zstdCompressSync(body),
    };
    for (const [encoding, encoded] of Object.entries(encodings)) {
      const reply = await post(path, { body: encoded, headers: { 'content-encoding': encoding } });
      expect(rejectedIn(path, reply), encoding).toEqual([]);
    }
    for (const query of ['?ack=queued', '?ack=journaled', '?ack=stored', '?wait=true', '?wait=false']) {
      expect(rejectedIn(path, await post(path, { body: exampleOf(path), query })), query).toEqual([]);
    }
    for (const length of [1, 200]) {
      // One letter of its own for each door, since all doors share the project's keys.
      const headers = { 'idempotency-key': String.fromCharCode(97 + DOORS.indexOf(path)).repeat(length) };
      expect((await post(path, { body: exampleOf(path), headers })).status).toBeLessThan(300);
    }
  });

  test('takes exactly the events that its schema allows', { timeout: 120_000 }, async () => {
    const at = eventSchema(path);
    const schema = description.schema({ $ref: `#${at}` });
    // A line that holds a list holds its events: an empty one none, and none that could be refused.
    const isEvent = (value: unknown) => path !== '/v1/events' || !Array.isArray(value);
    const events = candidatesOf(schema, description.schema, project).filter(isEvent);
    const isGood = (event: unknown) => description.problemsWith(at, event).length === 0;
    expect(events.filter(isGood).length).toBeGreaterThan(20);
    expect(events.filter((event) => !isGood(event)).length).toBeGreaterThan(40);
    const atOnce = path === '/events' ? 1 : 100;
    for (let from = 0; from < events.length; from += atOnce) {
      const some = events.slice(from, from + atOnce);
      const reply = await post(path, { body: bodyOf(path, some) });
      const rejected = new Set(rejectedIn(path, reply));
      for (const [index, event] of some.entries()) {
        expect(rejected.has(index), `${JSON.stringify(event)?.slice(0, 300)}\n${reply.text}`).toBe(!isGood(event));
      }
    }
  });

  test('reads exactly the bodies that its schema allows', async () => {
    const { at, schema, mediaType } = description.operation('POST', path).body!;
    if (mediaType !== 'application/json') return;
    const event = (JSON.parse(exampleOf(path)) as { events?: unknown[] }).events?.[0] ?? JSON.parse(exampleOf(path));
    const follow = (one: Schema) => ('$ref' in one ? { only: [event] } : one);
    for (const body of candidatesOf(schema, follow, project)) {
      const reply = await post(path, { body: JSON.stringify(body) });
      // An event that is none is a matter of the events, not of the body: the door may be asked for the others.
      const isRead = reply.status < 300 && rejectedIn(path, reply).length === 0;
      expect(isRead, JSON.stringify(body).slice(0, 300)).toBe(description.problemsWith(at, body).length === 0);
    }
  });

  test('refuses as promised', async () => {
    const body = exampleOf(path);
    const refused = async (asked: Asked, of?: OpenDoor) => (await post(path, asked, of)).json!['code'];
    expect(await refused({ body, query: '?ack=twice' })).toBe('invalid_query');
    expect(await refused({ body, query: '?wait=true&ack=twice' })).toBe('invalid_query');
    expect(await refused({ body, query: '?wait=1' })).toBe('invalid_query');
    expect(await refused({ body, headers: { 'idempotency-key': 'k'.repeat(201) } })).toBe('invalid_query');
    expect(await refused({ body, headers: { 'content-encoding': 'gzip' } })).toBe('invalid_encoding');
    expect(await refused({ body, headers: { 'content-encoding': 'compress' } })).toBe('unsupported_encoding');
    expect((await ask('POST', path, { body })).json!['code']).toBe('unauthorized');
    expect(await refused({ body, headers: { authorization: 'Bearer mere_pub_0' } })).toBe('unauthorized');
    expect(
      await refused({ body, headers: { authorization: `Bearer ${boundToken}`, origin: 'https://else.example' } }),
    ).toBe('forbidden');

    const key = { 'idempotency-key': `once at ${path}` };
    expect((await post(path, { body, headers: key })).status).toBeLessThan(300);
    expect(await refused({ body: `${body} `, headers: key })).toBe('idempotency_mismatch');

    const bodies = [
      '{',
      '[]',
      '{}',
      '17',
      'null',
      bodyOf(path, [17]),
      JSON.stringify({ events: Array.from({ length: 1_001 }, () => ({})) }),
    ];
    for (const other of bodies) await post(path, { body: other });
  });
});

test('everybody may send where a project is open to everybody', async () => {
  const anonymous = await open();
  anonymous.weir.admitAnonymous(project);
  for (const path of DOORS) {
    const { security } = description.operation('POST', path);
    const isOpen = security.some((scheme) => Object.keys(scheme).length === 0) && path !== '/api/v1/ingest/events';
    const { status } = await ask('POST', path, { body: exampleOf(path) }, anonymous);
    expect(status < 300, path).toBe(isOpen);
  }
});

test('the token may stand in three places, as promised', async () => {
  for (const path of DOORS) {
    const named = description.operation('POST', path).security.map((scheme) => Object.keys(scheme)[0]);
    expect(named.slice(0, 3)).toEqual(['bearer', 'apiKey', 'projectBearer']);
    for (const headers of [{ 'x-api-key': token }, { authorization: `Bearer ${project}:${token}` }] as Record<
      string,
      string
    >[]) {
      expect((await ask('POST', path, { body: exampleOf(path), headers })).status).toBeLessThan(300);
    }
  }
});

test('the health paths answer what they say', async () => {
  for (const path of GETS) expect((await ask('GET', path)).status, path).toBe(200);
});

test('the metrics page asks for its token where it has one', async () => {
  const guarded = await open({ METRICS_TOKEN: 'metrics-of-the-tests' });
  for (const headers of [{}, { authorization: 'Bearer another' }]) {
    expect((await ask('GET', '/internal/metrics', { headers }, guarded)).status).toBe(401);
  }
  const headers = { authorization: 'Bearer metrics-of-the-tests' };
  expect((await ask('GET', '/internal/metrics', { headers }, guarded)).status).toBe(200);
});

test('whatever path is asked, what is no request is refused in the same way', async () => {
  for (const { method, path } of ownOperations()) {
    const raw = (lines: string, body = '') => exchange(door.port, `${method} ${path} HTTP/1.1\r\n${lines}\r\n${body}`);
    check(method, path, parsed(await raw('')));
    check(method, path, parsed(await raw(`Host: x\r\nX-Long: ${'x'.repeat(100_000)}\r\n`)));
    const chunked = `Host: x\r\nAuthorization: Bearer ${token}\r\nTransfer-Encoding: chunked\r\n`;
    check(method, path, parsed(await raw(chunked, `1;${'x'.repeat(20_000)}\r\nx\r\n`)));
  }
});

describe('questions about a project', () => {
  const QUERY = '/api/v1/projects/{id}/query';
  const SCHEMA = '/api/v1/projects/{id}/schema';
  const ENDLESS =
    'SELECT count() FROM (SELECT arrayJoin(range(1000000))) AS a CROSS JOIN (SELECT arrayJoin(range(1000000))) AS b';
  const SQL = [
    { method: 'POST', path: QUERY, query: '' },
    { method: 'GET', path: SCHEMA, query: '' },
  ] as const;
  const READS = [...SQL, { method: 'GET', path: '/metrics', query: '?event_name=seen' }] as const;
  let reader: Record<string, string>;

  beforeAll(async () => {
    const made = await door.weir.tokens.create({ projectId: project, kind: 'secret', name: null, imported: null });
    reader = { authorization: `Bearer ${made!.plaintext}` };
  });

  const initOf = (method: string, headers: Record<string, string>, body = exampleOf(QUERY)) =>
    method === 'GET' ? { method, headers } : { method, headers, body };

  async function askAbout(
    { method, path, query }: { method: 'GET' | 'POST'; path: string; query: string },
    {
      headers = reader,
      body,
      of = door,
    }: { headers?: Record<string, string>; body?: string | Buffer; of?: OpenDoor } = {},
  ) {
    const init = initOf(method, headers, body as string | undefined);
    const reply = await of.ask(path.replace('{id}', project) + query, init);
    check(method, path, reply);
    return reply;
  }

  test('are answered', async () => {
    for (const one of READS) expect((await askAbout(one)).status).toBe(200);
  });

  test('are refused as promised', async () => {
    for (const one of READS) {
      expect((await askAbout(one, { headers: {} })).json!['code']).toBe('unauthorized');
      expect((await askAbout(one, { headers: { authorization: `Bearer ${token}` } })).json!['code']).toBe('forbidden');
    }
    const asked = async (body: string | Buffer, headers = {}) =>
      (await askAbout(SQL[0], { body, headers: { ...reader, ...headers } })).json!['code'];
    expect(await asked('{')).toBe('invalid_json');
    expect(await asked(Buffer.from([0x22, 0xff, 0x22]))).toBe('invalid_encoding');
    expect(await asked('{"sql":"SELECT 1","more":1}')).toBe('invalid_query');
    expect(await asked('{"sql":"DROP TABLE events"}')).toBe('query_refused');
    expect(await asked(' '.repeat(65_537))).toBe('body_too_large');
    expect(await asked('{}', { 'content-encoding': 'compress' })).toBe('unsupported_encoding');
  });

  test('take exactly the parameters of /metrics that are described', async () => {
    const about = (query: string) => askAbout({ method: 'GET', path: '/metrics', query });
    const name = encodeURIComponent('😀'.repeat(200));
    const right = [`?event_name=${name}&from=2026-02-06T23:00:00%2B01:00`];
    for (const group of ['channel', 'hour', 'day'])
      for (const exact of ['true', 'false'])
        right.push(`?event_name=seen&group_by=${group}&exact=${exact}&from=0&to=1777897800`);
    for (const query of right) expect((await about(query)).status, query).toBe(200);
    const more = ['from=x', 'to=x', 'group_by=x', 'exact=x', 'exact=true&exact=true'];
    const wrong = ['', '?event_name=', `?event_name=${name}x`, ...more.map((one) => `?event_name=x&${one}`)];
    for (const query of wrong) expect((await about(query)).json!['code'], query).toBe('invalid_query');
  });

  test('are refused while two of the project run', async () => {
    const leaving = new AbortController();
    const url = door.url + QUERY.replace('{id}', project);
    const running = [0, 1].map(() => {
      const init = initOf('POST', reader, JSON.stringify({ sql: ENDLESS }));
      return fetch(url, { ...init, signal: leaving.signal }).catch(() => null);
    });
    const inClickHouse = `SELECT query_id FROM system.processes WHERE query_kind = 'Select' AND query LIKE '%range(1000000)%range(1000000)%' AND query NOT LIKE '%LIKE%'`;
    await vi.waitFor(async () => expect(await stores.select(inClickHouse)).toHaveLength(2), { timeout: 20_000 });
    for (const one of SQL) expect((await askAbout(one)).json!['code']).toBe('too_many_queries');
    leaving.abort();
    await Promise.all(running);
  });

  test('are refused without stores', async () => {
    const unread = await open({}, { clickhouseUrl: NOWHERE.clickhouseUrl });
    const alone = await open({}, NOWHERE);
    for (const one of READS) {
      expect((await askAbout(one, { of: unread })).json!['code']).toBe('store_unavailable');
      expect((await askAbout(one, { of: alone })).json!['code']).toBe('internal');
    }
  });

  test('are refused by a Weir that shuts down', async () => {
    const ending = await open();
    opened.splice(opened.indexOf(ending), 1);
    const lines = await Promise.all(READS.map(() => dial(ending.port)));
    const texts = READS.map(
      ({ method, path }) => `${method} ${path} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}`,
    );
    for (const [index, text] of texts.entries()) lines[index]!.write(text.slice(0, 10));
    const first = await dial(ending.port);
    first.write('GET /livez HTTP/1.1\r\nHost: x\r\n\r\n');
    await first.until((text) => text.includes('ok'));
    const stopped = ending.stop();
    await first.ended;
    for (const [index, { method, path }] of READS.entries()) {
      lines[index]!.write(texts[index]!.slice(10));
      check(method, path, parsed(await lines[index]!.ended));
    }
    await stopped;
  });
});

test('an unknown path and a wrong method are answered as the general part says', async () => {
  const at = (name: string) => `/components/responses/${name}/content/application~1json/schema`;
  const unknown = await door.ask('/nowhere');
  expect([unknown.status, description.problemsWith(at('NotFound'), unknown.json)]).toEqual([404, []]);
  const wrong = await door.ask('/ingest');
  expect([wrong.status, description.problemsWith(at('MethodNotAllowed'), wrong.json)]).toEqual([405, []]);
  expect(wrong.headers.get('allow')).toBe('POST, OPTIONS');
});

describe('refused by a Weir that', () => {
  const askAll = async (of: OpenDoor, code: string) => {
    for (const path of DOORS) expect((await post(path, { body: exampleOf(path) }, of)).json!['code'], path).toBe(code);
  };

  test('is switched off', async () => {
    const off = await open({ INGEST_DISABLED: 'true' });
    await askAll(off, 'ingest_disabled');
    for (const path of PROBES) await ask('GET', path, {}, off);
  });

  test('only inserts', async () => {
    const flush = await open({ CHANNEL: 'kafka', KAFKA_BROKERS: '127.0.0.1:1', WEIR_ROLE: 'flush' });
    await askAll(flush, 'ingest_elsewhere');
    for (const path of PROBES) await ask('GET', path, {}, flush);
  });

  test('takes small bodies', async () => {
    const strict = await open({ INGEST_MAX_BODY_BYTES: '1KiB' });
    for (const path of DOORS) {
      const { json } = await post(path, { body: ' '.repeat(1_025) }, strict);
      expect(json!['code'], path).toBe('body_too_large');
    }
  });

  test('takes few requests', async () => {
    const slow = await open({ INGEST_RATE_LIMIT: '1/m' });
    await post('/events', { body: exampleOf('/events') }, slow);
    await askAll(slow, 'rate_limited');
  });

  test('reaches no store', async () => {
    const alone = await open({}, NOWHERE);
    await askAll(alone, 'internal');
    for (const path of GETS) await ask('GET', path, {}, alone);
  });

  test('is full', async () => {
    const full = await open({ INGEST_EVENT_BUFFER: '1', INGEST_FLUSH_EVENTS: '1' });
    await post('/events', { body: '{}' }, full);
    stores.clickhouseServer.pause();
    try {
      expect((await post('/events', { body: exampleOf('/events') }, full)).status).toBe(202);
      await askAll(full, 'channel_full');
    } finally {
      stores.clickhouseServer.resume();
    }
  });

  test('has events that no store takes', async () => {
    const postgres: TcpProxy = await startTcpProxy(stores.postgresServer.port);
    const databaseUrl = stores.databaseUrl.replace(`:${stores.postgresServer.port}/`, `:${postgres.port}/`);
    const homeless = await open(
      { DLQ_DEPTH_503_THRESHOLD: '0' },
      { databaseUrl, clickhouseUrl: NOWHERE.clickhouseUrl },
    );
    await homeless.weir.postgresReady;
    // Its token is known from here on.
    await post('/events', { body: '{}' }, homeless);
    await postgres.refuse();
    await post('/events', { body: exampleOf('/events') }, homeless);
    await vi.waitFor(async () => expect((await ask('GET', '/healthz', {}, homeless)).status).toBe(503), {
      timeout: 20_000,
    });
    await askAll(homeless, 'ingest_down');
    for (const path of PROBES) await ask('GET', path, {}, homeless);
    await postgres.accept();
    await vi.waitFor(async () => expect((await homeless.health())['unhomed_batches']).toBe(0), { timeout: 20_000 });
    opened.splice(opened.indexOf(homeless), 1);
    await homeless.stop();
    await postgres.stop();
  });

  test('shuts down', async () => {
    const ending = await open({ INGEST_SHUTDOWN_GRACE: '10s' });
    opened.splice(opened.indexOf(ending), 1);
    const requests = DOORS.map((path) => ({
      path,
      text: `POST ${path} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}`,
    }));
    const lines = await Promise.all(requests.map(() => dial(ending.port)));
    for (const [index, { text }] of requests.entries()) lines[index]!.write(text.slice(0, 10));
    const first = await dial(ending.port);
    first.write('GET /livez HTTP/1.1\r\nHost: x\r\n\r\n');
    await first.until((text) => text.includes('ok'));
    const stopped = ending.stop();
    await first.ended;
    for (const [index, { path, text }] of requests.entries()) {
      lines[index]!.write(text.slice(10));
      const reply = parsed(await lines[index]!.ended);
      check('POST', path, reply);
      expect(reply.text).toContain('shutting_down');
    }
    await stopped;
  });
});

test('every answer that is promised was seen, but for those that cannot be provoked', () => {
  const promised = ownOperations().flatMap(({ method, path, promises }) =>
    promises.map(({ status, code }) => [method, path, status, code].filter((part) => part !== null).join(' ')),
  );
  expect(promised.length).toBeGreaterThan(100);
  const excused = (what: string) => NOT_SEEN.some((one) => one.what.test(what));
  expect(promised.filter((what) => !seen.has(what) && !excused(what))).toEqual([]);
  expect([...seen].filter((what) => excused(what))).toEqual([]);
});
