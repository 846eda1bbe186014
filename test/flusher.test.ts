import { describe, expect, test } from 'vitest';
import { isFatal } from '../src/pipeline/flags.ts';
import { settled } from './support/clock.ts';
import { OTHER_PROJECT, PROJECT } from './support/factory.ts';
import { numbersOf } from './support/fakes.ts';
import { startPipeline } from './support/pipeline.ts';
import { remainderOf } from '../src/pipeline/batch.ts';
import { InsertFailure } from '../src/pipeline/ports.ts';
import { batchIdAt, batchOf, rowOf, type RowSpec } from './support/rows.ts';

describe('of a batch with rows that are refused', () => {
  const bad: RowSpec = { n: 2, kind: 'unreadable' };

  test('the others land, and who sent them hears that; who sent the bad ones hears that they are dead letters', async () => {
    const { clock, channel, events, deadLetters, ledger, used, offer } = startPipeline();
    const told: Record<string, string> = {};
    offer([{ n: 1 }, bad], PROJECT, (destination) => (told['bad'] = destination));
    offer([{ n: 3 }], OTHER_PROJECT, (destination) => (told['good'] = destination));
    await clock.advance(2_000);
    expect([...events.stored.keys()]).toEqual([1, 3]);
    expect(numbersOf(deadLetters.quarantined())).toEqual([2]);
    expect(deadLetters.alive()).toEqual([]);
    expect(told).toEqual({ bad: 'dead-lettered', good: 'stored' });
    expect(Object.fromEntries(used)).toEqual({ [PROJECT]: 1, [OTHER_PROJECT]: 1 });
    expect(ledger).toMatchObject({ accepted: 3, stored: 2, deadLettered: 1, quarantined: 1 });
    expect(channel.usage()).toEqual({ events: 0, bytes: 0, reservedBytes: 0 });
  });

  test('all of which are, nothing more is sent', async () => {
    const { clock, events, deadLetters, ledger, destinations, offer } = startPipeline();
    offer([bad, { n: 3, kind: 'unreadable' }]);
    await clock.advance(2_000);
    expect(events.sent).toBe(1);
    expect(deadLetters.quarantined()).toMatchObject([{ eventCount: 2 }]);
    expect([destinations, ledger.stored, ledger.deadLettered]).toEqual([['dead-lettered'], 0, 2]);
  });

  test('as ordinary ones are, they wait as a dead letter, and the breaker opens only when nothing lands', async () => {
    const { clock, breaker, events, deadLetters, offer } = startPipeline();
    events.refusesOrdinary = true;
    for (let n = 10; n < 50; n += 10) {
      offer([{ n, kind: 'unreadable' }, { n: n + 1, kind: 'unreadable' }, { n: n + 2 }]);
      await clock.advance(2_000);
    }
    expect([...events.stored.keys()]).toEqual([12, 22, 32, 42]);
    expect(breaker.state().kind).toBe('closed');
    expect(deadLetters.quarantined()).toEqual([]);
    for (let n = 50; n < 80; n += 10) {
      offer([{ n, kind: 'unreadable' }]);
      await clock.advance(2_000);
    }
    expect(breaker.state()).toMatchObject({ kind: 'open', reason: 'operator' });
  });

  test('the others are dead letters of their own when ClickHouse goes away meanwhile', async () => {
    const { clock, events, deadLetters, ledger, offer } = startPipeline();
    const addParts = deadLetters.addParts.bind(deadLetters);
    deadLetters.addParts = (...given) => {
      events.down = true;
      return addParts(...given);
    };
    offer([{ n: 1 }, bad, { n: 3 }]);
    await clock.advance(2_000);
    expect(numbersOf(deadLetters.alive())).toEqual([1, 3]);
    expect(numbersOf(deadLetters.quarantined())).toEqual([2]);
    expect(ledger).toMatchObject({ stored: 0, deadLettered: 3 });
  });

  test.each(['addParts', 'inspect'] as const)('the whole is a dead letter when %s fails', async (step) => {
    const { clock, events, deadLetters, offer } = startPipeline();
    const fail = () => Promise.reject(new Error('away'));
    Object.assign(step === 'inspect' ? events : deadLetters, { [step]: fail });
    offer([{ n: 1 }, bad]);
    await clock.advance(2_000);
    expect(deadLetters.alive()).toMatchObject([{ eventCount: 2, ambiguous: false }]);
  });

  test('none is doubled when they were taken out and that was not answered', async () => {
    const { clock, events, deadLetters, offer } = startPipeline();
    deadLetters.commitThenCut = true;
    offer([{ n: 1 }, bad, { n: 3 }]);
    await clock.advance(2_000);
    expect(numbersOf(deadLetters.quarantined())).toEqual([2]);
    expect(numbersOf(deadLetters.alive())).toEqual([1, 3]);
    expect(events.stored.size).toBe(0);
  });

  test('which an earlier process took out, the others are sent under the id they had then, and never the whole', async () => {
    const { clock, channel, events, deadLetters, ledger } = startPipeline();
    const batch = batchOf(1, [{ n: 1 }, bad, { n: 3 }]);
    const parts = [{ rows: [rowOf(bad)], failure: null, isQuarantined: true }];
    await deadLetters.addParts(
      batch,
      parts.map((part) => ({ ...part, failure: new InsertFailure('bad', { failureClass: 'data' }) })),
      [1],
    );
    await events.insert(remainderOf(batch, [1])!);
    // Meanwhile the schema takes everything.
    events.isUnreadable = () => false;
    channel.adopt({ ...batch, mayHaveLanded: true }, () => {});
    ledger.accepted += 3;
    await clock.advance(2_000);
    expect([...events.stored]).toEqual([
      [1, 1],
      [3, 1],
    ]);
    expect(ledger).toMatchObject({ stored: 2, deadLettered: 1 });
  });
});

