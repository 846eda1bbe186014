import { Hono } from 'hono';
import { expect, test } from 'vitest';
import { type Refusal, rowOf } from '../src/http/answers/refusals.ts';
import { refuse } from '../src/http/answers/refusal-reply.ts';

const answerTo = (refusal: Refusal) => new Hono().get('/', (c) => refuse(c, refusal)).request('/');
const challengeOf = async (refusal: Refusal) => (await answerTo(refusal)).headers.get('www-authenticate');

test.each([
  ['invalid_json', 400, null],
  ['invalid_encoding', 400, null],
  ['invalid_envelope', 400, null],
  ['invalid_query', 400, null],
  ['invalid_request', 400, null],
  ['unauthorized', 401, null],
  ['forbidden', 403, null],
  ['not_found', 404, null],
  ['method_not_allowed', 405, null],
  ['request_timeout', 408, null],
  ['body_too_large', 413, null],
  ['unsupported_encoding', 415, null],
  ['idempotency_mismatch', 422, null],
  ['rate_limited', 429, '1'],
  ['headers_too_large', 431, null],
  ['internal', 500, '5'],
  ['ingest_disabled', 503, '300'],
  ['shutting_down', 503, '1'],
  ['ingest_down', 503, '5'],
  ['channel_full', 503, '1'],
] as const)('%s is %i, Retry-After %s', async (refused, status, retryAfter) => {
  const answer = await answerTo({ refused });
  expect(answer.status).toBe(status);
  expect(rowOf(refused).status).toBe(status);
  expect(answer.headers.get('retry-after')).toBe(retryAfter);
  expect(answer.headers.get('content-type')).toBe('application/json');
  expect(await answer.json()).toEqual({ error: expect.stringMatching(/^\w.{8,}$/), code: refused });
});

test('only a 401 challenges, and says what was wrong', async () => {
  expect(await challengeOf({ refused: 'unauthorized', challenge: 'invalid_request' })).toBe(
    'Bearer realm="weir", error="invalid_request"',
  );
  expect(await challengeOf({ refused: 'unauthorized' })).toBe('Bearer realm="weir", error="invalid_token"');
  expect(await challengeOf({ refused: 'forbidden' })).toBeNull();
});

test('the sentence and the time to wait can be more exact than the table', async () => {
  const answer = await answerTo({ refused: 'rate_limited', message: 'slower', retryAfterS: 7 });
  expect(answer.headers.get('retry-after')).toBe('7');
  expect(await answer.json()).toEqual({ error: 'slower', code: 'rate_limited' });
});
