/** The front doors besides the native one, each with what clients of older services send to it. */
import { randomUUID } from 'node:crypto';
import { brotliCompressSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { type OpenDoor, type Reply, openDoor } from '../support/door.ts';
import { dial, exchange } from '../support/line.ts';
import { startStores, type Stores } from '../support/stores.ts';

/** However busy the machine is. */
const SOON = { timeout: 20_000 };

const MIB = 1024 * 1024;
const NOBODY = `mere_pub_${'0'.repeat(64)}`;

let stores: Stores;
let door: OpenDoor;
const doors: OpenDoor[] = [];
let project: string;
let publicToken: string;
let secretToken: string;
let importedKey: string;

beforeAll(async () => {
  stores = await startStores();
  door = await open();
  await door.weir.migrated;
  project = await newProject();
  publicToken = await newToken({});
  secretToken = await newToken({ kind: 'secret' });
  importedKey = await newToken({ imported: 'key_of_an_older_service' });
});
afterAll(async () => {
  for (const one of doors) await one.stop();
  await stores.stop();
});

async function open(settings: Record<string, string> = {}, of = stores): Promise<OpenDoor> {
  const opened = await openDoor(of, { INGEST_FLUSH_INTERVAL: '50ms', ...settings });
  doors.push(opened);
  return opened;
}

const newProject = async (allowedOrigins: string[] = []) =>
  (await door.weir.projects.create({ name: 'shop', retentionSeconds: null, allowedOrigins })).id;

async function newToken({
  kind = 'public',
  imported = null,
  of = project,
}: Partial<{ kind: 'public' | 'secret'; imported: string | null; of: string }>) {
  return (await door.weir.tokens.create({ projectId: of, kind, name: null, imported }))!.plaintext;
}

const bearer = (token = publicToken) => ({ authorization: `Bearer ${token}` });

type Sent = { readonly headers?: Record<string, string>; readonly to?: OpenDoor };
const post = (path: string, body: string | Uint8Array, { headers = bearer(), to = door }: Sent = {}) =>
  to.ask(path, { method: 'POST', headers, body });

const refusalOf = ({ status, json }: Reply) => [status, json?.['code']];
const atRest = (of = door) =>
  vi.waitFor(async () => expect(await of.health()).toMatchObject({ pending: 0, reserved_bytes: 0 }), {
    timeout: 10_000,
  });
const countOf = async (event: string) =>
  (await stores.select(`SELECT event_id FROM events_raw_v1 WHERE event = '${event}'`)).length;

/** What each door takes: `count` good events and one bad one of that name, and how it answers. */
type Wire = {
  readonly path: string;
  readonly isAnonymous: boolean;
  body(event: string, goodCount: number, badCount: number): string;
  answer(accepted: number, rejected: number): unknown;
};
const times = (count: number, make: () => object) => Array.from({ length: count }, make);
const LISTED = (place: string, rejected: number) =>
  rejected === 0
    ? {}
    : { errors: times(rejected, () => ({ [place]: expect.any(Number), reason: expect.any(String) })) };
const productEvent = (event: string) => ({ event_name: event, user_id: 'u', timestamp: 1_769_904_000 });
const webEvent = (event: string) => ({
  id: randomUUID(),
  session_id: randomUUID(),
  timestamp: '2024-01-01T00:00:00Z',
  type: 'custom',
  event_name: event,
  properties: {},
});

const NDJSON: Wire = {
  path: '/v1/events',
  isAnonymous: false,
  body: (event, goodCount, badCount) =>
    [
      ...times(goodCount, () => ({ timestamp: '2026-02-06T23:01:02Z', service: 's', name: event })),
      ...times(badCount, () => ({ name: event })),
    ]
      .map((one) => `${JSON.stringify(one)}\n`)
      .join(''),
  answer: (accepted, rejected) => ({ accepted, ...(rejected > 0 ? { rejected } : {}), ...LISTED('line', rejected) }),
};
const PRODUCT: Wire = {
  path: '/events',
  isAnonymous: true,
  body: (event) => JSON.stringify(productEvent(event)),
  answer: () => ({ status: 'accepted' }),
};
const BULK: Wire = {
  path: '/events/bulk',
  isAnonymous: true,
  body: (event, goodCount, badCount) =>
    JSON.stringify([...times(goodCount, () => productEvent(event)), ...times(badCount, () => ({ event_name: event }))]),
  answer: (accepted, rejected) => ({ status: 'accepted', accepted, rejected, ...LISTED('index', rejected) }),
};
const WEB: Wire = {
  path: '/ingest',
  isAnonymous: false,
  body: (event, goodCount, badCount) =>
    JSON.stringify({
      events: [...times(goodCount, () => webEvent(event)), ...times(badCount, () => ({ type: 'custom' }))],
    }),
  answer: (accepted, rejected) => ({
    status: rejected === 0 ? 'success' : accepted > 0 ? 'partial' : 'rejected',
    batch_id: expect.stringMatching(/^[0-9a-f-]{36}$/),
    events_accepted: accepted,
    events_rejected: rejected,
    ingest_latency_ms: expect.any(Number),
    ...LISTED('index', rejected),
  }),
};
const WIRES = [NDJSON, PRODUCT, BULK, WEB];
const MANY = [NDJSON, BULK, WEB];
const statusOf = ({ path }: Wire) => (path.startsWith('/events') ? 202 : 200);

describe('what clients send today', () => {
  test('service events as NDJSON, looked up by trace', async () => {
    const reply = await post(
      '/v1/events',
      `{"timestamp":"2026-02-06T23:01:02.123Z","service":"users","job_id":"job_x","request_id":"req_y","trace_id":"trc_z","name":"user.created","data":{"user_id":42}}
{"timestamp":"2026-02-06T23:01:02.456Z","service":"users","job_id":"job_x","request_id":"req_y","trace_id":"trc_z","name":"db.query","data":{"table":"users"}}`,
      { headers: { 'content-type': 'application/x-ndjson', 'x-api-key': importedKey } },
    );
    expect([reply.status, reply.text]).toEqual([200, '{"accepted":2}']);
    await atRest();
    const found = await stores.select(`SELECT * FROM monitor.events WHERE trace_id = 'trc_z' ORDER BY timestamp`);
    const common = { service: 'users', env: '', job_id: 'job_x', request_id: 'req_y', trace_id: 'trc_z', level: '' };
    expect(found).toEqual([
      { ...common, timestamp: '2026-02-06 23:01:02.123', name: 'user.created', data: '{"user_id":42}' },
      { ...common, timestamp: '2026-02-06 23:01:02.456', name: 'db.query', data: '{"table":"users"}' },
    ]);
  });

  test('product events, one and several, by whoever sends no token', async () => {
    const shop = await newProject();
    const openShop = await open({ INGEST_ANONYMOUS_PROJECT: shop });
    const headers = { 'content-type': 'application/x-www-form-urlencoded' };
    const one = await post(
      '/events',
      '{"event_name":"product_view","channel":"web","campaign_id":"summer_sale_2024","user_id":"user_12345","timestamp":1708732800000,"tags":["electronics","featured"],"metadata":{"product_id":"SKU-001","page_url":"/products/laptop"}}',
      { headers, to: openShop },
    );
    expect([one.status, one.text]).toEqual([202, '{"status":"accepted"}']);
    const several = await post(
      '/events/bulk',
      '[{"event_name":"page_view","channel":"web","user_id":"user_123","timestamp":1769904000},{"event_name":"click","channel":"web","user_id":"user_456","timestamp":1769904060}]',
      { headers, to: openShop },
    );
    expect([several.status, several.text]).toEqual([202, '{"status":"accepted","accepted":2,"rejected":0}']);
    await atRest(openShop);
    const found = await stores.select(
      `SELECT event, timestamp, user_id, channel, campaign_id, tags, properties, source FROM events
        WHERE project_id = '${shop}' ORDER BY timestamp`,
    );
    const plain = { channel: 'web', campaign_id: '', tags: [], properties: '{}', source: 'product' };
    expect(found).toEqual([
      {
        event: 'product_view',
        timestamp: '2024-02-24 00:00:00.000',
        user_id: 'user_12345',
        channel: 'web',
        campaign_id: 'summer_sale_2024',
        tags: ['electronics', 'featured'],
        properties: '{"product_id":"SKU-001","page_url":"/products/laptop"}',
        source: 'product',
      },
      { ...plain, event: 'page_view', timestamp: '2026-02-01 00:00:00.000', user_id: 'user_123' },
      { ...plain, event: 'click', timestamp: '2026-02-01 00:01:00.000', user_id: 'user_456' },
    ]);
  });

  test('events of web pages', async () => {
    const reply = await post(
      '/ingest',
      `{"events":[{"id":"550e8400-e29b-41d4-a716-446655440000","tenant_id":"${project}","session_id":"11111111-1111-1111-1111-111111111111","timestamp":"2024-01-01T00:00:00Z","type":"pageview","title":"Destination","path":"/"}]}`,
      { headers: bearer(`${project}:${publicToken}`) },
    );
    expect([reply.status, reply.json]).toEqual([200, WEB.answer(1, 0)]);
    await atRest();
    const found = await stores.select(
      `SELECT event, event_id, session_id, timestamp, properties, extras, source FROM events WHERE project_id = '${project}' AND event = 'pageview'`,
    );
    expect(found).toEqual([
      {
        event: 'pageview',
        event_id: '550e8400-e29b-41d4-a716-446655440000',
        session_id: '11111111-1111-1111-1111-111111111111',
        timestamp: '2024-01-01 00:00:00.000',
        properties: '{"title":"Destination","path":"/"}',
        extras: `{"tenant_id":"${project}","type":"pageview"}`,
        source: 'web',
      },
    ]);
  });
});

describe.each(WIRES)('$path', (wire) => {
  const { path, isAnonymous } = wire;
  const name = (of: string) => `${of} at ${path}`;
  const send = (event: string, sent?: Sent) => post(path, wire.body(event, 1, 0), sent);

  test('takes every form of credential of its project', async () => {
    for (const token of [publicToken, secretToken, importedKey]) {
      for (const headers of [bearer(token), { 'x-api-key': token }, bearer(`${project}:${token}`)] as Record<
        string,
        string
      >[]) {
        const reply = await send(name('credentials'), { headers });
        expect([reply.status, reply.json]).toEqual([statusOf(wire), wire.answer(1, 0)]);
      }
    }
  });

  test.each<[string, () => Record<string, string> | Promise<Record<string, string>>, string]>([
    ['none', () => ({}), 'invalid_request'],
    ['another scheme', () => ({ authorization: 'Basic eDp5' }), 'invalid_request'],
    ['an empty key', () => ({ 'x-api-key': '' }), 'invalid_request'],
    ['an unknown token', () => bearer(NOBODY), 'invalid_token'],
    ['an unknown key', () => ({ 'x-api-key': 'nobody' }), 'invalid_token'],
    ['of another project', async () => bearer(`${await newProject()}:${publicToken}`), 'invalid_token'],
  ])('is 401 with a credential that is not good: %s', async (_name, headersOf, error) => {
    const reply = await send('refused', { headers: await headersOf() });
    expect(refusalOf(reply)).toEqual([401, 'unauthorized']);
    expect(reply.headers.get('www-authenticate')).toBe(`Bearer realm="weir", error="${error}"`);
  });

  test('takes no token from the body', async () => {
    const body = `{"token":"${publicToken}",${wire.body('refused', 1, 0).slice(1)}`;
    expect(refusalOf(await post(path, body, { headers: {} }))).toEqual([401, 'unauthorized']);
  });

  test('may be open to a project’s own pages only', async () => {
    const token = await newToken({ of: await newProject(['https://shop.example']) });
    const from = (origin: string) => send(name('pages'), { headers: { ...bearer(token), origin } });
    expect((await from('https://shop.example')).status).toBe(statusOf(wire));
    expect(refusalOf(await from('https://evil.example'))).toEqual([403, 'forbidden']);
  });

  test('is as safe as asked for, and says so', async () => {
    for (const [query, level] of [
      ['', 'journaled'],
      ['?ack=queued', 'queued'],
      ['?ack=journaled', 'journaled'],
      ['?ack=stored', 'stored'],
      ['?wait=true', 'stored'],
    ] as const) {
      const event = name(`ack ${query}`);
      const reply = await post(path + query, wire.body(event, 1, 0));
      expect([reply.status, reply.headers.get('weir-ack')]).toEqual([statusOf(wire), level]);
      if (level === 'stored') expect(await countOf(event)).toBe(1);
    }
    expect(refusalOf(await post(`${path}?ack=saved`, '{}'))).toEqual([400, 'invalid_query']);
  });

  test('gives the first answer to a key that comes again, and queues nothing', async () => {
    const event = name('once');
    const body = wire.body(event, 1, 0);
    const headers = { ...bearer(), 'idempotency-key': event };
    const { enqueued } = await door.health();
    const first = await post(`${path}?wait=true`, body, { headers });
    const again = await post(`${path}?wait=true`, body, { headers });
    expect(first.status).toBe(statusOf(wire));
    // For /ingest that is the same batch_id as well.
    expect([again.status, again.text, again.headers.get('weir-ack')]).toEqual([first.status, first.text, 'stored']);
    expect(refusalOf(await post(path, `${body} `, { headers }))).toEqual([422, 'idempotency_mismatch']);
    await atRest();
    expect(Number((await door.health())['enqueued']) - Number(enqueued)).toBe(1);
    expect(await countOf(event)).toBe(1);
  });

  test('packed bodies are taken, damaged ones are not, and nothing of them', async () => {
    const event = name('packed');
    for (const [encoding, pack] of [
      ['gzip', gzipSync],
      ['deflate', deflateSync],
      ['br', brotliCompressSync],
      ['zstd', zstdCompressSync],
    ] as const) {
      const packed = pack(wire.body(event, 1, 0));
      const headers = { ...bearer(), 'content-encoding': encoding };
      expect((await post(path, packed, { headers })).status).toBe(statusOf(wire));
      expect(refusalOf(await post(path, packed.subarray(0, -1), { headers }))).toEqual([400, 'invalid_encoding']);
    }
    await atRest();
    expect(await countOf(event)).toBe(4);
  });

  test('a body over the limit is 413, as sent or unpacked', async () => {
    const strict = await open({ INGEST_MAX_BODY_BYTES: '2KiB' });
    const body = wire.body('large', 1, 0);
    const packed = { headers: { ...bearer(), 'content-encoding': 'gzip' }, to: strict };
    const fits = body.padEnd(2_048);
    expect((await post(path, fits, { to: strict })).status).toBe(statusOf(wire));
    expect((await post(path, gzipSync(fits), packed)).status).toBe(statusOf(wire));
    expect(refusalOf(await post(path, `${fits} `, { to: strict }))).toEqual([413, 'body_too_large']);
    expect(refusalOf(await post(path, gzipSync(`${fits} `), packed))).toEqual([413, 'body_too_large']);
    await atRest(strict);
  });

  test('with other methods is 405, and below it is nothing', async () => {
    for (const method of ['GET', 'PUT', 'DELETE', 'PATCH']) {
      const reply = await door.ask(path, { method });
      expect([...refusalOf(reply), reply.headers.get('allow')]).toEqual([405, 'method_not_allowed', 'POST, OPTIONS']);
    }
    for (const other of [`${path}/`, `${path}/x`, path.toUpperCase()])
      expect(refusalOf(await post(other, '{}'))).toEqual([404, 'not_found']);
  });

  test('can be called from pages', async () => {
    const origin = 'https://a.example';
    const preflight = await door.ask(path, {
      method: 'OPTIONS',
      headers: { origin, 'access-control-request-method': 'POST' },
    });
    expect([preflight.status, preflight.headers.get('access-control-allow-origin')]).toEqual([204, origin]);
    for (const reply of [
      await send(name('cors'), { headers: { ...bearer(), origin } }),
      await send('refused', { headers: { origin } }),
    ]) {
      expect(reply.headers.get('access-control-allow-origin')).toBe(origin);
      expect(reply.headers.get('access-control-allow-credentials')).toBe('true');
      expect(reply.headers.get('access-control-expose-headers')).toMatch(/Retry-After, ?X-Request-Id, ?Weir-Ack/);
    }
  });

  test('is shut while intake is off, and when the channel is full, and then takes nothing', async () => {
    const off = await open({ INGEST_DISABLED: 'true' });
    expect(refusalOf(await send('refused', { to: off }))).toEqual([503, 'ingest_disabled']);

    const event = name('full');
    const small = await open({ INGEST_EVENT_BUFFER: '2', INGEST_FLUSH_EVENTS: '2', INGEST_FLUSH_INTERVAL: '10m' });
    await send(event, { to: small });
    if (wire !== PRODUCT) {
      const crowd = await post(path, wire.body(event, 2, 0), { to: small });
      expect([...refusalOf(crowd), crowd.headers.get('retry-after')]).toEqual([503, 'channel_full', '1']);
      expect(refusalOf(await post(path, wire.body(event, 3, 0), { to: small }))).toEqual([413, 'body_too_large']);
    }
    await send(event, { to: small });
    await atRest(small);
    expect(await countOf(event)).toBe(2);
  });

  test('is open to nobody without a token, or to whom the operator opened it', async () => {
    const openShop = await open({ INGEST_ANONYMOUS_PROJECT: project });
    const reply = await send(name('anonymous'), { headers: {}, to: openShop });
    if (isAnonymous) expect([reply.status, reply.json]).toEqual([statusOf(wire), wire.answer(1, 0)]);
    else expect(refusalOf(reply)).toEqual([401, 'unauthorized']);
    // A token that is no good does not make one anonymous.
    expect((await send('refused', { headers: bearer(NOBODY), to: openShop })).status).toBe(401);
    expect((await send('refused', { headers: { 'x-api-key': '' }, to: openShop })).status).toBe(401);

    const closed = await open({ INGEST_ANONYMOUS_PROJECT: 'off' });
    expect(refusalOf(await send('refused', { headers: {}, to: closed }))).toEqual([401, 'unauthorized']);
    const nowhere = await open({ INGEST_ANONYMOUS_PROJECT: randomUUID() });
    expect(refusalOf(await send('refused', { headers: {}, to: nowhere }))).toEqual([401, 'unauthorized']);
    const lonely = await open(
      { INGEST_ANONYMOUS_PROJECT: project },
      { ...stores, databaseUrl: 'postgres://weir@127.0.0.1:1/weir' },
    );
    expect(refusalOf(await send('refused', { headers: {}, to: lonely }))).toEqual(
      isAnonymous ? [500, 'internal'] : [401, 'unauthorized'],
    );
  });
});

test('what lies between two slashes is no host: no door opens without its token that way', async () => {
  const openShop = await open({ INGEST_ANONYMOUS_PROJECT: project });
  const body = '{"event_name":"slashes","user_id":"u","timestamp":1767225600}';
  for (const path of ['//v1/events', '//events', '//any.example/events', '/\\v1/events', '///events']) {
    for (const more of ['', 'Proxy-Connection: close\r\n']) {
      const head = `POST ${path} HTTP/1.1\r\nHost: x\r\n${more}Content-Length: ${body.length}\r\n`;
      const answer = await exchange(openShop.port, `${head}Connection: close\r\n\r\n${body}`);
      // A backslash is refused as no address at all.
      expect(answer, `${path} ${more}`).toMatch(path.includes('\\') ? /^HTTP\/1\.1 40[04] / : /^HTTP\/1\.1 404 /);
    }
  }
  const { json } = await post('/events', body, { to: openShop });
  expect(json).toEqual({ status: 'accepted' });
  expect((await openShop.health())['enqueued']).toBe(1);
});

describe.each(MANY)('$path with several events', (wire) => {
  test('takes the good ones and lists the others', async () => {
    const event = `some at ${wire.path}`;
    const reply = await post(`${wire.path}?wait=true`, wire.body(event, 3, 2));
    expect([reply.status, reply.json]).toEqual([statusOf(wire), wire.answer(3, 2)]);
    expect(await countOf(event)).toBe(3);
  });

  test('lists a hundred rejections at most, and counts all', async () => {
    for (const [badCount, isTruncated] of [
      [100, undefined],
      [101, true],
    ] as const) {
      const { json } = await post(wire.path, wire.body('listed', 1, badCount));
      expect(json!['errors']).toHaveLength(100);
      expect(json!['errors_truncated']).toBe(isTruncated);
      expect(json!['rejected'] ?? json!['events_rejected']).toBe(badCount);
    }
  });
});

describe('when no event can be used', () => {
  test('/events says which field and why', async () => {
    const reply = await post('/events', '{"event_name":"e","timestamp":1}');
    expect([reply.status, reply.json]).toEqual([400, { error: 'user_id required', code: 'invalid_events' }]);
  });

  test.each([
    [NDJSON, { line: 2, reason: 'timestamp required' }],
    [BULK, { index: 1, reason: 'timestamp required' }],
  ])('$path is 400 with the reasons', async (wire, second) => {
    const reply = await post(wire.path, wire.body('none', 0, 2));
    expect([reply.status, reply.json]).toMatchObject([
      400,
      { code: 'invalid_events', error: 'all 2 events were rejected' },
    ]);
    expect((reply.json!['details'] as object[])[1]).toEqual(second);
    const many = (await post(wire.path, wire.body('none', 0, 101))).json!;
    expect(many).toMatchObject({ error: 'all 101 events were rejected; the first are in "details"' });
    expect(many['details']).toHaveLength(100);
  });

  test('/ingest is 200 and rejected', async () => {
    const reply = await post('/ingest', WEB.body('none', 0, 2));
    expect([reply.status, reply.json, reply.headers.get('weir-ack')]).toEqual([200, WEB.answer(0, 2), 'queued']);
  });

  test('because there is none', async () => {
    for (const body of ['', '\n\r\n \n']) {
      const reply = await post('/v1/events', body);
      expect([reply.status, reply.text]).toEqual([200, '{"accepted":0}']);
    }
    for (const body of ['', ' ']) expect(refusalOf(await post('/events', body))).toEqual([400, 'invalid_json']);
    for (const path of ['/events/bulk', '/ingest'])
      expect(refusalOf(await post(path, '{"events":[]}'))).toEqual([400, 'invalid_envelope']);
  });

  test('because there are too many', async () => {
    for (const wire of [BULK, WEB]) {
      expect((await post(wire.path, wire.body('thousand', 1_000, 0))).status).toBe(statusOf(wire));
      expect(refusalOf(await post(wire.path, wire.body('thousand', 1_001, 0)))).toEqual([400, 'too_many_events']);
    }
  });
});

test('/ingest takes no event of another tenant, whose id stays free for its owner', async () => {
  const other = await newProject();
  const event = webEvent('tenants');
  const body = JSON.stringify({ events: [{ ...event, tenant_id: project }] });
  const refused = await post('/ingest', body, { headers: bearer(await newToken({ of: other })) });
  expect(refused.json).toMatchObject({ status: 'rejected', errors: [{ index: 0, reason: 'tenant mismatch' }] });
  expect((await post('/ingest', body)).json).toMatchObject({ status: 'success' });
});

test('a deleted project is open to nobody any more', async () => {
  const doomed = await newProject();
  const openShop = await open({ INGEST_ANONYMOUS_PROJECT: doomed });
  await door.weir.projects.delete(doomed);
  expect(refusalOf(await post('/events', PRODUCT.body('refused', 1, 0), { headers: {}, to: openShop }))).toEqual([
    401,
    'unauthorized',
  ]);
});

describe('NDJSON streams in', () => {
  /** Ten mebibytes of lines, of which every hundredth is an event. */
  const lines = `${JSON.stringify({ timestamp: 1, service: 's', name: 'streamed' })}\n${`{"a":"${'x'.repeat(1_000)}"}\n`.repeat(99)}`;
  const body = Buffer.alloc(10 * MIB - 2, lines);
  const goodCount = body.toString('latin1').split('"streamed"}\n').length - 1;

  test('ten mebibytes, with hardly any of it held', async () => {
    let peakBytes = 0;
    const over = new AbortController();
    const watching = (async () => {
      while (!over.signal.aborted) peakBytes = Math.max(peakBytes, Number((await door.health())['reserved_bytes']));
    })();
    const reply = await post('/v1/events?wait=true', gzipSync(body, { level: 1 }), {
      headers: { ...bearer(), 'content-encoding': 'gzip' },
    });
    over.abort();
    await watching;
    expect(reply.json).toMatchObject({ accepted: goodCount, errors_truncated: true });
    expect(peakBytes).toBeLessThan(100_000);
    expect(await countOf('streamed')).toBe(goodCount);
  });

  test('a client that stops in the middle of it holds next to nothing, and leaves nothing', async () => {
    const line = await dial(door.port);
    const half = body.subarray(0, MIB);
    line.write(
      `POST /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${publicToken}\r\nContent-Length: ${body.length}\r\n\r\n`,
    );
    line.write(half);
    await vi.waitFor(async () => expect((await door.health())['reserved_bytes']).toBeGreaterThan(0), SOON);
    expect((await door.health())['reserved_bytes']).toBeLessThan(100_000);
    const before = await countOf('streamed');
    line.socket.destroy();
    await atRest();
    expect(await countOf('streamed')).toBe(before);
  });
});

test('no request failed for a reason of ours', () => {
  for (const one of doors) expect(one.logged()).not.toContain('"request failed"');
});
