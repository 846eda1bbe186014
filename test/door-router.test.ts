/** What reaches a front door, however it is spelled and whoever reads it, and what becomes of a connection behind it. */
import { type ClientRequestArgs, type OutgoingHttpHeaders, Agent, request } from 'node:http';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { systemClock } from '../src/runtime/clock.ts';
import type { DoorRequest } from '../src/http/request/door-request.ts';
import { createDoorRouter, listenerFor } from '../src/http/ingest/door-router.ts';
import { createAnswerHeaders } from '../src/http/answers/common-headers.ts';
import type { Reply } from '../src/http/answers/reply.ts';
import { type HttpServer, listen } from '../src/http/listener/server.ts';
import { createLog } from '../src/log/log.ts';
import { createFlags } from '../src/pipeline/flags.ts';
import { receiversOf } from './support/receivers.ts';

const clock = systemClock;
const log = createLog('silent');
const observed: string[] = [];
let server: HttpServer;

beforeAll(async () => {
  const flags = createFlags({ intake: 'open' }, () => {});
  const doorRouter = createDoorRouter(
    receiversOf({
      '/events': ({ headers }) => ({ status: 202, headers: {}, body: readerOf(headers) }),
      '/v1/events': () => ({ status: 202, headers: {}, body: 'another door' }),
      '/refusing': refuseHalfWay,
      '/broken': () => Promise.reject(new Error('a bug')),
      '/broken/at-once': breakAtOnce,
    }),
    {
      answerHeaders: createAnswerHeaders({ flags, newRequestId: () => 'r-1' }, { allowedOrigins: [] }),
      onRequest: ({ method, route, status }) => void observed.push(`${method} ${route} ${status}`),
      clock,
      log,
    },
  );
  const listener = listenerFor(doorRouter, { others: (_, answer) => answer.writeHead(404).end('others'), clock });
  server = await listen({ doorRouter, listener }, { clock, log }, { host: '127.0.0.1', port: 0 });
});
afterAll(() => server.close());

/** A plain connection keeps only the headers that a front door asks for. */
const readerOf = (headers: object): string => ('host' in headers ? 'node' : 'plain');

/** As the reading of a body that turns out too large. */
async function refuseHalfWay({ body }: DoorRequest): Promise<Reply> {
  await new Promise<void>((resolve) => body.listen({ chunk: () => resolve(), end() {}, gone() {} }));
  body.leave();
  return { status: 413, headers: {}, body: '' };
}

function breakAtOnce(): Reply {
  throw new Error('a bug');
}

type Sent = { status: number; text: string; id: unknown; port: number };

function sendWith(
  own: OutgoingHttpHeaders,
  path: string,
  { body = '{}', ...more }: ClientRequestArgs & { body?: string },
) {
  const { promise, resolve, reject } = Promise.withResolvers<Sent>();
  request({ port: server.port, method: 'POST', path, headers: own, ...more }, (answer) => {
    const port = answer.socket.localPort!;
    let text = '';
    answer.on('data', (chunk: Buffer) => (text += chunk.toString()));
    answer.on('end', () => resolve({ status: answer.statusCode!, text, id: answer.headers['x-request-id'], port }));
  })
    .on('error', reject)
    .end(body);
  return promise;
}

describe.each([
  { reader: 'plain', headers: {} },
  { reader: 'node', headers: { 'proxy-connection': 'keep-alive' } },
])('read by $reader', ({ reader, headers }) => {
  const send = (path: string, more: ClientRequestArgs & { body?: string } = {}) => sendWith(headers, path, more);

  test.each(['/events', '/events?ack=stored', '/%65vents', '/./events'])('POST %s reaches the door', async (path) => {
    expect(await send(path)).toMatchObject({ status: 202, text: reader, id: 'r-1' });
  });

  test.each(['http://any.example/events?x=1', 'HTTP://ANY.example:80/events'])(
    'POST %s, with a host, reaches it by way of Node',
    async (path) => expect(await send(path)).toMatchObject({ status: 202, text: 'node' }),
  );

  test.each(['/', '/events/', '/Events', '/other', '/events%2f', '/%zz', '//[/events'])(
    'POST %s does not',
    async (path) => expect(await send(path)).toMatchObject({ status: 404, text: 'others' }),
  );

  /** What begins with a slash is a path: no part of it is a host, and what is no path of a door is nobody's. */
  test.each([
    '//v1/events',
    '//v1/events?ack=stored',
    '//any.example/events',
    '///events',
    '//events',
    '/v1//events',
    '/\\v1/events',
    '/v1\\events',
    '/%5cevents',
    '//%65vents',
    '/v1/%2f/events',
    '/http://any.example/events',
    'http://any.example//events',
    'http://any.example//v1/events',
    'http://any.example/\\events',
  ])('POST %s is at no door', async (path) => {
    expect(await send(path)).toMatchObject({ status: 404, text: 'others' });
  });

  test.each([
    ['/v1/events', 'another door'],
    ['/v1/./events', 'another door'],
    ['/x/%2e%2e/v1/events', 'another door'],
    ['/%2e%2e/v1/events', 'another door'],
    // Whoever shares a connection with a request that was for Node is read by Node.
    ['/v1/../events', /^(plain|node)$/],
    ['http://any.example/v1/events', 'another door'],
    ['http://any.example:80/x/../v1/events?y', 'another door'],
  ])('POST %s is at the door that it spells', async (path, text) => {
    expect(await send(path)).toMatchObject({ status: 202, text: expect.stringMatching(text) });
  });

  test('nor does another method', async () => {
    expect(await send('/events', { method: 'PUT' })).toMatchObject({ status: 404 });
  });

  test('every request is observed under the path of its door', async () => {
    observed.length = 0;
    await send('/%65vents?x=1');
    expect(observed).toEqual(['POST /events 202']);
  });

  test.each(['/broken', '/broken/at-once'])('a bug behind %s is a 500 in the shape of every refusal', async (path) => {
    const { status, text } = await send(path);
    expect([status, JSON.parse(text)]).toMatchObject([500, { code: 'internal' }]);
  });

  test('a body that is not read to its end does not stand in the way of the next request on its connection', async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const first = await send('/refusing', { agent, body: 'x'.repeat(500_000) });
    const second = await send('/events', { agent });
    agent.destroy();
    expect([first.status, second.status]).toEqual([413, 202]);
    expect([second.port, second.text]).toEqual([first.port, reader]);
  });
});
