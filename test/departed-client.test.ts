/** A client that has closed its connection, and one that only sends nothing more, look alike until something is written. */
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createAnswerHeaders } from '../src/http/answers/common-headers.ts';
import { createDoorRouter } from '../src/http/ingest/door-router.ts';
import { type HttpServer, listen } from '../src/http/listener/server.ts';
import { watchForDeparture } from '../src/http/read/departed-client.ts';
import { createLog } from '../src/log/log.ts';
import { createFlags } from '../src/pipeline/flags.ts';
import { systemClock } from '../src/runtime/clock.ts';
import { receiversOf } from './support/receivers.ts';
import { dial } from './support/line.ts';

const log = createLog('silent');
const CONTINUE = 'HTTP/1.1 100 Continue\r\n\r\n';

type Visit = { readonly incoming: IncomingMessage; readonly outgoing: ServerResponse };
let server: HttpServer;
/** Takes the next request, which is answered by the test if at all. */
let visited = Promise.withResolvers<Visit>();

beforeAll(async () => {
  const flags = createFlags({ intake: 'open' }, () => {});
  const doorRouter = createDoorRouter(receiversOf({}), {
    answerHeaders: createAnswerHeaders({ flags, newRequestId: () => 'made' }, { allowedOrigins: [] }),
    onRequest: () => {},
    clock: systemClock,
    log,
  });
  const listener = (incoming: IncomingMessage, outgoing: ServerResponse) => {
    watchForDeparture({ incoming, outgoing }, systemClock);
    visited.resolve({ incoming, outgoing });
    visited = Promise.withResolvers();
  };
  server = await listen({ doorRouter, listener }, { clock: systemClock, log }, { host: '127.0.0.1', port: 0 });
});
afterAll(async () => {
  server?.cut();
  await server?.close();
});

async function visit(version = '1.1') {
  const line = await dial(server.port);
  const visiting = visited.promise;
  line.write(`GET /counts HTTP/${version}\r\nHost: x\r\n\r\n`);
  return { line, ...(await visiting) };
}

test('the answer of a client that closes its connection is closed', async () => {
  const { line, outgoing } = await visit();
  const closed = once(outgoing, 'close');
  line.socket.destroy();
  await closed;
  expect(outgoing.writableFinished).toBe(false);
});

test('so is that of one that has left before anybody looks', async () => {
  const line = await dial(server.port);
  const visiting = visited.promise;
  line.write('GET /counts HTTP/1.1\r\nHost: x\r\n\r\n');
  line.socket.destroySoon();
  const { outgoing } = await visiting;
  if (!outgoing.destroyed) await once(outgoing, 'close');
  expect(outgoing.writableFinished).toBe(false);
});

test('a client that only sends nothing more is asked again and again, and answered', async () => {
  const { line, outgoing } = await visit();
  line.socket.end();
  expect(await line.until((received) => received.length >= 3 * CONTINUE.length)).toMatch(
    /^(HTTP\/1\.1 100 Continue\r\n\r\n){3}$/,
  );
  outgoing.end('here');
  expect((await line.ended).replaceAll(CONTINUE, '')).toMatch(/^HTTP\/1\.1 200 OK\r\n(.*\r\n)+\r\nhere$/);
});

test('of HTTP/1.0 it is only answered, as it knows no interim answers', async () => {
  const { line, incoming, outgoing } = await visit('1.0');
  line.socket.end();
  if (!incoming.socket.readableEnded) await once(incoming.socket, 'end');
  outgoing.end('here');
  expect(await line.ended).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
});

test('whoever stays is not asked, and nothing is left on the connection', async () => {
  const { line, incoming, outgoing } = await visit();
  const { socket } = incoming;
  const listening = socket.listenerCount('end');
  outgoing.end('here');
  await line.until((received) => received.endsWith('here'));
  const visiting = visited.promise;
  line.write('GET /counts HTTP/1.1\r\nHost: x\r\n\r\n');
  const next = await visiting;
  expect(next.incoming.socket).toBe(socket);
  expect(socket.listenerCount('end')).toBe(listening);
  next.outgoing.end('there');
  expect(await line.until((received) => received.endsWith('there'))).not.toContain('100 Continue');
  line.socket.destroy();
});
