/** Postgres's parser in this process: when it is loaded, what it survives, and what the guard reads from its trees. */
import { createRequire } from 'node:module';
import { describe, expect, test } from 'vitest';
import { type Tree, asksForPeople, textProblem, treeProblem } from '../src/postgres/reading/query-guard.ts';
import { createQueryParser } from '../src/postgres/reading/query-parser.ts';

const require = createRequire(import.meta.url);
const isLoaded = () => Object.keys(require.cache).some((path) => path.includes('libpg-query'));

const parser = createQueryParser();

test('is loaded with the first question', async () => {
  expect(isLoaded()).toBe(false);
  expect(await parser.parse('SELECT 1')).toHaveProperty('stmts');
  expect(isLoaded()).toBe(true);
});

test('survives whatever is deeper than its stack, as often as it comes', { timeout: 60_000 }, async () => {
  const deep = [`SELECT ${'1+'.repeat(30_000)}1`, `SELECT 1 FROM e${' JOIN e ON true'.repeat(4_000)}`];
  for (let round = 0; round < 120; round++) {
    // How deep that is, is the machine's affair.
    expect(Object.keys(await parser.parse(deep[round % 2]!))).not.toEqual([]);
    expect(treeProblem((await parser.parse('SELECT event FROM events')) as Tree)).toBeNull();
  }
});

test.each([
  ['SELEC 1', 0],
  ['SELECT 1,\n 2 3 from', 13],
  ["SELECT 'é🎉' 'x' y z from", 12],
])('%j: the place of a mistake counts characters', async (sql, position) => {
  expect(await parser.parse(sql)).toMatchObject({ error: { position } });
});

test.each([
  ['SELECT 1', null],
  [`SELECT ${'x'.repeat(60_000)}`, null],
  [`SELECT ${'1+'.repeat(3_990)}1`, null],
  [`SELECT ${'1+'.repeat(4_000)}1`, 'the query has more than 8000 words'],
  [' \n', 'the query is empty'],
  ['SELECT \u0007', 'the query contains control characters'],
])('%.20s…: %s before it is parsed', (sql, problem) => {
  expect(textProblem(sql)).toBe(problem);
});

describe('asks for people:', () => {
  test.each([
    ["SELECT * FROM events WHERE distinct_id = 'a'", true],
    ["SELECT * FROM events e WHERE 'a' = e.distinct_id AND event = 'b'", true],
    ["SELECT * FROM persons WHERE distinct_id IN ('a', 'b')", true],
    ["SELECT * FROM events WHERE distinct_id = ANY (ARRAY['a'])", true],
    ["WITH a AS (SELECT * FROM events WHERE distinct_id = 'a') SELECT count(*) FROM a", true],
    ['SELECT * FROM events a JOIN persons b ON a.distinct_id = b.distinct_id', false],
    ["SELECT * FROM events WHERE distinct_id <> 'a'", false],
    ["SELECT * FROM events WHERE distinct_id LIKE 'a%'", false],
    ["SELECT count(DISTINCT distinct_id) FROM events WHERE user_id = 'a'", false],
    ['SELECT 1', false],
  ])('%s: %s', async (sql, expected) => {
    expect(asksForPeople((await parser.parse(sql)) as Tree)).toBe(expected);
  });
});

describe('a column of what a function in FROM returns:', () => {
  const problemIn = async (question: string) => treeProblem((await parser.parse(`SELECT ${question}`)) as Tree);

  test.each([
    'd.d FROM generate_series(1, 2) AS d',
    'generate_series.generate_series FROM generate_series(1, 2)',
    'd.d FROM ROWS FROM (generate_series(1, 2)) AS d',
    'd.d, d.ordinality FROM unnest(tags) WITH ORDINALITY AS d',
    'd.c, d.ordinality FROM unnest(tags) WITH ORDINALITY AS d (c)',
    'd.unnest, d.generate_series FROM ROWS FROM (unnest(tags), generate_series(1, 2)) AS d',
    'd.a, d.generate_series FROM ROWS FROM (unnest(tags), generate_series(1, 2)) AS d (a)',
    'd.unnest FROM unnest(tags, tags) AS d',
    'd.c FROM lower(event) AS d (c)',
    'd.c FROM coalesce(event) AS d (c)',
    'd.key, d.value FROM json_each(properties) AS d',
    'd.k, d.value FROM json_each(properties) AS d (k)',
    'd.a FROM json_to_record(properties) AS d (a text)',
    'd.a, d.value FROM ROWS FROM (json_to_record(properties) AS (a text), json_array_elements(properties)) AS d',
    // Without the function's name in front it is that column, or the result as a whole.
    'd FROM lower(event) AS d',
  ])('%s', async (question) => {
    expect(await problemIn(question)).toBeNull();
  });

  test.each([
    'd.d FROM unnest(tags) AS d (c)',
    'd.d FROM unnest(tags) WITH ORDINALITY AS d (c)',
    'd.d FROM ROWS FROM (unnest(tags)) AS d (c)',
    'd.d FROM ROWS FROM (unnest(tags), unnest(tags)) AS d',
    'd.d FROM unnest(tags, tags) AS d',
    'd.d FROM json_array_elements_text(properties) AS d',
    'd.d FROM ROWS FROM (json_array_elements_text(properties)) AS d',
    'd.d FROM json_each(properties) AS d',
    'd.d FROM json_to_record(properties) AS d (a text)',
    'd.d FROM lower(event) AS d',
    'd.d FROM lower(event) AS d (c)',
    'd.d FROM coalesce(event) AS d',
    'unnest.unnest FROM unnest(tags) AS unnest (c)',
    'd.value FROM unnest(tags) AS d',
    'd.key FROM json_array_elements(properties) AS d',
    'd.ordinality FROM unnest(tags) AS d',
    'd.ordinality FROM unnest(tags) WITH ORDINALITY AS d (a, b)',
    'd.key FROM json_each(properties) AS d (k)',
    '(SELECT d.d) FROM unnest(tags) AS d (c)',
    '1 FROM unnest(tags) AS d (c) ORDER BY d.d',
    'd.d[1] FROM unnest(tags) AS d (c)',
    'd.d FROM unnest(tags) AS d (c), (SELECT d.d FROM unnest(tags) AS d) AS z',
  ])('%s is refused', async (question) => {
    expect(await problemIn(question)).toMatch(/^there is no column/);
  });
});