describe('a batch finds its home', () => {
  test('in ClickHouse, and its room is given back', async () => {
    const { clock, channel, events, deadLetters, ledger, destinations, used, offer } = startPipeline();
    offer([{ n: 1 }, { n: 2 }]);
    offer([{ n: 3 }], OTHER_PROJECT);
    expect(channel.usage().events).toBe(3);
    await clock.advance(2_000);
    expect([...events.stored.keys()]).toEqual([1, 2, 3]);
    expect(deadLetters.letters.size).toBe(0);
    expect(channel.usage()).toEqual({ events: 0, bytes: 0, reservedBytes: 0 });
    expect(destinations).toEqual(['stored', 'stored']);
    expect(ledger.stored).toBe(3);
    expect(Object.fromEntries(used)).toEqual({ [PROJECT]: 2, [OTHER_PROJECT]: 1 });
  });

  test.each(['unavailable', 'ambiguous', 'capacity', 'operator', 'data', 'too_large', 'unknown'] as const)(
    'in the dead letters at once when the insert fails as %s',
    async (failureClass) => {
      const { clock, channel, events, deadLetters, ledger, destinations, used, offerGood } = startPipeline();
      events.failWith = failureClass;
      offerGood(3);
      await clock.advance(2_000);
      expect(deadLetters.alive()).toMatchObject([{ eventCount: 3, failureClass }]);
      expect(channel.usage().events).toBe(0);
      expect([destinations, ledger.deadLettered, used.size]).toEqual([['dead-lettered'], 3, 0]);
    },
  );

  test('in ClickHouse on the second try, when the connection was stale', async () => {
    const { clock, events, deadLetters, breaker, offerGood } = startPipeline();
    events.resets = 1;
    offerGood(3);
    await clock.advance(2_000);
    expect(events.landed).toEqual([3]);
    expect(deadLetters.letters.size).toBe(0);
    expect(breaker.state().kind).toBe('closed');
  });

  test('once, when the commit was made and the answer lost', async () => {
    const { clock, events, deadLetters, offerGood } = startPipeline();
    events.commitThenCut = true;
    offerGood(3);
    await clock.advance(2_000);
    expect(events.counted).toBe(3);
    expect(deadLetters.letters.size).toBe(0);
  });

  test('the second try is the last before the dead letters', async () => {
    const { clock, events, deadLetters, offerGood } = startPipeline();
    events.resets = 2;
    offerGood(3);
    await clock.advance(2_000);
    expect(events.sent).toBe(2);
    expect(deadLetters.alive()).toMatchObject([{ ambiguous: true }]);
  });
});

