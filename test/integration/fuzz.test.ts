/**
 * Requests nobody foresaw, to every front door: no answer is a failure of ours,
 * the counts are those of an independent model, and what was accepted is what
 * ClickHouse holds, byte for byte. A failure prints its seed and the request.
 *
 *   SEED=17 WEIR_FUZZ_RUNS=5000 vitest run --project integration test/integration/fuzz.test.ts
 */
import { isUtf8 } from 'node:buffer';
import { once } from 'node:events';
import { Agent, type IncomingMessage, request } from 'node:http';
import { text } from 'node:stream/consumers';
import {
  brotliCompressSync,
  brotliDecompressSync,
  deflateSync,
  gunzipSync,
  gzipSync,
  inflateSync,
  zstdCompressSync,
  zstdDecompressSync,
} from 'node:zlib';
import fc from '../support/fast-check.ts';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { type OpenDoor, openDoor } from '../support/door.ts';
import { startStores, type Stores } from '../support/stores.ts';
import { INSTANTS, PATHS, type Path, type RawMember, type SentEvent, judge, textOf } from '../support/wire-model.ts';
import { SEED } from '../support/seed.ts';

const RUNS = Number(process.env['WEIR_FUZZ_RUNS'] ?? 200);
const MAX_EVENTS = 1_000;
const MAX_BODY = 10 * 1024 * 1024;
/** Of a body whose sender no header names. */
const MAX_UNKNOWN_BODY = 256 * 1024;

let stores: Stores;
let door: OpenDoor;
const agent = new Agent({ keepAlive: true });

beforeAll(async () => {
  stores = await startStores();
  door = await openDoor(stores, { INGEST_FLUSH_INTERVAL: '20ms' });
  await door.weir.migrated;
  // Two events whose ids are the same are one event to the table, as soon as it likes: every row that it was given.
  for (const query of [
    'CREATE TABLE given AS events_raw_v1 ENGINE = MergeTree ORDER BY tuple()',
    'CREATE MATERIALIZED VIEW giving TO given AS SELECT * FROM events_raw_v1',
  ])
    await stores.clickhouse.command({ query });
});
afterAll(async () => {
  agent.destroy();
  await door.stop();
  await stores.stop();
});

const long = (length: number, of = 'x') => `"${of.repeat(length)}"`;
const deep = (depth: number) => `${'['.repeat(depth)}${']'.repeat(depth)}`;

const AWKWARD = [
  ['null', 'true', 'false', '0', '-0', '-1', '1', '50', '100', '101', '60001', '1e400', '12345678901234567890'],
  ['""', '"x"', '"web"', '"up"', '"click"', '"\\ud800"', '"\\ud83d\\ude00"', '"\\u0000"', '"é😀"', '"\ufeff"'],
  [
    '[]',
    '{}',
    '["a",""]',
    '[null]',
    '{"a":1,"a":2}',
    '{ "a" :\n[ 1 ,\r\n2 ] }',
    '{"__proto__":{"a":1},"toString":null}',
  ],
  [
    '{"x":1,"y":-2.50}',
    '{"x":1,"x":null,"y":1}',
    '{"lcp":60000,"cls":10}',
    '{"lcp":60001}',
    '{"user_agent":"m","ip":5}',
  ],
  [64, 65, 100, 101, 200, 201, 500, 501, 512, 513, 2_000, 2_001].map((length) => long(length)),
  [100, 101, 200, 201, 500, 501].map((length) => long(length, '😀')),
  [63, 64, 65, 500].map(deep),
  [63, 64].map((depth) => `{"a":${deep(depth)}}`),
  [16_384, 16_385, 300_000].map((byteCount) => `{"a":${long(byteCount - 8)}}`),
  [JSON.stringify(Array(1_001).fill('t'))],
].flat();
const awkward = fc.oneof(
  fc.constantFrom(...AWKWARD),
  fc.jsonValue({ maxDepth: 2 }).map((value) => JSON.stringify(value)),
);
const STRAY_KEYS = [
  'x',
  'a',
  'é',
  '__proto__',
  'constructor',
  'toString',
  'hasOwnProperty',
  '',
  'project_id',
  'source',
];
const ID_KEYS = ['event_id', 'eventId', 'messageId', 'message_id', 'uuid', 'id'];
const strayKey = fc.constantFrom(
  ...[...STRAY_KEYS, ...ID_KEYS].map((key) => `"${key}"`),
  '"\\u0078"',
  '"\\ud800"',
  '"received_at"',
);

