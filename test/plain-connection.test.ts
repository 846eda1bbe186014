/**
 * Connections whose requests are answered without Node's HTTP server, and the
 * way from there to it. Everything is asked over real sockets.
 */
import { hash } from 'node:crypto';
import type { RequestListener } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { type Clock, systemClock } from '../src/runtime/clock.ts';
import { bodyLimits, readBody } from '../src/http/request/body.ts';
import type { BodyListener, DoorRequest } from '../src/http/request/door-request.ts';
import { createDoorRouter, listenerFor } from '../src/http/ingest/door-router.ts';
import { type Receive } from '../src/http/request/door-request.ts';
import { createAnswerHeaders } from '../src/http/answers/common-headers.ts';
import { isRefusal } from '../src/http/answers/refusals.ts';
import { replyTo } from '../src/http/answers/refusal-reply.ts';
import type { Reply } from '../src/http/answers/reply.ts';
import { type HttpServer, listen } from '../src/http/listener/server.ts';
import { createLog } from '../src/log/log.ts';
import { createFlags } from '../src/pipeline/flags.ts';
import { receiversOf } from './support/receivers.ts';
import { createManualClock, settled } from './support/clock.ts';
import { randomOf } from './support/factory.ts';
import { type Line, dial, writeUntilFull } from './support/line.ts';

const log = createLog('silent');
const SOON = { timeout: 10_000 };
const UNBOUNDED = { grow: () => true, release() {} };
const DISCARD_MS = 500;
const MAX_DISCARD_MS = 30_000;

const open: { server: HttpServer; lines: Line[] }[] = [];
afterEach(async () => {
  for (const { server, lines } of open.splice(0)) {
    for (const { socket } of lines) socket.destroy();
    server.cut();
    await server.close();
  }
});

const reply = (body: string, status = 202): Reply => ({ status, headers: {}, body });

/** Says what it was sent: the target, and a digest of the body. */
async function echo(request: DoorRequest): Promise<Reply> {
  const body = await readBody(request, UNBOUNDED, bodyLimits({ maxBytes: 10_000_000 }));
  if (body === 'aborted') return reply('', 400);
  if (isRefusal(body)) return replyTo(body);
  return reply(`${request.target} ${body.bytes.length} ${hash('md5', body.bytes)}`);
}

const answerOther: RequestListener = ({ method }, answer) =>
  method === 'OPTIONS' ? answer.writeHead(204).end() : answer.writeHead(404, { 'Content-Length': 6 }).end('others');

/** A server whose doors are these, besides `/echo`. */
async function start(
  doors: Record<string, Receive> = {},
  clock: Clock = systemClock,
  more: { keepAliveMs?: number } = {},
) {
  const flags = createFlags({ intake: 'open' }, () => {});
  const observed: string[] = [];
  const doorRouter = createDoorRouter(receiversOf({ '/echo': echo, ...doors }), {
    answerHeaders: createAnswerHeaders({ flags, newRequestId: () => 'made' }, { allowedOrigins: [] }),
    onRequest: ({ method, route, status }) => void observed.push(`${method} ${route} ${status}`),
    clock,
    log,
  });
  const readByNode: string[] = [];
  const listener = listenerFor(doorRouter, { others: answerOther, clock });
  const watched: typeof listener = (incoming, outgoing) => {
    readByNode.push(incoming.url!);
    listener(incoming, outgoing);
  };
  const server = await listen(
    { doorRouter, listener: watched },
    { clock, log },
    { host: '127.0.0.1', port: 0, ...more },
  );
  const lines: Line[] = [];
  open.push({ server, lines });
  return {
    server,
    flags,
    observed,
    /** The targets of requests that Node's server has read. */
    readByNode,
    async dial() {
      const line = await dial(server.port);
      lines.push(line);
      return line;
    },
  };
}

const post = (path: string, body = '', more = '') =>
  `POST ${path} HTTP/1.1\r\nHost: x\r\nContent-Length: ${Buffer.byteLength(body)}\r\n${more}\r\n${body}`;

