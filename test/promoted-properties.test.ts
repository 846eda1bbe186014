import { describe, expect, test } from 'vitest';
import { readMigrations } from '../src/clickhouse/migrations/migrate.ts';
import {
  MAX_PROMOTED,
  PROMOTED_COMMENT,
  type PromotedProperty,
  changesTo,
  columnsFor,
  foundIn,
  nameProblem,
  shellWord,
} from '../src/clickhouse/migrations/promoted-properties.ts';
import { propertyViewsOf, withProperties } from '../src/clickhouse/migrations/property-views.ts';
import { splitStatements } from '../src/clickhouse/migrations/statements.ts';

const PLAN: PromotedProperty = { name: 'plan', type: 'String' };
const AMOUNT: PromotedProperty = { name: 'amount', type: 'Float64' };

/** As `system.columns` has them after `changesTo`. */
const storedOf = (properties: readonly PromotedProperty[]) =>
  columnsFor(properties).map(({ column: name, type, expression }) => ({
    name,
    type,
    expression,
    kind: 'MATERIALIZED',
    comment: PROMOTED_COMMENT,
  }));

describe('a name', () => {
  test.each([
    'plan',
    '$browser',
    'page.url',
    'http.request.method',
    "it's",
    'a `b` "c" \\d',
    '日本語',
    'Plan',
    '1',
    'size.x',
  ])('%s can be promoted', (name) => {
    expect(nameProblem(name)).toBeNull();
  });
  test.each([
    ['', /empty/],
    ['a..b', /empty/],
    ['.a', /empty/],
    ['a.', /empty/],
    ['a\nb', /control/],
    ['a\u202eb', /control/],
    ['\ud800', /control/],
    ['a'.repeat(101), /100 bytes/],
    ['é'.repeat(51), /100 bytes/],
    ['_id', /underscore/],
    ['a._b', /underscore/],
    ['size', /meaning of its own/],
    ['plan.size', /meaning of its own/],
    ['plan.null', /meaning of its own/],
    ['Prewhere', /refuses/],
    ['a (alias b', /refuses/],
  ])('%j cannot, and it is said why', (name, why) => {
    expect(nameProblem(name)).toMatch(why);
  });
  test.each([
    ['page.url', 'page.url'],
    ['$browser', "'$browser'"],
    ["it's", String.raw`'it'\''s'`],
    ['-x', "'-x'"],
  ])('%s is the word %s of a command line', (name, word) => {
    expect(shellWord(name)).toBe(word);
  });
});