const uuid = fc.noBias(fc.uuid()).map((id) => `"${id}"`);
const name = fc.constantFrom('"seen"', '"é😀"', '"a\\u0000b"', '"\\ud800"', long(100), long(100, '😀'));
const instant = fc.oneof(
  { weight: 9, arbitrary: fc.constantFrom(...[...INSTANTS].filter(([, ms]) => ms !== null).map(([raw]) => raw)) },
  { weight: 1, arbitrary: fc.constantFrom(...INSTANTS.keys()) },
);
const object = fc.constantFrom('{}', '{"b":1,"a":2}', '{"n":12345678901234567890,"e":1e400}', '{ "é" : "\\ud800" }');
const shortText = fc.constantFrom('"u1"', '""', 'null', '"é"', '"\\ud83d\\ude00"');

type Fields = Record<string, fc.Arbitrary<string>>;
const web = (type: string, fields: Fields): Fields => ({
  id: uuid,
  session_id: uuid,
  timestamp: instant,
  type: fc.constant(`"${type}"`),
  user_id: shortText,
  metadata: fc.constantFrom('{}', 'null', '{"ip":"::1","screen_width":1.50}'),
  ...fields,
});
/** Members of good events; each format has its required ones first. */
const FORMATS: Record<Path, readonly Fields[]> = {
  '/api/v1/ingest/events': [
    {
      event: name,
      timestamp: instant,
      userId: shortText,
      anonymous_id: shortText,
      sessionId: shortText,
      messageId: uuid,
      properties: object,
      extras: fc.constantFrom('{}', '{"a":1,"z":2}', 'null', '{ "only" :\n1e400 }'),
    },
  ],
  '/v1/events': [
    {
      timestamp: instant,
      service: name,
      name,
      trace_id: shortText,
      level: shortText,
      user_id: shortText,
      data: object,
    },
  ],
  '/events': [],
  '/events/bulk': [
    {
      event_name: name,
      user_id: name,
      timestamp: instant,
      channel: fc.constantFrom('"web"', '""', 'null', '"w\\u0065b"'),
      tags: fc.constantFrom('[]', '["a", "b"]', 'null'),
      metadata: object,
    },
  ],
  '/ingest': [
    web('pageview', { title: name, path: name, load_time: fc.constantFrom('1.50', '0', 'null') }),
    web('click', { element: shortText.filter((raw) => raw !== 'null'), coordinates: fc.constant('{"x":1,"y":2}') }),
    web('scroll', { scroll_depth: fc.constantFrom('0', '99.5', '1e2'), direction: fc.constantFrom('"up"', '"down"') }),
    web('performance', { metrics: fc.constantFrom('{}', '{"lcp":1,"more":[ ]}') }),
    web('custom', { event_name: name, properties: object }),
  ],
};

type Mutation = (members: RawMember[]) => RawMember[];
const mutation: fc.Arbitrary<Mutation> = fc.oneof(
  fc.nat().map(
    (at): Mutation =>
      (members) =>
        members.filter((_, index) => index !== at % Math.max(1, members.length)),
  ),
  fc.tuple(fc.nat(), awkward).map(
    ([at, raw]): Mutation =>
      (members) =>
        members.map((member, index) => (index === at % members.length ? [member[0], raw] : member)),
  ),
  // The same key once more, spelled as it was or with an escape.
  fc.tuple(fc.nat(), awkward, fc.boolean()).map(([at, raw, isEscaped]): Mutation => (members) => {
    const [key] = members[at % Math.max(1, members.length)] ?? ['"x"'];
    const spelled = isEscaped ? key.replace('e', '\\u0065') : key;
    return at % 2 === 0 ? [...members, [spelled, raw]] : [[spelled, raw], ...members];
  }),
  fc.tuple(strayKey, awkward).map(([key, raw]): Mutation => (members) => [...members, [key, raw]]),
);

