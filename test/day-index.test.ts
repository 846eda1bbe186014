import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { DAY_EXPRESSION, DAY_INDEX, otherIndexes } from '../src/clickhouse/reading/day-index.ts';
import { treeProblem } from '../src/clickhouse/reading/query-guard.ts';
import { SETTING_NAMES, knowsOneIndex, readSettings } from '../src/clickhouse/reading/reader-settings.ts';
import { filtersFor } from '../src/clickhouse/reading/reader-tables.ts';
import { treeOf } from '../src/clickhouse/reading/query-tree.ts';

const OURS = `${DAY_INDEX} ${DAY_EXPRESSION}`;
const PROJECT = '01890000-0000-7000-8000-000000000001';

describe('all other indexes are ignored:', () => {
  test('those of the table, and those that a setting of the server may have added', () => {
    const indexes = ['event_id_bloom event_id', OURS, 'of_operator lower(source)'];
    expect(otherIndexes({ indexes, columns: ['event', 'properties.plan'] })).toBe(
      'event_id_bloom,of_operator,auto_minmax_index_event,`auto_minmax_index_properties.plan`',
    );
  });

  test.each([
    ['there is no index of days', { indexes: ['event_id_bloom event_id'], columns: [] }],
    ['it is about something else', { indexes: [`${DAY_INDEX} toDate(timestamp)`], columns: [] }],
    ['a name may not be what it looks like', { indexes: [OURS, '`a, b` event'], columns: [] }],
    [
      'they are too many for an address',
      { indexes: [OURS], columns: Array.from({ length: 90 }, (_, n) => `column_${n}`) },
    ],
  ])('none is used where %s', (_why, found) => {
    expect(otherIndexes(found)).toBeNull();
  });

  test('the migration makes the index that is looked for', () => {
    const text = readFileSync(new URL('../clickhouse-migrations/0014_days_of_granules.sql', import.meta.url), 'utf8');
    expect(text).toContain(`ADD INDEX IF NOT EXISTS ${OURS} TYPE set(`);
  });
});

test('no query can name what the index is about', () => {
  const lines = [
    'SelectWithUnionQuery (children 2)',
    ' ExpressionList (children 1)',
    '  SelectQuery (children 1)',
    '   ExpressionList (children 1)',
    `    Function ${DAY_EXPRESSION.split('(')[0]} (children 1)`,
    '     ExpressionList (children 1)',
    '      Literal UInt64_1',
    ' Identifier JSON',
  ];
  const names = {
    readable: new Set<string>(),
    hidden: new Set<string>(),
    filtered: new Set<string>(),
    databases: new Set<string>(),
  };
  expect(treeProblem(treeOf(lines)!, { names, format: 'JSON' })).toMatch(/not available/);
});

describe('the settings of a query', () => {
  test('use an index only where the rows are filtered by their days', () => {
    expect(readSettings({}, SETTING_NAMES)).toMatchObject({ use_skip_indexes: 0, use_skip_indexes_if_final: 0 });
    expect(readSettings({}, SETTING_NAMES, 'a,b')).toMatchObject({
      use_skip_indexes: 1,
      use_skip_indexes_if_final: 1,
      use_skip_indexes_if_final_exact_mode: 0,
      ignore_data_skipping_indices: 'a,b',
      use_partition_pruning: 0,
      use_statistics: 0,
    });
  });

  test('need a ClickHouse that can leave the others out', () => {
    expect(knowsOneIndex(SETTING_NAMES)).toBe(true);
    expect(knowsOneIndex(SETTING_NAMES.filter((name) => name !== 'ignore_data_skipping_indices'))).toBe(false);
  });

  test('filter the events, and no other table, by their days', () => {
    const table = {
      database: 'analytics',
      engine: 'MergeTree',
      hasProjectId: true,
      hasExpiry: false,
      isReadable: true,
    };
    const relations = ['events_raw_v1', 'event_counts_hourly'].map((name) => ({ ...table, name }));
    const ofProject = `project_id = toUUID('${PROJECT}')`;
    expect(filtersFor(PROJECT, relations, { days: { from: 740_111, to: 740_112 } })).toEqual({
      'analytics.events_raw_v1': `${ofProject} AND ${DAY_EXPRESSION} >= 740111 AND ${DAY_EXPRESSION} <= 740112`,
      'analytics.event_counts_hourly': ofProject,
    });
    expect(filtersFor(PROJECT, relations, { days: { from: null, to: 740_112 } })).toMatchObject({
      'analytics.events_raw_v1': `${ofProject} AND ${DAY_EXPRESSION} <= 740112`,
    });
  });
});
