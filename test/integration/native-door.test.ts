import { brotliCompressSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { EVENTS_PATH, type OpenDoor, type Reply, openDoor } from '../support/door.ts';
import { dial, exchange } from '../support/line.ts';
import { startStores, type Stores } from '../support/stores.ts';

/** However busy the machine is. */
const SOON = { timeout: 20_000 };

const MIB = 1024 * 1024;
const MAX_BODY = 10 * MIB;
/** Without a token in a header. */
const MAX_UNKNOWN_BODY = 256 * 1024;
/** What a scan would stumble over. */
const LARGE_AND_BROKEN = '{"event":'.repeat(4_000);
const NOBODY = `mere_pub_${'0'.repeat(64)}`;
const CONFIDENTIAL = 'confidential-content-of-an-event';
const MADE_REQUEST_ID = /^[0-9a-f]{24}$/;
const MADE_EVENT_ID = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

let stores: Stores;
let door: OpenDoor;
/** Every door of this file, for the search for leaks at the end. */
const doors: OpenDoor[] = [];
let project: string;
let publicToken: string;
let secretToken: string;
const tokensUsed: string[] = [];
const printed: string[] = [];

beforeAll(async () => {
  for (const method of ['log', 'info', 'warn', 'error'] as const) {
    vi.spyOn(console, method).mockImplementation((...args: unknown[]) => void printed.push(args.join(' ')));
  }
  stores = await startStores();
  door = await open();
  await door.weir.migrated;
  project = await newProject();
  publicToken = await newToken();
  secretToken = await newToken({ kind: 'secret' });
});
afterAll(async () => {
  for (const one of doors) await one.stop();
  await stores.stop();
});

async function open(settings: Record<string, string> = {}, databaseUrl = stores.databaseUrl): Promise<OpenDoor> {
  const opened = await openDoor(
    { databaseUrl, clickhouseUrl: stores.clickhouseUrl },
    { INGEST_FLUSH_INTERVAL: '50ms', ...settings },
  );
  doors.push(opened);
  return opened;
}

const newProject = async (allowedOrigins: string[] = []) =>
  (await door.weir.projects.create({ name: 'shop', retentionSeconds: null, allowedOrigins })).id;

async function newToken({
  kind = 'public',
  imported = null,
  of = project,
}: Partial<{ kind: 'public' | 'secret'; imported: string | null; of: string }> = {}) {
  const made = (await door.weir.tokens.create({ projectId: of, kind, name: null, imported }))!;
  tokensUsed.push(made.plaintext);
  return made.plaintext;
}

const bearer = (token = publicToken) => ({ authorization: `Bearer ${token}` });
const eventOf = (event = 'seen', more: object = {}) => ({
  event,
  timestamp: Date.now(),
  properties: { note: CONFIDENTIAL },
  ...more,
});
const post = (body: string, headers = `Authorization: Bearer ${publicToken}\r\n`) =>
  `POST ${EVENTS_PATH} HTTP/1.1\r\nHost: localhost\r\n${headers}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
const rowsOf = (event: string, columns = '*') =>
  stores.select<Record<string, string>>(
    `SELECT ${columns} FROM events_raw_v1 WHERE event = '${event}' ORDER BY timestamp`,
  );
const atRest = (of = door) =>
  vi.waitFor(async () => expect(await of.health()).toMatchObject({ pending: 0, pending_bytes: 0, reserved_bytes: 0 }), {
    timeout: 10_000,
  });

function expectRefusal(reply: Reply, status: number, code: string) {
  expect({ status: reply.status, json: reply.json }).toMatchObject({
    status,
    json: { code, error: expect.stringMatching(/^\S.{5,}/) },
  });
  expect(reply.headers.get('content-type')).toMatch(/^application\/json/);
  expect(reply.headers.get('x-content-type-options')).toBe('nosniff');
  expect(reply.headers.get('x-request-id')).toBeTruthy();
}

const encoded = (encoding: string) => ({ ...bearer(), 'content-encoding': encoding });

const keyed = (key: string, body: object, headers = bearer()) =>
  door.send(body, { ...headers, 'idempotency-key': key }, '?wait=true');

const storeOne = async (event: string, members: string) => {
  const reply = await door.send(
    `{"events":[{"event":"${event}","timestamp":1767225600.5,${members}}]}`,
    bearer(),
    '?wait=true',
  );
  expect([reply.status, reply.text]).toEqual([202, '{"accepted":1,"rejected":0}']);
  return (await rowsOf(event))[0]!;
};

const preflight = (of: OpenDoor, path: string, origin: string) =>
  of.ask(path, {
    method: 'OPTIONS',
    headers: {
      origin,
      'access-control-request-method': 'POST',
      'access-control-request-headers': 'authorization,traceparent,baggage,sentry-trace',
    },
  });

const codeOf = (reply: string) => /"code":"(\w+)"/.exec(reply)?.[1];

const everything = () => [...doors.map((one) => one.logged() + one.answered()), ...printed].join('\n');

describe('a request that is served', () => {
  test('is 202 with its counts, and its events are stored', async () => {
    const reply = await door.send({ events: [eventOf('served'), eventOf('served')] }, bearer(), '?wait=true');
    expect({ status: reply.status, json: reply.json }).toEqual({ status: 202, json: { accepted: 2, rejected: 0 } });
    expect(reply.headers.get('content-type')).toBe('application/json');
    expect(reply.headers.get('weir-ack')).toBe('stored');
    const stored = await rowsOf('served', 'project_id, source');
    expect(stored).toEqual([1, 2].map(() => ({ project_id: project, source: 'native' })));
  });

  test.each([
    ['an empty batch', '{"events":[]}', { accepted: 0, rejected: 0 }],
    ['no events', '{}', { accepted: 0, rejected: 0 }],
    ['events of null', '{"events":null}', { accepted: 0, rejected: 0 }],
    [
      'all rejected',
      '{"events":[1]}',
      { accepted: 0, rejected: 1, errors: [{ index: 0, reason: 'event must be an object' }] },
    ],
  ])('with nothing to take is 200: %s', async (_name, body, expected) => {
    const reply = await door.send(body, bearer());
    expect({ status: reply.status, json: reply.json }).toEqual({ status: 200, json: expected });
    expect(reply.headers.get('weir-ack')).toBe('queued');
  });

  test('says which events it did not take, and takes the others', async () => {
    const events = [{}, eventOf('mixed'), { event: 'x', timestamp: 'yesterday' }, eventOf('mixed'), null];
    const reply = await door.send({ events }, bearer(), '?ack=stored');
    expect(reply.status).toBe(202);
    expect(reply.json).toEqual({
      accepted: 2,
      rejected: 3,
      errors: [
        { index: 0, reason: 'event required' },
        { index: 2, reason: 'timestamp invalid' },
        { index: 4, reason: 'event must be an object' },
      ],
    });
    expect(await rowsOf('mixed')).toHaveLength(2);
  });

  test('lists a hundred rejections at most, and counts all', async () => {
    const hundred = await door.send({ events: Array(100).fill(1) }, bearer());
    expect(hundred.json).not.toHaveProperty('errors_truncated');
    const { json } = await door.send({ events: Array(101).fill(1) }, bearer());
    expect(json).toMatchObject({ accepted: 0, rejected: 101, errors_truncated: true });
    expect(json!['errors']).toHaveLength(100);
  });

  test('keeps a well-formed request id, and makes one otherwise', async () => {
    const idOf = async (id?: string) =>
      (await door.send({}, { ...bearer(), ...(id === undefined ? {} : { 'x-request-id': id }) })).headers.get(
        'x-request-id',
      );
    expect(await idOf('abc-123_X.y:z')).toBe('abc-123_X.y:z');
    for (const unusable of [undefined, '', 'two words', 'x'.repeat(129), '<script>'])
      expect(await idOf(unusable)).toMatch(MADE_REQUEST_ID);
    expect(door.logged()).toContain('"requestId":"abc-123_X.y:z"');
  });

  test('may have any content type, or none, as a beacon sends it', async () => {
    for (const type of ['text/plain;charset=UTF-8', 'application/x-www-form-urlencoded', 'multipart/form-data', '']) {
      const reply = await door.send({ token: publicToken, events: [eventOf()] }, { 'content-type': type });
      expect(reply.status).toBe(202);
    }
  });

  test.each([
    ['on', '?ack=queued', 'queued'],
    ['on', '?ack=journaled', 'journaled'],
    ['on', '?ack=stored', 'stored'],
    ['on', '?wait=true', 'stored'],
    ['on', '?wait=false', 'journaled'],
    ['on', '', 'journaled'],
    ['prefer', '', 'journaled'],
    ['off', '?ack=queued', 'queued'],
    ['off', '?ack=journaled', 'queued'],
    ['off', '?ack=stored', 'stored'],
    ['off', '?wait=true', 'stored'],
    ['off', '?wait=false', 'queued'],
    ['off', '', 'queued'],
  ])('is as safe as asked for, and says so: journal %s, %s', async (journal, query, level) => {
    const asked = journal === 'on' ? door : await open({ INGEST_JOURNAL: journal });
    const reply = await asked.send({ events: [eventOf()] }, bearer(), query);
    expect({ status: reply.status, ack: reply.headers.get('weir-ack') }).toEqual({ status: 202, ack: level });
  });

  test('is as safe as INGEST_ACK says when it does not say itself', async () => {
    const patient = await open({ INGEST_ACK: 'stored' });
    expect((await patient.send({ events: [eventOf()] }, bearer())).headers.get('weir-ack')).toBe('stored');
    const hurried = await open({ INGEST_ACK: 'queued' });
    expect((await hurried.send({ events: [eventOf()] }, bearer())).headers.get('weir-ack')).toBe('queued');
  });

  test.each(['?ack=saved', '?ack=', '?wait=yes', '?wait', '?wait=1&ack=stored'])(
    'needs a known query: %s',
    async (query) => {
      expectRefusal(await door.send({ events: [eventOf()] }, bearer(), query), 400, 'invalid_query');
    },
  );
});

describe('credentials', () => {
  const FORMS: [string, (token: string) => [headers: Record<string, string>, envelope: object]][] = [
    ['Bearer', (token) => [bearer(token), {}]],
    ['X-Api-Key', (token) => [{ 'x-api-key': token }, {}]],
    ['project:token', (token) => [bearer(`${project}:${token}`), {}]],
    ['project:token as X-Api-Key', (token) => [{ 'x-api-key': `${project}:${token}` }, {}]],
    ['token in the body', (token) => [{}, { token }]],
    ['project:token in the body', (token) => [{}, { token: `${project}:${token}` }]],
  ];

  test.each(FORMS)('%s', async (_name, form) => {
    for (const token of [publicToken, secretToken]) {
      const [headers, envelope] = form(token);
      expect((await door.send({ ...envelope, events: [eventOf()] }, headers)).status).toBe(202);
    }
    const [headers, envelope] = form(NOBODY);
    const refused = await door.send({ ...envelope, events: [eventOf()] }, headers);
    expectRefusal(refused, 401, 'unauthorized');
    expect(refused.headers.get('www-authenticate')).toBe('Bearer realm="weir", error="invalid_token"');
  });

  test.each<[string, Record<string, string>, string]>([
    ['nothing at all', {}, 'invalid_request'],
    ['another scheme', { authorization: 'Basic eDp5' }, 'invalid_request'],
    ['a bearer of nothing', { authorization: 'Bearer ' }, 'invalid_request'],
    ['an empty key', { 'x-api-key': '' }, 'invalid_request'],
    ['an unknown one', bearer(NOBODY), 'invalid_token'],
    ['one without our prefix', bearer('phc_something'), 'invalid_token'],
  ])('%s is 401 and says what was wrong', async (_name, headers, error) => {
    const reply = await door.send({ events: [eventOf()] }, headers);
    expectRefusal(reply, 401, 'unauthorized');
    expect(reply.headers.get('www-authenticate')).toBe(`Bearer realm="weir", error="${error}"`);
  });

  test('Authorization wins over X-Api-Key, and a header over the body', async () => {
    const events = [eventOf()];
    expect((await door.send({ events }, { ...bearer(), 'x-api-key': NOBODY })).status).toBe(202);
    expect((await door.send({ events }, { ...bearer(NOBODY), 'x-api-key': publicToken })).status).toBe(401);
    expect((await door.send({ events, token: NOBODY }, bearer())).status).toBe(202);
    expect((await door.send({ events, token: publicToken }, bearer(NOBODY))).status).toBe(401);
  });

  test('a token of another project than the one named is 401', async () => {
    const other = await newProject();
    expectRefusal(await door.send({ events: [eventOf()] }, bearer(`${other}:${publicToken}`)), 401, 'unauthorized');
    expectRefusal(await door.send({ token: `${other}:${publicToken}` }), 401, 'unauthorized');
  });

  test('an imported key does not open the native door', async () => {
    const imported = await newToken({ imported: 'phc_key_of_an_older_service' });
    for (const headers of [bearer(imported), bearer(`${project}:${imported}`), { 'x-api-key': imported }]) {
      expectRefusal(await door.send({ events: [eventOf()] }, headers), 401, 'unauthorized');
    }
    expectRefusal(await door.send({ token: imported, events: [eventOf()] }), 401, 'unauthorized');
  });

  test('a revoked token, and one of a deleted project, are 401', async () => {
    const doomed = await newProject();
    const orphan = await newToken({ of: doomed });
    await door.weir.projects.delete(doomed);
    const revoked = (await door.weir.tokens.create({
      projectId: project,
      kind: 'public',
      name: null,
      imported: null,
    }))!;
    await door.weir.tokens.revoke(revoked.id);
    for (const token of [orphan, revoked.plaintext])
      expectRefusal(await door.send({}, bearer(token)), 401, 'unauthorized');
  });

  test('a project may name the pages that use its tokens', async () => {
    const shop = await newProject(['https://shop.example']);
    const token = await newToken({ of: shop });
    const from = (origin?: string) =>
      door.send({ events: [eventOf()] }, { ...bearer(token), ...(origin === undefined ? {} : { origin }) });
    expect((await from()).status).toBe(202);
    expect((await from('https://shop.example')).status).toBe(202);
    for (const origin of ['https://evil.example', 'http://shop.example', 'null'])
      expectRefusal(await from(origin), 403, 'forbidden');
    expect((await door.send({ token, events: [eventOf()] }, { origin: 'https://evil.example' })).status).toBe(403);
  });
});

describe('without Postgres', () => {
  let lonely: OpenDoor;
  beforeAll(async () => {
    lonely = await open({}, 'postgres://weir:hunter2@127.0.0.1:1/weir');
  });

  test('a token that cannot be looked up is 500, never 401', async () => {
    for (const reply of [await lonely.send({ events: [] }, bearer()), await lonely.send({ token: publicToken })]) {
      expectRefusal(reply, 500, 'internal');
      expect(reply.headers.get('retry-after')).toBe('5');
      expect(reply.headers.get('www-authenticate')).toBeNull();
    }
  });

  test('what needs no look-up is 401 as ever', async () => {
    expectRefusal(await lonely.send({ events: [] }), 401, 'unauthorized');
    expectRefusal(await lonely.send({ events: [] }, bearer('phc_imported')), 401, 'unauthorized');
  });
});

describe('bodies', () => {
  const PACKED = {
    gzip: gzipSync,
    'x-gzip': gzipSync,
    deflate: deflateSync,
    br: brotliCompressSync,
    zstd: zstdCompressSync,
  };
  const ENCODINGS = Object.keys(PACKED) as (keyof typeof PACKED)[];

  test.each(ENCODINGS)('compressed by %s are taken; cut or damaged ones are not', async (encoding) => {
    const packed = PACKED[encoding](
      JSON.stringify({ events: Array.from({ length: 50 }, (_, i) => eventOf(`packed ${i}`)) }),
    );
    const reply = await door.send(packed, encoded(encoding));
    expect({ status: reply.status, json: reply.json }).toMatchObject({ status: 202, json: { accepted: 50 } });
    expectRefusal(await door.send(packed.subarray(0, -5), encoded(encoding)), 400, 'invalid_encoding');
    expectRefusal(await door.send('{"events":[]}', encoded(encoding)), 400, 'invalid_encoding');
  });

  test.each(ENCODINGS)('that explode by %s are 413, and the service goes on', async (encoding) => {
    const bomb = PACKED[encoding](Buffer.alloc(200 * 1024 * 1024));
    const replies = await Promise.all(Array.from({ length: 3 }, () => door.send(bomb, encoded(encoding))));
    for (const reply of replies) expectRefusal(reply, 413, 'body_too_large');
    await atRest();
  });

  test.each([
    'compress',
    'gzip, compress',
    'gzip, gzip, gzip',
    'constructor',
    'toString',
    '__proto__',
    'hasOwnProperty',
  ])('encoded by %s are 415', async (encoding) => {
    expectRefusal(await door.send('{"events":[]}', encoded(encoding)), 415, 'unsupported_encoding');
    expectRefusal(await door.send('{"events":[]}', { 'content-encoding': encoding }), 415, 'unsupported_encoding');
  });

  test('that are packed and do not say so are told from text', async () => {
    for (const packed of [gzipSync('{"events":[]}'), zstdCompressSync('{"events":[]}')]) {
      const reply = await door.send(packed, bearer());
      expectRefusal(reply, 400, 'invalid_encoding');
      expect(reply.json!['error']).toMatch(/looks like (gzip|zstd).*Content-Encoding: \1/);
    }
  });

  test('with an encoding and nothing in them are empty', async () => {
    expectRefusal(await door.send('', encoded('gzip')), 400, 'invalid_json');
    const reply = await door.ask('/v1/events', { method: 'POST', headers: encoded('gzip'), body: '' });
    expect([reply.status, reply.json]).toEqual([200, { accepted: 0 }]);
  });

  test.each(['identity', 'GZIP'])('encoded by %s are taken', async (encoding) => {
    const text = '{"events":[]}';
    expect((await door.send(encoding === 'GZIP' ? gzipSync(text) : text, encoded(encoding))).status).toBe(200);
  });

  test('of the largest size are taken, announced or not', async () => {
    const largest = '{"events":[]}'.padEnd(MAX_BODY);
    expect((await door.send(largest, bearer())).status).toBe(200);
    expect((await door.send(new Blob([largest]).stream(), bearer())).status).toBe(200);
  });

  test.each([
    ['with a key', ',"batch_id":"takes turns"'],
    ['without', ''],
  ])(
    'that take many turns of the event loop are taken like others (%s), and what is too large in them is not',
    async (how, key) => {
      const event = `in turns ${how}`;
      const noted = (note: number) => JSON.stringify({ event, timestamp: Date.now(), user_id: String(note) });
      const bomb = `{"event":"bomb",${'"":0,'.repeat(MIB)}"z":0}`;
      const events = Array.from({ length: 2_000 }, (_, i) => noted(i).padEnd(1_000));
      const body = `{"events":[${events.slice(0, 5).join(',')},${bomb},${events.slice(5).join(',')}]${key}}`;
      const stored = door.send(body, bearer(), '?ack=stored');
      const meanwhile = await Promise.all(Array.from({ length: 5 }, () => door.send({ events: [] }, bearer())));
      expect(meanwhile.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200]);
      expect((await stored).json).toEqual({
        accepted: 2_000,
        rejected: 1,
        errors: [{ index: 5, reason: 'event too large: more than 10000 fields' }],
      });
      await atRest();
      const ids = (await rowsOf(event, 'user_id')).map(({ user_id }) => Number(user_id));
      expect(ids.toSorted((a, b) => a - b)).toEqual(events.map((_, i) => i));
    },
  );

  test('above it are 413: announced, or as it turns out', async () => {
    const larger = ' '.repeat(MAX_BODY + 1);
    expectRefusal(await door.send(larger, bearer()), 413, 'body_too_large');
    expectRefusal(await door.send(new Blob([larger]).stream(), bearer()), 413, 'body_too_large');
    await atRest();
  });

  test('announced as too large are refused before they are sent', async () => {
    const line = await dial(door.port);
    line.write(
      `POST ${EVENTS_PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${publicToken}\r\nContent-Length: ${MAX_BODY + 1}\r\n\r\n`,
    );
    expect(await line.until((text) => text.includes('\r\n\r\n'))).toMatch(/^HTTP\/1\.1 413 /);
    line.socket.destroy();
  });

  test.each<[string, string | Uint8Array, string, RegExp]>([
    ['nothing', '', 'invalid_json', /empty/],
    ['no JSON', '{"events":[}', 'invalid_json', /\b11\b/],
    ['more than one document', '{"events":[]}{}', 'invalid_json', /\b13\b/],
    ['half a document', '{"events":[{"event":"a"', 'invalid_json', /at the end/],
    ['no object', '[]', 'invalid_envelope', /object/],
    ['no UTF-8', Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]), 'invalid_encoding', /UTF-8/],
    ['an unknown key', '{"evnts":[]}', 'invalid_envelope', /"evnts".*"events"/],
    ['a foreign key', '{"events":[],"writeKey":"x"}', 'invalid_envelope', /"writeKey"/],
    ['events that are no list', '{"events":{}}', 'invalid_envelope', /"events" must be an array/],
    ['a token that is no text', '{"token":1}', 'invalid_envelope', /"token"/],
    ['a batch id that is no text', '{"batch_id":{}}', 'invalid_envelope', /"batch_id"/],
  ])('%s: 400 that says why', async (_name, body, code, message) => {
    const reply = await door.send(body, bearer());
    expectRefusal(reply, 400, code);
    expect(reply.json!['error']).toMatch(message);
  });
});

describe('the order of the checks', () => {
  test('switched off comes before everything, with 503 and five minutes to wait', async () => {
    const off = await open({ INGEST_DISABLED: 'true' });
    for (const [body, headers, query] of [
      ['{"events":[]}', bearer(), ''],
      ['no json', bearer(NOBODY), '?ack=wrong'],
      ['no json', { 'content-encoding': 'rot13' }, ''],
    ] as const) {
      const reply = await off.send(body, headers, query);
      expectRefusal(reply, 503, 'ingest_disabled');
      expect(reply.headers.get('retry-after')).toBe('300');
    }
    expect((await off.ask('/readyz')).json).toMatchObject({ reason: 'ingest_disabled' });
    expect((await off.ask('/healthz')).json).toMatchObject({ status: 'ok', ingest_disabled: true });
  });

  test('a bad credential in a header is told before the body is there', async () => {
    const line = await dial(door.port);
    line.write(
      `POST ${EVENTS_PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${NOBODY}\r\nContent-Length: 1000000\r\n\r\n`,
    );
    expect(await line.until((text) => text.includes('\r\n\r\n'))).toMatch(/^HTTP\/1\.1 401 /);
    line.socket.destroy();
  });

  test.each<[string, string | Buffer, Record<string, string>, number]>([
    ['a bad credential before a packed body', gzipSync('{}'), { ...bearer(NOBODY), 'content-encoding': 'gzip' }, 401],
    ['a bad credential before a bad encoding', 'x', { ...bearer(NOBODY), 'content-encoding': 'rot13' }, 401],
    ['a bad credential before a bad body', 'x', bearer(NOBODY), 401],
    ['a bad encoding before a missing credential', 'x', { 'content-encoding': 'rot13' }, 415],
    ['a bad body before a missing credential', 'x', {}, 400],
    ['a bad envelope before a bad credential inside it', `{"token":"${NOBODY}","evnts":1}`, {}, 400],
    ['a bad credential in the body before its events', `{"token":"${NOBODY}","events":[1]}`, {}, 401],
    ['a bad credential before a large body is scanned', `{"token":"${NOBODY}","events":[${LARGE_AND_BROKEN}}`, {}, 401],
    [
      'a bad credential behind it before it is scanned',
      `{"events":[${LARGE_AND_BROKEN}],"token":"${NOBODY}"}`,
      {},
      401,
    ],
    ['no credential before a large body is scanned', `{"events":[${LARGE_AND_BROKEN}]}`, {}, 401],
    [
      'a large body of nobody before a bad credential',
      `{"token":"${NOBODY}","x":"${'x'.repeat(MAX_UNKNOWN_BODY)}"}`,
      {},
      413,
    ],
    [
      'a packed body of nobody before a bad credential',
      gzipSync(`{"token":"${NOBODY}"}`),
      { 'content-encoding': 'gzip' },
      415,
    ],
    ['a packed body of nobody, a proxy’s work', gzipSync(gzipSync('{}')), { 'content-encoding': 'gzip, gzip' }, 415],
  ])('%s', async (_name, body, headers, status) => {
    expect((await door.send(body, headers)).status).toBe(status);
  });
});

describe('a token in the body', () => {
  const beacon = (bytes: number, isFirst: boolean, event: string) => {
    const events = JSON.stringify([eventOf(event, { properties: { note: 'n'.repeat(bytes) } })]);
    return isFirst ? `{"token":"${publicToken}","events":${events}}` : `{"events":${events},"token":"${publicToken}"}`;
  };

  test.each([
    ['of a beacon', 63 * 1024],
    ['of a small one', 10],
    ['of the largest that is taken', MAX_UNKNOWN_BODY - 1_000],
  ])('is found before and behind the events: %s', async (_what, bytes) => {
    for (const isFirst of [true, false]) {
      const body = beacon(bytes, isFirst, 'beacon');
      const reply = await door.send(body, { 'content-type': 'text/plain' });
      expect([reply.status, reply.json]).toEqual([202, { accepted: 1, rejected: 0 }]);
    }
  });

  test('that the scan finds instead is the one that counts', async () => {
    const padding = 'p'.repeat(20_000);
    const twice = (first: string, last: string) =>
      `{"token":"${first}","events":[${JSON.stringify(eventOf('twice', { properties: { padding } }))}],"token":"${last}"}`;
    expect((await door.send(twice(publicToken, NOBODY))).status).toBe(401);
    expect((await door.send(twice(NOBODY, publicToken))).status).toBe(401);
    expect((await door.send(twice(publicToken, publicToken))).status).toBe(202);
  });
});

describe('overload', () => {
  test('a full channel is 503 with a second to wait, and nothing is read', async () => {
    const small = await open({ INGEST_EVENT_BUFFER: '10', INGEST_FLUSH_EVENTS: '10', INGEST_FLUSH_INTERVAL: '10m' });
    const send = (count: number) =>
      small.send({ events: Array.from({ length: count }, () => eventOf('small')) }, bearer());
    expect((await send(6)).status).toBe(202);
    const half = await send(5);
    expectRefusal(half, 503, 'channel_full');
    expect(half.headers.get('retry-after')).toBe('1');

    const never = await send(11);
    expectRefusal(never, 413, 'body_too_large');
    expect(never.headers.get('retry-after')).toBeNull();
    expect(never.json!['error']).toMatch(/in parts/);

    expect((await send(4)).status).toBe(202);
    await atRest(small);
    expect(await rowsOf('small')).toHaveLength(10);
  });

  test('a full channel says so before it looks at the credential, and in /readyz', async () => {
    const full = await open({ INGEST_EVENT_BUFFER: '2', INGEST_FLUSH_EVENTS: '2', INGEST_FLUSH_INTERVAL: '10m' });
    expect((await full.send({ events: [eventOf()] }, bearer())).status).toBe(202);
    stores.clickhouseServer.pause();
    try {
      expect((await full.send({ events: [eventOf()] }, bearer())).status).toBe(202);
      const reply = await full.send('no json', bearer(NOBODY));
      expectRefusal(reply, 503, 'channel_full');
      expect(reply.headers.get('retry-after')).toBe('1');
      const ready = await full.ask('/readyz');
      expect({ status: ready.status, json: ready.json }).toMatchObject({
        status: 503,
        json: { reason: 'channel_full' },
      });
    } finally {
      stores.clickhouseServer.resume();
    }
    await vi.waitFor(async () => expect((await full.ask('/readyz')).status).toBe(200), { timeout: 20_000 });
  });

  test('a project over its allowance is 429 and hears how long to wait; another is served', async () => {
    const limited = await open({ INGEST_RATE_LIMIT: '2/m' });
    const other = await newToken({ of: await newProject() });
    for (let i = 0; i < 2; i++) expect((await limited.send({ events: [] }, bearer())).status).toBe(200);
    const reply = await limited.send({ events: [eventOf()] }, bearer());
    expectRefusal(reply, 429, 'rate_limited');
    expect(Number(reply.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
    expect((await limited.send({ events: [] }, bearer(other))).status).toBe(200);
    expect((await limited.send('no json', bearer())).status).toBe(400);
  });
});

test('sent_at corrects the clock of a device', async () => {
  const slowMs = 3 * 60 * 60_000;
  const now = Date.now();
  const body = { events: [{ event: 'slow clock', timestamp: now - slowMs }], sent_at: now - slowMs };
  expect((await door.send(body, bearer(), '?wait=true')).status).toBe(202);
  const [row] = await rowsOf('slow clock', 'toUnixTimestamp64Milli(timestamp) AS at, extras');
  expect(Math.abs(Number(row!['at']) - now)).toBeLessThan(60_000);
  const extras = JSON.parse(row!['extras']!) as { timestamp: number; $skew_ms: number };
  expect(extras).toEqual({ timestamp: now - slowMs, $skew_ms: Number(row!['at']) - (now - slowMs) });
});

describe('idempotency', () => {
  test.each(['header', 'batch_id'])(
    'the same key in %s gets the first answer, and nothing is queued again',
    async (where) => {
      const event = `once by ${where}`;
      const body = { events: [eventOf(event), 1] };
      const send = (content: object) =>
        where === 'header' ? keyed(event, content) : door.send({ batch_id: event, ...content }, bearer(), '?wait=true');
      const first = await send(body);
      // When it is sent is no part of what is sent again.
      const again = await send({ sent_at: Date.now(), ...body });
      expect([again.status, again.text, again.headers.get('weir-ack')]).toEqual([
        first.status,
        first.text,
        first.headers.get('weir-ack'),
      ]);
      expectRefusal(await send({ events: [] }), 422, 'idempotency_mismatch');
      await atRest();
      expect(await rowsOf(event)).toHaveLength(1);
    },
  );

  test('twenty at the same moment are one', async () => {
    const body = { events: [eventOf('at once')] };
    const replies = await Promise.all(Array.from({ length: 20 }, () => keyed('at once', body)));
    expect(new Set(replies.map(({ status, text }) => `${status} ${text}`))).toEqual(
      new Set(['202 {"accepted":1,"rejected":0}']),
    );
    expect(await rowsOf('at once')).toHaveLength(1);
  });

  test('a refusal is not remembered, and another project may use the key', async () => {
    expect((await keyed('reused', { evnts: [] })).status).toBe(400);
    expect((await keyed('reused', { events: [] })).status).toBe(200);
    expect((await keyed('reused', { events: [1] }, bearer(await newToken({ of: await newProject() })))).status).toBe(
      200,
    );
  });

  test.each(['', 'x'.repeat(201)])('a key must be of reasonable length', async (key) => {
    expectRefusal(await keyed(key, { events: [] }), 400, 'invalid_query');
  });
});

describe('what is stored', () => {
  test.each([
    ['long integers', '{"n":12345678901234567890,"m":-0.10}'],
    ['numbers beyond doubles', '{"n":1e400,"m":1E-999}'],
    ['duplicate keys', '{"a":1,"a":2}'],
    ['key order', '{"z":1,"a":2,"10":3,"9":4}'],
    ['NUL', String.raw`{"a\u0000b":"c\u0000d"}`],
    ['lone surrogates', String.raw`{"high":"\ud800","low":"\udfff","pair":"\ud83d\ude00"}`],
    ['text as it was escaped', String.raw`{"é":"\u00e9\/\t","e":"🙂"}`],
    ['depth', `{"a":${'['.repeat(50)}${']'.repeat(50)}}`],
    ['keys of every object', '{"__proto__":{"x":1},"constructor":null,"hasOwnProperty":0}'],
  ])('properties and extras are kept byte for byte: %s', async (name, json) => {
    const row = await storeOne(`bytes: ${name}`, `"properties":${json},"extras":${json}`);
    // Where ClickHouse cannot read it, a form that it can stands in its place (readable-documents.test.ts).
    expect(row['properties_sent'] || row['properties']).toBe(json);
    expect(row['extras_sent'] || row['extras']).toBe(json);
  });

  test('what is unknown is folded into extras, and wins there', async () => {
    const row = await storeOne('folded', '"plan":12345678901234567890,"extras":{"a":1}');
    expect(row['extras']).toBe('{"a":1,"plan":12345678901234567890}');
    expect(row['properties']).toBe('{}');
  });

  test('an id that the client sends is kept; one that is no UUID is hashed into one', async () => {
    const id = '0198c0de-0000-7000-8000-000000000001';
    expect((await storeOne('own id', `"event_id":"${id}"`))['event_id']).toBe(id);
    const hashed = await storeOne('odd id', '"messageId":"msg-1"');
    expect(hashed['event_id']).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-8/);
    expect(hashed['extras']).toContain('msg-1');
    expect((await storeOne('odd id', '"messageId":"msg-1"'))['event_id']).toBe(hashed['event_id']);
    expect((await storeOne('made id', '"user_id":"u"'))['event_id']).toMatch(MADE_EVENT_ID);
  });

  test('the arrival is stamped at the door, whatever the client says', async () => {
    const before = Date.now();
    const row = await storeOne('stamped', '"received_at":"1999-01-01T00:00:00Z","project_id":"x","source":"y"');
    const receivedAt = Date.parse(`${row['received_at']}Z`.replace(' ', 'T'));
    expect(receivedAt).toBeGreaterThanOrEqual(before - 1);
    expect(receivedAt).toBeLessThanOrEqual(Date.now());
    expect(row).toMatchObject({ project_id: project, source: 'native', timestamp: '2026-01-01 00:00:00.500' });
  });
});

describe('CORS', () => {
  const EXPOSED = 'Retry-After,X-Request-Id,Weir-Ack,Weir-Rejected';

  test.each([EVENTS_PATH, '/metrics', '/no/such/path'])('a preflight of %s is 204', async (path) => {
    const { status, text, headers } = await preflight(door, path, 'https://a.example');
    expect([status, text]).toEqual([204, '']);
    expect(headers.get('access-control-allow-origin')).toBe('https://a.example');
    expect(headers.get('access-control-allow-credentials')).toBe('true');
    expect(headers.get('vary')).toMatch(/\bOrigin\b/);
    expect(headers.get('vary')).toMatch(/\bAccess-Control-Request-Headers\b/);
    expect(headers.get('access-control-allow-methods')?.replaceAll(' ', '')).toBe('GET,POST,OPTIONS');
    expect(headers.get('access-control-allow-headers')).toBe('authorization,traceparent,baggage,sentry-trace');
    expect(headers.get('access-control-max-age')).toBe('86400');
  });

  test.each(['/healthz', '/health', '/readyz', '/internal/metrics', '/internal/nothing'])(
    '%s is for no page: it has none of it',
    async (path) => {
      const headers = { origin: 'https://a.example' };
      for (const reply of [await preflight(door, path, headers.origin), await door.ask(path, { headers })]) {
        expect([...reply.headers.keys()].filter((name) => name.startsWith('access-control-'))).toEqual([]);
      }
      expect((await preflight(door, path, headers.origin)).status).toBe(204);
    },
  );

  test('what needed a credential is kept by no cache, good or bad, whoever reads it', async () => {
    for (const reply of [
      await door.send({}, bearer()),
      await door.send({}, {}),
      await door.send({}, { ...bearer(), 'proxy-connection': 'keep-alive' }),
      await door.ask('/metrics', { headers: bearer() }),
      await door.ask('/metrics'),
      await door.ask(`/api/v1/projects/${project}/schema`, { headers: bearer() }),
      await door.ask(`/api/v1/projects/${project}/schema`),
    ]) {
      expect(reply.headers.get('cache-control')).toBe('no-store');
    }
  });

  test('is there when intake is off, and on every answer, good or bad', async () => {
    const off = await open({ INGEST_DISABLED: 'true' });
    expect((await preflight(off, EVENTS_PATH, 'https://a.example')).status).toBe(204);
    const headers = { origin: 'https://a.example' };
    for (const reply of [
      await door.send({}, { ...headers, ...bearer() }),
      await door.send({}, headers),
      await door.ask('/nowhere', { headers }),
      await door.ask(EVENTS_PATH, { headers }),
      await off.send({}, headers),
    ]) {
      expect(reply.headers.get('access-control-allow-origin')).toBe('https://a.example');
      expect(reply.headers.get('access-control-expose-headers')?.replaceAll(' ', '')).toBe(EXPOSED);
    }
  });

  test('with origins allowed, names the one that asks and no other', async () => {
    const choosy = await open({ ALLOWED_ORIGINS: 'https://a.example, https://b.example' });
    for (const origin of ['https://a.example', 'https://b.example', 'https://evil.example']) {
      const expected = origin.includes('evil') ? null : origin;
      for (const reply of [
        await preflight(choosy, EVENTS_PATH, origin),
        await choosy.send({}, { ...bearer(), origin }),
      ]) {
        expect(reply.headers.get('access-control-allow-origin')).toBe(expected);
        expect(reply.headers.get('vary')).toMatch(/\bOrigin\b/i);
      }
    }
  });
});

describe('paths and methods', () => {
  test.each(['GET', 'PUT', 'DELETE', 'PATCH'])('%s of the door is 405 with what it takes', async (method) => {
    const reply = await door.ask(EVENTS_PATH, { method });
    expectRefusal(reply, 405, 'method_not_allowed');
    expect(reply.headers.get('allow')).toBe('POST, OPTIONS');
  });

  test('HEAD is answered without a body: 200 where GET is, 405 at the door', async () => {
    for (const [path, status] of [
      ['/healthz', 200],
      [EVENTS_PATH, 405],
      ['/nowhere', 404],
    ] as const) {
      const reply = await door.ask(path, { method: 'HEAD' });
      expect([reply.status, reply.text]).toEqual([status, '']);
    }
  });

  test.each([
    '/',
    '/api/v1/ingest',
    `${EVENTS_PATH}/`,
    '//',
    '/%',
    '/%zz',
    '/..%2f..%2fetc/passwd',
    '/constructor',
    '/__proto__',
  ])('%s is 404', async (path) => {
    expectRefusal(await door.ask(path), 404, 'not_found');
    expectRefusal(await door.ask(path, { method: 'POST', body: 'x' }), 404, 'not_found');
  });

  test('POST to a health path is 405', async () => {
    const reply = await door.ask('/readyz', { method: 'POST' });
    expectRefusal(reply, 405, 'method_not_allowed');
    expect(reply.headers.get('allow')).toBe('GET, HEAD, OPTIONS');
  });

  test('an encoded path is the path', async () => {
    expect((await door.ask('/api/v1/ingest/%65vents', { method: 'POST', headers: bearer(), body: '{}' })).status).toBe(
      200,
    );
  });
});

describe('requests of no proper client', () => {
  test.each<[string, string, number]>([
    ['no HTTP', 'hello\r\n\r\n', 400],
    ['another protocol', '\u0016\u0003\u0001\u0002\u0000\u0001\u0000\u0001', 400],
    ['no Host', 'GET /healthz HTTP/1.1\r\n\r\n', 400],
    ['a Host that is none', 'GET /healthz HTTP/1.1\r\nHost: a b/c\r\nConnection: close\r\n\r\n', 400],
    ['a Host with a path', 'GET /healthz HTTP/1.1\r\nHost: x/../y?\r\nConnection: close\r\n\r\n', 400],
    ['a target that is no path', 'OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n', 400],
    ['two lengths', `POST ${EVENTS_PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n`, 400],
    [
      'length and chunks',
      `POST ${EVENTS_PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n`,
      400,
    ],
    ['a negative length', `POST ${EVENTS_PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n`, 400],
    ['endless headers', `GET /healthz HTTP/1.1\r\nHost: x\r\nX: ${'y'.repeat(100_000)}\r\n\r\n`, 431],
  ])('%s: answered in the shape of every error', async (_name, request, status) => {
    const reply = await exchange(door.port, request);
    expect(reply).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
    expect(reply).toMatch(/^content-type: application\/json/im);
    expect(reply).toMatch(/^x-content-type-options: nosniff/im);
    expect(codeOf(reply)).toBeTruthy();
  });

  test('an old client without Host is served', async () => {
    expect(await exchange(door.port, 'GET /healthz HTTP/1.0\r\n\r\n')).toMatch(/^HTTP\/1\.1 200 /);
  });

  test('an address in the request line is served', async () => {
    const reply = await exchange(
      door.port,
      'GET http://elsewhere.example/healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n',
    );
    expect(reply).toMatch(/^HTTP\/1\.1 200 /);
  });

  test('a chunk that is none ends the connection, and the service goes on', async () => {
    const reply = await exchange(
      door.port,
      `POST ${EVENTS_PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${publicToken}\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"eve\r\nzz\r\n`,
    );
    expect(reply).toMatch(/^HTTP\/1\.1 400 /);
    await atRest();
  });

  test('a connection is used on after a refusal that did not read the body', async () => {
    const line = await dial(door.port);
    const { length } = line.received();
    line.write(post('x'.repeat(300_000), `Authorization: Bearer ${NOBODY}\r\n`));
    line.write(post('{"events":[]}', 'Content-Encoding: rot13\r\n'));
    line.write(post('{"events":[]}'));
    const replies = await line.until((text) => text.slice(length).includes('"accepted"'));
    expect(replies.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 401', 'HTTP/1.1 415', 'HTTP/1.1 200']);
    line.socket.destroy();
  });
});

describe('clients that leave', () => {
  test.each<[string, string]>([
    [
      'in the middle of the body',
      post('x').replace('Content-Length: 1', 'Content-Length: 500000') + 'y'.repeat(100_000),
    ],
    [
      'in the middle of a body with its token inside',
      `POST ${EVENTS_PATH} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n20\r\n${'{'.repeat(32)}\r\n`,
    ],
    ['right after the headers', `POST ${EVENTS_PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n`],
    [
      'in the middle of a compressed body',
      `POST ${EVENTS_PATH} HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Length: 5000\r\n\r\n\u001f\u008b`,
    ],
  ])('%s hold nothing', async (_name, request) => {
    const lines = await Promise.all(Array.from({ length: 20 }, () => dial(door.port)));
    for (const line of lines) line.socket.write(request, 'latin1');
    await vi.waitFor(async () => expect((await door.health())['reserved_bytes']).toBeGreaterThanOrEqual(0), SOON);
    for (const [index, { socket }] of lines.entries()) {
      if (index % 2 === 0) socket.destroy();
      else socket.resetAndDestroy();
    }
    await atRest();
  });

  test('while their bodies trickle hold only what they sent', async () => {
    const lines = await Promise.all(Array.from({ length: 50 }, () => dial(door.port)));
    for (const line of lines)
      line.write(post('x', '').replace('Content-Length: 1', `Content-Length: ${MAX_UNKNOWN_BODY}`));
    await vi.waitFor(async () => expect((await door.health())['reserved_bytes']).toBe(50), SOON);
    for (const line of lines) line.socket.destroy();
    await atRest();
  });

  test('right after the body, with and without waiting for it to be stored, cost at most their events', async () => {
    const body = JSON.stringify({ events: [eventOf('left')] });
    for (let i = 0; i < 30; i++) {
      const line = await dial(door.port);
      const request = post(body).replace(EVENTS_PATH, `${EVENTS_PATH}?ack=${i % 2 === 0 ? 'stored' : 'queued'}`);
      line.socket.write(request, () => line.socket.resetAndDestroy());
    }
    await atRest();
    expect((await rowsOf('left')).length).toBeLessThanOrEqual(30);
  });

  test('while their token is looked up leave nothing hanging', async () => {
    const slow = await open();
    stores.postgresServer.pause();
    try {
      const lines = await Promise.all(Array.from({ length: 10 }, () => dial(slow.port)));
      const body = JSON.stringify({ events: [eventOf()] });
      for (const line of lines.slice(0, 5)) line.write(post(body));
      for (const line of lines.slice(5))
        line.write(post(JSON.stringify({ token: publicToken, events: [eventOf()] }), ''));
      await vi.waitFor(async () => expect((await slow.health())['reserved_bytes']).toBeGreaterThan(0), SOON);
      for (const line of lines) line.socket.destroy();
    } finally {
      stores.postgresServer.resume();
    }
    await atRest(slow);
  });
});

describe('while it shuts down', () => {
  test('requests under way are served, new ones are 503 and end their connections, silent connections do not hold it up', async () => {
    const ending = await openDoor(stores, { INGEST_FLUSH_INTERVAL: '10m', INGEST_SHUTDOWN_GRACE: '10m' });
    const [underWay, late, kept] = [await dial(ending.port), await dial(ending.port), await dial(ending.port)];
    await dial(ending.port);
    const body = JSON.stringify({ events: [eventOf('under way')] });
    const request = post(body);
    underWay.write(request.slice(0, -10));
    late.write(request.slice(0, 20));
    kept.write(post('{}'));
    await kept.until((text) => text.includes('accepted'));
    // Only when its bytes have arrived is a request under way.
    await vi.waitFor(async () => expect((await ending.health())['reserved_bytes']).toBeGreaterThan(0), SOON);

    const stopped = ending.stop();
    await vi.waitFor(() => expect(kept.socket.readableEnded || kept.socket.destroyed).toBe(true), SOON);
    late.write(request.slice(20));
    const refused = await late.ended;
    expect(refused).toMatch(/^HTTP\/1\.1 503 /);
    expect(refused).toMatch(/^connection: close/im);
    expect(refused).toMatch(/^retry-after: 1/im);
    expect(refused).toContain('shutting_down');

    underWay.write(request.slice(-10));
    const answered = await underWay.ended;
    expect(answered).toMatch(/^HTTP\/1\.1 202 /);
    expect(answered).toMatch(/^connection: close/im);
    await stopped;
    expect(await rowsOf('under way')).toHaveLength(1);
  });
});

describe('nothing leaks', () => {
  test('neither tokens nor events nor passwords are in a log or an answer', () => {
    for (const secret of [...tokensUsed, CONFIDENTIAL, 'hunter2']) expect(everything()).not.toContain(secret);
  });

  test('no answer holds a driver’s text, SQL or a stack', () => {
    for (const one of doors) expect(one.answered()).not.toMatch(/SELECT|INSERT|DB::|ECONN|node:|\bat .*\.ts:\d/);
  });

  test('nothing is printed past the log', () => {
    expect(printed).toEqual([]);
  });

  test('no request failed for a reason of ours that is not an outage', () => {
    for (const one of doors) expect(one.logged()).not.toContain('"request failed"');
  });
});
