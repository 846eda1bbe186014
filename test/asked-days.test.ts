import { describe, expect, test } from 'vitest';
import { askedDays } from '../src/clickhouse/reading/asked-days.ts';
import { treeOf } from '../src/clickhouse/reading/query-tree.ts';

const NAMES = { timed: new Set(['events']), untimed: new Set(['persons']) };
const NOW = Date.parse('2026-05-15T12:00:00Z');
/** 2026-05-10. */
const TENTH = 740_111;

/** The `children` of a node, one step further in. */
const within = (head: string, children: readonly string[][]): string[] => [
  children.length === 0 ? head : `${head} (children ${children.length})`,
  ...children.flat().map((line) => ` ${line}`),
];
const list = (...children: string[][]) => within('ExpressionList', children);
const call = (name: string, ...parts: string[][]) => within(`Function ${name}`, [list(...parts)]);
const TIME = ['Identifier timestamp'];
const text = (value: string) => [`Literal '${value}'`];
const number = (value: number) => [`Literal UInt64_${value}`];
const table = (name: string) =>
  within('TablesInSelectQueryElement', [within('TableExpression', [[`TableIdentifier ${name}`]])]);
const EVENTS = table('events');

/** As ClickHouse prints `SELECT <what> FROM <tables> <rest>`. */
function daysOf(rest: string[][], { what = [['Identifier event']], tables = [EVENTS], sql = '' } = {}) {
  const select = within('SelectQuery', [list(...what), within('TablesInSelectQuery', tables), ...rest]);
  const lines = within('SelectWithUnionQuery', [list(select), ['Identifier Ours']]);
  return askedDays(treeOf(lines)!, sql, NAMES, NOW);
}

const SINCE = call('greaterOrEquals', TIME, text('2026-05-10'));
const BEFORE = call('less', TIME, text('2026-05-11'));

describe('the days are', () => {
  test.each<[string, string[], { from: number | null; to: number | null }]>([
    ['from one on', SINCE, { from: TENTH, to: null }],
    ['up to one, which a midnight is not in', BEFORE, { from: null, to: TENTH }],
    ['both', call('and', SINCE, BEFORE), { from: TENTH, to: TENTH }],
    [
      'the closest of several',
      call('and', SINCE, call('and', BEFORE, call('greater', TIME, text('2026-01-01')))),
      { from: TENTH, to: TENTH },
    ],
    ['the other way round', call('less', text('2026-05-10 23:59:59.999'), TIME), { from: TENTH, to: null }],
    ['one day', call('equals', call('toDate', TIME), text('2026-05-10')), { from: TENTH, to: TENTH + 1 }],
    [
      'those of a month',
      call('equals', call('toStartOfMonth', TIME), text('2026-05-01')),
      { from: TENTH - 9, to: TENTH + 22 },
    ],
    [
      'in any time zone',
      call('greater', TIME, call('toDateTime', text('2026-05-10'), text('Asia/Tokyo'))),
      { from: TENTH - 2, to: null },
    ],
    [
      'before now, whatever the clocks did',
      call('greater', TIME, call('minus', call('NOW'), call('toIntervalDay', number(4)))),
      { from: TENTH, to: null },
    ],
    ['days before today', call('greater', TIME, call('minus', call('today'), number(3))), { from: TENTH, to: null }],
    [
      'seconds before now',
      call('less', TIME, call('minus', call('now'), number(86_400))),
      { from: null, to: TENTH + 4 },
    ],
    [
      'of a month of unknown length',
      call('less', TIME, call('minus', call('now'), call('toIntervalMonth', number(1)))),
      { from: null, to: TENTH + 5 - 27 },
    ],
  ])('%s', (_what, where, days) => {
    expect(daysOf([where])).toEqual(days);
  });

  test('of the column by its table’s name', () => {
    const named = (prefix: string, alias = '') =>
      daysOf([call('less', [`Identifier ${prefix}.timestamp`], text('2026-05-11'))], {
        tables: [table(`events${alias}`)],
      });
    expect(named('events')).not.toBeNull();
    expect(named('e', ' (alias e)')).not.toBeNull();
    expect(named('x', ' (alias e)')).toBeNull();
  });

  test('those of all SELECTs together', () => {
    const select = (where: string[]) =>
      within('SelectQuery', [list(['Asterisk']), within('TablesInSelectQuery', [EVENTS]), where]);
    const union = (...wheres: string[][]) =>
      askedDays(treeOf(within('SelectWithUnionQuery', [list(...wheres.map(select))]))!, '', NAMES, NOW);
    expect(union(call('and', SINCE, BEFORE), call('equals', TIME, text('2026-05-20')))).toEqual({
      from: TENTH,
      to: TENTH + 10,
    });
    expect(union(SINCE, BEFORE)).toBeNull();
    expect(union(SINCE, call('equals', ['Identifier event'], text('x')))).toBeNull();
  });
});

describe('the days are not plain', () => {
  test.each<[string, string[][], Parameters<typeof daysOf>[1]?]>([
    ['no condition', []],
    ['one of two conditions', [call('or', SINCE, BEFORE)]],
    ['the contrary', [call('not', SINCE)]],
    ['something else than a comparison', [call('notEquals', TIME, text('2026-05-10'))]],
    ['another column', [call('less', ['Identifier received_at'], text('2026-05-10'))]],
    ['a column on the other side', [call('less', TIME, ['Identifier received_at'])]],
    ['another function of the time', [call('less', call('toDayOfMonth', TIME), number(3))]],
    ['a number', [call('less', TIME, number(1_700_000_000))]],
    ['no date', [call('less', TIME, text('2026-02-31'))]],
    ['a text of another form', [call('less', TIME, text('2026-05-10T00:00:00Z'))]],
    ['a year that wraps around', [call('less', TIME, text('2299-01-01'))]],
    [
      'a number added to what may be either',
      [call('less', TIME, call('plus', call('minus', call('today'), call('toIntervalHour', number(1))), number(3)))],
    ],
    ['a condition behind what is no WHERE', [list(['Identifier event']), SINCE]],
    ['a condition on windows', [SINCE], { sql: 'SELECT … FROM events QUALIFY timestamp >= …' }],
    ['a condition on totals', [SINCE], { sql: 'SELECT … FROM events GROUP BY ALL WITH TOTALS HAVING timestamp >= …' }],
    ['another column of that name', [SINCE], { what: [['Identifier received_at (alias timestamp)']] }],
    ['a join', [SINCE], { tables: [EVENTS, table('identities')] }],
    ['a table that says nothing of events', [SINCE], { tables: [table('identities')] }],
    ['a view of events without their time', [SINCE], { tables: [table('persons')] }],
    [
      'another mention of the events',
      [call('and', SINCE, call('in', ['Identifier event'], ['TableIdentifier persons']))],
    ],
  ])('%s', (_what, rest, where) => {
    expect(daysOf(rest, where)).toBeNull();
  });
});
