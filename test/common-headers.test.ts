import { describe, expect, test } from 'vitest';
import { type Audience, audienceAt, createAnswerHeaders } from '../src/http/answers/common-headers.ts';
import { createFlags } from '../src/pipeline/flags.ts';

const SHOP = 'https://shop.example';

function setUp(allowedOrigins: readonly string[] = []) {
  const flags = createFlags({ intake: 'open' }, () => {});
  const answerHeaders = createAnswerHeaders({ flags, newRequestId: () => 'made' }, { allowedOrigins });
  const headersFor = (origin?: string, audience: Audience = 'page'): Record<string, string> => {
    const { list, text, isLast } = answerHeaders.common(origin === undefined ? {} : { origin }, audience);
    expect(text).toBe(list.map(([name, value]) => `${name}: ${value}\r\n`).join(''));
    expect(isLast).toBe(text.includes('Connection: close'));
    return Object.fromEntries(list);
  };
  return { flags, answerHeaders, headersFor };
}

test.each([
  ['a-1', 'a-1'],
  ['x'.repeat(128), 'x'.repeat(128)],
  ['x'.repeat(129), 'made'],
  ['', 'made'],
  ['two words', 'made'],
  ['line\nbreak', 'made'],
  [undefined, 'made'],
])('a request that calls itself %j has the id %s', (given, expected) => {
  expect(setUp().answerHeaders.requestId({ 'x-request-id': given })).toBe(expected);
});

test.each([SHOP, 'capacitor://localhost', 'null'])(
  'pages of every origin may read the answer where none is named: %s',
  (origin) => {
    const { headersFor } = setUp();
    // By its name and with credentials, or a beacon with JSON in it is not sent.
    expect(headersFor(origin)).toEqual({
      'X-Content-Type-Options': 'nosniff',
      'Access-Control-Allow-Origin': origin,
      'Access-Control-Allow-Credentials': 'true',
      'Access-Control-Expose-Headers': 'Retry-After,X-Request-Id,Weir-Ack,Weir-Rejected',
      Vary: 'Origin',
    });
  },
);

test('whoever is no page is told that all may', () => {
  const headers = setUp().headersFor();
  expect(headers).toMatchObject({ 'Access-Control-Allow-Origin': '*', Vary: 'Origin' });
  expect(headers).not.toHaveProperty('Access-Control-Allow-Credentials');
});

test.each(['', 'https://shop.example evil', 'https://sh\u00f6p.example', `https://${'a'.repeat(300)}.example`])(
  'what no browser sends as an origin is not answered again: %j',
  (origin) => {
    expect(setUp().headersFor(origin)).toMatchObject({ 'Access-Control-Allow-Origin': '*' });
    expect(setUp([SHOP]).headersFor(origin)).not.toHaveProperty('Access-Control-Allow-Origin');
  },
);

test('an origin among thousands is answered by its own name, and none is kept for ever', () => {
  const { headersFor } = setUp();
  for (let round = 0; round < 2; round++) {
    for (let n = 0; n < 1_000; n++) {
      const origin = `https://shop${n}.example`;
      expect(headersFor(origin)['Access-Control-Allow-Origin']).toBe(origin);
    }
  }
});

test('a pattern stands for every host beneath it', () => {
  const { headersFor } = setUp(['https://*.shop.example', 'tauri://localhost']);
  for (const origin of ['https://de.shop.example', 'https://a.b.shop.example', 'tauri://localhost']) {
    expect(headersFor(origin)).toMatchObject({ 'Access-Control-Allow-Origin': origin });
  }
  for (const origin of [
    SHOP,
    'https://evilshop.example',
    'https://de.shop.example.evil.example',
    'ionic://localhost',
  ]) {
    expect(headersFor(origin)).not.toHaveProperty('Access-Control-Allow-Origin');
  }
});

test('what needed a credential is kept by no cache; what machines read is for no page', () => {
  const { headersFor } = setUp();
  expect(headersFor(SHOP, 'private')).toMatchObject({
    'Cache-Control': 'no-store',
    'Access-Control-Allow-Origin': SHOP,
  });
  expect(headersFor(SHOP)).not.toHaveProperty('Cache-Control');
  expect(headersFor(SHOP, 'machine')).toEqual({ 'X-Content-Type-Options': 'nosniff', 'Cache-Control': 'no-store' });
});

describe('a browser that asks first', () => {
  const asking = (asked?: string) =>
    setUp().answerHeaders.preflight(asked === undefined ? {} : { 'access-control-request-headers': asked });
  const USUAL = 'Authorization,Content-Type,Content-Encoding,X-Api-Key,X-Request-Id,Idempotency-Key';

  test.each([
    'authorization,content-type,traceparent',
    'traceparent, tracestate, baggage, sentry-trace, x-datadog-trace-id, b3',
    "x-odd!#$%&'*+.^_`|~",
    `x-${'a'.repeat(1_022)}`,
  ])('may send the headers that it names: %s', (asked) => {
    expect(asking(asked)).toMatchObject({
      'Access-Control-Allow-Headers': asked,
      Vary: 'Access-Control-Request-Headers',
      'Access-Control-Max-Age': '86400',
    });
  });

  test.each([
    undefined,
    '',
    ',',
    'a b',
    'a,,b',
    'a\r\nSet-Cookie: x',
    'a:b',
    'ü',
    `x-${'a'.repeat(1_023)}`,
    `${'a,'.repeat(600)}a`,
  ])('is told the usual ones when it names none, or what is no name: %j', (asked) => {
    expect(asking(asked)).toMatchObject({
      'Access-Control-Allow-Headers': USUAL,
      Vary: 'Access-Control-Request-Headers',
    });
  });
});

test.each([
  ['/internal/metrics', 'machine'],
  ['/internal', 'machine'],
  ['/internal/anything', 'machine'],
  ['/health', 'machine'],
  ['/health/ready', 'machine'],
  ['/healthz', 'machine'],
  ['/livez', 'machine'],
  ['/readyz', 'machine'],
  ['/ready', 'machine'],
  ['/healthy', 'page'],
  ['/internals', 'page'],
  ['/metrics', 'page'],
  ['/v1/health', 'page'],
  ['', 'page'],
])('what is at %s is for a %s', (path, audience) => {
  expect(audienceAt(path)).toBe(audience);
});

test('otherwise those of the named origins, and caches are told', () => {
  const { headersFor } = setUp([SHOP]);
  expect(headersFor(SHOP)).toMatchObject({ 'Access-Control-Allow-Origin': SHOP, Vary: 'Origin' });
  for (const other of ['https://elsewhere.example', `${SHOP}.evil.example`, undefined]) {
    const headers = headersFor(other);
    expect(headers).not.toHaveProperty('Access-Control-Allow-Origin');
    expect(headers).toHaveProperty('Vary', 'Origin');
  }
});

test.each(['beginLeaving', 'beginDraining'] as const)(
  'an end that %s ends the connection with its next answer',
  (how) => {
    const { flags, headersFor } = setUp();
    expect(headersFor()).not.toHaveProperty('Connection');
    flags[how]();
    expect(headersFor()).toHaveProperty('Connection', 'close');
  },
);
