/** The limit of a project's requests counts for clients whose token is in their body, as for those with a header. */
import { expect, onTestFinished, test } from 'vitest';
import { createRateLimit } from '../src/http/access/rate-limit.ts';
import { send } from './support/recorded.ts';
import { OTHER_TOKEN, serveApp, TOKEN } from './support/served-app.ts';

type Family = {
  readonly path: string;
  /** A request with one event. */
  readonly body: (token: string) => object;
  readonly headers?: (token: string) => Record<string, string>;
  /** What the third request of two is answered with. */
  readonly refused: 429 | 503;
};

const EVENT = { event: 'ordered', distinct_id: 'u1', type: 'track', userId: 'u1' };

const FAMILIES: Record<string, Family> = {
  'segment, in the envelope': {
    path: '/v1/batch',
    body: (token) => ({ writeKey: token, batch: [EVENT] }),
    refused: 429,
  },
  'segment, in the event': { path: '/v1/track', body: (token) => ({ ...EVENT, writeKey: token }), refused: 429 },
  posthog: { path: '/batch/', body: (token) => ({ api_key: token, batch: [EVENT] }), refused: 503 },
  'posthog, in the event': {
    path: '/e/',
    body: (token) => ({ ...EVENT, properties: { token } }),
    refused: 503,
  },
  amplitude: {
    path: '/2/httpapi',
    body: (token) => ({ api_key: token, events: [{ event_type: 'ordered', user_id: 'u1' }] }),
    refused: 429,
  },
  mixpanel: {
    path: '/track',
    body: (token) => ({ event: 'ordered', properties: { token, distinct_id: 'u1' } }),
    refused: 503,
  },
  plausible: {
    path: '/api/event',
    body: (token) => ({ n: 'pageview', d: token, u: 'https://shop.example.com/' }),
    refused: 503,
  },
  umami: {
    path: '/api/send',
    body: (token) => ({ type: 'event', payload: { website: token, name: 'ordered' } }),
    refused: 503,
  },
  'otlp, in a header': {
    path: '/v1/logs',
    headers: (token) => ({ authorization: `Bearer ${token}` }),
    body: () => ({ resourceLogs: [{ scopeLogs: [{ logRecords: [{ eventName: 'ordered' }] }] }] }),
    refused: 503,
  },
};

test.each(Object.entries(FAMILIES))('%s', async (_name, { path, body, headers = () => ({}), refused }) => {
  const served = await serveApp({ rateLimit: createRateLimit({ requests: 2, perMs: 3_600_000 }) });
  onTestFinished(() => served.server.close());
  const post = (token: string) =>
    send(served.port, {
      method: 'POST',
      path,
      headers: { 'content-type': 'application/json', ...headers(token) },
      body: JSON.stringify(body(token)),
    });

  for (const _ of [1, 2]) expect((await post(TOKEN)).status).toBeLessThan(300);
  const third = await post(TOKEN);
  expect(third.status).toBe(refused);
  expect(Number(third.headers['retry-after'])).toBeGreaterThan(0);
  // Nothing of it was taken, another project is not held up, and a bad token uses nobody's allowance.
  expect((await post(OTHER_TOKEN)).status).toBeLessThan(300);
  expect((await post('wk_unknown_0123456789')).status).toBe(401);
  expect((await post(OTHER_TOKEN)).status).toBeLessThan(300);
  expect(await served.taken()).toHaveLength(4);
});