const goodEvent = (path: Path): fc.Arbitrary<RawMember[]> => {
  const formats = path === '/events' ? FORMATS['/events/bulk'] : FORMATS[path];
  const records = formats.map((fields) => fc.record(fields).map((record) => Object.entries(record)));
  return fc.oneof(...records).map((members) => members.map(([key, raw]): RawMember => [`"${key}"`, raw]));
};
const nearEvent = (path: Path): fc.Arbitrary<SentEvent> =>
  fc
    .tuple(goodEvent(path), fc.array(mutation, { maxLength: 2 }))
    .map(([members, mutations]) => mutations.reduce((mutated, mutate) => mutate(mutated), members));
const anyEvent = (path: Path): fc.Arbitrary<SentEvent> =>
  fc.oneof(
    { weight: 8, arbitrary: nearEvent(path) },
    { weight: 1, arbitrary: fc.jsonValue().map((value) => JSON.stringify(value)) },
  );

/** What a body holds by the model: its events, or the code it is refused with. */
type Body = { readonly bytes: Buffer; readonly holds: readonly (SentEvent | null)[] | string };

const noise = fc.oneof(
  fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes)),
  fc.string({ unit: 'binary', maxLength: 40 }).map((string) => Buffer.from(string)),
  fc.json().map((json) => Buffer.from(json)),
);

