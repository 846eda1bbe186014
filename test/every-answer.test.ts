import { expect, test } from 'vitest';
import { createEveryAnswer } from '../src/http/every-answer.ts';
import { createFlags } from '../src/pipeline/flags.ts';

const SHOP = 'https://shop.example';

function setUp(allowedOrigins: readonly string[] = []) {
  const flags = createFlags({ intake: 'open' }, () => {});
  const everyAnswer = createEveryAnswer({ flags, newRequestId: () => 'made' }, { allowedOrigins });
  const commonFor = (origin?: string) => everyAnswer.common(origin === undefined ? {} : { origin });
  const headersFor = (origin?: string): Record<string, string> => {
    const { list, text, isLast } = commonFor(origin);
    expect(text).toBe(list.map(([name, value]) => `${name}: ${value}\r\n`).join(''));
    expect(isLast).toBe(text.includes('Connection: close'));
    return Object.fromEntries(list);
  };
  return { flags, everyAnswer, headersFor };
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
  expect(setUp().everyAnswer.requestId({ 'x-request-id': given })).toBe(expected);
});

test('pages of every origin may read the answer where none is named', () => {
  const { headersFor } = setUp();
  expect(headersFor(SHOP)).toEqual({
    'X-Content-Type-Options': 'nosniff',
    'Access-Control-Allow-Origin': '*',
    'Access-Control-Expose-Headers': 'Retry-After,X-Request-Id,Weir-Ack',
  });
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

test('a shutdown ends the connection with its next answer', () => {
  const { flags, headersFor } = setUp();
  expect(headersFor()).not.toHaveProperty('Connection');
  flags.beginDraining();
  expect(headersFor()).toHaveProperty('Connection', 'close');
});
