/** What the page of the console is made of: small, safe under its policy, and text wherever it shows what others wrote. */
import { globSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';

const MAX_BYTES = 120_000;
const BUILT = 'dist/console';
const built = globSync(`${BUILT}/**/*.*`).map((path) => ({ path, bytes: readFileSync(path) }));
const sources = globSync('src/console/page/**/*.{ts,tsx,html,css}').map((path) => ({
  path,
  text: readFileSync(path, 'utf8'),
}));

test('is at most 120 kB, compressed, with everything', () => {
  const sizes = built.filter(({ path }) => path.endsWith('.br')).map(({ bytes }) => bytes.length);
  expect(sizes.length).toBeGreaterThan(2);
  expect(sizes.reduce((sum, size) => sum + size, 0)).toBeLessThan(MAX_BYTES);
});

test('has a hash in the name of every file but the page itself', () => {
  const named = built.map(({ path }) => path.slice(BUILT.length + 1)).filter((path) => path.startsWith('assets/'));
  expect(named.length).toBeGreaterThan(1);
  for (const path of named) expect(path).toMatch(/-[\w-]{8}\.(js|css)(\.br)?$/);
});

test('needs nothing that its policy forbids: no script or style in the page, nothing from elsewhere', () => {
  const page = readFileSync(`${BUILT}/index.html`, 'utf8');
  expect(page).not.toMatch(/<style|\sstyle=|\son\w+=|javascript:/i);
  for (const [, attributes, content] of page.matchAll(/<script([^>]*)>([^<]*)/g)) {
    expect(attributes).toMatch(/src="\/assets\//);
    expect(content).toBe('');
  }
  for (const [, address] of page.matchAll(/(?:src|href)="([^"]*)"/g))
    expect(address).toMatch(/^(\/assets\/|data:image)/);
});

describe.each(sources)('$path', ({ path, text }) => {
  test('shows what others wrote as text and nothing else', () => {
    expect(text).not.toMatch(/dangerouslySetInnerHTML|innerHTML|outerHTML|insertAdjacentHTML|document\.write|srcdoc/);
    expect(text).not.toMatch(/\beval\(|new Function\(/);
  });

  test('takes nothing from elsewhere', () => {
    expect(text.replaceAll('http://www.w3.org/2000/svg', '')).not.toMatch(/(src|href|url\()["'=(]*(https?:)?\/\//);
  });

  test('takes types alone from the parts of Weir that are no page', () => {
    const foreign = [...text.matchAll(/^import (type )?[^;]*'((?:\.\.\/)+(?:session|operator|watch)\/[^']+)'/gm)];
    expect(foreign.filter(([, type]) => type === undefined).map(([, , target]) => `${path}: ${target}`)).toEqual([]);
  });
});
