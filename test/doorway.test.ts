/** What reaches a front door, however it is spelled, and what becomes of a connection behind it. */
import { once } from 'node:events';
import { type ClientRequestArgs, type IncomingMessage, Agent, request } from 'node:http';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { systemClock } from '../src/clock.ts';
import { createDoorway } from '../src/http/doorway.ts';
import { createEveryAnswer } from '../src/http/every-answer.ts';
import type { Reply } from '../src/http/reply.ts';
import { type HttpServer, listen } from '../src/http/server.ts';
import { createLog } from '../src/log.ts';
import { createFlags } from '../src/pipeline/flags.ts';

const clock = systemClock;
const log = createLog('silent');
const observed: string[] = [];
let server: HttpServer;

beforeAll(async () => {
  const flags = createFlags({ intake: 'open' }, () => {});
  const doorway = createDoorway(
    new Map([
      ['/events', async () => ({ status: 202, headers: {}, body: 'door' })],
      ['/refusing', refuseHalfWay],
      ['/broken', () => Promise.reject(new Error('a bug'))],
    ]),
    {
      everyAnswer: createEveryAnswer({ flags, newRequestId: () => 'r-1' }, { allowedOrigins: [] }),
      onRequest: (method, route, status) => void observed.push(`${method} ${route} ${status}`),
      clock,
      log,
      others: (_, answer) => answer.writeHead(404).end('others'),
    },
  );
  server = await listen(doorway, { clock, log }, { host: '127.0.0.1', port: 0 });
});
afterAll(() => server.close());

/** As the reading of a body that turns out too large. */
async function refuseHalfWay(incoming: IncomingMessage): Promise<Reply> {
  await once(incoming, 'data');
  incoming.pause();
  return { status: 413, headers: {}, body: '' };
}

function send(path: string, { body = '{}', ...more }: ClientRequestArgs & { body?: string } = {}) {
  const { promise, resolve, reject } = Promise.withResolvers<{
    status: number;
    text: string;
    id: unknown;
    port: number;
  }>();
  request({ port: server.port, method: 'POST', path, ...more }, (answer) => {
    const port = answer.socket.localPort!;
    let text = '';
    answer.on('data', (chunk: Buffer) => (text += chunk.toString()));
    answer.on('end', () => resolve({ status: answer.statusCode!, text, id: answer.headers['x-request-id'], port }));
  })
    .on('error', reject)
    .end(body);
  return promise;
}

test.each(['/events', '/events?ack=stored', '/%65vents', '/./events', 'http://any.example/events?x=1'])(
  'POST %s reaches the door',
  async (path) => expect(await send(path)).toMatchObject({ status: 202, text: 'door', id: 'r-1' }),
);

test.each(['/', '/events/', '/Events', '/other', '/events%2f', '/%zz', '//[/events'])(
  'POST %s does not',
  async (path) => expect(await send(path)).toMatchObject({ status: 404, text: 'others' }),
);

test('nor does another method', async () => {
  expect(await send('/events', { method: 'PUT' })).toMatchObject({ status: 404 });
});

test('every request is observed under the path of its door', async () => {
  observed.length = 0;
  await send('/%65vents?x=1');
  expect(observed).toEqual(['POST /events 202']);
});

test('a bug behind a door is a 500 in the shape of every refusal', async () => {
  const { status, text } = await send('/broken');
  expect([status, JSON.parse(text)]).toMatchObject([500, { code: 'internal' }]);
});

test('a body that is not read to its end does not stand in the way of the next request on its connection', async () => {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const first = await send('/refusing', { agent, body: 'x'.repeat(500_000) });
  const second = await send('/events', { agent });
  agent.destroy();
  expect([first.status, second.status]).toEqual([413, 202]);
  expect(second.port).toBe(first.port);
});
