/** Holds docs/INVARIANTS.md against the tests it names: a promise without its test is no promise. */
import { existsSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

const text = readFileSync('docs/INVARIANTS.md', 'utf8');
const rows = text.split('\n').filter((line) => /^\| I\d+ /.test(line));

test('every invariant is there, each with a test', () => {
  expect(rows.map((row) => /^\| (I\d+) /.exec(row)?.[1])).toEqual(Array.from({ length: 49 }, (_, i) => `I${i + 1}`));
  for (const row of rows) expect(row, row).toMatch(/`test\//);
});

test.each([...text.matchAll(/`(test\/[\w/.-]+)`(?: › "((?:[^"\\]|\\.)+)")?/g)].map(([, file, name]) => [file!, name]))(
  '%s has the test %j',
  (file, name) => {
    expect(existsSync(file)).toBe(true);
    if (name !== undefined) expect(readFileSync(file, 'utf8')).toContain(name.replaceAll('\\"', '"'));
  },
);
