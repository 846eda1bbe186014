import { expect, test } from 'vitest';
import type { Decoded } from '../src/event/decode.ts';
import { createRejectionLog } from '../src/http/ingest/rejection-log.ts';
import { createLog } from '../src/log/log.ts';
import { createManualClock } from './support/clock.ts';

const decodedWith = (...reasons: string[]): Decoded => ({
  rows: Buffer.alloc(0),
  accepted: 1,
  rejected: reasons.length,
  rejections: reasons.map((reason, index) => ({ index, reason })),
  truncated: false,
  kinds: {},
});

/** As one of a request whose rejections are too many for a list. */
const decodedWithout = (rejected: number): Decoded => ({ ...decodedWith('type required'), rejected, truncated: true });

function setup() {
  const lines: Record<string, unknown>[] = [];
  const log = createLog('warn', {
    write: (line: string) => void lines.push(JSON.parse(line) as Record<string, unknown>),
  });
  const clock = createManualClock();
  const rejections = createRejectionLog({ clock, log });
  const stop = new AbortController();
  const ended = rejections.run(stop.signal);
  return {
    lines,
    clock,
    rejections,
    async stop() {
      stop.abort();
      await ended;
    },
  };
}

test('the first rejection of a family is told at once, others when its minute is over, without another request', async () => {
  const { lines, clock, rejections } = setup();
  rejections.note('segment', decodedWith('type required'));
  rejections.note('segment', decodedWith('type required', 'event required'));
  rejections.note('posthog', decodedWith('distinct_id required'));
  await clock.advance(59_000);
  rejections.note('segment', decodedWith('event required'));
  expect(lines).toMatchObject([
    { source: 'segment', rejected: 1, requests: 1, reasons: { 'type required': 1 } },
    { source: 'posthog', rejected: 1 },
  ]);
  await clock.advance(10_000);
  expect(lines[2]).toMatchObject({
    source: 'segment',
    rejected: 3,
    requests: 2,
    reasons: { 'type required': 1, 'event required': 2 },
  });
  await clock.advance(600_000);
  expect(lines).toHaveLength(3);
});

test('what was not told yet is told at the end', async () => {
  const { lines, clock, rejections, stop } = setup();
  rejections.note('segment', decodedWith('type required'));
  await clock.advance(1_000);
  rejections.note('segment', decodedWith('event required'));
  await stop();
  expect(lines).toMatchObject([{ rejected: 1 }, { rejected: 1, reasons: { 'event required': 1 } }]);
  rejections.note('segment', decodedWith('event required'));
  rejections.sayAll();
  rejections.sayAll();
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

test('reasons beyond those of a list are counted as others', () => {
  const { lines, rejections } = setup();
  rejections.note('segment', decodedWithout(500));
  expect(lines[0]).toMatchObject({ rejected: 500, reasons: { 'type required': 1, others: 499 } });
});
