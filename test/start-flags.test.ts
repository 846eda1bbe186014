/** Every documented way to start Weir says how much garbage may wait: V8's own measure is too much of one kind and too little of the other. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { NODE_FLAGS } from './support/weir.ts';

const FLAGS = ['--max-semi-space-size=16', '--heap-growing-percent=100'];

const read = (path: string) => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8');

test.each([
  ['package.json', /"start": "(node .* serve)"/],
  ['package.json', /"weir": "(node .*)"/],
  ['src/main.ts', /^#!(.*)/],
  ['Dockerfile', /^ENTRYPOINT \[(.*)\]/m],
  ['README.md', /(node \S.* serve)$/m],
])('%s: %s', (path, pattern) => {
  const [, command] = pattern.exec(read(path)) ?? [];
  for (const flag of FLAGS) expect(command).toContain(flag);
});

test('the tests start it in the same way', () => {
  expect(NODE_FLAGS).toEqual(FLAGS);
});
