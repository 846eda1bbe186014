import { describe, expect, test } from 'vitest';
import { isOriginOf, isOriginPattern } from '../src/net/origins.ts';
import { parseConfig } from '../src/config/config.ts';

const GOOD = [
  'https://app.example.com',
  'http://localhost:3000',
  'http://127.0.0.1:8080',
  'http://[::1]:3000',
  'https://xn--shp-sna.example',
  'https://*.example.com',
  'https://*.a.example.co.uk:8443',
  'http://*.localhost:3000',
  'capacitor://localhost',
  'ionic://localhost',
  'tauri://localhost',
  'app://-',
  'chrome-extension://aapbdbdomjkkjkaonfhkkikfgjllcleb',
  'moz-extension://2b4c1c1e-7b9a-4c55-8d1c-0a1b2c3d4e5f',
  'safari-web-extension://E1B1C1D1-0000-4000-8000-000000000000',
];

/** Taken, none of these would ever match what a browser sends. */
const BAD = [
  '*',
  'https://*',
  'https://*.com',
  'https://*.',
  'https://*.*.example.com',
  'https://app.*.example.com',
  'https://*app.example.com',
  'https://app.example.com:*',
  'https://*.Example.com',
  'https://*.example.com/',
  '*.example.com',
  'app.example.com',
  'https://App.example.com',
  'https://app.example.com/',
  'https://app.example.com/path',
  'https://app.example.com:443',
  'https://user@app.example.com',
  'capacitor://',
  'capacitor://localhost/',
  'capacitor://*.localhost',
  'file://',
  'file://localhost',
  'null',
  'javascript://x',
  'https://shöp.example',
  `https://*.${'a'.repeat(400)}.example`,
  '',
];

describe('what may be listed', () => {
  test.each(GOOD)('%s', (pattern) => {
    expect(isOriginPattern(pattern)).toBe(true);
    expect(parseConfig({ ALLOWED_ORIGINS: pattern }, () => '').allowedOrigins).toEqual([pattern]);
  });
});

describe('what is refused when it is set, with words that help', () => {
  test.each(BAD)('%s', (pattern) => {
    expect(isOriginPattern(pattern)).toBe(false);
    if (pattern !== '')
      expect(() => parseConfig({ ALLOWED_ORIGINS: pattern }, () => '')).toThrow(/https:\/\/\*\.example\.com/);
  });
});

test('an exact one means itself alone', () => {
  for (const pattern of GOOD.filter((good) => !good.includes('*'))) {
    expect(isOriginOf(pattern, [pattern])).toBe(true);
    for (const other of [`${pattern}:1`, `${pattern}.evil.example`, `x${pattern}`, pattern.slice(0, -1), 'null']) {
      expect(isOriginOf(other, [pattern]), other).toBe(false);
    }
  }
});

test.each([
  ['https://*.example.com', 'https://a.example.com', true],
  ['https://*.example.com', 'https://a.b-c.example.com', true],
  ['https://*.example.com:8443', 'https://a.example.com:8443', true],
  ['https://*.example.com', 'https://a.example.com:8443', false],
  ['https://*.example.com:8443', 'https://a.example.com', false],
  ['https://*.example.com', 'http://a.example.com', false],
  ['https://*.example.com', 'https://example.com', false],
  ['https://*.example.com', 'https://.example.com', false],
  ['https://*.example.com', 'https://a..example.com', false],
  ['https://*.example.com', 'https://aexample.com', false],
  ['https://*.example.com', 'https://a.example.com.evil.example', false],
  ['https://*.example.com', 'https://evil.example/.example.com', false],
  ['https://*.example.com', 'https://evil.example:80.example.com', false],
  ['https://*.example.com', 'https://evil@x.example.com', false],
  ['https://*.example.com', 'https://evil.example?.example.com', false],
  ['https://*.example.com', 'https://evil.example#.example.com', false],
  ['https://*.example.com', 'https://*.example.com', true],
  ['http://*.localhost:3000', 'http://shop.localhost:3000', true],
])('%s and %s: %s', (pattern, origin, expected) => {
  // The pattern itself is no origin that a browser could send; that it equals itself harms nobody.
  expect(isOriginOf(origin, ['https://other.example', pattern])).toBe(expected);
});

test('a long origin is not looked at for long', () => {
  const origin = `https://${'a.'.repeat(50_000)}b-`;
  expect(isOriginOf(`${origin}.example.com`, ['https://*.example.com'])).toBe(false);
});
