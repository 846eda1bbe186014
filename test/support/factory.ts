import type { Envelope, ProjectId } from '../../src/event/event.ts';
import type { BatchId } from '../../src/pipeline/batch.ts';
import { createChannel } from '../../src/pipeline/channel.ts';
import type { BatchLimits, Channel, ChannelLimits } from '../../src/pipeline/channel-port.ts';
import type { Clock } from '../../src/runtime/clock.ts';

export const PROJECT = '01890000-0000-7000-8000-00000000000a' as ProjectId;
export const OTHER_PROJECT = '01890000-0000-7000-8000-00000000000b' as ProjectId;

/** An envelope of `eventCount` rows of `rowBytes` each; the first row's number is `from`. */
export function envelopeOf(
  eventCount: number,
  { projectId = PROJECT, rowBytes = 20, from = 0 }: { projectId?: ProjectId; rowBytes?: number; from?: number } = {},
): Envelope {
  const rows = Array.from(
    { length: eventCount },
    (_, index) => `${String(from + index).padStart(rowBytes - 1, '0')}\n`,
  );
  return { projectId, eventCount, rows: Buffer.from(rows.join('')) };
}

/** Ids that tell the order in which they were created. */
export function countingIds(): () => BatchId {
  let made = 0;
  return () => `batch-${++made}` as BatchId;
}

export function channelOn(
  clock: Clock,
  limits: Partial<ChannelLimits & { batch: Partial<BatchLimits> }> = {},
): Channel {
  return createChannel(
    { clock, newBatchId: countingIds() },
    { maxEvents: 100, maxBytes: 10_000, projectShare: 0.5, ...limits },
    { maxEvents: 10, maxBytes: 1_000, maxWaitMs: 2_000, ...limits.batch },
  );
}

/** A small seeded generator of 0 ≤ r < 1 (mulberry32), so that a failing run can be repeated. */
export function randomOf(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** The default context for decoding events in a test. */
export const DECODE_CONTEXT = {
  projectId: PROJECT,
  source: 'test',
  receivedAt: Date.UTC(2026, 4, 5),
  maxFutureMs: 0,
  newEventId: () => '0198c0de-0000-7000-8000-000000000001',
  retentionSeconds: null,
};
