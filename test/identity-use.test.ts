import { expect, test } from 'vitest';
import { needsIdentities } from '../src/clickhouse/reading/identity-use.ts';
import { treeOf } from '../src/clickhouse/reading/query-tree.ts';

/** As ClickHouse prints it: `SELECT <expressions> FROM <table>`, and what else the tables have. */
const linesOf = (expressions: readonly string[], tables: readonly string[] = ['TableIdentifier events']) => [
  'SelectWithUnionQuery (children 2)',
  ' ExpressionList (children 1)',
  '  SelectQuery (children 2)',
  `   ExpressionList (children ${expressions.filter((line) => !line.startsWith(' ')).length})`,
  ...expressions.map((line) => `    ${line}`),
  `   TablesInSelectQuery (children ${tables.length})`,
  ...tables.flatMap((table) =>
    table.startsWith('TableJoin')
      ? [
          '    TablesInSelectQueryElement (children 2)',
          '     TableExpression (children 1)',
          '      TableIdentifier events',
          ...table.split('\n').map((line) => `     ${line}`),
        ]
      : ['    TablesInSelectQueryElement (children 1)', '     TableExpression (children 1)', `      ${table}`],
  ),
  ' Identifier Ours',
];

type Case = [what: string, expressions: string[], tables?: string[]];

test.each<Case>([
  ['the column', ['Identifier distinct_id']],
  ['the column, of a table', ['Identifier e.distinct_id (alias x)']],
  ['the column, of a table of a database', ['Identifier analytics.events.distinct_id']],
  ['all columns', ['Asterisk']],
  ['all columns of a table', ['QualifiedAsterisk (children 1)', ' Identifier e']],
  ['columns by pattern', ['ColumnsRegexpMatcher']],
  ['columns of a table by list', ['QualifiedColumnsListMatcher (children 1)', ' ExpressionList']],
  ['all columns within a function', ['Function tuple (children 1)', ' ExpressionList (children 1)', '  Asterisk']],
  ['distinct rows counted', ['Function countDistinct (children 1)', ' ExpressionList (children 1)', '  Asterisk']],
  ['persons', ['Identifier x'], ['TableIdentifier persons']],
  ['sessions of a database', ['Identifier x'], ['TableIdentifier analytics.sessions (alias s)']],
  [
    'identities as a set',
    ['Function in (children 1)', ' ExpressionList (children 2)', '  Identifier a', '  Identifier identities'],
  ],
  ['a join that names no columns', ['Identifier x'], ['TableIdentifier events', 'TableJoin']],
])('a query needs the links of identities for %s', (_what, expressions, tables) => {
  expect(needsIdentities(treeOf(linesOf(expressions, tables))!)).toBe(true);
});

test.each<Case>([
  ['other columns', ['Identifier event', 'Identifier e.user_id (alias who)']],
  ['a count of rows', ['Function count (children 1)', ' ExpressionList (children 1)', '  Asterisk']],
  ['other tables', ['Identifier x'], ['TableIdentifier monitor.events', 'TableIdentifier event_counts_hourly']],
  [
    'a join on other columns',
    ['Identifier x'],
    ['TableIdentifier events', 'TableJoin (children 1)\n ExpressionList (children 1)\n  Identifier user_id'],
  ],
  ['a text of that name', ["Literal 'distinct_id'"]],
])('and not for %s', (_what, expressions, tables) => {
  expect(needsIdentities(treeOf(linesOf(expressions, tables))!)).toBe(false);
});