/** The answers in what came, as status and body. */
function answersIn(received: string): string[] {
  const answers: string[] = [];
  for (let rest = received; rest !== '';) {
    const end = rest.indexOf('\r\n\r\n') + 4;
    const length = /^content-length: (\d+)/im.exec(rest.slice(0, end))?.[1] ?? '0';
    if (end < 4 || rest.length < end + Number(length)) break;
    answers.push(`${rest.slice(9, 12)} ${rest.slice(end, end + Number(length))}`);
    rest = rest.slice(end + Number(length));
  }
  return answers;
}

const said = (path: string, body: string) => `202 ${path} ${body.length} ${hash('md5', body)}`;

/** Resolves with the first so many answers; fails when the connection ends before. */
async function answered(line: Line, count: number): Promise<string[]> {
  const received = await line.until((text) => answersIn(text).length >= count);
  const answers = answersIn(received);
  expect(answers).toHaveLength(count);
  return answers;
}

describe('an answer', () => {
  test('has what every answer has, and says that the connection is kept', async () => {
    const line = await (await start()).dial();
    line.write(post('/echo?x=1', 'hello', 'X-Request-Id: mine\r\n'));
    await answered(line, 1);
    const [head = '', body] = line.received().split('\r\n\r\n');
    const [first, ...headers] = head.split('\r\n');
    expect([first, body]).toEqual(['HTTP/1.1 202 Accepted', `/echo?x=1 5 ${hash('md5', 'hello')}`]);
    const date = headers.find((line) => line.startsWith('Date: '))!.slice(6);
    expect(new Date(date).toUTCString()).toBe(date);
    expect(Math.abs(Date.parse(date) - Date.now())).toBeLessThan(60_000);
    expect(headers.filter((line) => !line.startsWith('Date: ')).sort()).toEqual([
      'Access-Control-Allow-Origin: *',
      'Access-Control-Expose-Headers: Retry-After,X-Request-Id,Weir-Ack,Weir-Rejected',
      'Cache-Control: no-store',
      'Connection: keep-alive',
      'Content-Length: 44',
      'Keep-Alive: timeout=65',
      'Vary: Origin',
      'X-Content-Type-Options: nosniff',
      'X-Request-Id: mine',
    ]);
  });

  test('has the same headers as one that Node writes', async () => {
    const { dial } = await start();
    const names = async (more: string) => {
      const line = await dial();
      line.write(post('/echo', 'hello', more));
      await answered(line, 1);
      const [head] = line.received().split('\r\n\r\n');
      return head!
        .toLowerCase()
        .split('\r\n')
        .map((header) => header.replace(/^date: .*/, 'date'))
        .sort();
    };
    expect(await names('')).toEqual(await names('Proxy-Connection: keep-alive\r\n'));
  });

  test('that is no ASCII arrives as UTF-8, with its length in bytes', async () => {
    const line = await (await start({ '/door': () => reply('é😀') })).dial();
    line.write(post('/door') + post('/door'));
    await line.until((text) => text.split('HTTP/1.1').length === 3);
    const bytes = Buffer.from(line.received(), 'latin1').toString();
    expect(bytes.match(/Content-Length: 6\r\n[^]*?\r\n\r\né😀/g)).toHaveLength(2);
  });

  test('to a browser that asks first has no body, and the connection goes on', async () => {
    const { dial, observed, readByNode } = await start();
    const line = await dial();
    line.write('OPTIONS /anything HTTP/1.1\r\nHost: x\r\nOrigin: https://shop.example\r\n\r\n' + post('/echo', 'a'));
    expect(await answered(line, 2)).toEqual(['204 ', said('/echo', 'a')]);
    const [head = ''] = line.received().split('\r\n\r\n');
    expect(head).toMatch(/^HTTP\/1.1 204 No Content\r\n/);
    expect(head).toMatch(/^Access-Control-Allow-Methods: GET,POST,OPTIONS\r$/m);
    expect(head).toMatch(/^Access-Control-Allow-Origin: https:\/\/shop\.example\r$/m);
    expect(head).toMatch(/^Access-Control-Allow-Credentials: true\r$/m);
    expect(head).not.toMatch(/^Content-Length/im);
    expect([observed, readByNode]).toEqual([['OPTIONS other 204', 'POST /echo 202'], []]);
  });
});

