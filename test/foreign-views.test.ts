/** When errors of views are ignored, and for how long; that it is right to is shown on a real ClickHouse. */
import type { ClickHouseClient } from '@clickhouse/client';
import { beforeEach, describe, expect, test } from 'vitest';
import { failureFromAnswer } from '../src/clickhouse/connection/errors.ts';
import { type ForeignViews, createForeignViews } from '../src/clickhouse/event-store/foreign-views.ts';
import { failedView, missingTarget, parseName, formatName } from '../src/clickhouse/connection/table-names.ts';
import { OWN_VIEWS } from '../src/clickhouse/event-store/views.ts';
import { createLog } from '../src/log/log.ts';
import { InsertFailure } from '../src/pipeline/ports.ts';
import { createManualClock } from './support/clock.ts';

const THROW = 395;
const MEMORY = 241;

let clock: ReturnType<typeof createManualClock>;
let lines: { msg: string; view: string }[];
let views: ForeignViews;

beforeEach(() => {
  clock = createManualClock();
  lines = [];
  const write = (line: string) => void lines.push(JSON.parse(line) as (typeof lines)[number]);
  const log = createLog('info', { write });
  // Who fails is named; nobody has to be asked.
  views = createForeignViews({ client: {} as ClickHouseClient, clock, log }, { database: 'analytics' });
});

const failedIn = (view: string, code = THROW) =>
  failureFromAnswer({
    status: 500,
    code,
    text: `Code: ${code}. DB::Exception: no: while pushing to view ${view}. (NO) (version 26.7.2.1)`,
    isWhole: true,
    isProven: true,
  })!;

test('Weir knows its own views by its migrations', () => {
  expect([...OWN_VIEWS]).toEqual([
    ['event_counts_hourly_mv', 'event_counts_hourly'],
    ['identity_links_mv', 'identity_links'],
    ['event_users_mv', 'event_users'],
  ]);
});

describe('what is forgiven', () => {
  test('a failure in a view that is not Weir’s', async () => {
    expect(await views.forgives(failedIn('analytics.somebodys'))).toBe(true);
    expect(await views.forgives(failedIn('other.event_users_mv'))).toBe(true);
  });

  test('no failure in one of Weir’s, and none that names no view', async () => {
    expect(await views.forgives(failedIn('analytics.event_users_mv'))).toBe(false);
    expect(await views.forgives(new InsertFailure('no', { failureClass: 'operator', code: 60 }))).toBe(false);
    expect(await views.forgives(new Error('bug'))).toBe(false);
    expect([views.areIgnored(), views.notices(), lines]).toEqual([false, [], []]);
  });

  test('trouble that passes only when it does not: at the third time within a minute', async () => {
    const forgiven: boolean[] = [];
    for (let n = 0; n < 3; n++) forgiven.push(await views.forgives(failedIn('other.view', MEMORY)));
    expect(forgiven).toEqual([false, false, true]);
    await clock.advance(61_000);
    expect(await views.forgives(failedIn('other.view', MEMORY))).toBe(false);
  });
});

describe('how long errors are ignored from the start', () => {
  test('half a minute; then one insert finds out, and no other meanwhile', async () => {
    await views.forgives(failedIn('other.view'));
    await clock.advance(29_000);
    expect(views.areIgnored()).toBe(true);
    await clock.advance(1_000);
    expect([views.areIgnored(), views.areIgnored()]).toEqual([false, true]);
    await views.forgives(failedIn('other.view'));
    await clock.advance(29_000);
    expect(views.areIgnored()).toBe(true);
  });

  test('until it has not failed for ten minutes', async () => {
    await views.forgives(failedIn('other.view'));
    await clock.advance(9 * 60_000);
    expect([views.areIgnored(), views.areIgnored(), views.notices().length]).toEqual([false, true, 1]);
    await clock.advance(60_000);
    expect([views.areIgnored(), views.areIgnored(), views.notices()]).toEqual([false, false, []]);
  });
});

test('a view that goes on failing is said once, and counted', async () => {
  for (let n = 0; n < 20; n++) await views.forgives(failedIn('other.view'));
  expect(lines).toMatchObject([{ view: 'other.view' }]);
  expect([...views.failures()]).toEqual([['other.view', 20]]);
  expect(views.notices()).toEqual([
    expect.stringMatching(
      /^the materialized view other\.view, which is not Weir's, has been failing since \S+ \(code 395\): events land without it$/,
    ),
  ]);
});

test('views are bounded', async () => {
  for (let n = 0; n < 500; n++) await views.forgives(failedIn(`other.view_${n}`));
  expect(views.failures().size).toBeLessThanOrEqual(32);
});

describe('names of views', () => {
  const ending = '. (NO) (version 26.7.2.1 (official build))';
  test.each([
    [
      'the one that failed, not those that feed it',
      ': while pushing to view a.b: while pushing to view analytics.own',
      'a.b',
    ],
    ['with its UUID', ': while pushing to view a.b (00000000-0000-0000-0000-000000000001)', 'a.b'],
    ['in backticks', ': while pushing to view `a.b`.`c d`', '`a.b`.`c d`'],
    ['with a backtick', ': while pushing to view a.`b\\`c`', 'a.`b\\`c`'],
    ['none', ': while reading', null],
    ['none, of a text that quotes one', "': while pushing to view a.b. (NO)': cannot parse", null],
  ])('%s', (_, text, view) => {
    expect(failedView(`Code: 1. DB::Exception: no${text}${ending}`)).toBe(view);
  });

  test('a table that is gone is read where the sentence begins, and nowhere else', () => {
    const sentence = "Code: 60. DB::Exception: Target table 'a.b' of view 'c.d' doesn't exists. (UNKNOWN_TABLE)";
    expect(missingTarget(sentence)).toBe('a.b');
    expect(missingTarget(`Code: 60. DB::Exception: '${sentence}'`)).toBe(null);
  });

  test.each([
    ['a.b', { database: 'a', table: 'b' }],
    ['`a.x`.`b c`', { database: 'a.x', table: 'b c' }],
    ['a.`b\\`c`', { database: 'a', table: 'b`c' }],
    ['a', null],
    ['a.b.c', null],
  ])('%s is taken apart', (name, parts) => {
    expect(parseName(name)).toEqual(parts);
    if (parts !== null) expect(parseName(formatName(parts))).toEqual(parts);
  });
});
