/** Every documented way to start Weir bounds V8's young generation: on large machines it would otherwise be 128 MiB of garbage. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { NODE_FLAGS } from './support/weir.ts';

const read = (path: string) => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8');

test.each([
  ['package.json', /"start": "(node .* serve)"/],
  ['package.json', /"weir": "(node .*)"/],
  ['src/main.ts', /^#!(.*)/],
  ['Dockerfile', /^ENTRYPOINT \[(.*)\]/m],
  ['README.md', /(node \S.* serve)$/m],
])('%s: %s', (path, pattern) => {
  const [, command] = pattern.exec(read(path)) ?? [];
  expect(command).toContain('--max-semi-space-size=16');
});

test('the tests start it in the same way', () => {
  expect(NODE_FLAGS).toEqual(['--max-semi-space-size=16']);
});
