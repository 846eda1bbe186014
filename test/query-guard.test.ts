import { describe, expect, test } from 'vitest';
import { ODD_NAME, textProblem, treeProblem, withoutEnd } from '../src/clickhouse/reading/query-guard.ts';
import { treeOf } from '../src/clickhouse/reading/query-tree.ts';
import { isAllowedFunction } from '../src/clickhouse/reading/reader-functions.ts';
import { filtersFor } from '../src/clickhouse/reading/reader-tables.ts';

const NAMES = {
  readable: new Set(['events', 'analytics.events', 'monitor.events']),
  hidden: new Set(['letters']),
  filtered: new Set(['analytics.raw', 'analytics.events']),
  databases: new Set(['analytics', 'monitor']),
};
/** As the reader asks: a tree that is not understood has a name that is not. */
function problemOf(lines: readonly string[]) {
  const tree = treeOf(lines);
  return tree === null ? ODD_NAME : treeProblem(tree, { names: NAMES, format: 'Ours' });
}

/** The tree of `SELECT <expressions> FROM <table>`, as ClickHouse prints it. */
function selecting(
  expressions: readonly string[],
  { table = 'TableIdentifier events', end = ['Identifier Ours'] } = {},
) {
  const count = expressions.filter((line) => !line.startsWith(' ')).length;
  return [
    `SelectWithUnionQuery (children ${1 + end.length})`,
    ' ExpressionList (children 1)',
    '  SelectQuery (children 2)',
    `   ExpressionList (children ${count})`,
    ...expressions.map((line) => `    ${line}`),
    '   TablesInSelectQuery (children 1)',
    '    TablesInSelectQueryElement (children 1)',
    '     TableExpression (children 1)',
    `      ${table}`,
    ...end.map((line) => ` ${line}`),
  ];
}
const call = (name: string, ...args: string[]) => [
  `Function ${name} (children 1)`,
  ` ExpressionList (children ${args.length})`,
  ...args.map((line) => `  ${line}`),
];

describe('the text', () => {
  test.each(['', ' \n', 'SELECT 1 Prewhere 1', 'SELECT\u00001', 'SELECT \ud800', 'SELECT\u001b'])(
    '%j is refused',
    (sql) => {
      expect(textProblem(sql)).not.toBeNull();
    },
  );
  test('may have lines, tabs and any script', () => {
    expect(textProblem("SELECT\r\n\t'für 顧客' -- ☕")).toBeNull();
  });
  test.each([
    ['SELECT 1 ; ;\n', 'SELECT 1'],
    ['SELECT 1;2', 'SELECT 1;2'],
    [' ;'.repeat(30_000), ''],
  ])('loses what may end it', (sql, text) => {
    expect(withoutEnd(sql)).toBe(text);
  });
});

describe('a tree that is let through', () => {
  test.each([
    ['columns', ['Identifier event', 'Identifier e.user_id (alias x)', 'Asterisk']],
    ['functions', call('count')],
    ['an aggregate with combinators', call('sumMergeIf', 'Identifier a', 'Identifier b')],
    ['IN with a readable table', call('in', 'Identifier a', 'Identifier events')],
    ['IN with the query of a WITH', call('notIn', 'Identifier a', 'Identifier mine')],
    ['a type', call('CAST', 'Identifier a', "Literal 'UInt8'")],
    ['an alias that looks like a tree', ["Literal 'x' (alias a (children 2))"].slice(1)],
    ['a type behind a path', call('JSONExtract', 'Identifier a', "Literal 'x'", "Literal 'UInt8'")],
    ['a column that is called as a table is', ['Identifier name (alias letters)']],
    ['an alias with a dot', ['Identifier name (alias utm.source)']],
    [
      'IN with a list that has a name',
      [...call('in', 'Identifier a', 'Identifier t'), "Literal Tuple_('x') (alias t)"],
    ],
    ['a long literal', [`Literal '${' (alias '.repeat(8_000)}'`]],
  ])('%s', (_name, expressions) => {
    expect(problemOf(selecting(expressions))).toBeNull();
  });

  test.each(['events', 'analytics.events', 'monitor.events', 'events (alias e)', 'from_with'])('FROM %s', (table) => {
    expect(problemOf(selecting(['Asterisk'], { table: `TableIdentifier ${table}` }))).toBeNull();
  });
});

