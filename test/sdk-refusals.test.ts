/** Every refusal in the words of every family: the status and the wait that make its clients keep their events. */
import { afterAll, afterEach, describe, expect, test, vi } from 'vitest';
import { REFUSAL_CODES, rowOf } from '../src/http/answers/refusals.ts';
import { sdkDoors } from '../src/http/ingest/doors/sdk-doors.ts';
import { send } from './support/recorded.ts';
import { serveApp, TOKEN } from './support/served-app.ts';

const served = await serveApp();
const leaving = await serveApp();
leaving.flags.beginDraining();
afterAll(async () => {
  await served.server.close();
  await leaving.server.close();
});
afterEach(() => vi.restoreAllMocks());

const basic = (token: string) => ({ authorization: `Basic ${Buffer.from(`${token}:`).toString('base64')}` });
const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

type Family = {
  readonly path: string;
  /** How a request with that token looks: headers, query, body. */
  readonly request: (token: string) => { headers?: Record<string, string>; query?: string; body: unknown };
  /** Statuses when there is no room, when it shuts down, when it is disabled or down, and when it fails. */
  readonly statuses: readonly [busy: number, leaving: number, off: number, failed: number];
  /** What a refusal's body says of its status. */
  readonly says?: (status: number, body: string) => void;
};

const codeIsStatus = (status: number, body: string) => expect(JSON.parse(body)).toMatchObject({ code: status });
const ALL_503 = [503, 503, 503, 500] as const;

const FAMILIES: Record<string, Family> = {
  segment: {
    path: '/v1/batch',
    request: (token) => ({ headers: basic(token), body: { batch: [] } }),
    statuses: [429, 429, 429, 500],
  },
  jitsu: {
    path: '/api/s/track',
    request: (token) => ({ headers: { 'x-write-key': token }, body: [] }),
    statuses: [429, 429, 429, 500],
  },
  posthog: { path: '/e', request: (token) => ({ headers: bearer(token), body: [] }), statuses: ALL_503 },
  'posthog v1': {
    path: '/i/v1/analytics/events',
    request: (token) => ({ headers: bearer(token), body: { batch: [] } }),
    statuses: ALL_503,
  },
  amplitude: {
    path: '/2/httpapi',
    request: (token) => ({ headers: { 'x-api-key': token }, body: { events: [] } }),
    statuses: [429, 503, 429, 500],
    says: codeIsStatus,
  },
  mixpanel: {
    path: '/track',
    request: (token) => ({ headers: basic(token), body: [] }),
    statuses: ALL_503,
    says: (_, body) => expect(body).toBe('0'),
  },
  ga4: {
    path: '/mp/collect',
    request: (token) => ({ query: `?api_secret=${token}`, body: { events: [] } }),
    statuses: ALL_503,
  },
  plausible: { path: '/api/event', request: (token) => ({ body: { n: 'E', d: token } }), statuses: ALL_503 },
  umami: {
    path: '/api/send',
    request: (token) => ({ body: { type: 'event', payload: { website: token } } }),
    statuses: ALL_503,
  },
  cloudevents: { path: '/cloudevents', request: (token) => ({ headers: bearer(token), body: [] }), statuses: ALL_503 },
  logs: { path: '/logs', request: (token) => ({ headers: bearer(token), body: [] }), statuses: ALL_503 },
  otlp: {
    path: '/v1/logs',
    request: (token) => ({ headers: bearer(token), body: {} }),
    statuses: [503, 503, 503, 503],
    says: (_, body) => expect(JSON.parse(body)).toMatchObject({ code: expect.any(Number) as number }),
  },
};

const ORIGIN = 'https://shop.example';