describe('what is answered does not depend on how the bytes come', () => {
  const SCRIPT = [
    post('/echo', 'one'),
    post('/echo?empty'),
    'OPTIONS /echo HTTP/1.1\r\nHost: x\r\n\r\n',
    post('/echo', 'a'.repeat(300)),
    post('/refusing', 'b'.repeat(40)),
    post('/echo', 'two', 'X-Other: y\r\n'),
    'POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n',
    post('/echo', 'three'),
    'GET /elsewhere HTTP/1.1\r\nHost: x\r\n\r\n',
    post('/echo', 'four'),
  ].join('');
  const ANSWERS = [
    said('/echo', 'one'),
    said('/echo?empty', ''),
    '204 ',
    said('/echo', 'a'.repeat(300)),
    '413 ',
    said('/echo', 'two'),
    said('/echo', 'abc'),
    said('/echo', 'three'),
    '404 others',
    said('/echo', 'four'),
  ];
  const refuseUnread: Receive = () => reply('', 413);

  test('in one piece', async () => {
    const { dial, readByNode } = await start({ '/refusing': refuseUnread });
    const line = await dial();
    line.write(SCRIPT);
    expect(await answered(line, ANSWERS.length)).toEqual(ANSWERS);
    expect(readByNode).toEqual(['/echo', '/echo', '/elsewhere', '/echo']);
  });

  test('in two, cut anywhere', async () => {
    const { dial } = await start({ '/refusing': refuseUnread });
    const cuts = Array.from({ length: SCRIPT.length - 1 }, (_, index) => index + 1);
    for (let from = 0; from < cuts.length; from += 100) {
      await Promise.all(
        cuts.slice(from, from + 100).map(async (cut) => {
          const line = await dial();
          line.write(SCRIPT.slice(0, cut));
          await sleep(5);
          line.write(SCRIPT.slice(cut));
          expect(await answered(line, ANSWERS.length), `cut at ${cut}`).toEqual(ANSWERS);
          line.socket.destroy();
        }),
      );
    }
  });

  test('byte by byte', async () => {
    const { dial } = await start();
    const line = await dial();
    line.socket.setNoDelay(true);
    for (const byte of post('/echo', 'slow') + post('/echo', 'and steady')) {
      line.write(byte);
      await settled();
    }
    expect(await answered(line, 2)).toEqual([said('/echo', 'slow'), said('/echo', 'and steady')]);
  });

  test('a body of megabytes comes whole, and so does the request behind it', async () => {
    const { dial, readByNode } = await start();
    const line = await dial();
    const body = 'abcdefgh'.repeat(500_000);
    line.write(post('/echo', body) + post('/echo', 'next'));
    expect(await answered(line, 2)).toEqual([said('/echo', body), said('/echo', 'next')]);
    expect(readByNode).toEqual([]);
  });
});

