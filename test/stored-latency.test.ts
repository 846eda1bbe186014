import { expect, test } from 'vitest';
import { rowEncoder } from '../src/event/row.ts';
import { createStoredLatency, observeStored, storedLatencyOf } from '../src/metrics/stored-latency.ts';
import { freezeBatch, type BatchId } from '../src/pipeline/batch.ts';
import { PROJECT } from './support/factory.ts';

const NOW = Date.UTC(2026, 4, 5, 12);

/** As many rows of one request, which arrived so long ago. */
function requestOf(events: number, agoMs: number, retentionSeconds: number | null = null) {
  const encode = rowEncoder({ projectId: PROJECT, source: 'native', receivedAt: NOW - agoMs, retentionSeconds });
  const row = encode({
    eventId: '00000000-0000-7000-8000-000000000000',
    event: '"e"',
    anonymousId: null,
    userId: '"u"',
    timestamp: NOW,
    sessionId: null,
    properties: '{"received_at":"2001-01-01T00:00:00.000Z"}',
    extras: '{}',
  });
  return { projectId: PROJECT, eventCount: events, rows: Buffer.from(row.repeat(events)) };
}

function latencyOf(requests: ReturnType<typeof requestOf>[], events?: number) {
  const tally = createStoredLatency();
  const batch = freezeBatch('b' as BatchId, requests);
  observeStored(tally, batch, events ?? batch.eventCount, NOW);
  return { ...tally.read(), tally };
}

test('every event counts once, however many requests a batch is made of', () => {
  for (const requests of [1, 2, 63, 64, 65, 129, 1_000, 5_003]) {
    const all = Array.from({ length: requests }, (_, at) => requestOf((at % 3) + 1, 700));
    const { count, sum } = latencyOf(all);
    const events = all.reduce((total, { eventCount }) => total + eventCount, 0);
    expect(count).toBe(events);
    expect(sum).toBeCloseTo(events * 0.7, 6);
  }
});

test('a request counts with its own age, and with what expires as well', () => {
  const { atMost, count } = latencyOf([requestOf(3, 20), requestOf(1, 2_000, 60)]);
  expect(count).toBe(4);
  expect(atMost[0]).toBe(3);
});

test('what was taken out of a batch does not count, and a clock behind that of the request is no negative time', () => {
  const { count, sum } = latencyOf([requestOf(5, -3_000), requestOf(5, -3_000)], 7);
  expect({ count, sum }).toEqual({ count: 7, sum: 0 });
});

test('is a histogram of the page', () => {
  const { tally } = latencyOf([requestOf(2, 700)]);
  expect(storedLatencyOf(tally)).toMatchObject({ name: 'weir_stored_latency_seconds', type: 'histogram' });
});
