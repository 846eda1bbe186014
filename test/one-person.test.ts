import { describe, expect, test } from 'vitest';
import { askedPerson } from '../src/clickhouse/reading/one-person.ts';
import { treeOf } from '../src/clickhouse/reading/query-tree.ts';

const NAMES = new Set(['events', 'analytics.events']);

/** The `children` of a node, one step further in. */
const within = (head: string, children: readonly string[][]): string[] => [
  children.length === 0 ? head : `${head} (children ${children.length})`,
  ...children.flat().map((line) => ` ${line}`),
];
const list = (...children: string[][]) => within('ExpressionList', children);
const call = (name: string, ...parts: string[][]) => within(`Function ${name}`, [list(...parts)]);
const COLUMN = ['Identifier distinct_id'];
const text = (value: string) => [`Literal '${value}'`];
const table = (...parts: string[][]) => within('TablesInSelectQueryElement', [within('TableExpression', parts)]);
const EVENTS = table(['TableIdentifier events']);

/** As ClickHouse prints `SELECT <what> FROM <tables> <rest>`. */
function personOf(rest: string[][], { what = [['Identifier event']], tables = [EVENTS], sql = '' } = {}) {
  const select = within('SelectQuery', [list(...what), within('TablesInSelectQuery', tables), ...rest]);
  const lines = within('SelectWithUnionQuery', [list(select), ['Identifier Ours']]);
  return askedPerson(treeOf(lines)!, sql, NAMES);
}

const IS_ADA = call('equals', COLUMN, text('ada'));
const SINCE = call('greater', ['Identifier timestamp'], text('2026-01-01'));

describe('one person is asked about', () => {
  test.each<[string, string[][], Parameters<typeof personOf>[1]?]>([
    ['alone', [IS_ADA]],
    ['the other way round', [call('equals', text('ada'), COLUMN)]],
    ['beside other conditions', [call('and', SINCE, IS_ADA, call('or', SINCE, SINCE))]],
    ['within conditions that all hold', [call('and', SINCE, call('and', SINCE, IS_ADA))]],
    ['with groups and an order', [IS_ADA, list(['Identifier event']), list(['OrderByElement'])]],
    ['of the table by its whole name', [IS_ADA], { tables: [table(['TableIdentifier analytics.events'])] }],
    ['of the table by another name', [IS_ADA], { tables: [table(['TableIdentifier events (alias e)'])] }],
  ])('%s', (_what, rest, where) => {
    expect(personOf(rest, where)).toBe('ada');
  });

  test('by any text that needs no escape', () => {
    expect(personOf([call('equals', COLUMN, text('Ädä <a+b@c.d> {0} 人'))])).toBe('Ädä <a+b@c.d> {0} 人');
  });
});

describe('not plainly one person', () => {
  test.each<[string, string[][], Parameters<typeof personOf>[1]?]>([
    ['no condition', []],
    ['another column', [call('equals', ['Identifier user_id'], text('ada'))]],
    ['a column of something', [call('equals', ['Identifier e.distinct_id'], text('ada'))]],
    ['one of two conditions', [call('or', IS_ADA, SINCE)]],
    ['the contrary', [call('not', IS_ADA)]],
    ['something else than equal', [call('notEquals', COLUMN, text('ada'))]],
    ['two columns', [call('equals', COLUMN, ['Identifier user_id'])]],
    ['a number', [call('equals', COLUMN, ['Literal UInt64_1'])]],
    ['an escaped text', [call('equals', COLUMN, text(String.raw`o\'n`))]],
    ['a condition behind what is no WHERE', [list(['Identifier event']), IS_ADA]],
    ['a condition on groups', [IS_ADA], { sql: 'SELECT … FROM events HAVING distinct_id = …' }],
    ['a condition on windows', [IS_ADA], { sql: 'SELECT … FROM events qualify distinct_id = …' }],
    ['another table', [IS_ADA], { tables: [table(['TableIdentifier persons'])] }],
    ['a subquery', [IS_ADA], { tables: [table(['Subquery'])] }],
    ['a join', [IS_ADA], { tables: [EVENTS, EVENTS] }],
    ['an ARRAY JOIN', [IS_ADA], { tables: [EVENTS, within('TablesInSelectQueryElement', [['ArrayJoin']])] }],
    ['a modifier of the table', [IS_ADA], { tables: [table(['TableIdentifier events'], ['SampleRatio'])] }],
    ['an alias of that name', [IS_ADA], { what: [["Literal 'ada' (alias distinct_id)"]] }],
    ['a second SELECT', [call('and', IS_ADA, call('in', COLUMN, within('Subquery', [['SelectQuery']])))]],
  ])('%s', (_what, rest, where) => {
    expect(personOf(rest, where)).toBeNull();
  });
});
