/** Batches that a log keeps, on their way to the stores. */
import { describe, expect, test } from 'vitest';
import type { Batch } from '../src/pipeline/batch.ts';
import { isFatal } from '../src/pipeline/flags.ts';
import { startPipeline } from './support/pipeline.ts';
import { batchIdAt, batchOf, goodRows, type RowSpec } from './support/rows.ts';

type Pipeline = ReturnType<typeof startPipeline>;

/** Takes up a batch as the topic channel hands it out. */
function takeUp({ channel, clock }: Pipeline, more: Partial<Batch> & { rows?: readonly RowSpec[] } = {}) {
  const { rows = goodRows(3), ...given } = more;
  const over = new AbortController();
  const state = { isInDoubt: false };
  const destinations: string[] = [];
  const inLog = { over: over.signal, isInDoubt: () => state.isInDoubt };
  const batch = { ...batchOf(7, rows), id: batchIdAt(clock.now(), 7), inLog, ...given };
  channel.adopt(batch, (destination) => destinations.push(destination));
  return { batch, over, state, destinations };
}

describe('while the store is away', () => {
  test.each(['unavailable', 'capacity', 'ambiguous'] as const)(
    'in the way of "%s" it waits in the log, for as long as it takes, and is no reason to refuse events',
    async (failureClass) => {
      const pipeline = startPipeline();
      const { clock, events, deadLetters, flags, flusher, ledger } = pipeline;
      events.failInserts = failureClass;
      const { destinations } = takeUp(pipeline);
      await clock.advance(3_600_000);
      expect([deadLetters.letters.size, isFatal(flags.facts()), destinations]).toEqual([0, false, []]);
      // Nothing of it need be saved when this process ends.
      expect(flusher.held()).toEqual([]);
      events.failInserts = null;
      await clock.advance(15_000);
      expect([events.counted, destinations]).toEqual([3, ['stored']]);
      expect(ledger).toMatchObject({ taken: 3, stored: 3, handedOver: 0, deadLettered: 0 });
    },
  );

  test('it is tried no more often than the breaker allows', async () => {
    const pipeline = startPipeline();
    const { clock, events } = pipeline;
    events.failInserts = 'unavailable';
    takeUp(pipeline);
    await clock.advance(600_000);
    expect(events.sent).toBeLessThan(130);
  });

  test('it is left to the next holder when the tenure ends', async () => {
    const pipeline = startPipeline();
    const { clock, events, deadLetters, ledger, flusher, channel, flusherDone } = pipeline;
    events.failInserts = 'unavailable';
    const { over, destinations } = takeUp(pipeline);
    await clock.advance(10_000);
    over.abort();
    await clock.advance(0);
    events.failInserts = null;
    channel.close();
    await clock.advance(60_000);
    await flusherDone;
    expect([events.counted, deadLetters.letters.size, destinations, flusher.held()]).toEqual([0, 0, [], []]);
    expect(ledger).toMatchObject({ taken: 3, handedOver: 3, stored: 0 });
  });

  test('it is left when this process ends', async () => {
    const pipeline = startPipeline();
    const { clock, events, deadLetters, ledger, flusher, channel, flusherDone } = pipeline;
    events.hangs = true;
    takeUp(pipeline);
    await clock.advance(100);
    channel.close();
    flusher.stopInserting();
    await flusherDone;
    expect([deadLetters.letters.size, ledger.handedOver]).toEqual([0, 3]);
  });
});

test('a batch whose tenure is over is not sent', async () => {
  const pipeline = startPipeline();
  const over = AbortSignal.abort();
  takeUp(pipeline, { inLog: { over, isInDoubt: () => false } });
  await pipeline.clock.advance(1_000);
  expect([pipeline.events.sent, pipeline.ledger.handedOver]).toEqual([0, 3]);
});

