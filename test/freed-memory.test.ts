import { describe, expect, test } from 'vitest';
import { createRequests } from '../src/clickhouse/event-store/requests.ts';
import type { BatchId } from '../src/pipeline/batch.ts';
import { createChannel } from '../src/pipeline/channel.ts';
import { memoryChannel } from '../src/pipeline/memory-channel.ts';
import { watchedChannel } from '../src/pipeline/watch-port.ts';
import { freeMemory, keepMemory } from '../src/runtime/freed-memory.ts';
import { createManualClock } from './support/clock.ts';
import { PROJECT } from './support/factory.ts';

const ROWS = 64 * 1024;
const own = () => Buffer.from(new ArrayBuffer(ROWS)).fill('r');

describe('the memory of rows', () => {
  test('is given back', () => {
    const rows = own();
    freeMemory([rows]);
    expect(rows).toHaveLength(0);
    expect(rows.buffer.byteLength).toBe(0);
  });

  test('stays where others have a part of it', () => {
    const shared = Buffer.from(new ArrayBuffer(ROWS)).subarray(0, ROWS / 2);
    const several = Buffer.from(new SharedArrayBuffer(ROWS));
    freeMemory([shared, several]);
    expect([shared.length, several.length]).toEqual([ROWS / 2, ROWS]);
  });

  test('stays where it may be on its way, also a part of it', () => {
    const [whole, part] = [own(), own()];
    keepMemory([whole, part.subarray(0, 10)]);
    freeMemory([whole, part]);
    expect([whole.length, part.length]).toEqual([ROWS, ROWS]);
  });

  test('stays when an insert has failed that it was sent with, wherever it is stored afterwards', async () => {
    const rows = own();
    const client = { exec: () => Promise.reject(new Error('read ECONNRESET')) } as unknown as Parameters<
      typeof createRequests
    >[0]['client'];
    const { send } = createRequests({ client, clock: createManualClock() }, { timeoutMs: 1_000 });
    await expect(send('INSERT', [rows], undefined, {}, 1_000)).rejects.toThrow();
    freeMemory([rows]);
    expect(rows).toHaveLength(ROWS);
  });

  test('is given back by a channel in memory, when whoever is told of the batch has read it', async () => {
    const clock = createManualClock();
    const limits = { maxEvents: 10, maxBytes: 10 * ROWS, projectShare: 1 };
    const batches = { maxEvents: 1, maxBytes: ROWS, maxWaitMs: 0 };
    const read: number[] = [];
    const watcher = {
      took: () => 0,
      refused: () => {},
      cut: () => {},
      settled: ({ chunks }: { readonly chunks: readonly Buffer[] }) => void read.push(chunks[0]!.length),
    };
    const inMemory = memoryChannel(createChannel({ clock, newBatchId: () => 'batch' as BatchId }, limits, batches));
    const channel = watchedChannel(inMemory, { watcher });
    channel.offer({ projectId: PROJECT, eventCount: 1, rows: own() }, channel.reserve());
    const batch = (await channel.take())!;

    channel.settle(batch, 'stored');
    expect(read).toEqual([ROWS]);
    expect(batch.chunks[0]).toHaveLength(0);
    expect(channel.usage()).toMatchObject({ events: 0, bytes: 0 });
  });
});
