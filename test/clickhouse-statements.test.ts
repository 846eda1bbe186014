import { describe, expect, test } from 'vitest';
import { readMigrations } from '../src/clickhouse/migrations/migrate.ts';
import { splitStatements } from '../src/clickhouse/migrations/statements.ts';

describe('splitting a file of SQL', () => {
  test.each([
    ['nothing', '', []],
    ['only comments and semicolons', '-- a;\n/* b; */ ; ;', []],
    ['two statements', 'SELECT 1; SELECT 2;\n', ['SELECT 1', 'SELECT 2']],
    ['a last one without semicolon', 'SELECT 1; SELECT 2', ['SELECT 1', 'SELECT 2']],
    [
      'a semicolon in a string',
      "SELECT ';', 'it''s; \\'; ', 2; SELECT 3",
      ["SELECT ';', 'it''s; \\'; ', 2", 'SELECT 3'],
    ],
    ['a semicolon in a name', 'SELECT `a;b`, "c;d"; SELECT 3', ['SELECT `a;b`, "c;d"', 'SELECT 3']],
    ['a quote in a comment', "SELECT 1 -- don't; stop\n; SELECT 2", ["SELECT 1 -- don't; stop", 'SELECT 2']],
    ['comment marks in a string', "SELECT '--'; SELECT '/*'; SELECT 3", ["SELECT '--'", "SELECT '/*'", 'SELECT 3']],
    ['a heading', '-- why;\n\nSELECT 1', ['SELECT 1']],
  ])('%s', (_name, text, statements) => {
    expect(splitStatements(text)).toEqual(statements);
  });

  test('every statement of the migrations may be repeated', () => {
    const statements = readMigrations().flatMap(({ text }) => splitStatements(text));
    expect(statements.length).toBeGreaterThan(8);
    // A bitmap holds a user once, however often it is told.
    const repeatable =
      /^(CREATE (OR REPLACE|\w+( VIEW)? IF NOT EXISTS)|INSERT INTO event_users\n|ALTER TABLE \w+\s+(ADD (?:COLUMN|INDEX) IF NOT EXISTS|MODIFY COLUMN|MATERIALIZE (?:COLUMN|INDEX)|MODIFY COMMENT) |ALTER TABLE \w+_mv MODIFY QUERY\n)/;
    for (const statement of statements) expect(statement).toMatch(repeatable);
  });
});
