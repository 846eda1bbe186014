/** What the console's page makes of answers before it shows them. */
import fc from './support/fast-check.ts';
import { describe, expect, test } from 'vitest';
import { shownJobs } from '../src/console/page/parts/shown-jobs.ts';
import { about, bytes, counted, instant, rate, span } from '../src/console/page/parts/words.ts';
import { csvOf, curvesOf } from '../src/console/page/views/answer-shapes.ts';
import { parseRowChoice } from '../src/operations/row-choice.ts';
import { rangesOf } from '../src/console/page/views/chosen-rows.ts';
import { linesOf } from '../src/console/page/views/row-lines.ts';
import { completionsOf, wordBefore } from '../src/console/page/views/sql-completion.ts';

const answerOf = (columns: readonly (readonly [name: string, type: string])[], rows: readonly unknown[][]) => ({
  columns: columns.map(([name, type]) => ({ name, type })),
  rows: rows.map((row) => [...row]),
  stats: { rows: rows.length, truncated: false, elapsed_ms: 1 },
});

describe('a CSV file', () => {
  test('quotes what needs it, and says nothing for NULL', () => {
    const answer = answerOf(
      [
        ['a,b', 'String'],
        ['n', 'Nullable(UInt8)'],
      ],
      [
        ['two\nlines and a "quote"', null],
        [{ x: 1 }, 7],
      ],
    );
    expect(csvOf(answer)).toBe('"a,b",n\r\n"two\nlines and a ""quote""",\r\n"{""x"":1}",7\r\n');
  });

  test.each([
    ['=1+1', "'=1+1"],
    ['@SUM(A1)', "'@SUM(A1)"],
    ['+49', '+49'],
    ['-3.5', '-3.5'],
    ['-x', "'-x"],
  ])('%s is no formula for a spreadsheet', (text, written) => {
    expect(csvOf(answerOf([['t', 'String']], [[text]]))).toBe(`t\r\n${written}\r\n`);
  });

  test('holds whatever an event says, as one line of as many cells', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: 'binary' }), { minLength: 1, maxLength: 5 }), (texts) => {
        const cells = parseLine(csvOf(answerOf([], [texts])).slice(2));
        expect(cells.map((cell, at) => (cell === texts[at] ? cell : cell.replace(/^'/, '')))).toEqual(texts);
      }),
    );
  });

  /** As RFC 4180 reads it. */
  function parseLine(line: string): string[] {
    const cells: string[] = [];
    for (let at = 0; ;) {
      const [whole, quoted, bare] = /"((?:[^"]|"")*)"|([^,\r\n]*)/y.exec(line.slice(at))!;
      cells.push(quoted?.replaceAll('""', '"') ?? bare!);
      at += whole.length;
      if (line.slice(at) === '\r\n') return cells;
      expect(line[at]).toBe(',');
      at += 1;
    }
  }
});

describe('curves of an answer', () => {
  test('are its numbers over its first column, if that holds times, in the order of time', () => {
    const answer = answerOf(
      [
        ['day', 'Date'],
        ['events', 'UInt64'],
        ['name', 'String'],
        ['share', 'Nullable(Float64)'],
      ],
      [
        ['2026-05-05', '20', 'x', null],
        ['2026-05-04', '10', 'y', 0.5],
      ],
    );
    const start = Date.UTC(2026, 4, 4) / 1000;
    expect(curvesOf(answer)).toEqual({
      title: 'By day',
      times: [start, start + 86_400],
      curves: [
        { name: 'events', values: [10, 20] },
        { name: 'share', values: [0.5, null] },
      ],
    });
  });

  test('of times without a zone are in UTC', () => {
    const rows = [
      ['2026-05-04 10:00:00.000', 1],
      ['2026-05-04 10:00:01', 2],
    ];
    const found = curvesOf(
      answerOf(
        [
          ['at', "DateTime64(3, 'UTC')"],
          ['n', 'Int32'],
        ],
        rows,
      ),
    );
    expect(found?.times).toEqual([Date.UTC(2026, 4, 4, 10) / 1000, Date.UTC(2026, 4, 4, 10, 0, 1) / 1000]);
  });

  test('are none of other answers', () => {
    expect(
      curvesOf(
        answerOf(
          [
            ['event', 'String'],
            ['n', 'UInt64'],
          ],
          [
            ['a', 1],
            ['b', 2],
          ],
        ),
      ),
    ).toBeNull();
    expect(curvesOf(answerOf([['day', 'Date']], [['2026-05-04'], ['2026-05-05']]))).toBeNull();
  });
});