describe('a tree that is refused', () => {
  test.each<readonly [string, readonly string[], RegExp]>([
    ['a virtual column', ['Identifier _part'], /underscore/],
    ['a virtual column of a table', ['Identifier e._table (alias x)'], /underscore/],
    ['a function that is not known', call('hostName'), /hostName/],
    ['a function with a line in its name', ['Function count', 'x (children 0)'], /./],
    ['IN with a hidden table', call('in', 'Identifier a', 'Identifier letters'), /no table letters/],
    ['IN with a table of another database', call('globalNullIn', 'Identifier a', 'Identifier system.one'), /./],
    ['a type that is computed', call('CAST', 'Identifier a', 'Identifier b'), /written out/],
    ...['dynamicElement', 'variantElement', 'accurateCastOrNull', 'JSONExtract'].map(
      (name) =>
        [`a type of ${name} that is computed`, call(name, 'Identifier a', 'Identifier b'), /written out/] as const,
    ),
    [
      'a type that is computed behind one that is not',
      call('JSONExtractKeysAndValues', 'Identifier a', "Literal 'UInt8'", 'Identifier b'),
      /written out/,
    ],
    ['a state in a name', ['Identifier d.:`AggregateFunction(uniq, String)`'], /AggregateFunction/],
    [
      'IN with an alias of a name',
      ['Identifier letters (alias t)', ...call('in', 'Identifier a', 'Identifier t')],
      /alias/,
    ],
    [
      'IN with an alias of an alias',
      ['Identifier a.b (alias s)', 'Identifier s (alias t)', ...call('nullIn', 'Identifier a', 'Identifier t')],
      /alias/,
    ],
    [
      'IN with an alias that hides a table',
      ['Identifier letters (alias events)', ...call('in', 'Identifier a', 'Identifier events')],
      /alias/,
    ],
    [
      'IN with an alias that looks like a name with one',
      ['Identifier letters (alias t (alias q))', ...call('in', 'Identifier a', 'Identifier t (alias q)')],
      /not supported/,
    ],
    ['a name that takes the name of a filtered table', ['Identifier letters (alias analytics.raw)'], /alias/],
    ['a name that takes the name of a database', ['Identifier letters (alias analytics)'], /alias/],
    ['a state', call('CAST', 'Identifier a', "Literal 'Aggregatefunction(x)'"), /AggregateFunction/],
    ['a kind nobody has looked at', ['BrandNewThing'], /BrandNewThing/],
    ['settings', ['Set'], /SETTINGS/],
    ['more children than it says', ['Identifier a', ' Identifier b'], /not supported/],
    ['fewer children than it says', ['Identifier a (children 1)'], /not supported/],
    ['a line that is none', ['Identifier a', '%'], /not supported/],
  ])('%s', (_name, expressions, reason) => {
    expect(problemOf(selecting(expressions))).toMatch(reason);
  });

  test.each(['letters', 'system.tables', 'a b', 'somebodys.events', 'file.csv', '/etc/passwd', ''])(
    'FROM %s',
    (table) => {
      expect(problemOf(selecting(['Asterisk'], { table: `TableIdentifier ${table}` }))).toMatch(/no table/);
    },
  );

  test.each([
    'events (alias analytics.raw)',
    'events (alias any.thing)',
    'monitor.events (alias a.)',
    'from_with (alias .b)',
  ])('FROM %s, an alias with a dot', (table) => {
    expect(problemOf(selecting(['Asterisk'], { table: `TableIdentifier ${table}` }))).toMatch(/dot/);
  });

  test('FROM an alias of a name', () => {
    const table = 'TableIdentifier t';
    expect(problemOf(selecting(['Identifier letters (alias t)'], { table }))).toMatch(/alias/);
  });

  test.each([
    ['no FORMAT of ours', []],
    ['another FORMAT', ['Identifier JSON']],
    ['two', ['Identifier Ours', 'Identifier Ours']],
    ['a file', ["Literal 'x'", 'Identifier Ours']],
    ['settings', ['Identifier Ours', 'Set']],
  ])('an end with %s', (_name, end) => {
    expect(problemOf(selecting(['Asterisk'], { end }))).toMatch(/FORMAT|SETTINGS/);
  });

  test.each([[[]], [['DropQuery  events']], [[' SelectWithUnionQuery']], [['digraph {']]])('%j', (lines) => {
    expect(problemOf(lines)).not.toBeNull();
  });

  test('a table function', () => {
    expect(problemOf(selecting(['Asterisk'], { table: 'Function numbers' }))).toMatch(/table functions/);
  });
});

