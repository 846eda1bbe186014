/** What other people’s pages, viewers and strangers try, against every route there is. */
import { Hono } from 'hono';
import { beforeEach, describe, expect, test } from 'vitest';
import type { ConsoleEnv } from '../src/console/env.ts';
import { READING_POSTS, operatorRoutes } from '../src/console/operator/operator-routes.ts';
import { watchRoutes } from '../src/console/watch/watch-routes.ts';
import { createLog } from '../src/log/log.ts';
import { systemClock } from '../src/runtime/clock.ts';
import { type ConsoleWorld, createConsoleWorld } from './support/console-app.ts';

const API = '/api/v1/operator';
const LINK = 'l'.repeat(43);
const SESSION = `${API}/session`;
/** What would be done by a handler that is reached, to tell. */
const REACHED = { isReached: true };

/** Routes of every kind, to see a handler that is reached. */
const standIns = new Hono<ConsoleEnv>()
  .get('/things', (c) => c.json(REACHED))
  .post('/things', (c) => c.json(REACHED))
  .put('/things/:id', (c) => c.json(REACHED))
  .delete('/things/:id', (c) => c.json(REACHED));
/** And all that there are. Their handlers fail where they are reached: nothing stands behind them. */
const log = createLog('silent');
const families = [standIns, watchRoutes({} as never), operatorRoutes({ log, clock: systemClock, others: [] } as never)];

const { routes } = await createConsoleWorld(families);
const apiRoutes = routes
  .filter(({ method, path }) => method !== 'ALL' && path.startsWith(API))
  .map(({ method, path }) => ({ method, path: path.replace(/:\w+/g, 'x') }));
const guarded = apiRoutes.filter(({ method, path }) => !(method === 'POST' && path === SESSION));
const reading = new Set(READING_POSTS.map((path) => `${API}${path.replace(/:\w+/g, 'x')}`));
const changing = guarded.filter(({ method }) => method !== 'GET');

let world: ConsoleWorld;
beforeEach(async () => {
  world = await createConsoleWorld(families);
});

test('there are routes to attack', () => {
  expect(guarded.length).toBeGreaterThan(40);
  expect(changing.length).toBeGreaterThan(15);
});

describe.each(guarded)('$method $path', ({ method, path }) => {
  test('without a session is refused', async () => {
    const answer = await world.ask(method, path);
    expect(answer).toMatchObject({ status: 401, json: { code: 'not_signed_in' } });
    expect(answer.headers.get('Cache-Control')).toBe('no-store');
  });

  test('with a forged cookie is refused', async () => {
    world.signIn('operator');
    expect((await world.ask(method, path, { cookie: `weir_console=${'x'.repeat(43)}` })).status).toBe(401);
  });

  test('asked by the page of another site is refused, signed in or not', async () => {
    const session = world.signIn('operator');
    for (const headers of [
      { Origin: 'http://evil.example' },
      { Origin: 'null' },
      { 'Sec-Fetch-Site': 'cross-site' },
      { 'Sec-Fetch-Site': 'same-site' },
    ]) {
      expect(await world.ask(method, path, { ...session, headers })).toMatchObject({
        status: 403,
        json: { code: 'foreign_page' },
      });
    }
  });

  test('under another name is refused, signed in or not', async () => {
    const session = world.signIn('operator');
    for (const Host of ['evil.example', 'evil.example:8081', '127.0.0.1:9999', '127.0.0.1.evil.example:8081']) {
      expect((await world.ask(method, path, { ...session, headers: { Host } })).status).toBe(421);
    }
  });

  test('grants no other site anything', async () => {
    const session = world.signIn('operator');
    for (const headers of [{}, { Origin: 'http://evil.example' }]) {
      const answer = await world.ask(method, path, { ...session, headers });
      const granted = [...answer.headers.keys()].filter((name) => name.startsWith('access-control-'));
      expect(granted).toEqual([]);
    }
  });
});

describe.each(changing)('the change $method $path', ({ method, path }) => {
  const mayView = path === SESSION || (method === 'POST' && reading.has(path));
  const isLetIn = ({ status }: { status: number }) => ![401, 403, 415, 421].includes(status);

  test('by a viewer is refused, unless it only reads', async () => {
    const answer = await world.ask(method, path, { ...world.signIn('viewer'), body: {} });
    if (mayView) expect(isLetIn(answer)).toBe(true);
    else expect(answer).toMatchObject({ status: 403, json: { code: 'forbidden' } });
  });

  test('by an operator is let in', async () => {
    expect(isLetIn(await world.ask(method, path, { ...world.signIn('operator'), body: {} }))).toBe(true);
  });

  test('without the token of the session is refused, reading or not', async () => {
    const { cookie, csrf } = world.signIn('operator');
    const other = world.signIn('operator').csrf;
    for (const wrong of [
      undefined,
      '',
      'x'.repeat(43),
      other,
      csrf.slice(1),
      `${csrf} `.repeat(2),
      csrf.toUpperCase(),
    ]) {
      expect(await world.ask(method, path, { cookie, csrf: wrong, body: {} })).toMatchObject({
        status: 403,
        json: { code: 'invalid_csrf' },
      });
    }
    expect(world.sessions.size).toBe(2);
  });

  test('without an Origin is refused, whatever its Referer says', async () => {
    const session = world.signIn('operator');
    const headers = { Origin: '', Referer: 'http://127.0.0.1:8081/' };
    expect((await world.ask(method, path, { ...session, headers, body: {} })).status).toBe(403);
  });

  test.each([
    'text/plain',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x',
    'text/json',
    'application/jsonp',
    'application/json-seq',
  ])('sent as %s, as a form can, is refused', async (type) => {
    const session = world.signIn('operator');
    const answer = await world.ask(method, path, { ...session, headers: { 'Content-Type': type }, body: '{}' });
    expect(answer).toMatchObject({ status: 415, json: { code: 'not_json' } });
  });
});