/** Of a line null is not an event, and `''` is blank. */
function lineBody(lines: readonly (SentEvent | Buffer)[], ending: string, hasMark: boolean): Body {
  const texts = lines.map((line) =>
    Buffer.isBuffer(line)
      ? Buffer.from(line.filter((byte) => byte !== 0x0a))
      : Buffer.from(textOf(line).replaceAll('\n', ' ')),
  );
  const holds = lines.map((line, index) => {
    if (!Buffer.isBuffer(line)) return line;
    const bytes = texts[index]!;
    if (/^[ \t\r]*$/.test(bytes.toString('latin1'))) return '';
    return isUtf8(bytes) && isJson(bytes.toString()) ? bytes.toString() : null;
  });
  const mark = hasMark && lines.length > 0 && holds[0] !== '' ? ['\ufeff'] : [];
  const bytes = [...mark.map((one) => Buffer.from(one)), ...texts.flatMap((line) => [line, Buffer.from(ending)])];
  return { bytes: Buffer.concat(bytes), holds };
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

function wholeBody(path: Path, bytes: Buffer): Body {
  return { bytes, holds: heldBy(path, bytes) };
}

/** Reads a whole body of no known origin. */
function heldBy(path: Path, bytes: Buffer): readonly SentEvent[] | string {
  if (!isUtf8(bytes)) return 'invalid_encoding';
  const text = bytes.toString().replace(/^\ufeff/, '');
  if (!isJson(text)) return 'invalid_json';
  const body: unknown = JSON.parse(text);
  if (path === '/events') return [text];
  const isBare = path === '/events/bulk' && Array.isArray(body);
  const isObject = typeof body === 'object' && body !== null && !Array.isArray(body);
  if (!isBare && !isObject) return 'invalid_envelope';
  const events: unknown = isBare ? body : Object.hasOwn(body, 'events') ? (body as { events: unknown }).events : null;
  if (path === '/api/v1/ingest/events') {
    if (Object.keys(body).some((key) => !['token', 'events', 'batch_id', 'sent_at'].includes(key)))
      return 'invalid_envelope';
    if (events === null) return [];
  }
  if (!Array.isArray(events)) return 'invalid_envelope';
  if (path !== '/api/v1/ingest/events' && events.length === 0) return 'invalid_envelope';
  return events.map((event) => JSON.stringify(event));
}

function listBody(path: Path, events: readonly SentEvent[], frame: readonly [string, string], isLarge: boolean): Body {
  if (path === '/events') return { bytes: Buffer.from(textOf(events[0] ?? '1')), holds: [events[0] ?? '1'] };
  const sent = isLarge ? Array.from({ length: MAX_EVENTS + 1 }, (_, i) => events[i % events.length] ?? '1') : events;
  const bytes = Buffer.from(`${frame[0]}[${sent.map(textOf).join(' ,\n')}]${frame[1]}`);
  if (path === '/api/v1/ingest/events') return { bytes, holds: sent };
  if (sent.length === 0) return { bytes, holds: 'invalid_envelope' };
  return { bytes, holds: sent.length > MAX_EVENTS ? 'too_many_events' : sent };
}

/** Lists of events on one line have tests of their own. */
const isNoList = (line: SentEvent | Buffer) =>
  !/^[\s\ufeff]*\[/.test(Buffer.isBuffer(line) ? line.toString() : textOf(line));

function bodyOf(path: Path): fc.Arbitrary<Body> {
  if (path === '/v1/events') {
    const line = fc
      .oneof(
        { weight: 6, arbitrary: anyEvent(path) },
        { weight: 1, arbitrary: noise },
        { weight: 1, arbitrary: fc.constantFrom('', ' ', '\t\r').map((blank) => Buffer.from(blank)) },
      )
      .filter(isNoList);
    return fc
      .tuple(fc.array(line, { maxLength: 8 }), fc.constantFrom('\n', '\r\n'), fc.boolean())
      .map(([lines, ending, hasMark]) => lineBody(lines, ending, hasMark));
  }
  const frames = [
    ['{"events":', '}'],
    ['\ufeff { "events" : ', ' } \n'],
    ['{"events":', ',"sent_at":true}'],
  ] as const;
  const frame = fc.constantFrom<readonly [string, string]>(
    ...frames,
    ...(path === '/events/bulk' ? [['', ''] as const] : []),
  );
  const events = fc.array(anyEvent(path), { minLength: path === '/events' ? 1 : 0, maxLength: 6 });
  const isLarge = fc.nat(60).map((n) => n === 60);
  return fc.oneof(
    {
      weight: 8,
      arbitrary: fc
        .tuple(events, frame, isLarge)
        .map(([events, frame, large]) => listBody(path, events, frame, large && path !== '/api/v1/ingest/events')),
    },
    { weight: 1, arbitrary: noise.map((bytes) => wholeBody(path, bytes)) },
  );
}

const PACKERS = {
  gzip: [gzipSync, gunzipSync],
  'x-gzip': [gzipSync, gunzipSync],
  deflate: [deflateSync, inflateSync],
  br: [brotliCompressSync, brotliDecompressSync],
  zstd: [zstdCompressSync, zstdDecompressSync],
} as const;
type Packing = keyof typeof PACKERS;
const isPacking = (encoding: string): encoding is Packing => Object.hasOwn(PACKERS, encoding);
const QUERIES = [
  '',
  '?wait=false',
  '?ack=queued',
  '?ack=journaled',
  '?x=1&ack=queued&ack=none',
  '?%00=%zz',
  '?ack[]=1',
];
const BAD_QUERIES = ['?ack=', '?ack=saved', '?ack=%zz', '?wait=1', '?wait'];

const printable = fc.string({
  unit: fc
    .integer({ min: 0x20, max: 0xff })
    .filter((c) => c !== 0x7f)
    .map((c) => String.fromCharCode(c)),
  maxLength: 30,
});
const sometimes = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: null, freq: 3 });
const rarely = <T>(arbitrary: fc.Arbitrary<T>, otherwise: T) =>
  fc.oneof({ weight: 15, arbitrary: fc.constant(otherwise) }, { weight: 1, arbitrary });