describe('many requests at once', () => {
  test('are answered one by one, in their order', async () => {
    const random = randomOf(1);
    let underway = 0;
    const slowly: Receive = async (request) => {
      underway += 1;
      expect(underway).toBe(1);
      if (random() < 0.5) await sleep(random() * 3);
      underway -= 1;
      return echo(request);
    };
    const { dial, readByNode } = await start({ '/slow': slowly });
    const line = await dial();
    const bodies = Array.from({ length: 300 }, (_, index) => 'x'.repeat(Math.floor(random() * 900)) + index);
    line.write(bodies.map((body) => post('/slow', body)).join(''));
    expect(await answered(line, bodies.length)).toEqual(bodies.map((body) => said('/slow', body)));
    expect(readByNode).toEqual([]);
  });

  test('that are answered at once do not pile up on the stack', async () => {
    const stackTraceLimit = Error.stackTraceLimit;
    Error.stackTraceLimit = 1_000;
    let deepest = 0;
    const { dial } = await start({
      '/door': () => {
        deepest = Math.max(deepest, new Error('here').stack!.split('\n').length);
        return reply('ok');
      },
    });
    const line = await dial();
    line.write(post('/door').repeat(2_000));
    expect(new Set(await answered(line, 2_000))).toEqual(new Set(['202 ok']));
    Error.stackTraceLimit = stackTraceLimit;
    expect(deepest).toBeGreaterThan(5);
    expect(deepest).toBeLessThan(50);
  });

  test('wait outside while one is answered', async () => {
    const { dial } = await start({ '/long': () => new Promise(() => {}) });
    const line = await dial();
    const takenBytes = await writeUntilFull(line, post('/long').repeat(2_000), 30_000_000);
    // What the two sockets hold between them.
    expect(takenBytes).toBeLessThan(15_000_000);
  });

  test('from a client that does not read its answers are not begun', async () => {
    let begun = 0;
    const large = 'y'.repeat(100_000);
    const { dial } = await start({
      '/large': () => {
        begun += 1;
        return reply(large);
      },
    });
    const line = await dial();
    line.socket.pause();
    line.write(post('/large').repeat(1_000));
    await vi.waitFor(() => expect(begun).toBeGreaterThan(0), SOON);
    let before = -1;
    while (before !== begun) {
      before = begun;
      await sleep(100);
    }
    // What the two sockets hold between them, a few megabytes, and one more.
    expect(begun).toBeLessThan(300);
    line.socket.resume();
    // A few hundred bytes of headers each; looking for whole answers after every piece would take long.
    await line.until((text) => text.length >= 1_000 * (large.length + 200));
    expect(await answered(line, 1_000)).toHaveLength(1_000);
  });
});