describe('a method', () => {
  test.each(['X-HTTP-Method-Override', 'X-HTTP-Method', 'X-Method-Override'])(
    'is not another one because %s says so',
    async (header) => {
      const session = world.signIn('viewer');
      const answer = await world.ask('GET', `${API}/things`, { ...session, headers: { [header]: 'DELETE' } });
      expect(answer).toMatchObject({ status: 200, json: REACHED });
      expect((await world.ask('GET', SESSION, { ...session, headers: { [header]: 'DELETE' } })).status).toBe(200);
      expect(world.sessions.size).toBe(1);
    },
  );

  test('in the address is no method', async () => {
    const session = world.signIn('viewer');
    expect((await world.ask('GET', `${SESSION}?_method=DELETE`, session)).status).toBe(200);
    expect(world.sessions.size).toBe(1);
  });

  test('HEAD reads and says no more than GET', async () => {
    expect((await world.ask('HEAD', `${API}/things`)).status).toBe(401);
    const answer = await world.ask('HEAD', `${API}/things`, world.signIn('viewer'));
    expect(answer).toMatchObject({ status: 200, text: '' });
  });

  test.each(['OPTIONS', 'PATCH', 'PUT', 'DELETE'])('%s of a path that has none does nothing', async (method) => {
    const answer = await world.ask(method, `${API}/things`, world.signIn('operator'));
    expect(answer).toMatchObject({ status: 405, json: { code: 'method_not_allowed' } });
    expect(answer.headers.get('Allow')).toBe('GET, HEAD, POST');
  });

  test('OPTIONS of a preflight grants nothing', async () => {
    const headers = {
      Origin: 'http://evil.example',
      'Access-Control-Request-Method': 'POST',
      'Access-Control-Request-Headers': 'x-weir-csrf,content-type',
    };
    const answer = await world.ask('OPTIONS', `${API}/things`, { headers });
    expect(answer.status).toBe(403);
    expect([...answer.headers.keys()].filter((name) => name.startsWith('access-control-'))).toEqual([]);
  });
});

describe('a path', () => {
  test.each([
    `/${API}/things`,
    `${API}//things`,
    `${API}/./things`,
    `${API}/x/../things`,
    `${API}/%2e%2e/operator/things`,
    '/api/v1/OPERATOR/things',
    '/api/v1/operator%2fthings',
    '/api/v1/operator/things%2f',
    '/api/v1/operator/%74hings',
    '/%61pi/v1/operator/things',
    '/api/v1/operator;a=b/things',
    '/api/v1/operator/things;/',
    '/api/v1\\operator\\things',
    '/api/v1/operator/things%00',
    '/api/v1/operator/things%20',
    '/api/v1/operator/things?x=/../../',
    '/api/v1/operator/things#/',
  ])('written as %s gets around nothing', async (path) => {
    const answer = await world.ask('GET', path);
    expect(answer.text).not.toContain('isReached');
    expect([401, 404]).toContain(answer.status);
    expect((await world.ask('POST', path, { ...world.signIn('viewer'), body: {} })).text).not.toContain('isReached');
  });

  test('that there is not says nothing to strangers, and repeats nothing', async () => {
    const answer = await world.ask('GET', `${API}/<script>alert(1)</script>`);
    expect(answer.status).toBe(401);
    const elsewhere = await world.ask('GET', '/<script>alert(1)</script>');
    expect(elsewhere).toMatchObject({ status: 404, json: { code: 'not_found' } });
    expect(elsewhere.text).not.toContain('script');
    expect(elsewhere.headers.get('Content-Type')).toBe('application/json');
  });
});