describe('a doubt is remembered', () => {
  test.each([
    ['unavailable', false],
    ['data', false],
    ['ambiguous', true],
  ] as const)('a letter of an insert that failed as %s is ambiguous: %s', async (failureClass, ambiguous) => {
    const { clock, events, deadLetters, offerGood } = startPipeline();
    events.failWith = failureClass;
    offerGood(1);
    await clock.advance(2_000);
    expect(deadLetters.alive()).toMatchObject([{ ambiguous }]);
  });

  test('of a batch that an earlier process may have inserted', async () => {
    const { clock, channel, events, deadLetters } = startPipeline();
    events.down = true;
    channel.adopt({ ...batchOf(77, [{ n: 1 }]), mayHaveLanded: true }, () => {});
    await clock.advance(0);
    expect(deadLetters.alive()).toMatchObject([{ failureClass: 'unavailable', ambiguous: true }]);
  });

  test.each([
    ['is sent again while ClickHouse remembers it', 5_000, [1, 0]],
    ['is left to the drain, which asks for its rows, when others inserted much since', 5_001, [0, 1]],
  ])('of a batch that was cut an hour ago: it %s', async (_what, inserts, [sent, letters]) => {
    const { clock, channel, events, deadLetters } = startPipeline();
    Object.assign(events, { countInserts: async () => inserts });
    const id = batchIdAt(clock.now() - 3_600_000, 1);
    channel.adopt({ ...batchOf(77, [{ n: 1 }]), id, mayHaveLanded: true }, () => {});
    await clock.advance(0);
    expect([events.sent, deadLetters.alive().length]).toEqual([sent, letters]);
  });

  describe('of a batch whose rows another process may have sent under other ids', () => {
    const rows = [{ n: 1 }, { n: 2 }];
    const recovered = () => ({ ...batchOf(77, rows), mayBeElsewhere: true });

    test.each([
      ['nowhere: it is sent', [], { sent: 1, counted: 2, destinations: ['stored'], letters: 0 }],
      ['everywhere: it is not', rows, { sent: 1, counted: 2, destinations: ['stored'], letters: 0 }],
      [
        'partly: the drain sends the rest',
        [{ n: 1 }],
        { sent: 1, counted: 1, destinations: ['dead-lettered'], letters: 1 },
      ],
    ])('%s', async (_where, elsewhere, expected) => {
      const { clock, channel, events, deadLetters } = startPipeline();
      if (elsewhere.length > 0) await events.insert(batchOf(5, elsewhere));
      const destinations: string[] = [];
      channel.adopt(recovered(), (destination) => destinations.push(destination));
      await clock.advance(0);
      const { sent, counted } = events;
      expect({ sent, counted, destinations, letters: deadLetters.letters.size }).toEqual(expected);
    });

    test('a letter of it that was not asked about before has never been tried', async () => {
      const { clock, channel, events, deadLetters } = startPipeline();
      events.down = true;
      channel.adopt(recovered(), () => {});
      await clock.advance(0);
      // Which the drain takes for a letter of which nobody knows what was sent.
      expect(deadLetters.alive()).toMatchObject([{ ambiguous: true, lastAttemptAt: null }]);
    });

    describe('a letter of it is asked about before it is sent, also when', () => {
      const stored = [{ n: 1 }];
      type Parts = ReturnType<typeof startPipeline>;
      const secondStart = ({ clock }: Parts) => ({
        ...recovered(),
        id: batchIdAt(clock.now() - 60_000, 1),
        mayHaveLanded: true,
      });

      test.each([
        [
          'an earlier process may have sent it, and ClickHouse cannot be asked',
          secondStart,
          ({ events }: Parts) => (events.down = true),
        ],
        ['an earlier process may have sent it, and a part of it is stored', secondStart, () => {}],
        [
          'Postgres did not keep it at first',
          recovered,
          async ({ clock, events, deadLetters }: Parts) => {
            events.down = deadLetters.down = true;
            await clock.advance(5_000);
            deadLetters.down = false;
          },
        ],
        [
          'Postgres kept it, and did not say so',
          recovered,
          ({ events, deadLetters }: Parts) => (events.down = deadLetters.commitThenCut = true),
        ],
      ])('%s', async (_what, batchIn, fail) => {
        const parts = startPipeline({ isDraining: true });
        const { clock, channel, events, deadLetters } = parts;
        await events.insert(batchOf(5, stored));
        const destinations: string[] = [];
        const failed = fail(parts);
        channel.adopt(batchIn(parts), (destination) => destinations.push(destination));
        await clock.advance(10_000);
        await failed;
        expect(destinations).toEqual(['dead-lettered']);
        events.down = false;
        await clock.advance(60_000);
        expect([...events.stored]).toEqual([
          [1, 1],
          [2, 1],
        ]);
        expect(deadLetters.letters.size).toBe(0);
      });
    });

    test('once asked about it is like any other: what is in doubt is sent again while it is remembered', async () => {
      const { clock, channel, events, deadLetters } = startPipeline();
      events.failWith = 'ambiguous';
      Object.assign(events, { findStored: async () => [false, false] });
      channel.adopt(recovered(), () => {});
      await clock.advance(0);
      const [letter] = deadLetters.alive();
      expect(letter).toMatchObject({ ambiguous: true });
      expect(letter!.lastAttemptAt).not.toBeNull();
    });
  });

  test('over all tries, when only the first of them was in doubt', async () => {
    const { clock, events, deadLetters, offerGood } = startPipeline();
    events.failWith = 'ambiguous';
    deadLetters.down = true;
    offerGood(1);
    await clock.advance(2_000);
    events.failWith = 'unavailable';
    await clock.advance(1_000);
    deadLetters.down = false;
    await clock.advance(2_000);
    expect(deadLetters.alive()).toMatchObject([{ failureClass: 'unavailable', ambiguous: true }]);
  });
});