describe('the columns', () => {
  test('parse the document once, for all of them and in an order that does not depend on theirs', () => {
    const all = "JSONExtract(properties, 'Tuple(`amount` Nullable(Float64), `plan` Nullable(String))')";
    const columns = [
      {
        column: 'properties.amount',
        type: 'Nullable(Float64)',
        expression: `tupleElement(${all}, 'amount')`,
      },
      { column: 'properties.plan', type: 'Nullable(String)', expression: `tupleElement(${all}, 'plan')` },
    ];
    expect(columnsFor([PLAN, AMOUNT])).toEqual(columns);
    expect(columnsFor([AMOUNT, PLAN])).toEqual(columns);
  });

  test('of the most there may be fit into a statement, with the longest names', () => {
    const properties = Array.from({ length: MAX_PROMOTED }, (_, n) => ({
      name: `${"a'`\\.".repeat(19)}${n}`,
      type: 'DateTime64' as const,
    }));
    // `max_query_size`
    expect(changesTo([], properties)!.length).toBeLessThan(262_144);
  });

  test('are told apart by whose they are', () => {
    const [plan, amount] = storedOf([PLAN, AMOUNT]).toReversed();
    expect(foundIn([plan!, amount!])).toEqual({ promoted: [PLAN, AMOUNT], altered: [], foreign: [] });
    const changed = { ...plan!, expression: "'x'" };
    expect(foundIn([changed, amount!])).toEqual({ promoted: [PLAN, AMOUNT], altered: ['plan'], foreign: [] });
    const asDefault = { ...plan!, kind: 'DEFAULT' };
    expect(foundIn([asDefault, amount!])).toMatchObject({ altered: ['plan'] });
    const [alone] = storedOf([AMOUNT]);
    const others = [{ ...plan!, comment: '' }, { ...plan!, name: 'properties.size', type: 'UInt64' }, alone!];
    expect(foundIn(others)).toEqual({
      promoted: [AMOUNT],
      altered: [],
      foreign: ['properties.plan', 'properties.size'],
    });
    expect(foundIn([{ ...plan!, name: 'properties' }])).toEqual({ promoted: [], altered: [], foreign: [] });
  });

  test('change as little as has to, and nothing twice', () => {
    const both = storedOf([PLAN, AMOUNT]);
    expect(changesTo(both, [AMOUNT, PLAN])).toBeNull();
    expect(changesTo([], [])).toBeNull();
    expect(changesTo(storedOf([PLAN]), [PLAN, AMOUNT])).toMatch(
      /^ADD COLUMN `properties\.amount` .* AFTER properties, MODIFY COLUMN `properties\.plan` [^,]+, /,
    );
    expect(changesTo(both, [PLAN])).toMatch(/^DROP COLUMN `properties\.amount`, MODIFY COLUMN `properties\.plan` /);
    expect(changesTo(both, [])).toBe('DROP COLUMN `properties.amount`, DROP COLUMN `properties.plan`');
  });
});

describe('the views', () => {
  const statements = readMigrations().flatMap(({ text }) => splitStatements(text));
  const creating = (view: string) =>
    statements.filter((statement) => statement.startsWith(`CREATE OR REPLACE VIEW ${view} AS`));

  test('that show properties are these; another one needs its place in OPERATIONS and QUERIES', () => {
    const views = propertyViewsOf(readMigrations()).map(({ view, as }): [string, string] => [view, as]);
    expect(new Map(views)).toEqual(
      new Map([
        ['events', 'properties'],
        ['monitor.events', 'data'],
      ]),
    );
  });

  // A migration that writes them in another way has to teach `withProperties`.
  test.each(['events', 'monitor.events'])(
    '%s: whatever migration creates it, the promoted properties fit in',
    (view) => {
      expect(creating(view).length).toBeGreaterThan(1);
      for (const create of creating(view)) {
        const as = propertyViewsOf([{ name: 'x', text: create }])[0]!.as;
        const added = withProperties(create, ['plan', "it's"]);
        expect(added).toMatch(
          new RegExp(`properties AS ${as},\n +(e\\.)?\`properties\\.plan\` AS \`${as}\\.plan\`,\n`),
        );
        expect(withProperties(create, [])).toBe(create);
        // Where rows are sorted first, they have to bring the columns along.
        for (const inner of create.match(/session_id, properties, [^\n]*/g) ?? []) {
          expect(added).toContain(inner.replace('properties,', "properties, `properties.plan`, `properties.it's`,"));
        }
      }
    },
  );

  test('are all that is changed', () => {
    for (const statement of statements.filter((one) => !/^CREATE OR REPLACE VIEW (?:monitor\.)?events /.test(one))) {
      expect(withProperties(statement, ['plan'])).toBe(statement);
    }
  });

  test('of these, the last statement counts', () => {
    const old = 'CREATE OR REPLACE VIEW events AS (\n  SELECT\n    properties AS properties\n  FROM old)';
    const young = old.replace('old', 'young');
    const migrations = [
      { name: '1', text: old },
      { name: '2', text: `SELECT 1; ${young}; CREATE OR REPLACE VIEW persons AS (SELECT 1)` },
    ];
    expect(propertyViewsOf(migrations)).toEqual([{ view: 'events', as: 'properties', create: young }]);
  });
});
