/**
 * The heads that are read without Node's parser: what clients really send is
 * among them, and whatever is taken means to Node exactly the same. A failure of
 * the second prints its seed and the bytes.
 *
 *   SEED=17 WEIR_FUZZ_RUNS=100000 vitest run --project unit test/plain-head.test.ts
 */
import { createServer } from 'node:http';
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { Duplex } from 'node:stream';
import fc from './support/fast-check.ts';
import { describe, expect, test } from 'vitest';
import { readPlainHead } from '../src/http/listener/plain-head.ts';
import { SEED } from './support/seed.ts';

const RUNS = Number(process.env['WEIR_FUZZ_RUNS'] ?? 3_000);

const headOf = (lines: readonly string[], first = 'POST /events HTTP/1.1') =>
  Buffer.from([first, ...lines, '', ''].join('\r\n'), 'latin1');
const USUAL = ['Host: weir.example', 'Content-Length: 2'];

describe('what clients send is plain', () => {
  test.each<[string, string[]]>([
    [
      'curl',
      ['Host: localhost:8080', 'User-Agent: curl/8.5.0', 'Accept: */*', 'Authorization: Bearer t', 'Content-Length: 2'],
    ],
    [
      'fetch of Node',
      [
        'host: 127.0.0.1:8080',
        'connection: keep-alive',
        'authorization: Bearer t',
        'content-type: text/plain;charset=UTF-8',
        'accept: */*',
        'accept-language: *',
        'sec-fetch-mode: cors',
        'user-agent: node',
        'accept-encoding: gzip, deflate',
        'content-length: 2',
      ],
    ],
    [
      'requests of Python',
      [
        'Host: weir',
        'User-Agent: python-requests/2.32.3',
        'Accept-Encoding: gzip, deflate',
        'Accept: */*',
        'Connection: keep-alive',
        'X-Api-Key: t',
        'Content-Length: 2',
        'Content-Type: application/json',
      ],
    ],
    [
      'Go',
      [
        'Host: weir:8080',
        'User-Agent: Go-http-client/1.1',
        'Content-Length: 2',
        'Content-Encoding: gzip',
        'Idempotency-Key: 7f3c',
        'Accept-Encoding: gzip',
      ],
    ],
    [
      'a browser behind a balancer',
      [
        'X-Forwarded-For: 203.0.113.7',
        'X-Forwarded-Proto: https',
        'Host: collect.example',
        'X-Request-Id: 0af7651916cd43dd',
        'traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
        'Content-Length: 2',
        'Sec-Ch-Ua: "Chromium";v="156", "Not)A;Brand";v="24"',
        'Content-Type: text/plain;charset=UTF-8',
        'Origin: https://shop.example',
        'Referer: https://shop.example/caf\xe9?x=1#y',
        'Accept: */*',
        'Connection: Keep-Alive',
      ],
    ],
  ])('%s', (_name, lines) => {
    const head = headOf(lines);
    const read = readPlainHead(Buffer.concat([head, Buffer.from('{}')]));
    expect(read).toMatchObject({ target: '/events', bodyBytes: 2, end: head.length });
    for (const name of [
      'Authorization',
      'X-Api-Key',
      'Origin',
      'Idempotency-Key',
      'X-Request-Id',
      'Content-Encoding',
    ]) {
      const line = lines.find((one) => one.toLowerCase().startsWith(`${name.toLowerCase()}: `));
      expect(read!.headers[name.toLowerCase()]).toBe(line?.slice(name.length + 2));
    }
  });

  test('also where spaces stand around values, and where they are empty', () => {
    const read = readPlainHead(headOf(['HOST:weir', 'x-api-key:\t t \t', 'origin:', 'CONTENT-length: 007 ']));
    expect(read).toMatchObject({ bodyBytes: 7, headers: { 'x-api-key': 't', origin: '' } });
  });
});

