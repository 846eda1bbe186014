import { describe, expect, test } from 'vitest';
import { parseMetrics } from '../src/operations/examination/ledger.ts';
import { checkProcess, checkStores } from '../src/operations/examination/reconcile-checks.ts';

const ofTopic = { taken: 0, replicated: 0, handedOver: 0 };
const counts = { url: 'u', accepted: 9, stored: 4, deadLettered: 3, pending: 2, lost: 0, ...ofTopic };
const none = { letters: 0, events: 0, bytes: 0 };
const letters = { waiting: none, replaying: none, quarantined: none };
const balance = { discarded: 0, imported: 0, forgotten: 0 };

/** The outcomes of the checks of stores where so much landed and so many rows are left. */
function outcomes(landed: number, rows: number, taken: Partial<typeof balance> = {}) {
  const events = { rows, distinctRows: rows, counted: landed, landed };
  const stores = { store: 'ClickHouse' as const, events, letters, balance: { ...balance, ...taken } };
  return Object.fromEntries(checkStores(stores, [counts], null).map(({ name, outcome }) => [name, outcome]));
}

describe('verdicts of doctor --reconcile', () => {
  test('a process whose homes do not add up fails, and so does a loss', () => {
    expect(checkProcess(counts)).toMatchObject([{ outcome: 'ok' }]);
    expect(checkProcess({ ...counts, pending: 1 })).toMatchObject([
      { outcome: 'fail', detail: expect.stringContaining('off by 1') },
    ]);
    expect(checkProcess({ ...counts, lost: 1 })).toMatchObject([{ outcome: 'ok' }, { outcome: 'fail' }]);
  });

  test('with a topic, what was taken from it came too, and what it confirmed has gone', () => {
    const through = { ...counts, taken: 5, stored: 8, replicated: 1, handedOver: 0 };
    expect(checkProcess(through)).toMatchObject([
      {
        outcome: 'ok',
        detail: 'accepted 9 + taken 5 = stored 8 + dead-lettered 3 + replicated 1 + handed over 0 + pending 2',
      },
    ]);
    expect(checkProcess({ ...through, handedOver: 1 })).toMatchObject([{ outcome: 'fail' }]);
  });

  test.each([
    [9, 0, 'ok'],
    [8, 3, 'ok'],
    [8, 0, 'fail'],
  ])('of nine that brokers confirmed %i are kept, with %i records to store: %s', (landed, records, outcome) => {
    const events = { rows: landed, distinctRows: landed, counted: landed, landed };
    const stores = { store: 'ClickHouse' as const, events, letters, balance };
    const ingest = { ...counts, stored: 0, deadLettered: 0, pending: 0, replicated: 9 };
    const found = checkStores(stores, [ingest], null, { name: 'weir.events', records });
    expect(found.find(({ name }) => name === 'confirmed by brokers against kept')?.outcome).toBe(outcome);
  });

  test.each([
    [7, {}, 'ok'],
    [6, {}, 'fail'],
    [5, { discarded: 2 }, 'ok'],
    [8, { imported: 2 }, 'fail'],
    [0, { forgotten: 7 }, 'ok'],
  ])('of seven handed over, %i landed and operators took %o: %s', (landed, taken, outcome) => {
    expect(outcomes(landed, landed, taken)['handed over against kept']).toBe(outcome);
  });

  test.each([
    [7, 7, 'ok'],
    [8, 7, 'warn'],
    [7, 8, 'fail'],
  ])('%i in the hourly counts against %i rows is %s', (landed, rows, outcome) => {
    expect(outcomes(landed, rows)['hourly counts against events']).toBe(outcome);
  });

  test('a page without the counters is not taken for one with zeros', () => {
    expect(() => parseMetrics('u', 'weir_other 1\n')).toThrow('is that a Weir?');
  });
});