describe('functions', () => {
  test.each(['count', 'COUNT', 'countIf', 'uniqCombined64Merge', 'argMaxIfOrNull', 'toInt32OrZero', 'sumForEachState'])(
    '%s may be called',
    (name) => expect(isAllowedFunction(name)).toBe(true),
  );
  test.each([
    '',
    'hostName',
    'throwIf',
    'aggThrowIf',
    'joinGet',
    'lowerIf',
    'getSetting',
    'merge',
    'count(',
    'constructor',
    'levenshteinDistance',
    'editDistanceUTF8',
    'jaroWinklerSimilarity',
    'ngramDistance',
    'arrayFold',
  ])('%s may not', (name) => expect(isAllowedFunction(name)).toBe(false));
});

describe('filters', () => {
  const PROJECT = '11111111-1111-4111-8111-111111111111';
  const relation = (name: string, engine: string, hasProjectId: boolean) => ({
    database: 'analytics',
    name,
    engine,
    hasProjectId,
    hasExpiry: name === 'events_raw_v1',
    isReadable: name.startsWith('event'),
  });

  test('let through the project’s rows that have not expired, and nothing of what has no owner', () => {
    expect(
      filtersFor(PROJECT, [
        relation('events_raw_v1', 'ReplicatedReplacingMergeTree', true),
        relation('event_counts_hourly', 'AggregatingMergeTree', true),
        relation('letters', 'Log', false),
        relation('a_mv', 'MaterializedView', true),
        relation('events', 'View', true),
        relation('somebodys_view', 'View', true),
      ]),
    ).toEqual({
      'analytics.events_raw_v1': `project_id = toUUID('${PROJECT}') AND expires_at > now()`,
      'analytics.event_counts_hourly': `project_id = toUUID('${PROJECT}')`,
      'analytics.letters': '0',
      'analytics.a_mv': '0',
      'analytics.somebodys_view': '0',
    });
  });

  test('leave one person’s events and links of the project where they are enough, whatever the ids are', () => {
    const person = { id: 'ada', anonymousIds: ["o'n", '\\'] };
    const tables = [
      relation('events_raw_v1', 'ReplacingMergeTree', true),
      relation('identity_links', 'AggregatingMergeTree', true),
      relation('event_copies', 'ReplacingMergeTree', true),
    ];
    const owned = `project_id = toUUID('${PROJECT}')`;
    const ids = String.raw`anonymous_id IN ('ada', 'o\'n', '\\')`;
    expect(filtersFor(PROJECT, tables, { person })).toEqual({
      'analytics.events_raw_v1': `${owned} AND expires_at > now() AND (user_id = 'ada' OR ${ids})`,
      'analytics.identity_links': `${owned} AND ${ids}`,
      'analytics.event_copies': owned,
    });
  });

  test.each(["x' OR 1", '', `${PROJECT}\n`, PROJECT.replace('1', 'A')])('are not made for %j', (projectId) => {
    expect(() => filtersFor(projectId, [])).toThrow(/UUID/);
  });
});
