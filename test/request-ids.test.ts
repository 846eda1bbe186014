import { expect, test } from 'vitest';
import { createEveryAnswer } from '../src/http/every-answer.ts';
import { createRequestIds } from '../src/http/request-ids.ts';
import { createFlags } from '../src/pipeline/flags.ts';

test('no two requests have the same id, in one process or in two', () => {
  const [one, other] = [createRequestIds('a1b2c3d4'), createRequestIds('a1b2c3d5')];
  const ids = Array.from({ length: 5_000 }, () => [one(), other()]).flat();
  expect(new Set(ids).size).toBe(10_000);
});

test('an id that was made is well-formed: a client may send it back', () => {
  const newRequestId = createRequestIds('a1b2c3d4');
  const flags = createFlags({ intake: 'open' }, () => {});
  const { requestId } = createEveryAnswer({ flags, newRequestId }, { allowedOrigins: [] });
  const made = requestId({});
  expect(requestId({ 'x-request-id': made })).toBe(made);
});