const sentRequest = fc.constantFrom(...PATHS).chain((path) =>
  fc.record({
    path: fc.constant(path),
    body: bodyOf(path),
    /** How the body is packed. */
    packing: fc.constantFrom('', '', 'identity', ...(Object.keys(PACKERS) as Packing[])),
    /** What the header says about it. */
    label: rarely(
      fc.constantFrom<string | null>('', 'gzip', 'br', 'zstd', 'deflate', 'rot13', 'gzip, compress', 'constructor'),
      null,
    ),
    query: fc.oneof(
      { weight: 20, arbitrary: fc.constantFrom(...QUERIES) },
      { weight: 1, arbitrary: fc.constantFrom(...BAD_QUERIES, '?ack=stored') },
    ),
    isKnown: rarely(fc.constant(false), true),
    contentType: sometimes(printable),
    requestId: sometimes(printable),
    key: sometimes(fc.oneof(fc.noBias(fc.uuid()), fc.constantFrom('', 'x'.repeat(201), 'shared'))),
    chunks: fc.array(fc.oneof(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 5_000 })), { maxLength: 6 }),
  }),
);
type SentRequest = typeof sentRequest extends fc.Arbitrary<infer R> ? R : never;

function packed({ body, packing }: SentRequest): Buffer {
  return isPacking(packing) ? PACKERS[packing][0](body.bytes) : body.bytes;
}

/** What the door reads where the header lies: what its own decompressor makes of the bytes, if anything. */
function isReadable(sent: Buffer, label: string): boolean {
  if (!isPacking(label)) return true;
  try {
    PACKERS[label][1](sent);
    return true;
  } catch {
    return false;
  }
}

async function send(sent: SentRequest, token: string): Promise<{ status: number; text: string; ack: unknown }> {
  const content = packed(sent);
  const encoding = sent.label ?? sent.packing;
  const headers = {
    ...(sent.isKnown ? { authorization: `Bearer ${token}` } : {}),
    ...(encoding === '' ? {} : { 'content-encoding': encoding }),
    ...(sent.contentType === null ? {} : { 'content-type': sent.contentType }),
    ...(sent.requestId === null ? {} : { 'x-request-id': sent.requestId }),
    ...(sent.key === null ? {} : { 'idempotency-key': sent.key }),
    ...(sent.chunks.length === 0 ? { 'content-length': content.length } : {}),
  };
  const asked = request(door.url + sent.path + sent.query, { method: 'POST', headers, agent });
  const answering = once(asked, 'response') as Promise<[IncomingMessage]>;
  let at = 0;
  for (const size of sent.chunks) {
    asked.write(content.subarray(at, at + size));
    at += size;
    // A piece of its own on the wire.
    await new Promise((resolve) => setImmediate(resolve));
  }
  asked.end(content.subarray(at));
  const [response] = await answering;
  // The door may answer before it has read everything, and then close.
  asked.on('error', () => {});
  return { status: response.statusCode!, text: await text(response), ack: response.headers['weir-ack'] };
}

type Judged = {
  readonly status: number;
  readonly code: string | null;
  readonly accepted: number;
  readonly rejectedAt: readonly number[];
};
const refusal = (status: number, code: string): Judged => ({ status, code, accepted: 0, rejectedAt: [] });

