/**
 * Clients that say they send no more once their request is sent, as `nc` and
 * many small ones do: they get their answer, however the request was written.
 */
import type { RequestListener } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { systemClock } from '../src/runtime/clock.ts';
import { bodyLimits, readBody } from '../src/http/request/body.ts';
import type { DoorRequest } from '../src/http/request/door-request.ts';
import { createDoorRouter, listenerFor } from '../src/http/ingest/door-router.ts';
import { createAnswerHeaders } from '../src/http/answers/common-headers.ts';
import { isRefusal } from '../src/http/answers/refusals.ts';
import { replyTo } from '../src/http/answers/refusal-reply.ts';
import type { Reply } from '../src/http/answers/reply.ts';
import { type HttpServer, listen } from '../src/http/listener/server.ts';
import { createLog } from '../src/log/log.ts';
import { createFlags } from '../src/pipeline/flags.ts';
import { receiversOf } from './support/receivers.ts';
import { dial } from './support/line.ts';

const log = createLog('silent');
const UNBOUNDED = { grow: () => true, release() {} };

let server: HttpServer;
beforeAll(async () => {
  server = await start();
});
afterAll(async () => {
  server?.cut();
  await server?.close();
});

/** Says what it was sent after a while, as a request does that waits for its events to be stored. */
async function echo(request: DoorRequest): Promise<Reply> {
  const body = await readBody(request, UNBOUNDED, bodyLimits({ maxBytes: 10_000_000 }));
  if (body === 'aborted') return { status: 400, headers: {}, body: '' };
  if (isRefusal(body)) return replyTo(body);
  const gone = vi.fn();
  request.onGone(gone);
  await sleep(200);
  return { status: gone.mock.calls.length > 0 ? 500 : 200, headers: {}, body: `<${body.bytes.toString()}>` };
}

const later: RequestListener = ({ method, url }, answer) =>
  void sleep(200).then(() => answer.writeHead(200).end(`<${method} ${url}>`));

function start(): Promise<HttpServer> {
  const flags = createFlags({ intake: 'open' }, () => {});
  const doorRouter = createDoorRouter(receiversOf({ '/echo': echo }), {
    answerHeaders: createAnswerHeaders({ flags, newRequestId: () => 'made' }, { allowedOrigins: [] }),
    onRequest: () => {},
    clock: systemClock,
    log,
  });
  const listener = listenerFor(doorRouter, { others: later, clock: systemClock });
  return listen({ doorRouter, listener }, { clock: systemClock, log }, { host: '127.0.0.1', port: 0 });
}

/** Sends all of it, then that there is no more; gives what came back. */
async function sendAndShut(request: string, { inPieces = false } = {}): Promise<string> {
  const line = await dial(server.port);
  if (inPieces) {
    for (const byte of request) {
      line.write(byte);
      await sleep(1);
    }
  } else line.write(request);
  line.socket.end();
  const received = await line.ended;
  line.socket.destroy();
  return received;
}

const CHUNKED = 'Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n';
const WHOLE: [string, string, string[]][] = [
  ['plain', 'POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nabcde', ['<abcde>']],
  [
    'the last of its connection',
    'POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 5\r\n\r\nabcde',
    ['<abcde>'],
  ],
  ['HTTP/1.0', 'POST /echo HTTP/1.0\r\nContent-Length: 5\r\n\r\nabcde', ['<abcde>']],
  ['HTTP/1.0, kept', 'POST /echo HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nabcde', ['<abcde>']],
  ['chunked', `POST /echo HTTP/1.1\r\nHost: x\r\n${CHUNKED}`, ['<abcde>']],
  ['chunked and the last', `POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n${CHUNKED}`, ['<abcde>']],
  ['asking before the body', `POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n${CHUNKED}`, ['<abcde>']],
  ['without a body', 'GET /page HTTP/1.1\r\nHost: x\r\n\r\n', ['<GET /page>']],
  ['HTTP/1.0 without a body', 'GET /page HTTP/1.0\r\n\r\n', ['<GET /page>']],
  [
    'several',
    `GET /1 HTTP/1.1\r\nHost: x\r\n\r\nPOST /echo HTTP/1.1\r\nHost: x\r\n${CHUNKED}GET /2 HTTP/1.1\r\nHost: x\r\n\r\n`,
    ['<GET /1>', '<abcde>', '<GET /2>'],
  ],
  [
    'several plain ones',
    'POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\na'.repeat(3),
    ['<a>', '<a>', '<a>'],
  ],
  [
    'a plain one and another',
    'POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\naGET /2 HTTP/1.1\r\nHost: x\r\n\r\n',
    ['<a>', '<GET /2>'],
  ],
];

// They wait most of the time, each for answers on connections of its own.
describe.concurrent('a request that is followed by the end of what the client sends', () => {
  test.each(WHOLE)('is answered: %s', async (_how, request, answers) => {
    for (const inPieces of [false, true]) {
      const received = await sendAndShut(request, { inPieces });
      expect(received.match(/<[^>]*>/g)).toEqual(answers);
      expect(received.match(/HTTP\/1.1 \d+/g)!.filter((status) => status !== 'HTTP/1.1 100')).toEqual(
        answers.map(() => 'HTTP/1.1 200'),
      );
    }
  });

  test.each([
    ['in its head', 'POST /echo HTTP/1.1\r\nHost: x\r\nConte'],
    ['in a chunk', 'POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\na'],
    ['between chunks', 'POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n'],
    ['in its body', 'POST /echo HTTP/1.0\r\nContent-Length: 5\r\n\r\nabc'],
  ])('is no request when it is cut %s, and its connection ends', async (_where, request) => {
    const received = await sendAndShut(request);
    expect(received).not.toContain('HTTP/1.1 200');
  });
});
