/** Everything that health can complain of has its words and its remedy in the console. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { explained } from '../src/console/watch/reasons.ts';

const read = (path: string) => readFileSync(path, 'utf8');
const operations = read('docs/OPERATIONS.md');

/** The reasons in the table of states, as they might be said. */
function documented(): string[] {
  const [, states = ''] = operations.split('## States');
  const rows = states
    .split('\n## ')[0]!
    .split('\n')
    .filter((line) => line.startsWith('| '));
  const texts = rows.flatMap((row) => [...row.split(' | ')[0]!.matchAll(/`([^`]+)`/g)].map(([, text]) => text!));
  return texts
    .filter((text) => text.includes(' ') && !text.startsWith('…'))
    .map((text) => text.replaceAll(/\bN\b/g, '7').replaceAll('…', 'x'));
}

/** The sentences in the code that makes them, up to their first value. */
function written(): string[] {
  const pushed = ['src/http/health/health.ts', 'src/http/health/stalls.ts'].flatMap((file) =>
    [...read(file).matchAll(/reasons\.push\(\s*(?:`|')((?:[^`'\\])*)/g)].map(([, text]) => text!),
  );
  const workers = [...read('src/workers/aggregated-pages.ts').matchAll(/return \[`([^`]+)`\]/g)].map(
    ([, text]) => text!,
  );
  return [...pushed, ...workers]
    .map((text) => text.replace('${eventStore}', 'ClickHouse').replaceAll(/\$\{[^}]*\}/g, '7'))
    .filter((text) => /[a-z] [a-z]/.test(text));
}

test('there are reasons to look at', () => {
  expect(documented().length).toBeGreaterThan(35);
  expect(written().length).toBeGreaterThan(20);
});

test.each([...new Set([...documented(), ...written()])])('"%s" is explained', (said) => {
  expect(explained(said)).toMatchObject({ said, code: expect.not.stringMatching(/^other$/) as string });
});

test('a difference of a table is explained, whatever it names', () => {
  expect(explained('events_raw_v1: has no column x; run: ALTER TABLE analytics.events_raw_v1 ADD COLUMN x').code).toBe(
    'schema_drift',
  );
});

test('what nobody foresaw is shown as it is', () => {
  expect(explained('something new')).toMatchObject({ code: 'other', said: 'something new' });
});

test('links lead to headings of OPERATIONS.md', () => {
  const headings = [...operations.matchAll(/^#+ (.+)$/gm)].map(([, text]) =>
    text!
      .toLowerCase()
      .replaceAll(/[^a-z0-9 -]/g, '')
      .replaceAll(' ', '-'),
  );
  const anchors = new Set(
    [...read('src/console/watch/reasons.ts').matchAll(/anchor: '([^']+)'/g)].map(([, name]) => name),
  );
  for (const anchor of [...anchors, explained('something').anchor]) expect(headings).toContain(anchor);
});