describe('left to Node', () => {
  test.each<[string, string[], string?]>([
    ['another method', USUAL, 'PUT /events HTTP/1.1'],
    ['another case of it', USUAL, 'post /events HTTP/1.1'],
    ['an older version', USUAL, 'POST /events HTTP/1.0'],
    ['an address with a host', USUAL, 'POST http://weir.example/events HTTP/1.1'],
    ['an address that is none', USUAL, 'POST events HTTP/1.1'],
    ['two spaces', USUAL, 'POST /events  HTTP/1.1'],
    ['no host', ['Content-Length: 2']],
    ['two hosts', ['Host: a', ...USUAL]],
    ['no length', ['Host: a']],
    ['two lengths', [...USUAL, 'Content-Length: 2']],
    ['a length that is none', ['Host: a', 'Content-Length: 2, 2']],
    ['a negative length', ['Host: a', 'Content-Length: -2']],
    ['an empty length', ['Host: a', 'Content-Length:']],
    ['a length beyond all limits', ['Host: a', 'Content-Length: 10000000000']],
    ['chunks', [...USUAL, 'Transfer-Encoding: chunked']],
    ['a question before the body', [...USUAL, 'Expect: 100-continue']],
    ['another protocol', [...USUAL, 'Upgrade: h2c']],
    ['the end of the connection', [...USUAL, 'Connection: close']],
    ['more than one word about the connection', [...USUAL, 'Connection: keep-alive, x-api-key']],
    ['the older word for it', [...USUAL, 'Proxy-Connection: keep-alive']],
    ['two keys', [...USUAL, 'X-Api-Key: a', 'x-api-key: b']],
    ['a line that goes on', [...USUAL, 'X-Long: a', ' b']],
    ['a space before the colon', [...USUAL, 'X-Api-Key : a']],
    ['a name that is none', [...USUAL, 'X(Api)Key: a']],
    ['a line without a name', [...USUAL, ': a']],
    ['a line without a colon', [...USUAL, 'X-Api-Key']],
    ['a control character', [...USUAL, 'X-Other: a\0b']],
    ['a bare line feed', [...USUAL, 'X-Other: a\nX-Api-Key: b']],
    ['a bare carriage return', [...USUAL, 'X-Other: a\rX-Api-Key: b']],
    ['more than eight kibibytes', [...USUAL, `X-Other: ${'x'.repeat(8_192)}`]],
  ])('%s', (_name, lines, first) => {
    expect(readPlainHead(headOf(lines, first))).toBeNull();
  });

  test('whatever has not come to its end', () => {
    const head = headOf(USUAL);
    for (let length = 0; length < head.length; length += 1) expect(readPlainHead(head.subarray(0, length))).toBeNull();
  });
});

type NodesReading = {
  readonly target: string;
  readonly headers: IncomingHttpHeaders;
  readonly bodyBytes: number;
  /** Whether the connection is kept after the answer. */
  readonly isKept: boolean;
};

/** Every request that Node reads from a connection on which these bytes come, and whether it complained. */
async function readByNode(bytes: Buffer): Promise<{ requests: NodesReading[]; isRefused: boolean }> {
  const requests: NodesReading[] = [];
  let isRefused = false;
  const server = createServer({ requireHostHeader: false });
  const socket = new Duplex({ read() {}, write: (_bytes, _encoding, done) => done() });
  server.on('request', (incoming: IncomingMessage, outgoing) => {
    let bodyBytes = 0;
    incoming.on('data', (piece: Buffer) => (bodyBytes += piece.length));
    incoming.on('end', () => {
      requests.push({
        target: incoming.url!,
        headers: incoming.headers,
        bodyBytes,
        isKept: outgoing.shouldKeepAlive,
      });
      outgoing.end();
    });
  });
  for (const odd of ['clientError', 'upgrade', 'checkContinue', 'checkExpectation', 'connect', 'dropRequest']) {
    server.on(odd, () => {
      isRefused = true;
      socket.destroy();
    });
  }
  const closed = new Promise((resolve) => socket.on('close', resolve));
  socket.on('error', () => {});
  server.emit('connection', socket);
  socket.push(bytes);
  socket.push(null);
  await closed;
  return { requests, isRefused };
}

