/** `GET /now` of the console, against a service's pages over HTTP. */
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import * as v from 'valibot';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { NowAnswer, Series } from '../src/console/watch/answers.ts';
import { WATCHING } from '../src/console/operator/watching.ts';
import { createWatch } from '../src/console/watch/watch.ts';
import { systemClock } from '../src/runtime/clock.ts';

const TOKEN = 'read-me';
let server: Server;
let url: string;
let accepted = 0;

beforeAll(async () => {
  server = createServer((request, response) => {
    if (request.url === '/health')
      return response.end(JSON.stringify({ status: 'ok', reasons: [], postgres_connected: true }));
    if (request.url !== '/internal/metrics?process=false') return response.writeHead(404).end();
    if (request.headers.authorization !== `Bearer ${TOKEN}`) return response.writeHead(401).end();
    accepted += 10;
    return response.end(`weir_events_total{result="accepted"} ${accepted}\n`);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => server.close());

async function watching<T>(metricsToken: string | null, use: (get: (path: string) => Promise<Response>) => Promise<T>) {
  const stop = new AbortController();
  const service = { url, metricsToken, order: () => {}, findPending: () => Promise.resolve(null) };
  const stores = { db: {} as never, events: null };
  const watch = createWatch({ service, stores, hasTopic: false, clock: systemClock });
  const running = watch.run(stop.signal);
  try {
    return await use(async (path) => watch.routes.request(path));
  } finally {
    stop.abort();
    await running;
  }
}

test('the service is asked with its token, and the answer has what it says', async () => {
  await watching(TOKEN, async (get) => {
    const answer = await get('/now');
    expect(answer.status).toBe(200);
    expect((await answer.json()) as NowAnswer).toMatchObject({ reasons: [], stores: [{ connected: true }] });
    const series = (await (await get('/now/series?seconds=60')).json()) as Series;
    expect(series.at.length).toBeGreaterThan(0);
    expect(series.accepted).toHaveLength(series.at.length);
  });
});

test('a service that does not let the console in is one that does not answer', async () => {
  await watching(null, async (get) => {
    expect((await (await get('/now')).json()) as NowAnswer).toMatchObject({
      health: null,
      reasons: [{ code: 'service_silent' }],
    });
  });
});

test.each(['seconds=0', 'seconds=x', 'seconds=-1', 'after=soon', 'after=1e3'])('refuses %s', async (query) => {
  await watching(TOKEN, async (get) => {
    const answer = await get(`/now/series?${query}`);
    expect(answer.status).toBe(400);
    expect(await answer.json()).toMatchObject({ code: 'invalid_request' });
  });
});

test('the answers are as they are described', async () => {
  const schemaOf = (path: string) => WATCHING.find((route) => route.path === path)!.answers[200]!.schema!;
  await watching(TOKEN, async (get) => {
    for (const path of ['/now', '/now/series']) {
      const answer: unknown = await (await get(path)).json();
      expect(v.safeParse(schemaOf(path), answer).issues ?? []).toEqual([]);
    }
  });
});
