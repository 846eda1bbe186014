import { cpSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { claimOrigin } from '../src/journal/origin.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'weir-origin-'));
});
afterEach(() => {
  for (const made of [dir, `${dir}-copy`, `${dir}-again`, `${dir}-moved`])
    rmSync(made, { recursive: true, force: true });
});

const copied = (from: string, to: string) => {
  cpSync(from, to, { recursive: true, preserveTimestamps: true });
  return to;
};

test('whoever starts again in the same directory has nobody to wait for, also after it was renamed', () => {
  expect(claimOrigin(dir, 'first').others).toEqual([]);
  expect(claimOrigin(dir, 'second').others).toEqual([]);
  renameSync(dir, `${dir}-moved`);
  expect(claimOrigin(`${dir}-moved`, 'third').others).toEqual([]);
});

test('a copy waits for whoever had the original when it was made, also after a start that got no further', () => {
  claimOrigin(dir, 'first');
  claimOrigin(dir, 'second');
  const copy = copied(dir, `${dir}-copy`);
  expect(claimOrigin(copy, 'third').others).toEqual(['second']);
  const fourth = claimOrigin(copy, 'fourth');
  expect(fourth.others).toEqual(['second']);
  const again = copied(copy, `${dir}-again`);
  expect(claimOrigin(again, 'fifth').others).toEqual(['second', 'fourth']);
  fourth.forgetOthers();
  expect(claimOrigin(copy, 'sixth').others).toEqual([]);
  expect(claimOrigin(dir, 'seventh').others).toEqual([]);
});

test.each(['', '{"writer":', '{"writer":"somebody"}', '[]'])(
  'a file that cannot be read (%s) is made anew',
  (content) => {
    writeFileSync(join(dir, 'origin'), content);
    expect(claimOrigin(dir, 'first').others).toEqual([]);
    expect(claimOrigin(copied(dir, `${dir}-copy`), 'second').others).toEqual(['first']);
  },
);

test('a directory that cannot be written keeps nobody from starting', () => {
  expect(claimOrigin(join(dir, 'missing'), 'first').others).toEqual([]);
});
