/**
 * Clients that send requests without waiting for their answers, on connections
 * that Node's HTTP server reads. Everything is asked over real sockets.
 */
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { type Clock, systemClock } from '../src/runtime/clock.ts';
import { createDoorRouter, listenerFor } from '../src/http/ingest/door-router.ts';
import { createAnswerHeaders } from '../src/http/answers/common-headers.ts';
import type { Reply } from '../src/http/answers/reply.ts';
import { type HttpServer, listen } from '../src/http/listener/server.ts';
import { createLog } from '../src/log/log.ts';
import { createFlags } from '../src/pipeline/flags.ts';
import { receiversOf } from './support/receivers.ts';
import { createManualClock } from './support/clock.ts';
import { randomOf } from './support/factory.ts';
import { type Line, dial, writeUntilFull } from './support/line.ts';

const log = createLog('silent');
const SOON = { timeout: 20_000 };

const open: { server: HttpServer; lines: Line[] }[] = [];
afterEach(async () => {
  for (const { server, lines } of open.splice(0)) {
    for (const { socket } of lines) socket.destroy();
    server.cut();
    await server.close();
  }
});

/** A server that answers with `answer` what is for no front door, and counts requests that have no answer yet. */
async function start(answer: Listener, clock: Clock = systemClock) {
  const flags = createFlags({ intake: 'open' }, () => {});
  const large: Reply = { status: 200, headers: {}, body: 'd'.repeat(100_000) };
  const small: Reply = { status: 201, headers: {}, body: '' };
  const doorRouter = createDoorRouter(receiversOf({ '/door': () => large, '/small': () => small }), {
    answerHeaders: createAnswerHeaders({ flags, newRequestId: () => 'made' }, { allowedOrigins: [] }),
    onRequest: () => {},
    clock,
    log,
  });
  const counted = { begun: 0, unanswered: 0, most: 0 };
  const others: RequestListener = (incoming, outgoing) => {
    counted.begun += 1;
    counted.unanswered += 1;
    counted.most = Math.max(counted.most, counted.unanswered);
    outgoing.once('close', () => (counted.unanswered -= 1));
    void answer(incoming, outgoing);
  };
  const listener = listenerFor(doorRouter, { others, clock });
  const server = await listen({ doorRouter, listener }, { clock, log }, { host: '127.0.0.1', port: 0 });
  const lines: Line[] = [];
  open.push({ server, lines });
  return {
    server,
    counted,
    async dial() {
      const line = await dial(server.port);
      lines.push(line);
      return line;
    },
  };
}

type Listener = (...args: Parameters<RequestListener>) => unknown;

const send = (outgoing: ServerResponse, body: string, status = 200) =>
  outgoing.writeHead(status, { 'Content-Length': Buffer.byteLength(body) }).end(body);

/** Reads the body, and says after a moment what was asked and how much came with it. */
async function sayLater(incoming: IncomingMessage, outgoing: ServerResponse, waitMs = 0): Promise<void> {
  let byteCount = 0;
  for await (const piece of incoming) byteCount += (piece as Buffer).length;
  await sleep(waitMs);
  send(outgoing, `<${incoming.method} ${incoming.url} ${byteCount}>`);
}

const get = (path: string, more = '') => `GET ${path} HTTP/1.1\r\nHost: x\r\n${more}\r\n`;
const chunked = (path: string, chunks: readonly string[], more = '') =>
  `POST ${path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n${more}\r\n` +
  [...chunks, ''].map((chunk) => `${chunk.length.toString(16)}\r\n${chunk}\r\n`).join('');

/** How many answers of status 200 have begun to come. */
const answersIn = (received: string) => received.split('HTTP/1.1 200 OK').length - 1;

/** What does not change any more. */
async function atRest(value: () => number): Promise<number> {
  for (let before = -1; ;) {
    if (before === value()) return before;
    before = value();
    await sleep(150);
  }
}