describe.each(Object.entries(FAMILIES))(
  '%s',
  (_name, { path, request, statuses: [busy, ending, off, failed], says }) => {
    async function sent({
      token = TOKEN,
      body,
      port = served.port,
    }: { token?: string; body?: string; port?: number } = {}) {
      const { headers, query = '', body: usual } = request(token);
      const answered = await send(port, {
        method: 'POST',
        path: path + query,
        headers: { ...headers, origin: ORIGIN },
        body: body ?? JSON.stringify(usual),
      });
      await served.taken();
      expect(answered.headers).toMatchObject({
        'access-control-allow-origin': ORIGIN,
        'access-control-allow-credentials': 'true',
        vary: 'Origin',
        'cache-control': 'no-store',
      });
      expect(answered.headers['access-control-expose-headers']).toContain('Weir-Rejected');
      const text = answered.body.toString();
      expect(text).not.toContain(TOKEN);
      if (answered.status >= 400) says?.(answered.status, text);
      return {
        status: answered.status,
        after: answered.headers['retry-after'],
        connection: answered.headers.connection,
      };
    }

    test('nothing but its own success is one', async () => {
      const { status } = await sent();
      expect(status).toBe({ ga4: 204, plausible: 202 }[_name] ?? 200);
    });

    test('a body that is none', async () => {
      expect(await sent({ body: '{' })).toMatchObject({ status: 400 });
    });

    test('a token that is not good', async () => {
      expect(await sent({ token: 'wk_unknown' })).toMatchObject({ status: 401 });
    });

    test('a body that is too large', async () => {
      expect(await sent({ body: `[${' '.repeat(11 * 1024 * 1024)}]` })).toMatchObject({ status: 413 });
    });

    test('no room', async () => {
      vi.spyOn(served.channel, 'isFull').mockReturnValue(true);
      expect(await sent()).toMatchObject({ status: busy, after: '1' });
    });

    test('a shutdown', async () => {
      expect(await sent({ port: leaving.port })).toMatchObject({ status: ending, after: '1', connection: 'close' });
    });

    test('intake that is switched off', async () => {
      served.flags.setIntake('disabled');
      const answered = await sent();
      served.flags.setIntake('open');
      expect(answered).toMatchObject({ status: off, after: '300' });
    });

    test('no store at all', async () => {
      served.flags.unhomed(1);
      const answered = await sent();
      served.flags.unhomed(-1);
      expect(answered).toMatchObject({ status: off, after: '5' });
    });

    test('a failure of ours', async () => {
      vi.spyOn(served.channel, 'isFull').mockImplementation(() => {
        throw new Error('a bug');
      });
      expect(await sent()).toMatchObject({ status: failed, after: '5' });
    });
  },
);

test.each(REFUSAL_CODES.filter((code) => rowOf(code).status === 503))(
  'for %s, which passes, no client of others throws its events away',
  (code) => {
    for (const { ownRefusals, paths } of sdkDoors) {
      const head = {
        method: 'POST' as const,
        path: paths[0],
        target: paths[0],
        headers: {},
        query: () => new URLSearchParams(),
      };
      const status = ownRefusals?.status?.(code, head) ?? 503;
      expect([429, 503], `${paths[0]}: ${status}`).toContain(status);
    }
  },
);

test('a preflight allows what a client adds when it tries again', async () => {
  const asked = 'content-type,x-retry-count,rsa-retry-attempt,traceparent';
  for (const { path } of Object.values(FAMILIES)) {
    const { status, headers } = await send(served.port, {
      method: 'OPTIONS',
      path: `${path}/`,
      headers: { origin: ORIGIN, 'access-control-request-method': 'POST', 'access-control-request-headers': asked },
    });
    expect([status, headers['access-control-allow-headers'], headers['access-control-allow-origin']]).toEqual([
      204,
      asked,
      ORIGIN,
    ]);
    expect(headers['access-control-allow-methods']).toContain('GET');
  }
});

test.each(['/v1/traces', '/v1/metrics', '/s', '/record', '/com.snowplowanalytics.snowplow/tp2', '/api/batch'])(
  '%s is not served',
  async (path) => {
    const answered = await send(served.port, { method: 'POST', path, headers: basic(TOKEN), body: '[]' });
    expect(answered).toMatchObject({ status: 404 });
  },
);

test.each([
  ['GET', '/v1/batch', 'POST, OPTIONS'],
  ['GET', '/v1/batch/', 'POST, OPTIONS'],
  ['GET', '//v1//batch?x=1', 'POST, OPTIONS'],
  ['GET', '/e/', 'POST, OPTIONS'],
  ['PUT', '/track/', 'POST, GET, OPTIONS'],
  ['DELETE', '/batch/', 'POST, OPTIONS'],
])('a wrong method is refused at every spelling: %s %s', async (method, path, allow) => {
  const { status, headers, body } = await send(served.port, { method, path });
  expect([status, headers.allow]).toEqual([405, allow]);
  expect(JSON.parse(body.toString())).toMatchObject({ code: 'method_not_allowed' });
});

test.each(['/v1/batch/x/', '/events/', '//v1/events'])('%s is nobody’s path, whatever the method', async (path) => {
  expect(await send(served.port, { method: 'GET', path })).toMatchObject({ status: 404 });
});
