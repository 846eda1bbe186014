import { describe, expect, test } from 'vitest';
import { countsAnswer, readCountQuery } from '../src/http/read/event-counts.ts';

const NOW = Date.UTC(2026, 1, 6, 12, 0, 0, 250);
/** The default end: the second that is under way counts. */
const NEXT_SECOND = Date.UTC(2026, 1, 6, 12, 0, 1);
const DAY = 86_400_000;

const read = (query: string) => readCountQuery(`/metrics?${query}`, NOW);

describe('what is asked', () => {
  test('the last 24 hours, ungrouped and from the hourly counts, when only the name is given', () => {
    expect(read('event_name=visit')).toEqual({
      event: 'visit',
      fromMs: NEXT_SECOND - DAY,
      toMs: NEXT_SECOND,
      groupBy: null,
      isExact: false,
    });
  });

  test.each([
    ['group_by=channel', { groupBy: 'channel' }],
    ['group_by=hour', { groupBy: 'hour' }],
    ['group_by=day', { groupBy: 'day' }],
    ['exact=true', { isExact: true }],
    ['exact=false', { isExact: false }],
    ['_=1770379200000&callback=x', { event: 'visit' }],
    ['event_names=other', { event: 'visit' }],
  ])('%s', (query, expected) => {
    expect(read(`event_name=visit&${query}`)).toMatchObject(expected);
  });

  test.each([
    ['1770000000', 1_770_000_000_000],
    ['1770000000000', 1_770_000_000_000],
    ['1770000000.123', 1_770_000_000_123],
    ['1770000000.1239', 1_770_000_000_123],
    ['1770000000123', 1_770_000_000_123],
    ['1.77e9', 1_770_000_000_000],
    ['0', 0],
    ['99999999999.9', 99_999_999_999_900],
    ['100000000000', 100_000_000_000],
    ['2026-02-02T02:40:00Z', 1_770_000_000_000],
    ['2026-02-02T02:40:00.5Z', 1_770_000_000_500],
    ['2026-02-02T03:40:00%2B01:00', 1_770_000_000_000],
    ['2026-02-02T03:40:00+01:00', 1_770_000_000_000],
    ['2026-02-01T21:40:00-05:00', 1_770_000_000_000],
    ['2026-02-02%2002:40:00Z', 1_770_000_000_000],
  ])('the instant %s', (text, expected) => {
    expect(read(`event_name=visit&from=${text}&to=9999-12-31T23:59:59Z`)).toMatchObject({ fromMs: expected });
    if (expected > 0) expect(read(`event_name=visit&from=0&to=${text}`)).toMatchObject({ toMs: expected });
  });

  test.each([
    'a name',
    'ünïcode 🐎',
    "Robert'; DROP TABLE events_raw_v1 --",
    'a\u0000b',
    'x'.repeat(200),
    '🐎'.repeat(200),
  ])('the name %j', (name) => {
    expect(read(`event_name=${encodeURIComponent(name)}`)).toMatchObject({ event: name });
  });
});

const NO_INSTANT = expect.stringMatching(/^(from|to) must be epoch seconds or milliseconds/) as string;

describe('what is refused, with the parameter named', () => {
  test.each([
    ['', 'event_name is required'],
    ['event=visit', 'event_name is required'],
    ['event_name=', 'event_name is required'],
    [`event_name=${'x'.repeat(201)}`, 'event_name has more than 200 characters'],
    [`event_name=${'🐎'.repeat(201)}`, 'event_name has more than 200 characters'],
    ['event_name=a&event_name=a', 'event_name is given more than once'],
    ['event_name=a&from=1&from=2', 'from is given more than once'],
    ['event_name=a&to=2&to=', 'to is given more than once'],
    ['event_name=a&group_by=hour&group_by=day', 'group_by is given more than once'],
    ['event_name=a&exact=true&exact=true', 'exact is given more than once'],
    [`event_name=a${'&a'.repeat(1_000)}`, 'more than 1000 fields in a form or a query'],
    ['event_name=a&group_by=week', 'group_by must be one of channel, hour, day'],
    ['event_name=a&group_by=', 'group_by must be one of channel, hour, day'],
    ['event_name=a&group_by=Day', 'group_by must be one of channel, hour, day'],
    ['event_name=a&exact=1', 'exact must be true or false'],
    ['event_name=a&exact=', 'exact must be true or false'],
    ['event_name=a&from=2&to=1', 'from must be before to'],
    ['event_name=a&from=1770000000&to=1770000000000', 'from must be before to'],
    ['event_name=a&from=2026-02-07T00:00:00Z', 'from must be before to'],
    ['event_name=a&to=1', 'from must be before to; without from it is 24 hours ago'],
    ['event_name=a&from=', NO_INSTANT],
    ['event_name=a&from=yesterday', NO_INSTANT],
    ['event_name=a&from=-1', NO_INSTANT],
    ['event_name=a&from=1969-12-31T23:59:59Z', NO_INSTANT],
    ['event_name=a&from=2026-02-06', NO_INSTANT],
    ['event_name=a&from=2026-02-06T12:00:00', NO_INSTANT],
    ['event_name=a&from=2026-02-30T12:00:00Z', NO_INSTANT],
    ['event_name=a&from=%221770000000%22', NO_INSTANT],
    ['event_name=a&from=NaN', NO_INSTANT],
    ['event_name=a&from=Infinity', NO_INSTANT],
    ['event_name=a&from=1e400', NO_INSTANT],
    ['event_name=a&from=0x10', NO_INSTANT],
    ['event_name=a&from=1,5', NO_INSTANT],
    ['event_name=a&from=1&to=', NO_INSTANT],
    ['event_name=a&from=1&to=tomorrow', NO_INSTANT],
    ['event_name=a&from=1&to=300000000000000', NO_INSTANT],
  ])('%s', (query, message) => {
    expect(read(query)).toEqual({ refused: 'invalid_query', message });
  });
});

describe('the answer', () => {
  const asked = { event: 'visit', fromMs: 1_770_000_000_000, toMs: 1_770_000_000_123, isExact: false };
  const total = { events: 3, users: 2 };

  test('has no groups where none were asked for, and instants in seconds', () => {
    const counted = { total, groups: [], isTruncated: false };
    expect(countsAnswer({ ...asked, groupBy: null }, counted)).toEqual({
      event_name: 'visit',
      from: 1_770_000_000,
      to: 1_770_000_000.123,
      total_events: 3,
      unique_users: 2,
    });
  });

  test('has an empty list of groups where nothing was found', () => {
    const counted = { total: { events: 0, users: 0 }, groups: [], isTruncated: false };
    expect(countsAnswer({ ...asked, groupBy: 'hour' }, counted)).toMatchObject({ grouped_by: 'hour', data: [] });
  });

  test('names hours in UTC, and says when some are not listed', () => {
    const counted = { total, groups: [{ group: 1_770_418_800, events: 3, users: 2 }], isTruncated: true };
    expect(countsAnswer({ ...asked, groupBy: 'hour' }, counted)).toMatchObject({
      data: [{ group: '2026-02-06T23:00:00Z', total_events: 3, unique_users: 2 }],
      data_truncated: true,
    });
  });
});
