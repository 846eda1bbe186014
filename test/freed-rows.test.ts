import { describe, expect, test } from 'vitest';
import type { BatchId } from '../src/pipeline/batch.ts';
import { createChannel } from '../src/pipeline/channel.ts';
import { freeRows, memoryChannel } from '../src/pipeline/freed-rows.ts';
import { createManualClock, settled } from './support/clock.ts';
import { PROJECT } from './support/factory.ts';

const ROWS = 64 * 1024;
const own = () => Buffer.from(new ArrayBuffer(ROWS)).fill('r');

describe('the memory of rows', () => {
  test.each(['stored', 'replicated'] as const)('is given back when they are %s', (destination) => {
    const rows = own();
    freeRows({ chunks: [rows] }, destination);
    expect(rows).toHaveLength(0);
    expect(rows.buffer.byteLength).toBe(0);
  });

  test('stays where others have a part of it, or the rows are a dead letter', () => {
    const shared = Buffer.from(new ArrayBuffer(ROWS)).subarray(0, ROWS / 2);
    const several = Buffer.from(new SharedArrayBuffer(ROWS));
    const dead = own();
    freeRows({ chunks: [shared, several] }, 'stored');
    freeRows({ chunks: [dead] }, 'dead-lettered');
    expect([shared.length, several.length, dead.length]).toEqual([ROWS / 2, ROWS, ROWS]);
  });

  test('is given back by a channel in memory, when whoever is told of the batch has read it', async () => {
    const channel = memoryChannel(
      createChannel(
        { clock: createManualClock(), newBatchId: () => 'batch' as BatchId },
        { maxEvents: 10, maxBytes: 10 * ROWS, projectShare: 1 },
        { maxEvents: 1, maxBytes: ROWS, maxWaitMs: 0 },
      ),
    );
    channel.offer({ projectId: PROJECT, eventCount: 1, rows: own() }, channel.reserve());
    const batch = (await channel.take())!;
    channel.settle(batch, 'stored');
    expect(batch.chunks[0]).toHaveLength(ROWS);
    await settled();
    expect(batch.chunks[0]).toHaveLength(0);
    expect(channel.usage()).toMatchObject({ events: 0, bytes: 0 });
  });
});