describe('a body that nobody wants', () => {
  const refuseFirstPiece: Receive = async ({ body }) => {
    await new Promise<void>((resolve) => body.listen({ chunk: () => resolve(), end() {}, gone() {} }));
    body.leave();
    return reply('', 413);
  };

  test('is discarded, and the next request is answered', async () => {
    const { dial, readByNode } = await start({ '/refusing': refuseFirstPiece, '/unread': () => reply('', 401) });
    const line = await dial();
    const body = 'z'.repeat(3_000_000);
    line.write(post('/refusing', body) + post('/unread', body) + post('/echo', 'next'));
    expect(await answered(line, 3)).toEqual(['413 ', '401 ', said('/echo', 'next')]);
    expect(readByNode).toEqual([]);
  });

  test('is not waited for longer than a moment', async () => {
    const clock = createManualClock();
    const { dial } = await start({ '/unread': () => reply('', 401) }, clock);
    const line = await dial();
    line.write(post('/unread', 'never').slice(0, -1));
    expect(await answered(line, 1)).toEqual(['401 ']);
    await clock.advance(DISCARD_MS - 1);
    await sleep(50);
    expect(line.socket.readableEnded).toBe(false);
    await clock.advance(1);
    await line.ended;
  });

  test('is waited for as long as any other, however soon it comes after another', async () => {
    const clock = createManualClock();
    const { dial } = await start({ '/unread': () => reply('', 401) }, clock);
    const line = await dial();
    line.write(post('/unread', 'first').slice(0, -1));
    await answered(line, 1);
    await clock.advance(DISCARD_MS - 1);
    line.write(`t${post('/unread', 'second').slice(0, -1)}`);
    await answered(line, 2);
    await clock.advance(DISCARD_MS - 1);
    line.write(`d${post('/echo', 'next')}`);
    expect(await answered(line, 3)).toEqual(['401 ', '401 ', said('/echo', 'next')]);
  });

  const chunked = (path: string, body: string) =>
    `POST ${path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`;

  test.each([
    ['itself', post],
    ["Node's server", chunked],
  ])('is read to its end by %s when it has arrived, however late that is', async (_, message) => {
    const clock = createManualClock();
    const { dial, readByNode } = await start(
      {
        // What is read in the same turn comes after that.
        '/unread': () => {
          process.nextTick(() => void clock.advance(DISCARD_MS));
          return reply('', 401);
        },
      },
      clock,
    );
    const line = await dial();
    line.write(message('/unread', 'z'.repeat(300_000)) + post('/echo', 'next'));
    expect(await answered(line, 2)).toEqual(['401 ', said('/echo', 'next')]);
    expect(readByNode).toEqual(message === post ? [] : ['/unread', '/echo']);
  });

  test('is waited for as long as some of it comes, but not for ever', async () => {
    const clock = createManualClock();
    const { dial } = await start({ '/unread': () => reply('', 401) }, clock);
    const [line, other] = [await dial(), await dial()];
    line.write(post('/unread', 'z'.repeat(1_000)).slice(0, -1_000));
    await answered(line, 1);
    line.socket.setNoDelay(true);
    let waitedMs = 0;
    for (; !line.socket.readableEnded && waitedMs < 10 * MAX_DISCARD_MS; waitedMs += DISCARD_MS) {
      line.write('z');
      other.write(post('/echo'));
      // Written later, and so read later.
      await answered(other, 1 + waitedMs / DISCARD_MS);
      await clock.advance(DISCARD_MS);
    }
    await line.ended;
    expect(waitedMs).toBeGreaterThanOrEqual(MAX_DISCARD_MS);
  });

  test('is not discarded without end', async () => {
    const { dial } = await start({ '/unread': () => reply('', 401) }, createManualClock());
    const line = await dial();
    line.write(`POST /unread HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\n`);
    await answered(line, 1);
    const megabyte = Buffer.alloc(1024 * 1024);
    for (let sent = 0; sent < 80 && !line.socket.destroyed; sent += 1) line.socket.write(megabyte);
    await line.ended;
  });

  test('whose rest came in time costs the next request nothing, however long that takes', async () => {
    const clock = createManualClock();
    const { dial } = await start({ '/unread': () => reply('', 401) }, clock);
    const line = await dial();
    line.write(post('/unread', 'late').slice(0, -1));
    await answered(line, 1);
    line.write(`e${post('/echo', 'on its way').slice(0, -1)}`);
    await sleep(50);
    await clock.advance(2 * DISCARD_MS);
    line.write('y');
    expect(await answered(line, 2)).toEqual(['401 ', said('/echo', 'on its way')]);
  });
});

describe('a body faster than its reader', () => {
  test('waits outside', async () => {
    let heardBytes = 0;
    const held = Promise.withResolvers<DoorRequest>();
    const done = Promise.withResolvers<Reply>();
    const { dial } = await start({
      '/slow': (request) => {
        held.resolve(request);
        request.body.listen({
          chunk(bytes) {
            heardBytes += bytes.length;
            request.body.pause();
          },
          end: () => done.resolve(reply(String(heardBytes))),
          gone() {},
        });
        return done.promise;
      },
    });
    const line = await dial();
    line.write(post('/slow', 'w'.repeat(5_000_000)));
    const { body } = await held.promise;
    await vi.waitFor(() => expect(heardBytes).toBeGreaterThan(0), SOON);
    await sleep(100);
    expect(heardBytes).toBeLessThanOrEqual(64 * 1024);
    const release = setInterval(() => body.resume(), 0);
    expect(await answered(line, 1)).toEqual(['202 5000000']);
    clearInterval(release);
  });

  test('does not hold up the next one when its reader stopped at its end', async () => {
    const stopping: Receive = ({ body }) =>
      new Promise((resolve) => {
        body.listen({ chunk: () => body.pause(), end: () => resolve(reply('')), gone() {} });
      });
    const { dial } = await start({ '/stopping': stopping });
    const line = await dial();
    const long = 'u'.repeat(200_000);
    line.write(post('/stopping', 'short'));
    await answered(line, 1);
    line.write(post('/echo', long));
    expect(await answered(line, 2)).toEqual(['202 ', said('/echo', long)]);
  });

  test('that listens late misses nothing', async () => {
    const listening: Receive = async (request) => {
      await sleep(30);
      return echo(request);
    };
    const { dial, readByNode } = await start({ '/late': listening });
    const line = await dial();
    const body = 'v'.repeat(1_000_000);
    line.write(post('/late', body) + post('/late', 'small') + post('/late'));
    expect(await answered(line, 3)).toEqual([said('/late', body), said('/late', 'small'), said('/late', '')]);
    expect(readByNode).toEqual([]);
  });
});

