import { expect, test } from 'vitest';
import type { Decoded } from '../src/event/decode.ts';
import { webDoor } from '../src/http/ingest/doors/web.ts';

const DECODED: Decoded = {
  rows: Buffer.alloc(0),
  accepted: 1,
  rejected: 0,
  rejections: [],
  truncated: false,
  kinds: {},
};

test.each([
  ['since the request came', 1_250, 250],
  ['and never negative, where the clock was set back', 400, 0],
])('an answer tells how long it took, %s', (_, now, expected) => {
  const head = {
    method: 'POST',
    path: '/ingest',
    target: '/ingest',
    headers: {},
    query: () => new URLSearchParams(),
  } as const;
  const facts = { head, bodyBytes: 2, receivedAt: 1_000, newBatchId: () => 'id', now: () => now };
  expect(webDoor.answer(DECODED, facts)).toMatchObject({ body: { ingest_latency_ms: expected } });
});
