/** What is stored of a client besides what it sends: nothing, unless the operator wants it. */
import { afterAll, describe, expect, test } from 'vitest';
import { anonymised, readAddress, type ClientFactsOptions } from '../src/http/ingest/client-facts.ts';
import { send } from './support/recorded.ts';
import { serveApp, type ServedApp, TOKEN } from './support/served-app.ts';

test.each([
  ['192.0.2.17', '192.0.2.17'],
  [' 192.0.2.17:8080 ', '192.0.2.17'],
  ['::ffff:192.0.2.17', '192.0.2.17'],
  ['2001:DB8::1', '2001:db8::1'],
  ['[2001:db8::1]:443', '2001:db8::1'],
  ['[2001:db8::1]', '2001:db8::1'],
  ['unknown', null],
  ['', null],
  ['192.0.2', null],
])('%j is read as %j', (text, address) => expect(readAddress(text)).toBe(address));

test.each([
  ['192.0.2.17', '192.0.2.0'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1::'],
  ['2001:db8::1', '2001:db8:0::'],
  ['::1', '0:0:0::'],
  ['fe80::1%eth0', 'fe80:0:0::'],
])('%s is anonymised to %s', (address, network) => expect(anonymised(address)).toBe(network));

const FULL: ClientFactsOptions = { ip: 'full', userAgent: true, trustedProxies: 1 };
const off = await serveApp();
const full = await serveApp({ client: FULL });
const less = await serveApp({ client: { ip: 'anonymised', userAgent: false, trustedProxies: 2 } });
afterAll(async () => {
  for (const { server } of [off, full, less]) await server.close();
});

const BROWSER = {
  origin: 'https://shop.example',
  'user-agent': 'Browser/1.0',
  'x-forwarded-for': '198.51.100.7, 192.0.2.17',
};

async function extrasOf(
  served: ServedApp,
  event: object = {},
  { headers = BROWSER, path = '/v1/track' }: { headers?: Record<string, string>; path?: string } = {},
) {
  const body = JSON.stringify({ event: 'E', distinct_id: 'd', ...event });
  const auth = { authorization: `Bearer ${TOKEN}` };
  expect(await send(served.port, { method: 'POST', path, headers: { ...auth, ...headers }, body })).toMatchObject({
    status: 200,
  });
  const [row] = await served.taken();
  return row!.extras;
}

describe('the address', () => {
  test('is not stored by default', async () => {
    const extras = await extrasOf(off);
    expect(extras).not.toHaveProperty('$ip');
    expect(extras).not.toHaveProperty('$user_agent');
  });

  test('is the one that the outermost trusted proxy saw, else the peer’s', async () => {
    expect(await extrasOf(full)).toMatchObject({ $ip: '192.0.2.17' });
    expect(await extrasOf(less)).toMatchObject({ $ip: '198.51.100.0' });
    expect(await extrasOf(less, {}, { headers: { 'x-forwarded-for': '192.0.2.17' } })).toMatchObject({
      $ip: '127.0.0.0',
    });
    expect(await extrasOf(full, {}, { headers: {} })).toMatchObject({ $ip: '127.0.0.1' });
    expect(await extrasOf(full, {}, { headers: { 'x-forwarded-for': 'unknown' } })).not.toHaveProperty('$ip');
  });

  test.each([
    [{ context: { ip: '203.0.113.1' } }, '/v1/track'],
    [{ $ip: '203.0.113.1' }, '/e'],
    [{ ip: '203.0.113.1' }, '/v1/track'],
    [{ properties: { $ip: '203.0.113.1' } }, '/e'],
    [{ properties: { $geoip_disable: true } }, '/e'],
    [{}, '/e?ip=0'],
  ])('is not stored for %j at %s', async (event, path) => {
    expect((await extrasOf(full, event, { path }))['$ip']).toBe('$ip' in event ? event.$ip : undefined);
  });

  test.each([
    ['/track', 'ip=0', undefined],
    ['/track', 'ip=1', '192.0.2.17'],
    ['/track?ip=1', 'ip=0', '192.0.2.17'],
    ['/track?ip=0', 'ip=1', undefined],
  ])('of a form at %s that says %s is %s', async (path, parameter, address) => {
    const data = JSON.stringify({ event: 'E', properties: { token: TOKEN, distinct_id: 'd' } });
    const body = `data=${encodeURIComponent(data)}&${parameter}`;
    const headers = { ...BROWSER, 'content-type': 'application/x-www-form-urlencoded' };
    await send(full.port, { method: 'POST', path, headers, body });
    expect((await full.taken())[0]?.extras['$ip']).toBe(address);
  });

  test('is stored where a client leaves it to the server', async () => {
    expect(await extrasOf(full, { ip: '$remote' })).toMatchObject({ ip: '$remote', $ip: '192.0.2.17' });
  });
});

describe('the user agent', () => {
  test('is stored of pages, and not of servers', async () => {
    expect(await extrasOf(full)).toMatchObject({ $user_agent: 'Browser/1.0' });
    expect(await extrasOf(full, {}, { headers: { 'user-agent': 'node' } })).not.toHaveProperty('$user_agent');
  });

  test('is not stored where the event has one, and is cut', async () => {
    expect(await extrasOf(full, { context: { userAgent: 'own' } })).not.toHaveProperty('$user_agent');
    const long = await extrasOf(full, {}, { headers: { ...BROWSER, 'user-agent': 'x'.repeat(600) } });
    expect(long['$user_agent']).toBe('x'.repeat(512));
  });

  test('is stored of a page that does not say where it is from, where only pages send', async () => {
    const body = JSON.stringify({ n: 'E', d: TOKEN });
    await send(full.port, { method: 'POST', path: '/api/event', headers: { 'user-agent': 'Browser/1.0' }, body });
    expect(await full.taken()).toMatchObject([{ extras: { $user_agent: 'Browser/1.0' } }]);
  });
});

test('neither is in any line of the log', () => {
  const lines = [...full.lines, ...less.lines].join('');
  for (const secret of ['192.0.2.17', '198.51.100', 'Browser/1.0']) expect(lines).not.toContain(secret);
});