async function unhomed() {
  const parts = startPipeline();
  parts.events.down = parts.deadLetters.down = true;
  parts.offerGood(3);
  await parts.clock.advance(30_000);
  return parts;
}

describe('without a home (I3)', () => {
  test('the batch stays, counted, and intake is refused', async () => {
    const { channel, flags, flusher } = await unhomed();
    expect(channel.usage().events).toBe(3);
    expect(flags.facts().unhomed).toBe(1);
    expect(flusher.held()).toMatchObject([{ eventCount: 3 }]);
  });

  test('it ends without traffic within a backoff step of the dead letters coming back', async () => {
    const { clock, channel, deadLetters, flags } = await unhomed();
    deadLetters.down = false;
    await clock.advance(2_000);
    expect(isFatal(flags.facts())).toBe(false);
    expect(numbersOf(deadLetters.alive())).toEqual([0, 1, 2]);
    expect(channel.usage().events).toBe(0);
  });

  test('it ends without traffic within a backoff step of ClickHouse being seen again', async () => {
    const { clock, channel, events, flags } = await unhomed();
    events.down = false;
    // One second until the heartbeat asks, two until the next try.
    await clock.advance(3_000);
    expect(isFatal(flags.facts())).toBe(false);
    expect(events.landed).toEqual([3]);
    expect(channel.usage().events).toBe(0);
  });

  test('what lands once a schema that had changed is repaired closes the breaker', async () => {
    const { clock, breaker, channel, events, deadLetters, offerGood } = startPipeline();
    events.drifted = deadLetters.down = true;
    offerGood(3);
    await clock.advance(10_000);
    expect(breaker.state()).toMatchObject({ kind: 'open', reason: 'operator' });
    expect(channel.usage().events).toBe(3);
    events.drifted = false;
    await clock.advance(2_000);
    expect(events.landed).toEqual([3]);
    expect([breaker.state().kind, channel.usage().events]).toEqual(['closed', 0]);
  });

  test('other batches are unhomed one by one, and fatal lasts as long as the last', async () => {
    const { clock, deadLetters, flags, offerGood } = await unhomed();
    offerGood(2);
    await clock.advance(2_000);
    expect(flags.facts().unhomed).toBe(2);
    deadLetters.down = false;
    await clock.advance(2_000);
    expect(flags.facts().unhomed).toBe(0);
  });

  test('a batch that landed after its letter was kept unseen leaves no letter behind', async () => {
    const { clock, events, deadLetters, offerGood } = startPipeline();
    events.down = deadLetters.commitThenCut = true;
    offerGood(3);
    await clock.advance(2_000);
    expect(deadLetters.alive()).toHaveLength(1);
    deadLetters.down = true;
    events.down = false;
    await clock.advance(10_000);
    deadLetters.down = false;
    await clock.advance(5_000);
    expect([events.counted, deadLetters.alive()]).toEqual([3, []]);
  });

  test('a letter that was kept unseen and replayed by another process doubles nothing after a long partition', async () => {
    const newBatchId = () => batchIdAt(Date.UTC(2026, 0, 1), 7);
    const { clock, events, deadLetters, offerGood } = startPipeline({ newBatchId });
    events.failWith = 'unavailable';
    deadLetters.commitThenCut = true;
    offerGood(3);
    await clock.advance(2_000);
    events.failWith = null;
    const [letter] = deadLetters.alive();
    await events.insert({ id: letter!.id, chunks: [letter!.rows] });
    deadLetters.letters.delete(letter!.id);
    // More inserts than ClickHouse remembers.
    for (let n = 0; n < 10_001; n++) await events.insert({ id: batchIdAt(0, n), chunks: [rowOf({ n: 1_000 + n })] });
    events.down = deadLetters.down = true;
    await clock.advance(90 * 60_000);
    events.down = deadLetters.down = false;
    await clock.advance(60_000);
    expect([0, 1, 2].map((n) => events.stored.get(n))).toEqual([1, 1, 1]);
    expect(events.counted - 10_001).toBe(3);
  });

  test('a lost answer of the dead letters is asked for again, not a second letter', async () => {
    const { clock, events, deadLetters, ledger, offerGood } = startPipeline();
    events.down = deadLetters.commitThenCut = true;
    offerGood(3);
    await clock.advance(5_000);
    expect(numbersOf(deadLetters.alive())).toEqual([0, 1, 2]);
    expect(ledger.deadLettered).toBe(3);
  });
});

