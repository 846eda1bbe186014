/** How a rebuild divides the table of events: whatever the rows, each lies in one chunk, with all its copies of that hour. */
import { describe, expect, test } from 'vitest';
import {
  CHUNK_LIMITS,
  type Cursor,
  type KeyPosition,
  conditionOf,
  endOfHour,
  nextSize,
  partitionsLeft,
} from '../src/clickhouse/migrations/chunks.ts';

const PROJECT = '01890000-0000-7000-8000-00000000000a';
const HOUR = 3_600_000;
const at = (untilMs: number): KeyPosition => ({ project: PROJECT, eventHex: '6162', untilMs });

test('the end of an hour is behind every instant of it, and no further than an hour', () => {
  expect([0, 1, HOUR - 1].map(endOfHour)).toEqual([HOUR, HOUR, HOUR]);
  expect(endOfHour(HOUR)).toBe(2 * HOUR);
  for (const ms of [1_769_903_999_999, 1_769_904_000_000, 4_294_967_295_000]) {
    expect(endOfHour(ms)).toBeGreaterThan(ms);
    expect(endOfHour(ms) - ms).toBeLessThanOrEqual(HOUR);
    expect(endOfHour(ms) % HOUR).toBe(0);
  }
});

describe('the condition of a chunk', () => {
  test('names its partition, and nothing else where that is all of it', () => {
    expect(conditionOf({ partition: '202601', after: null, upTo: null })).toEqual({
      sql: '_partition_id = {partition:String}',
      params: { partition: '202601' },
    });
  });

  test('begins where the one before ended: what the one leaves out, the other has', () => {
    const border = at(2 * HOUR);
    const before = conditionOf({ partition: 'p', after: null, upTo: border });
    const behind = conditionOf({ partition: 'p', after: border, upTo: null });
    expect(before.sql).toContain('timestamp < fromUnixTimestamp64Milli({upToMs:Int64}');
    expect(behind.sql).toContain('timestamp >= fromUnixTimestamp64Milli({afterMs:Int64}');
    expect(before.params).toMatchObject({ upToProject: PROJECT, upToEvent: '6162', upToMs: String(2 * HOUR) });
    expect(behind.params).toMatchObject({ afterProject: PROJECT, afterEvent: '6162', afterMs: String(2 * HOUR) });
  });

  test('brings every value as a parameter: a name of an event is never part of the text', () => {
    const hostile = { ...at(1), eventHex: Buffer.from("'; DROP TABLE events_raw_v1 --").toString('hex') };
    const { sql, params } = conditionOf({ partition: "x' OR 1", after: hostile, upTo: hostile });
    expect(sql).not.toMatch(/DROP|OR 1/);
    expect(params['partition']).toBe("x' OR 1");
  });
});

describe('a walk goes on', () => {
  const left = (cursor: Cursor | null) => partitionsLeft(['202602', '202512', '202601'], cursor);

  test('from the first partition at the start', () => {
    expect(left(null).map(({ partition }) => partition)).toEqual(['202512', '202601', '202602']);
  });

  test('within a partition behind the key, and with the next ones from their start', () => {
    expect(left({ partition: '202601', key: at(5) })).toEqual([
      { partition: '202601', after: at(5), upTo: null },
      { partition: '202602', after: null, upTo: null },
    ]);
  });

  test('with the next partition where one is through, and is over behind the last', () => {
    expect(left({ partition: '202601', key: null }).map(({ partition }) => partition)).toEqual(['202602']);
    expect(left({ partition: '202602', key: null })).toEqual([]);
  });

  test('with what comes after a partition that is gone', () => {
    expect(left({ partition: '202600', key: at(5) }).map(({ partition }) => partition)).toEqual(['202601', '202602']);
  });
});

test('the size of chunks follows how long they take, within its limits', () => {
  const { minRows, maxRows, tooFastMs, tooSlowMs } = CHUNK_LIMITS;
  expect(nextSize(200_000, tooFastMs - 1)).toBe(400_000);
  expect(nextSize(200_000, tooFastMs)).toBe(200_000);
  expect(nextSize(200_000, tooSlowMs + 1)).toBe(100_000);
  expect(nextSize(maxRows, 0)).toBe(maxRows);
  expect(nextSize(minRows, Infinity)).toBe(minRows);
});
