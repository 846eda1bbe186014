import type { ClickHouseClient } from '@clickhouse/client';
import { expect, test } from 'vitest';
import { countStored } from '../src/clickhouse/operations/stored-counts.ts';

/** A store in which `landing` events land between two questions, of which `held` were there and `counted` were counted. */
function storeWith({ held, counted, landing }: { held: number; counted: number; landing: number }): ClickHouseClient {
  const answer = { held, counted };
  return {
    query: ({ query }: { query: string }) => {
      const found = query.includes('events_raw_v1')
        ? { rows: String(answer.held), distinct_rows: String(answer.held) }
        : { events: String(answer.counted) };
      answer.held += landing;
      answer.counted += landing;
      return Promise.resolve({ json: () => Promise.resolve([found]) });
    },
  } as unknown as ClickHouseClient;
}

test.each([
  ['nothing lands', { held: 100, counted: 100, landing: 0 }, 100, 100],
  ['events land meanwhile', { held: 100, counted: 100, landing: 5 }, 105, 105],
  ['counts are missing', { held: 100, counted: 90, landing: 0 }, 100, 90],
  ['more are missing than land meanwhile', { held: 100, counted: 80, landing: 5 }, 105, 90],
  ['copies were counted', { held: 100, counted: 120, landing: 0 }, 100, 120],
  ['more copies were counted than land meanwhile', { held: 100, counted: 120, landing: 5 }, 105, 120],
])('where %s, the hourly counts are those at the moment of the rows', async (_, store, distinctRows, counted) => {
  const { landing } = store;
  expect(await countStored(storeWith(store), null)).toEqual({
    rows: distinctRows,
    distinctRows,
    counted,
    landed: store.counted + 2 * landing,
  });
});