describe('a client that leaves', () => {
  const hear = () => {
    const heard: string[] = [];
    const listener: BodyListener = {
      chunk: (bytes) => void heard.push(`${bytes.length} bytes`),
      end: () => void heard.push('end'),
      gone: () => void heard.push('gone'),
    };
    return { heard, listener };
  };

  test.each(['closes', 'resets'])('in the middle of its body: who hears it is told (%s)', async (how) => {
    const { heard, listener } = hear();
    const { dial } = await start({
      '/hearing': ({ body }) => {
        body.listen(listener);
        return new Promise(() => {});
      },
    });
    const line = await dial();
    line.write(post('/hearing', 'half').slice(0, -2));
    await vi.waitFor(() => expect(heard).toEqual(['2 bytes']), SOON);
    if (how === 'closes') line.socket.end();
    else line.socket.resetAndDestroy();
    await vi.waitFor(() => expect(heard).toEqual(['2 bytes', 'gone']), SOON);
  });

  test('after its answer: who listened before is not told', async () => {
    const { heard, listener } = hear();
    const { dial } = await start({
      '/early': ({ body }) => {
        body.listen(listener);
        return reply('enough');
      },
    });
    const line = await dial();
    line.write(post('/early', 'body').slice(0, -2));
    await answered(line, 1);
    line.write('d');
    await sleep(20);
    line.socket.resetAndDestroy();
    await sleep(50);
    expect(heard).toEqual(['2 bytes']);
  });

  test('before anybody listened: they are told when they do', async () => {
    const { heard, listener } = hear();
    const left = Promise.withResolvers<void>();
    const { dial } = await start({
      '/late': async ({ body, onGone }) => {
        onGone(left.resolve);
        await left.promise;
        body.listen(listener);
        return reply('');
      },
    });
    const line = await dial();
    line.write(post('/late', 'body'));
    await sleep(50);
    line.socket.resetAndDestroy();
    await vi.waitFor(() => expect(heard).toEqual(['gone']), SOON);
  });

  test('while its answer is made: whoever asked is told, once, and not who does not ask any more', async () => {
    const told: string[] = [];
    const { dial } = await start({
      '/asking': ({ onGone }) => {
        onGone(() => told.push('asking'));
        return new Promise(() => {});
      },
      '/done': ({ onGone }) => {
        onGone(() => told.push('done'))();
        return new Promise(() => {});
      },
      '/answered': ({ onGone }) => {
        onGone(() => told.push('answered'));
        return reply('');
      },
    });
    const [asking, done, satisfied] = [await dial(), await dial(), await dial()];
    asking.write(post('/asking'));
    done.write(post('/done'));
    satisfied.write(post('/answered'));
    await answered(satisfied, 1);
    await sleep(50);
    for (const { socket } of [done, satisfied, asking]) socket.resetAndDestroy();
    await vi.waitFor(() => expect(told).toEqual(['asking']), SOON);
    await sleep(50);
    expect(told).toEqual(['asking']);
  });

  test('only with its half gets its answer, and then the end', async () => {
    const slowly: Receive = async (request) => {
      await sleep(50);
      return echo(request);
    };
    const { dial } = await start({ '/slow': slowly });
    const line = await dial();
    line.write(post('/slow', 'last words'));
    line.socket.end();
    expect(answersIn(await line.ended)).toEqual([said('/slow', 'last words')]);
    expect(line.received()).not.toMatch(/keep-alive/i);
  });

  test('between two requests ends the connection', async () => {
    const { dial } = await start();
    const line = await dial();
    line.write(post('/echo'));
    await answered(line, 1);
    line.socket.end();
    await line.ended;
  });
});