/** The answer by the model, and what is stored. Null: the model cannot tell. */
function expected(sent: SentRequest, projectId: string) {
  const { path, body } = sent;
  const nothing = (status: number, code: string) => ({ judged: refusal(status, code), stored: [] });
  if (BAD_QUERIES.includes(sent.query)) return nothing(400, 'invalid_query');
  const isNative = path === '/api/v1/ingest/events';
  if (!sent.isKnown && !isNative) return nothing(401, 'unauthorized');
  const encoding = sent.label ?? sent.packing;
  if (encoding !== '' && encoding !== 'identity' && !isPacking(encoding)) return nothing(415, 'unsupported_encoding');
  // Who sends it is not known from a header: then only small bodies are taken, as they are.
  if (!sent.isKnown && isPacking(encoding)) return nothing(415, 'unsupported_encoding');
  if (!sent.isKnown && packed(sent).length > MAX_UNKNOWN_BODY) return nothing(413, 'body_too_large');
  // No body is no body, however it is labelled.
  const isNothing = body.bytes.length === 0 && !isPacking(sent.packing);
  const isMislabelled =
    !isNothing &&
    encoding.replace('x-', '') !== sent.packing.replace('x-', '') &&
    (isPacking(encoding) || isPacking(sent.packing));
  if (body.bytes.length > MAX_BODY) return isMislabelled ? null : nothing(413, 'body_too_large');
  if (isMislabelled) return isReadable(packed(sent), encoding) ? null : nothing(400, 'invalid_encoding');
  if (typeof body.holds === 'string') return nothing(400, body.holds);
  if (!sent.isKnown) return nothing(401, 'unauthorized');
  const key = sent.key?.trim() ?? null;
  if (key === '' || (key !== null && key.length > 200)) return nothing(400, 'invalid_query');

  const isBlank = (event: SentEvent | null) => path === '/v1/events' && event === '';
  const judgements = body.holds.map((event) =>
    event === null || isBlank(event) ? null : judge(path, event, projectId),
  );
  const stored = judgements.filter((one) => one !== null);
  const rejectedAt = body.holds.flatMap((event, index) =>
    judgements[index] === null && !isBlank(event) ? [index] : [],
  );
  const sentCount = stored.length + rejectedAt.length;
  const accepted = stored.length;
  const isRefused = accepted === 0 && sentCount > 0 && !['/api/v1/ingest/events', '/ingest'].includes(path);
  const goodStatus = path.startsWith('/events') || (isNative && accepted > 0) ? 202 : 200;
  const judged: Judged = isRefused
    ? { status: 400, code: 'invalid_events', accepted, rejectedAt }
    : { status: goodStatus, code: null, accepted, rejectedAt };
  return { judged, stored };
}

/** The answer in the model's words. */
function judgedFrom(path: Path, status: number, answer: string): Judged {
  const json = JSON.parse(answer) as Record<string, unknown>;
  const code = (json['code'] ?? null) as string | null;
  const listed = (json['errors'] ?? json['details'] ?? []) as Record<string, number>[];
  const isOne = path === '/events';
  const rejectedAt = isOne && code === 'invalid_events' ? [0] : listed.map((one) => one['index'] ?? one['line']! - 1);
  const counted = json['rejected'] ?? json['events_rejected'] ?? /^all (\d+) events/.exec(String(json['error']))?.[1];
  if (counted !== undefined && Number(counted) <= 100) expect(rejectedAt).toHaveLength(Number(counted));
  const accepted = Number(json['accepted'] ?? json['events_accepted'] ?? (isOne && code === null ? 1 : 0));
  return { status, code, accepted, rejectedAt };
}

const inWords = (sent: SentRequest) =>
  JSON.stringify({
    ...sent,
    body: sent.body.bytes.toString('latin1').replaceAll(/(.{1,2}?)\1{30,}/g, '$1…'),
    holds: typeof sent.body.holds,
  });

