import { Hono } from 'hono';
import { describe, expect, test } from 'vitest';
import type { ConsoleEnv } from '../src/console/env.ts';
import { type ConsoleAddress, knownHost, originsOf, ownPage } from '../src/console/session/own-page.ts';

const LOCAL: ConsoleAddress = { host: '127.0.0.1', port: 8081, publicOrigin: null };
const BEHIND_PROXY: ConsoleAddress = { host: '0.0.0.0', port: 8081, publicOrigin: 'https://weir.example.com' };

function appAt(address: ConsoleAddress) {
  const app = new Hono<ConsoleEnv>();
  app.use(knownHost(address), ownPage(address));
  app.all('/', (c) => c.json({ isServed: true }));
  return async (method: string, headers: Record<string, string>) =>
    (await app.request('http://localhost/', { method, headers })).status;
}

describe('the names of a console', () => {
  const ask = appAt(LOCAL);

  test.each(['127.0.0.1:8081', 'localhost:8081', 'LOCALHOST:8081', '[::1]:8081'])('include %s', async (host) => {
    expect(await ask('GET', { Host: host })).toBe(200);
  });

  test.each([
    'evil.example:8081',
    'evil.example',
    '127.0.0.1',
    '127.0.0.1:8080',
    '127.0.0.1.evil.example:8081',
    'localhost.evil.example:8081',
    'localhost.:8081',
    'evil.example@127.0.0.1:8081',
    '127.0.0.1:8081@evil.example',
    '127.1:8081',
    '2130706433:8081',
    '0x7f000001:8081',
    '0.0.0.0:8081',
    '[::ffff:127.0.0.1]:8081',
    '127.0.0.1:8081, evil.example',
    'localhost:8081/..',
    '',
  ])('do not include %j', async (host) => {
    expect(await ask('GET', { Host: host })).toBe(421);
  });

  test('do not include none', async () => {
    expect(await ask('GET', {})).toBe(421);
  });

  test('are the public one, too, behind a proxy, whose port is that of its scheme', async () => {
    const behind = appAt(BEHIND_PROXY);
    expect(await behind('GET', { Host: 'weir.example.com' })).toBe(200);
    expect(await behind('GET', { Host: 'weir.example.com:8081' })).toBe(421);
    expect(await behind('GET', { Host: '0.0.0.0:8081' })).toBe(421);
    expect(originsOf(BEHIND_PROXY)[0]).toBe('https://weir.example.com');
  });

  test('have no port where it is the one of http', () => {
    expect(originsOf({ ...LOCAL, port: 80 })).toContain('http://localhost');
  });
});

describe('a change', () => {
  const ask = appAt(LOCAL);
  const Host = '127.0.0.1:8081';

  test.each(['http://127.0.0.1:8081', 'http://localhost:8081'])('from %s is served', async (origin) => {
    expect(await ask('POST', { Host, Origin: origin })).toBe(200);
  });

  test.each([
    'http://evil.example',
    'null',
    'https://127.0.0.1:8081',
    'http://127.0.0.1:8080',
    'http://127.0.0.1:8081.evil.example',
    'http://127.0.0.1:8081/',
    'http://127.0.0.1:8081 http://evil.example',
    'file://',
    '',
  ])('from %j is refused', async (origin) => {
    for (const method of ['POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS']) {
      expect(await ask(method, { Host, Origin: origin })).toBe(403);
    }
  });

  test('from nowhere is refused, whatever its Referer says', async () => {
    expect(await ask('POST', { Host })).toBe(403);
    expect(await ask('POST', { Host, Referer: 'http://127.0.0.1:8081/' })).toBe(403);
  });

  test.each(['cross-site', 'same-site', 'anything'])('is refused where the browser calls it %s', async (site) => {
    expect(await ask('POST', { Host, Origin: 'http://127.0.0.1:8081', 'Sec-Fetch-Site': site })).toBe(403);
  });
});

describe('reading', () => {
  const ask = appAt(LOCAL);
  const Host = '127.0.0.1:8081';

  test('is served without an Origin, as browsers read their own page', async () => {
    expect(await ask('GET', { Host })).toBe(200);
    expect(await ask('GET', { Host, 'Sec-Fetch-Site': 'same-origin' })).toBe(200);
    expect(await ask('GET', { Host, 'Sec-Fetch-Site': 'none' })).toBe(200);
  });

  test('by the page of another site is refused', async () => {
    expect(await ask('GET', { Host, Origin: 'http://evil.example' })).toBe(403);
    expect(await ask('GET', { Host, 'Sec-Fetch-Site': 'cross-site' })).toBe(403);
    expect(await ask('HEAD', { Host, 'Sec-Fetch-Site': 'same-site' })).toBe(403);
  });
});