describe('a client that keeps Weir waiting', () => {
  const LATE_CHECK_MS = 5_000;
  const isOver = (line: Line) => line.socket.readableEnded || line.socket.destroyed;

  test.each<[string, string, number, string | null]>([
    ['says nothing', '', 15_000, 'request_timeout'],
    ['does not finish its body', post('/echo', 'body').slice(0, -1), 60_000, 'request_timeout'],
    ['asks nothing more', post('/echo'), 65_000, null],
  ])('and %s is given up in time, not before', async (_name, sent, patienceMs, code) => {
    const clock = createManualClock();
    const { dial, observed } = await start({}, clock);
    const line = await dial();
    line.write(sent);
    const answers = sent === post('/echo') ? 1 : 0;
    await answered(line, answers);
    await sleep(50);
    await clock.advance(patienceMs);
    await sleep(50);
    expect(isOver(line)).toBe(false);
    await clock.advance(LATE_CHECK_MS);
    const received = await line.ended;
    if (code === null) expect(answersIn(received)).toHaveLength(1);
    else {
      expect(received).toMatch(/^HTTP\/1.1 408 /);
      expect(JSON.parse(answersIn(received)[0]!.slice(4))).toMatchObject({ code });
    }
    expect(observed).toEqual(sent === '' ? [] : [`POST /echo ${answers === 1 ? 202 : 400}`]);
  });

  test.each([
    ['here', post('/echo')],
    ['by Node', 'GET /elsewhere HTTP/1.1\r\nHost: x\r\n\r\n'],
  ])('is told how long a connection may be idle, whoever reads it: %s', async (_who, request) => {
    const { dial } = await start({}, systemClock, { keepAliveMs: 620_500 });
    const line = await dial();
    line.write(request);
    await answered(line, 1);
    expect(line.received()).toMatch(/^Keep-Alive: timeout=620\r$/im);
  });

  test('and sends its request just before the idle time is over is not cut, however late that is noticed', async () => {
    const clock = createManualClock();
    const { dial } = await start({}, clock, { keepAliveMs: 100_000 });
    const line = await dial();
    line.write(post('/echo', 'one'));
    await answered(line, 1);
    await clock.advance(100_000);
    line.write(post('/echo', 'two'));
    await answered(line, 2);
    await clock.advance(LATE_CHECK_MS);
    line.write(post('/echo', 'three'));
    expect(await answered(line, 3)).toHaveLength(3);
  });

  test('has its time for each request anew', async () => {
    const clock = createManualClock();
    const { dial } = await start({}, clock);
    const line = await dial();
    line.write(post('/echo', 'one'));
    await answered(line, 1);
    await clock.advance(55_000);
    line.write(post('/echo', 'two').slice(0, -1));
    await sleep(50);
    await clock.advance(55_000);
    line.write('o');
    expect(await answered(line, 2)).toEqual([said('/echo', 'one'), said('/echo', 'two')]);
  });

  test('is not given up while Weir keeps it waiting', async () => {
    const clock = createManualClock();
    const done = Promise.withResolvers<Reply>();
    const { dial } = await start({ '/long': () => done.promise }, clock);
    const line = await dial();
    line.write(post('/long', 'body'));
    await sleep(50);
    await clock.advance(600_000);
    done.resolve(reply('at last'));
    expect(await answered(line, 1)).toEqual(['202 at last']);
    await clock.advance(LATE_CHECK_MS);
    line.write(post('/echo', 'and on'));
    expect(await answered(line, 2)).toEqual(['202 at last', said('/echo', 'and on')]);
  });
});