const anyCase = (word: string) =>
  fc
    .array(fc.boolean(), { minLength: word.length, maxLength: word.length })
    .map((upper) => Array.from(word, (letter, at) => (upper[at] ? letter.toUpperCase() : letter)).join(''));
const NAMES = [
  'host',
  'content-length',
  'connection',
  'proxy-connection',
  'transfer-encoding',
  'content-encoding',
  'authorization',
  'x-api-key',
  'origin',
  'idempotency-key',
  'x-request-id',
  'expect',
  'upgrade',
  'te',
  'trailer',
  'keep-alive',
  'cookie',
  'x',
  'content_length',
  'contentylength',
];
const VALUES = [
  '',
  'a',
  '0',
  '2',
  '02',
  '2 2',
  '0x2',
  '+2',
  '2,2',
  'keep-alive',
  'Keep-Alive',
  'close',
  'keep-alive, close',
  'chunked',
  'identity',
  'gzip',
  '100-continue',
  'h2c',
  'Bearer t',
  'a\tb',
  '\xe9\xff',
  'a:b',
  '"quoted, text"',
];
const spaces = fc.constantFrom('', ' ', '  ', '\t', ' \t ');
const line = fc
  .tuple(fc.constantFrom(...NAMES).chain(anyCase), spaces, fc.constantFrom(...VALUES), spaces)
  .map(([name, before, value, after]) => `${name}:${before}${value}${after}`);
const firstLine = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom('POST /events HTTP/1.1', 'POST /a?b=%20&c HTTP/1.1') },
  {
    weight: 1,
    arbitrary: fc.constantFrom('POST /é HTTP/1.1', 'POST /a#b HTTP/1.1', 'POST //a HTTP/1.1', 'POST / HTTP/1.10'),
  },
);
const INTERESTING = Buffer.from('\r\n\0\t\v\f :,;\x7f\x80\xa0\xff=/-_Aa01', 'latin1');
const change = fc.record({
  at: fc.nat(10_000),
  remove: fc.nat(2),
  insert: fc.array(fc.constantFrom(...INTERESTING), { maxLength: 2 }),
});
const sent = fc
  .tuple(
    firstLine,
    fc.array(line, { maxLength: 4 }),
    fc.boolean(),
    fc.oneof({ weight: 2, arbitrary: fc.constant([]) }, { weight: 3, arbitrary: fc.array(change, { maxLength: 3 }) }),
  )
  .map(([first, lines, isUsual, changes]) => {
    let bytes = headOf(isUsual ? [...USUAL, ...lines] : lines, first);
    for (const { at, remove, insert } of changes) {
      const start = at % bytes.length;
      bytes = Buffer.concat([bytes.subarray(0, start), Buffer.from(insert), bytes.subarray(start + remove)]);
    }
    return bytes;
  });

test(`what is taken means the same to Node (SEED=${SEED}, ${RUNS} runs)`, async () => {
  let takenCount = 0;
  await fc.assert(
    fc.asyncProperty(sent, async (head) => {
      const bytes = Buffer.concat([head, Buffer.from('{}')]);
      const plain = readPlainHead(bytes);
      if (plain === null) return;
      takenCount += 1;
      const body = Buffer.alloc(plain.bodyBytes, 'x');
      const { requests, isRefused } = await readByNode(Buffer.concat([bytes.subarray(0, plain.end), body]));
      expect(isRefused).toBe(false);
      expect(requests).toHaveLength(1);
      const [read] = requests;
      expect(read).toMatchObject({ target: plain.target, bodyBytes: plain.bodyBytes, isKept: true });
      for (const name of [
        'authorization',
        'x-api-key',
        'origin',
        'idempotency-key',
        'x-request-id',
        'content-encoding',
      ]) {
        expect(plain.headers[name], name).toBe(read!.headers[name]);
      }
      expect(read!.headers).toHaveProperty('host');
    }),
    { seed: SEED, numRuns: RUNS },
  );
  // Enough of them to mean something.
  expect(takenCount).toBeGreaterThan(RUNS / 20);
});