describe('while ClickHouse is known to be away', () => {
  test('fresh batches go to the dead letters without an insert', async () => {
    const { breaker, events, deadLetters, offerGood } = startPipeline();
    await settled();
    breaker.trip('operator');
    for (let i = 0; i < 3; i++) offerGood(10);
    await settled();
    expect(events.sent).toBe(0);
    expect(numbersOf(deadLetters.alive())).toHaveLength(30);
    expect(deadLetters.alive()[0]).toMatchObject({ failureClass: 'operator', ambiguous: false });
  });

  test('an insert that hangs is cut short by the heartbeat and lands in the dead letters, in doubt', async () => {
    const { clock, events, deadLetters, offerGood } = startPipeline();
    await clock.advance(500);
    events.hangs = true;
    offerGood(10);
    await clock.advance(10_000);
    expect(deadLetters.alive()).toMatchObject([{ eventCount: 10, ambiguous: true }]);
  });
});

describe('a store with too many parts', () => {
  test('gets one insert at a time and larger ones, until it takes them', async () => {
    const { clock, events, deadLetters, flusher, offerGood } = startPipeline({ channel: { maxEvents: 1_000 } });
    events.latencyMs = () => 100;
    events.minRows = 30;
    offerGood(10);
    await clock.advance(100);
    expect(numbersOf(deadLetters.alive())).toHaveLength(10);
    for (let i = 0; i < 12; i++) offerGood(10);
    await clock.advance(20);
    expect(flusher.isBusy()).toBe(true);
    expect(events.running).toBe(1);
    await clock.advance(5_000);
    expect(Math.max(...events.landed)).toBeGreaterThanOrEqual(30);
    events.minRows = 0;
    events.mostRunning = 0;
    for (let i = 0; i < 60; i++) offerGood(10);
    await clock.advance(5_000);
    // Two of the usual size and one that has grown.
    expect(events.mostRunning).toBe(3);
    expect(events.landed.at(-1)).toBeLessThanOrEqual(20);
  });
});