describe('the end of the service', () => {
  test('ends connections that are between requests, and others with their answers', async () => {
    const done = Promise.withResolvers<Reply>();
    const { dial, server, flags } = await start({ '/long': () => done.promise });
    const [idle, silent, busy, half] = [await dial(), await dial(), await dial(), await dial()];
    idle.write(post('/echo'));
    busy.write(post('/long'));
    half.write(post('/echo', 'half').slice(0, -1));
    await answered(idle, 1);
    await sleep(50);
    flags.beginDraining();
    const closed = server.close();
    await Promise.all([idle.ended, silent.ended]);
    expect([busy.socket.readableEnded, half.socket.readableEnded]).toEqual([false, false]);
    half.write('f');
    done.resolve(reply('done'));
    for (const [line, answer] of [
      [busy, '202 done'],
      [half, said('/echo', 'half')],
    ] as const) {
      const received = await line.ended;
      expect(answersIn(received)).toEqual([answer]);
      expect(received).toMatch(/^Connection: close\r$/m);
      expect(received).not.toMatch(/keep-alive/i);
    }
    await closed;
  });

  test('begins what was sent ahead by a client that reads its answers late', async () => {
    let begun = 0;
    const { dial, server } = await start({
      '/large': () => {
        begun += 1;
        return reply('y'.repeat(5_000_000));
      },
    });
    const line = await dial();
    line.socket.pause();
    line.write(post('/large').repeat(10));
    await vi.waitFor(() => expect(begun).toBeGreaterThan(0), SOON);
    const closed = server.close();
    await sleep(100);
    line.socket.resume();
    await line.ended;
    expect(begun).toBe(10);
    await closed;
  });

  test('cuts what is left', async () => {
    const { dial, server } = await start({ '/long': () => new Promise(() => {}) });
    const [plain, handed] = [await dial(), await dial()];
    plain.write(post('/long'));
    handed.write(post('/long', '', 'Proxy-Connection: keep-alive\r\n'));
    await sleep(50);
    const closed = server.close();
    server.cut();
    await Promise.all([plain.ended, handed.ended, closed]);
  });
});

describe('a hundred connections at once', () => {
  /** A door that takes half a millisecond for each request, and notes which turn of the event loop it was in. */
  async function startBusy() {
    // Of new connections only one is accepted in a turn: these have been answered before.
    const seen = { turn: 0, inTurns: [] as number[] };
    const busy = () => {
      keepBusy(0.5);
      seen.inTurns.push(seen.turn);
      return reply('ok');
    };
    const { server, dial } = await start({ '/busy': busy });
    const lines = await Promise.all(Array.from({ length: 100 }, dial));
    sendAll(lines);
    await Promise.all(lines.map((line) => answered(line, 1)));
    seen.inTurns = [];
    return { server, seen, lines };
  }

  function keepBusy(ms: number) {
    for (const until = performance.now() + ms; performance.now() < until;);
  }

  /** Everything has arrived before any of it is read. */
  function sendAll(lines: readonly Line[]) {
    for (const line of lines) line.write(post('/busy'));
    keepBusy(50);
  }

  test('have turns of the event loop between their requests', async () => {
    const { lines, seen } = await startBusy();
    const over = new AbortController();
    const count = () => {
      seen.turn += 1;
      if (!over.signal.aborted) setImmediate(count);
    };
    setImmediate(count);
    sendAll(lines);
    await Promise.all(lines.map((line) => answered(line, 2)));
    over.abort();
    expect(seen.inTurns).toHaveLength(100);
    const most = Math.max(...seen.inTurns.map((turn) => seen.inTurns.filter((other) => other === turn).length));
    expect(most).toBeLessThan(10);
  });

  test('are answered before a server that closes ends them', async () => {
    const { server, lines } = await startBusy();
    sendAll(lines);
    await server.close();
    const all = await Promise.all(lines.map((line) => line.ended));
    expect(all.map((received) => answersIn(received).length)).toEqual(lines.map(() => 2));
  });
});
