import { expect, test } from 'vitest';
import type { Decoded } from '../src/event/decode.ts';
import { createRejectionLog } from '../src/http/ingest/rejection-log.ts';
import { createLog } from '../src/log/log.ts';
import { systemClock } from '../src/runtime/clock.ts';

const decodedWith = (...reasons: string[]): Decoded => ({
  rows: Buffer.alloc(0),
  accepted: 1,
  rejected: reasons.length,
  rejections: reasons.map((reason, index) => ({ index, reason })),
  truncated: false,
});

function setup() {
  const lines: Record<string, unknown>[] = [];
  const log = createLog('warn', {
    write: (line: string) => void lines.push(JSON.parse(line) as Record<string, unknown>),
  });
  const time = { now: 0 };
  const rejections = createRejectionLog({ clock: { ...systemClock, elapsed: () => time.now }, log });
  return { lines, time, rejections };
}

test('the first rejection of a family is told at once, others with the first of the next minute', () => {
  const { lines, time, rejections } = setup();
  rejections.note('segment', decodedWith('type required'));
  rejections.note('segment', decodedWith('type required', 'event required'));
  rejections.note('posthog', decodedWith('distinct_id required'));
  time.now = 59_999;
  rejections.note('segment', decodedWith('event required'));
  expect(lines).toMatchObject([
    { source: 'segment', rejected: 1, requests: 1, reasons: { 'type required': 1 } },
    { source: 'posthog', rejected: 1 },
  ]);
  time.now = 60_000;
  rejections.note('segment', decodedWith('event required'));
  expect(lines[2]).toMatchObject({
    source: 'segment',
    rejected: 4,
    requests: 3,
    reasons: { 'type required': 1, 'event required': 3 },
  });
  expect(lines).toHaveLength(3);
});

test('nothing is told of requests without rejections, and only so many reasons', () => {
  const { lines, rejections } = setup();
  rejections.note('segment', decodedWith());
  expect(lines).toEqual([]);
  rejections.note('segment', decodedWith(...Array.from({ length: 30 }, (_, n) => `invalid JSON at byte ${n}`)));
  expect(Object.keys(lines[0]!['reasons'] as object)).toHaveLength(11);
  expect(lines[0]).toMatchObject({ rejected: 30, reasons: { others: 20 } });
});