describe('a row beside the columns', () => {
  const columns = [
    { name: 'event', type: 'String', isCarried: true, isForeign: false },
    { name: 'properties', type: 'String', isCarried: true, isForeign: false },
    { name: 'day', type: 'Date', isCarried: false, isForeign: false },
  ];
  const refusal = {
    message: 'x',
    code: 1,
    when: 'storing' as const,
    isOrdinaryRefused: false,
    column: null,
    constraint: 'c',
    members: ['properties.cart.amount', 'event'],
    statement: null,
  };

  test('has the marked members below their column, and what no column holds at the end', () => {
    const row = { properties: { cart: { amount: -3 } }, event: 'paid', extra: 1 };
    expect(linesOf(row, columns, refusal)).toEqual([
      { name: 'event', type: 'String', value: '"paid"', isMarked: true },
      { name: 'properties', type: 'String', value: '{"cart":{"amount":-3}}', isMarked: false },
      { name: 'properties.cart.amount', type: null, value: '-3', isMarked: true },
      { name: 'extra', type: null, value: '1', isMarked: false },
    ]);
  });

  test('may be any JSON, or none', () => {
    expect(linesOf('no object', columns, null).at(-1)).toEqual({
      name: 'row',
      type: null,
      value: '"no object"',
      isMarked: false,
    });
    expect(linesOf({ event: null }, columns, refusal).map(({ value }) => value)).toEqual(['null', null, null]);
  });
});

describe('completion', () => {
  const schema = {
    tables: [
      { name: 'events', comment: '', columns: [{ name: 'event', type: 'String', comment: '' }] },
      { name: 'event_counts', comment: '', columns: [{ name: 'events', type: 'UInt64', comment: '' }] },
    ],
    events: ["it's", 'signed_up'],
    limits: { sql_bytes: 1, rows: 1, result_bytes: 1, seconds: 1, queries_at_once: 1 },
  };
  const offered = (sql: string) => completionsOf(schema, sql, sql.length).map(({ text }) => text);

  test('offers tables before columns, each name once, and not what is written already', () => {
    expect(offered('SELECT eve')).toEqual(['events', 'event_counts', 'event']);
    expect(offered('SELECT event')).toEqual(['events', 'event_counts']);
    expect(offered('SELECT ')).toEqual([]);
  });

  test('offers names of events within quotes, as SQL writes them', () => {
    expect(offered("WHERE event = 'i")).toEqual(["'it\\'s'"]);
    expect(wordBefore("event = 'signed", 15)).toBe("'signed");
  });
});

test('numbers, sizes and times are said as people read them', () => {
  expect([rate(null), rate(0), rate(2.25), rate(1234.5)]).toEqual(['–', '0', '2.3', '1,235']);
  expect([bytes(0), bytes(1023), bytes(1024), bytes(150 * 1024 ** 2)]).toEqual(['0 B', '1023 B', '1.0 KiB', '150 MiB']);
  expect([span(0.64), span(2.1), span(75), span(7_300), span(200_000)]).toEqual([
    '640 ms',
    '2.1 s',
    '1 min',
    '2 h',
    '2 days',
  ]);
  expect([counted(1, 'event'), counted(2_000, 'event')]).toEqual(['1 event', '2,000 events']);
  expect([instant(0), instant('no time'), instant(null)]).toEqual(['1970-01-01 00:00:00.000', 'no time', '–']);
});

test('chosen events are said as ranges, counted from 1, and mean what was chosen', () => {
  expect(rangesOf(new Set([4, 0, 2, 1]))).toBe('1-3,5');
  fc.assert(
    fc.property(fc.uniqueArray(fc.nat(30), { minLength: 1 }), (places) => {
      const isMeant = parseRowChoice(rangesOf(new Set(places)))!;
      const meant = Array.from({ length: 40 }, (_, place) => place).filter((place) => isMeant(Buffer.alloc(0), place));
      expect(meant).toEqual(places.toSorted((one, other) => one - other));
    }),
  );
});

test('what was estimated is said in two digits, and as an estimate', () => {
  expect(about(1_234_567, true)).toBe('about 1,200,000');
  expect(about(1_234_567, false)).toBe('1,234,567');
  expect(about(0, true)).toBe('0');
});

test('a job that runs is shown before all that ended, however many began after it', () => {
  const jobOf = (id: string, state: 'running' | 'done') => ({
    id,
    state,
    kind: 'replay' as const,
    by: 'mira',
    startedAt: '2026-01-01T00:00:00Z',
    endedAt: null,
    progress: { step: 'replaying', done: 0, total: null },
    result: null,
    error: null,
  });
  const jobs = [
    jobOf('f', 'done'),
    jobOf('e', 'done'),
    jobOf('d', 'running'),
    jobOf('c', 'done'),
    jobOf('b', 'done'),
    jobOf('a', 'running'),
  ];
  expect(shownJobs(jobs).map(({ id }) => id)).toEqual(['d', 'a', 'f', 'e', 'c']);
});