describe('a cookie', () => {
  const shapes = (id: string) => [
    `weir_console=${id}; weir_console=${'x'.repeat(43)}`,
    `weir_console=${'x'.repeat(43)}; weir_console=${id}`,
    `weir_console=${id}; weir_console=${id}`,
    `WEIR_CONSOLE=${id}`,
    `weir_console="${id}"`,
    `weir_console=${id}x`,
    `weir_console=${id.slice(1)}`,
    `xweir_console=${id}`,
    `weir_console =${id}`,
    `weir_console=${encodeURIComponent(id)}%00`,
    'weir_console=',
    `a=b, weir_console=${id}`,
  ];

  test('of any other shape, or a second one that somebody else has set, is none', async () => {
    const id = world.signIn('operator').cookie.split('=')[1]!;
    for (const cookie of shapes(id)) expect((await world.ask('GET', SESSION, { cookie })).status, cookie).toBe(401);
    expect((await world.ask('GET', SESSION, { cookie: `other=1; weir_console=${id}; more=2` })).status).toBe(200);
  });

  test('that a stranger has put there before is not taken over by signing in', async () => {
    const fixed = 'f'.repeat(43);
    world.links.set(LINK, 'mira');
    const answer = await world.ask('POST', SESSION, { cookie: `weir_console=${fixed}`, body: { link: LINK } });
    expect(answer.status).toBe(200);
    expect(answer.headers.get('Set-Cookie')).not.toContain(fixed);
    expect((await world.ask('GET', SESSION, { cookie: `weir_console=${fixed}` })).status).toBe(401);
  });

  test('of whoever was signed in before ends when somebody signs in', async () => {
    const before = world.signIn('operator');
    world.links.set(LINK, 'mira');
    await world.ask('POST', SESSION, { cookie: before.cookie, body: { link: LINK } });
    expect((await world.ask('GET', SESSION, before)).status).toBe(401);
  });

  test('that was signed out is worth nothing', async () => {
    const session = world.signIn('viewer');
    expect((await world.ask('DELETE', SESSION, session)).status).toBe(204);
    expect((await world.ask('GET', SESSION, session)).status).toBe(401);
  });

  test('in the address, or in a header of another name, is none', async () => {
    const { cookie } = world.signIn('operator');
    expect((await world.ask('GET', `${SESSION}?${cookie}`)).status).toBe(401);
    const headers = { Authorization: `Bearer ${cookie.split('=')[1]}`, 'X-Cookie': cookie };
    expect((await world.ask('GET', SESSION, { headers })).status).toBe(401);
  });
});

describe('signing in', () => {
  test.each([
    ['from another site', { Origin: 'http://evil.example' }],
    ['from a sandboxed page', { Origin: 'null' }],
    ['without an origin', { Origin: '' }],
    ['that a browser calls cross-site', { 'Sec-Fetch-Site': 'cross-site' }],
    ['as a form', { 'Content-Type': 'text/plain' }],
  ])('%s is refused, and uses no link', async (_, headers) => {
    world.links.set(LINK, 'stranger');
    const answer = await world.ask('POST', SESSION, { headers, body: { link: LINK } });
    expect([403, 415]).toContain(answer.status);
    expect(answer.headers.get('Set-Cookie')).toBeNull();
    expect(world.links.size).toBe(1);
  });

  test.each([
    'null',
    '[]',
    '{}',
    '"secret"',
    '{"link":1}',
    '{"link":["secret"]}',
    '{"link":{"$ne":null}}',
    '{"link":""}',
    '{"link":"secret","name":"mira"}',
    '{"name":"mira","password":{"$gt":""}}',
    '{"name":"mira"}',
    '{"name":"mira","password":"right","role":"operator"}',
    '{"name":"mi\\u0000ra","password":"right"}',
    '{"__proto__":{"link":"secret"}}',
    `{"name":"mira","password":"${'x'.repeat(1_025)}"}`,
    '{"link":"secret"',
  ])('with %.40s is refused', async (body) => {
    world.links.set(LINK, 'mira');
    world.accounts.set('mira', { role: 'operator', password: 'right' });
    const answer = await world.ask('POST', SESSION, { body: body.replaceAll('secret', LINK) });
    expect(answer.status).toBe(400);
    expect(answer.headers.get('Set-Cookie')).toBeNull();
    expect(world.links.size).toBe(1);
  });
});

test('every answer says that nothing of it may be kept, framed, sniffed or run', async () => {
  const session = world.signIn('operator');
  const asked = [
    world.ask('GET', '/'),
    world.ask('GET', '/nothing'),
    world.ask('GET', SESSION),
    world.ask('GET', SESSION, session),
    world.ask('GET', `${API}/nothing`, session),
    world.ask('PUT', SESSION, session),
    world.ask('GET', '/', { headers: { Host: 'evil.example' } }),
    world.ask('POST', SESSION, { body: 'no JSON' }),
  ];
  for (const { headers } of await Promise.all(asked)) {
    expect(headers.get('Cache-Control')).toBe('no-store');
    expect(headers.get('Content-Security-Policy')).toBe(
      "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    );
    expect(headers.get('X-Content-Type-Options')).toBe('nosniff');
    expect(headers.get('X-Frame-Options')).toBe('DENY');
    expect(headers.get('Referrer-Policy')).toBe('no-referrer');
    expect(headers.get('Cross-Origin-Opener-Policy')).toBe('same-origin');
    expect(headers.get('Cross-Origin-Resource-Policy')).toBe('same-origin');
    expect(headers.get('X-Request-Id')).toBe('id');
  }
});