test(
  `any request is answered as the contract says, and stored so (SEED=${SEED}, ${RUNS} runs)`,
  { timeout: 60_000 + RUNS * 60 },
  async () => {
    const { id: projectId } = await door.weir.projects.create({
      name: 'fuzz',
      retentionSeconds: null,
      allowedOrigins: [],
    });
    const made = await door.weir.tokens.create({ projectId, kind: 'public', name: null, imported: null });
    const token = made!.plaintext;
    const promised = new Map<string, string>();
    const statuses = new Map<string, number>();
    const usedKeys = new Map<string, string>();
    let acceptedCount = 0;

    await fc.assert(
      fc.asyncProperty(sentRequest, async (sent) => {
        const key = sent.key?.trim() ?? '';
        const first = usedKeys.get(key);
        const { status, text, ack } = await send(sent, token);
        // Before anything can fail: what was answered is remembered behind the door as well.
        if (key !== '' && status < 300) usedKeys.set(key, first ?? text);
        expect(status, text).toBeLessThan(500);
        if (first !== undefined && (status < 300 || status === 422)) {
          if (status < 300) expect(text).toBe(first);
          return;
        }
        const { judged, stored } = expected(sent, projectId) ?? { judged: null, stored: [] };
        if (judged === null) return;
        expect(judgedFrom(sent.path, status, text)).toEqual({ ...judged, rejectedAt: judged.rejectedAt.slice(0, 100) });
        expect(ack === undefined).toBe(status >= 300);
        statuses.set(`${sent.path} ${status}`, (statuses.get(`${sent.path} ${status}`) ?? 0) + 1);
        acceptedCount += stored.length;
        for (const event of stored) promised.set(JSON.stringify(event), inWords(sent));
        // The same once more is the same answer, and nothing more is stored.
        if (key !== '' && status < 300) expect((await send(sent, token)).text).toBe(text);
      }),
      { seed: SEED, numRuns: RUNS, reporter: reportWith(inWords) },
    );

    await vi.waitFor(
      async () => expect(await door.health()).toMatchObject({ pending: 0, reserved_bytes: 0, dlq: { depth: 0 } }),
      {
        timeout: 20_000,
      },
    );
    const rows = await stores.select<Record<string, string | null>>(
      `SELECT source, event, event_id, user_id, anonymous_id, session_id, toUnixTimestamp64Milli(timestamp) AS timestamp,
         if(properties_sent = '', properties, properties_sent) AS properties, if(extras_sent = '', extras, extras_sent) AS extras
       FROM given WHERE project_id = '${projectId}'`,
    );
    const ids = `SELECT count(DISTINCT event_id) AS ids FROM`;
    const [distinct] = await stores.select(`${ids} given WHERE project_id = '${projectId}'`);
    expect(await stores.select(`${ids} events_raw_v1 WHERE project_id = '${projectId}'`)).toEqual([distinct]);
    const unread = await stores.select(
      `SELECT properties, extras FROM events_raw_v1
       WHERE project_id = '${projectId}' AND NOT (isValidJSON(properties) AND isValidJSON(extras))`,
    );
    expect(unread, `SEED=${SEED}: ClickHouse cannot read it`).toEqual([]);
    const held = new Set<string>();
    for (const row of rows) {
      const event = { ...row, timestamp: Number(row['timestamp']) };
      const asSent = JSON.stringify(event);
      held.add(promised.has(asSent) ? asSent : JSON.stringify({ ...event, event_id: null }));
    }
    expect(door.logged()).not.toContain('request failed');
    const missing = [...promised].find(([event]) => !held.has(event));
    expect(missing, `SEED=${SEED}: accepted and not stored as sent`).toBeUndefined();
    expect(
      [...held].filter((event) => !promised.has(event)),
      `SEED=${SEED}: stored and not sent`,
    ).toEqual([]);
    expect(rows).toHaveLength(acceptedCount);
    // Control: every door has taken events and refused some.
    if (RUNS >= 200) expect(new Set([...statuses.keys()].map((one) => one.split(' ')[0])).size).toBe(PATHS.length);
    if (RUNS > 200)
      process.stderr.write(
        `SEED=${SEED}: ${RUNS} requests, ${acceptedCount} events, ${JSON.stringify([...statuses])}\n`,
      );
  },
);

/** What fast-check says of a failure, with the request in a form that can be read. */
function reportWith(words: (sent: SentRequest) => string) {
  return (run: fc.RunDetails<[SentRequest]>) => {
    if (!run.failed) return;
    const [sent] = run.counterexample ?? [];
    throw new Error(`SEED=${SEED} after ${run.numRuns} runs: ${sent ? words(sent) : ''}`, { cause: run.errorInstance });
  };
}