describe('while two inserts are under way', () => {
  const underWay = async (latencyMs = 500) => {
    const pipeline = startPipeline({ channel: { maxEvents: 1_000 } });
    pipeline.events.latencyMs = () => latencyMs;
    for (let i = 0; i < 3; i++) {
      pipeline.offerGood(10);
      await settled();
    }
    return pipeline;
  };

  test('the next batch grows to twice its size, and takes two slots', async () => {
    const { clock, events, flusher, offerGood } = await underWay();
    await clock.advance(100);
    expect([events.running, flusher.isBusy()]).toEqual([2, false]);
    offerGood(10);
    await settled();
    expect([events.running, flusher.isBusy()]).toEqual([3, true]);
    for (let i = 0; i < 10; i++) offerGood(10);
    await clock.advance(300);
    expect(events.running).toBe(3);
    await clock.advance(10_000);
    expect(events.landed).toEqual([10, 10, 20, 20, 10, 20, 20, 10, 20]);
    expect([events.mostRunning, events.counted]).toEqual([3, 140]);
  });

  test('nothing waits for more once there are fewer', async () => {
    const { clock, events } = await underWay();
    await clock.advance(499);
    expect(events.running).toBe(2);
    await clock.advance(1);
    expect(events.running).toBe(1);
    await clock.advance(500);
    expect(events.landed).toEqual([10, 10, 10]);
  });

  test('nothing waits longer than it may', async () => {
    const { clock, events } = await underWay(60_000);
    await clock.advance(1_999);
    expect(events.running).toBe(2);
    await clock.advance(1);
    expect(events.running).toBe(3);
  });
});

describe('at the end', () => {
  test('stopInserting cuts a running insert, and the batch becomes a letter that may have landed', async () => {
    const { clock, events, deadLetters, breaker, flusher, offerGood } = startPipeline();
    events.hangs = true;
    offerGood(10);
    await settled();
    flusher.stopInserting();
    await settled();
    expect(deadLetters.alive()).toMatchObject([{ eventCount: 10, ambiguous: true }]);
    // We cut it ourselves: that says nothing about the store.
    expect(breaker.state().kind).toBe('closed');
    offerGood(10);
    await clock.advance(0);
    expect(events.sent).toBe(1);
    expect(numbersOf(deadLetters.alive())).toHaveLength(20);
  });

  test('giveUp ends the retries and keeps the batch for whoever saves it', async () => {
    const { clock, channel, events, deadLetters, flusher, flusherDone, offerGood } = startPipeline();
    events.down = deadLetters.down = true;
    offerGood(3);
    await clock.advance(5_000);
    channel.close();
    flusher.giveUp();
    await flusherDone;
    expect(flusher.held()).toMatchObject([{ eventCount: 3 }]);
    expect(channel.usage().events).toBe(3);
  });

  test('run ends when the channel is closed and empty and every batch has a home', async () => {
    const { clock, channel, events, flusherDone, offerGood } = startPipeline();
    events.latencyMs = () => 500;
    for (let i = 0; i < 6; i++) offerGood(7);
    channel.close();
    const ended = { isSo: false };
    void flusherDone.then(() => (ended.isSo = true));
    await clock.advance(999);
    expect(ended.isSo).toBe(false);
    await clock.advance(1);
    expect(ended.isSo).toBe(true);
    expect(events.counted).toBe(42);
  });

  test('no more inserts run at once than allowed', async () => {
    const { clock, events, offerGood } = startPipeline({ maxInFlight: 3 });
    events.latencyMs = () => 500;
    for (let i = 0; i < 10; i++) offerGood(10);
    await clock.advance(10_000);
    expect([events.mostRunning, events.counted]).toEqual([3, 100]);
  });
});
