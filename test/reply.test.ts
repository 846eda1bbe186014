/** An answer as text: whatever was answered before, each begins with what is its own. */
import { expect, test } from 'vitest';
import { type Reply, textOf } from '../src/http/answers/reply.ts';

const MORE = 'X-More: m\r\n';
const at = (epochMs: number) => ({ now: () => epochMs });
const SECOND = Date.UTC(2026, 0, 2, 3, 4, 5);

const ACCEPTED: Reply = { status: 202, headers: { 'Content-Type': 'application/json' }, body: '{}' };

test('an answer is written as HTTP/1.1 has it', () => {
  expect(textOf(ACCEPTED, MORE, at(SECOND))).toEqual({
    text:
      'HTTP/1.1 202 Accepted\r\nDate: Fri, 02 Jan 2026 03:04:05 GMT\r\nContent-Type: application/json\r\n' +
      'Content-Length: 2\r\nX-More: m\r\n\r\n{}',
    encoding: 'latin1',
  });
});

test('what is outside ASCII is written, and counted, as UTF-8', () => {
  const { text, encoding } = textOf({ ...ACCEPTED, body: '"é"' }, MORE, at(SECOND));
  expect(encoding).toBe('utf8');
  expect(text).toContain('Content-Length: 4\r\n');
});

test('an answer without a body to speak of has no length', () => {
  expect(textOf({ status: 204, headers: {}, body: '' }, MORE, at(SECOND)).text).toBe(
    'HTTP/1.1 204 No Content\r\nDate: Fri, 02 Jan 2026 03:04:05 GMT\r\nX-More: m\r\n\r\n',
  );
});

test.each([
  ['another status', { ...ACCEPTED, status: 503 }, SECOND, 'HTTP/1.1 503 Service Unavailable\r\n'],
  ['other headers', { ...ACCEPTED, headers: { 'Retry-After': '1' } }, SECOND, '\r\nRetry-After: 1\r\n'],
  ['another second', ACCEPTED, SECOND + 1_000, '\r\nDate: Fri, 02 Jan 2026 03:04:06 GMT\r\n'],
  ['a second before, after the clock was set', ACCEPTED, SECOND - 1_000, '\r\nDate: Fri, 02 Jan 2026 03:04:04 GMT\r\n'],
])('%s is not mistaken for the answer before', (_, reply, nowMs, expected) => {
  const before = textOf(ACCEPTED, MORE, at(SECOND)).text;
  expect(textOf(reply, MORE, at(nowMs)).text).toContain(expected);
  expect(textOf(ACCEPTED, MORE, at(SECOND + 999)).text).toBe(before);
});
