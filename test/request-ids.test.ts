import { randomFillSync } from 'node:crypto';
import { expect, test } from 'vitest';
import { createAnswerHeaders } from '../src/http/answers/common-headers.ts';
import { createRequestIds } from '../src/http/answers/request-ids.ts';
import { createFlags } from '../src/pipeline/flags.ts';

test('no two requests have the same id, in one process or in two', () => {
  const [one, other] = [createRequestIds(randomFillSync), createRequestIds(randomFillSync)];
  const ids = Array.from({ length: 5_000 }, () => [one(), other()]).flat();
  expect(new Set(ids).size).toBe(10_000);
});

test('an id says nothing of those before it: its bytes are asked for and used once', () => {
  let asked = 0;
  const newRequestId = createRequestIds((bytes) => {
    for (let at = 0; at < bytes.length; at += 12) bytes.writeUInt32BE((asked += 1), at);
  });
  const ids = Array.from({ length: 1_200 }, newRequestId);
  expect(ids.map((id) => Number.parseInt(id.slice(0, 8), 16))).toEqual(ids.map((_, index) => index + 1));
  for (const id of ids) expect(id).toMatch(/^[0-9a-f]{24}$/);
});

test('an id that was made is well-formed: a client may send it back', () => {
  const newRequestId = createRequestIds(randomFillSync);
  const flags = createFlags({ intake: 'open' }, () => {});
  const { requestId } = createAnswerHeaders({ flags, newRequestId }, { allowedOrigins: [] });
  const made = requestId({});
  expect(requestId({ 'x-request-id': made })).toBe(made);
});