describe('requests whose answers nobody reads', () => {
  const LARGE = 'y'.repeat(100_000);
  const KINDS: [string, (n: number) => string][] = [
    ['GET', (n) => get(`/${n}`)],
    ['GET without a Host, in the fewest bytes', () => 'GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n'],
    ['a method with a small body', (n) => `PUT /${n} HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc`],
    ['a chunked body', (n) => chunked(`/${n}`, ['abc'])],
    ['a body that is asked for', (n) => chunked(`/${n}`, ['abc'], 'Expect: 100-continue\r\n')],
    ['OPTIONS with a body', (n) => `OPTIONS /${n} HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\na`],
  ];

  test.each(KINDS)('are not begun: %s', async (_kind, request) => {
    const { dial, counted } = await start((_, outgoing) => void send(outgoing, LARGE));
    const line = await dial();
    line.socket.pause();
    line.write(Array.from({ length: 1_500 }, (_, n) => request(n)).join(''));
    await vi.waitFor(() => expect(counted.begun).toBeGreaterThan(0), SOON);
    // What the two sockets hold between them, a few megabytes.
    expect(await atRest(() => counted.begun)).toBeLessThan(200);
    expect(counted.most).toBeLessThanOrEqual(16);
    line.socket.resume();
    await vi.waitFor(() => expect(counted.begun).toBe(1_500), SOON);
    // Looking for whole answers after every piece would take long.
    await line.until((text) => text.length >= 1_500 * LARGE.length);
    expect(answersIn(await line.until((text) => answersIn(text) >= 1_500))).toBe(1_500);
  });

  test('HEAD costs no answer, and is answered in turn', async () => {
    const { dial, counted } = await start((_, outgoing) => void setImmediate(() => send(outgoing, LARGE)));
    const line = await dial();
    line.write('HEAD / HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(1_500));
    await line.until((text) => text.split('HTTP/1.1 200 OK').length > 1_500);
    expect(counted.most).toBeLessThanOrEqual(16);
  });

  test('an expectation that cannot be met is refused in turn as well', async () => {
    const { dial } = await start((_, outgoing) => void send(outgoing, 'ok'));
    const line = await dial();
    line.write((get('/', 'Expect: wonders\r\n') + get('/')).repeat(300));
    const received = await line.until((text) => text.split('HTTP/1.1').length > 600);
    expect(received.match(/HTTP\/1.1 \d+/g)).toEqual(
      Array.from({ length: 300 }, () => ['HTTP/1.1 417', 'HTTP/1.1 200']).flat(),
    );
  });

  test('and says so in the common error shape, with the id of the request', async () => {
    const { dial } = await start((_, outgoing) => void send(outgoing, 'ok'));
    const line = await dial();
    line.write(get('/', 'Expect: wonders\r\nX-Request-Id: mine\r\n') + get('/', 'Expect: more\r\n'));
    const received = await line.until((text) => text.split('"code":"invalid_request"}').length > 2);
    expect(received).toContain('"error":"of Expect only 100-continue is understood"');
    expect(received).toContain('Content-Type: application/json');
    expect(received.match(/(?<=X-Request-Id: )\w+/g)).toEqual(['mine', 'made']);
  });

  test.each([
    ['by Node’s server', get('/')],
    ['beside it', 'POST /door HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n'],
  ])('end with their connection after a while: read %s', async (_by, request) => {
    const clock = createManualClock();
    const { dial, counted } = await start((_, outgoing) => void send(outgoing, LARGE), clock);
    const [deaf, slow] = [await dial(), await dial()];
    for (const { socket } of [deaf, slow]) socket.pause();
    for (const line of [deaf, slow]) line.write(request.repeat(1_500));
    await atRest(() => counted.begun);
    await sleep(100);
    // One of them reads now and then, more than the two sockets hold between them.
    for (let wanted = 15_000_000; wanted < 150_000_000; wanted += 15_000_000) {
      await clock.advance(30_000);
      slow.socket.resume();
      await slow.until((text) => text.length >= wanted);
      slow.socket.pause();
    }
    deaf.socket.resume();
    expect(answersIn(await deaf.ended)).toBeLessThan(200);
    slow.socket.resume();
    await slow.until((text) => text.length >= 1_500 * LARGE.length && answersIn(text) >= 1_500);
    expect(answersIn(slow.received())).toBe(1_500);
  });
});

describe('requests sent ahead', () => {
  test.each([
    ['by Node’s server', 'GET / HTTP/1.1\r\nHost: x\r\n\r\n', 'HTTP/1.1 200'],
    ['beside it', 'POST /small HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n', 'HTTP/1.1 201'],
  ])('leave others their turns, however quickly they are answered: read %s', async (_by, request, answer) => {
    const { dial } = await start((_, outgoing) => void send(outgoing, ''));
    let turns = 0;
    let isWatching = true;
    const watch = () => {
      turns += 1;
      if (isWatching) setImmediate(watch);
    };
    const line = await dial();
    watch();
    line.write(request.repeat(800));
    await line.until((text) => text.split(answer).length > 800);
    isWatching = false;
    // A turn for each request, or each dozen of them; not one for all.
    expect(turns).toBeGreaterThan(40);
  });

  test('are answered in their order, at most sixteen at a time, however they come', async () => {
    const random = randomOf(7);
    const { dial, counted } = await start((incoming, outgoing) => void sayLater(incoming, outgoing, random() * 3));
    const requests: string[] = [];
    const answers: string[] = [];
    for (let n = 0; n < 200; n += 1) {
      const kind = Math.floor(random() * 4);
      const body = 'a\r\n\r\n'.repeat(Math.floor(random() * 40));
      if (kind === 0) requests.push(get(`/${n}`));
      else if (kind === 1) requests.push(chunked(`/${n}`, body === '' ? [] : [body, 'b']));
      else requests.push(`PUT /${n} HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
      const byteCount = kind === 0 ? 0 : kind === 1 && body !== '' ? body.length + 1 : body.length;
      answers.push(`<${kind === 0 ? 'GET' : kind === 1 ? 'POST' : 'PUT'} /${n} ${byteCount}>`);
    }
    const script = requests.join('');
    for (const pieceBytes of [script.length, 1_000, 37]) {
      const line = await dial();
      for (let at = 0; at < script.length; at += pieceBytes) {
        line.write(script.slice(at, at + pieceBytes));
        if (pieceBytes < script.length) await sleep(0);
      }
      const received = await line.until((text) => text.split('<').length > 200);
      expect(received.match(/<[^>]*>/g)).toEqual(answers);
    }
    expect(counted.most).toBeLessThanOrEqual(16);
  });

  test('wait outside while one is answered', async () => {
    const { dial } = await start(() => {});
    const line = await dial();
    const takenBytes = await writeUntilFull(line, get('/long').repeat(2_000), 30_000_000);
    expect(takenBytes).toBeLessThan(15_000_000);
  });

  test('a body that looks like the ends of heads comes whole', async () => {
    const { dial } = await start((incoming, outgoing) => void sayLater(incoming, outgoing));
    const line = await dial();
    const body = '\r\n'.repeat(1_000_000);
    line.write(chunked('/', [body, body]) + get('/next'));
    const received = await line.until((text) => text.includes('/next'));
    expect(received.match(/<[^>]*>/g)).toEqual([`<POST / ${2 * body.length}>`, '<GET /next 0>']);
  });

  test('a body faster than its reader waits outside, and what is behind it is answered', async () => {
    let heardBytes = 0;
    const reading = Promise.withResolvers<void>();
    const { dial } = await start(async (incoming, outgoing) => {
      if (incoming.url === '/next') return void send(outgoing, '<next>');
      await reading.promise;
      for await (const piece of incoming) heardBytes += (piece as Buffer).length;
      send(outgoing, `<${heardBytes}>`);
    });
    const line = await dial();
    line.write(
      chunked(
        '/',
        Array.from({ length: 100 }, () => 'z'.repeat(100_000)),
      ) + get('/next'),
    );
    await sleep(300);
    reading.resolve();
    const received = await line.until((text) => text.includes('<next>'));
    expect(received.match(/<[^>]*>/g)).toEqual(['<10000000>', '<next>']);
  });
});

describe('while the server closes', () => {
  test('a request that has arrived is read and answered', async () => {
    const { server, dial } = await start((_, outgoing) => void send(outgoing, 'answered'));
    const line = await dial();
    line.write(get('/first'));
    await line.until((text) => text.includes('answered'));
    line.write(get('/second'));
    const closed = server.close();
    expect(answersIn(await line.until((text) => answersIn(text) === 2))).toBe(2);
    await closed;
    await line.ended;
  });

  test('all requests that arrived together are', async () => {
    const { server, dial, counted } = await start((_, outgoing) => void send(outgoing, 'y'.repeat(10_000)));
    const line = await dial();
    line.write(Array.from({ length: 1_000 }, (_, n) => get(`/${n}`)).join(''));
    await vi.waitFor(() => expect(counted.begun).toBeGreaterThan(0), SOON);
    const closed = server.close();
    expect(answersIn(await line.until((text) => answersIn(text) === 1_000))).toBe(1_000);
    await closed;
  });

  test('an answer leaves completely, however slowly its client reads', async () => {
    const { server, dial, counted } = await start((_, outgoing) => void send(outgoing, 'y'.repeat(20_000_000)));
    const line = await dial();
    line.socket.pause();
    line.write(get('/large') + get('/behind'));
    await vi.waitFor(() => expect(counted.begun).toBeGreaterThan(0), SOON);
    const closed = server.close();
    await sleep(200);
    line.socket.resume();
    expect((await line.until((text) => text.length > 40_000_000)).length).toBeGreaterThan(40_000_000);
    await closed;
  });

  test('connections that are idle end at once', async () => {
    const { server, dial } = await start((_, outgoing) => void send(outgoing, 'answered'));
    const [idle, silent] = [await dial(), await dial()];
    idle.write(get('/first'));
    await idle.until((text) => text.includes('answered'));
    await server.close();
    await Promise.all([idle.ended, silent.ended]);
  });
});