describe('what is wrong with the batch itself makes it a dead letter', () => {
  test.each(['operator', 'too_large', 'unknown', 'data'] as const)(
    'as "%s", about which the drain asks: others who read the log may have sent it',
    async (failureClass) => {
      const pipeline = startPipeline();
      const { clock, events, deadLetters, ledger } = pipeline;
      events.failWith = failureClass;
      const { destinations } = takeUp(pipeline);
      await clock.advance(1_000);
      expect(deadLetters.alive()).toMatchObject([{ failureClass, ambiguous: true, lastAttemptAt: null }]);
      expect([destinations, ledger.deadLettered]).toEqual([['dead-lettered'], 3]);
    },
  );

  test('or the rows that are refused, and the others land', async () => {
    const pipeline = startPipeline();
    const { clock, events, deadLetters } = pipeline;
    takeUp(pipeline, { rows: [{ n: 1 }, { n: 2, kind: 'unreadable' }, { n: 3 }] });
    await clock.advance(1_000);
    expect([...events.stored.keys()]).toEqual([1, 3]);
    expect(deadLetters.quarantined()).toMatchObject([{ eventCount: 1 }]);
  });

  test('and with Postgres away too it waits, and nothing is refused for it', async () => {
    const pipeline = startPipeline();
    const { clock, events, deadLetters, flags } = pipeline;
    events.failWith = 'unknown';
    deadLetters.down = true;
    const { destinations } = takeUp(pipeline);
    await clock.advance(600_000);
    expect([isFatal(flags.facts()), destinations]).toEqual([false, []]);
    deadLetters.down = false;
    await clock.advance(5_000);
    expect(deadLetters.alive()).toMatchObject([{ eventCount: 3, ambiguous: true }]);
  });
});

describe('what may have landed too long ago to be recognised', () => {
  const HOUR_MS = 3_600_000;
  const rows = goodRows(2);

  /** Of before more inserts than are remembered. */
  async function takeUpOld(stored: readonly RowSpec[], doubt: Partial<Batch> | 'pause') {
    const pipeline = startPipeline();
    const { clock, events } = pipeline;
    if (stored.length > 0) await events.insert(batchOf(5, stored));
    const sentBefore = events.sent;
    Object.assign(events, { countInserts: async () => 5_001 });
    const id = batchIdAt(clock.now() - HOUR_MS, 1);
    const given = doubt === 'pause' ? { inLog: { over: new AbortController().signal, isInDoubt: () => true } } : doubt;
    const { destinations } = takeUp(pipeline, { rows, id, ...given });
    await clock.advance(1_000);
    return { ...pipeline, destinations, sent: events.sent - sentBefore };
  }

  test.each([{ mayHaveLanded: true }, { mayBeElsewhere: true }, 'pause'] as const)(
    'is asked about (%j): what is nowhere is sent, what is there is not, and the drain sends what is left of the rest',
    async (doubt) => {
      const nowhere = await takeUpOld([], doubt);
      expect([nowhere.sent, nowhere.events.counted, nowhere.destinations]).toEqual([1, 2, ['stored']]);
      const everywhere = await takeUpOld(rows, doubt);
      expect([everywhere.sent, everywhere.events.counted, everywhere.destinations]).toEqual([0, 2, ['stored']]);
      const partly = await takeUpOld(rows.slice(0, 1), doubt);
      expect([partly.sent, partly.events.counted, partly.destinations]).toEqual([0, 1, ['dead-lettered']]);
      expect(partly.deadLetters.alive()).toMatchObject([{ ambiguous: true, lastAttemptAt: null }]);
    },
  );

  test('is sent without asking where nobody else can have sent it', async () => {
    const { sent, events, destinations } = await takeUpOld(rows, {});
    // The store would have recognised its id; nothing here has sent these rows.
    expect([sent, events.counted, destinations]).toEqual([1, 4, ['stored']]);
  });
});

test('a process that stood still between two tries looks first before it sends again', async () => {
  const pipeline = startPipeline();
  const { clock, events } = pipeline;
  const { state, destinations, batch } = takeUp(pipeline, { id: batchIdAt(clock.now() - 3_600_000, 1) });
  events.failInserts = 'unavailable';
  await clock.advance(10);
  state.isInDoubt = true;
  Object.assign(events, { countInserts: async () => 5_001, failInserts: null });
  // Its successor has landed it, so long ago that the store has forgotten.
  await events.insert({ ...batch, id: batchIdAt(0, 99) });
  await clock.advance(600_000);
  expect([events.counted, destinations]).toEqual([3, ['stored']]);
});

test('a batch of a log takes one slot, however large: it has not grown, whoever wrote it has other limits', async () => {
  const pipeline = startPipeline();
  pipeline.events.latencyMs = () => 1_000;
  for (let n = 0; n < 6; n++) takeUp(pipeline, { id: batchIdAt(0, n), rows: goodRows(15, n * 15) });
  await pipeline.clock.advance(500);
  expect(pipeline.events.running).toBe(4);
});
