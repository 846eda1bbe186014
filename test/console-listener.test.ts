import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type Socket, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Hono } from 'hono';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { ConsoleEnv } from '../src/console/env.ts';
import { type ListenerLimits, listenConsole } from '../src/console/listener.ts';
import { pageFiles } from '../src/console/page-files.ts';
import { CannotListen } from '../src/http/listener/server.ts';
import { createLog } from '../src/log/log.ts';
import { freePort } from './support/ports.ts';

const LIMITS: ListenerLimits = { maxConnections: 4, headMs: 200, requestMs: 400, checkMs: 50 };
const log = createLog('silent');
const ends: (() => Promise<unknown> | void)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).toReversed()) await end();
});

async function listen(limits: ListenerLimits = LIMITS, port: number | 'auto' = 'auto') {
  const app = new Hono<ConsoleEnv>()
    .onError((_, c) => c.text('failed', 500))
    .get('/', (c) => c.text('here'))
    .get('/stream', () => {
      const body = new ReadableStream({ start: (controller) => controller.enqueue(new TextEncoder().encode('first')) });
      return new Response(body, { headers: { 'Content-Type': 'text/event-stream' } });
    })
    .post('/', async (c) => c.text(await c.req.text()));
  const server = await listenConsole(() => app, { host: '127.0.0.1', port, log, limits });
  ends.push(() => server.close().catch(() => {}));
  return server;
}

function open(port: number): Socket {
  const socket = connect(port, '127.0.0.1').on('error', () => {});
  ends.push(() => void socket.destroy());
  return socket;
}

async function answerOn(socket: Socket, bytes: string): Promise<string> {
  let text = '';
  socket.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
  socket.write(bytes);
  await new Promise((resolve) => socket.once('close', resolve));
  return text;
}

const WHOLE = 'GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n';

describe('a client that takes its time', () => {
  test('over the head of its request is cut off', async () => {
    const { port } = await listen();
    const answer = await answerOn(open(port), 'GET / HTTP/1.1\r\nHost: h\r\nX-Slow: ');
    expect(answer).not.toContain('here');
  });

  test('over the body of its request is cut off', async () => {
    const { port } = await listen();
    const answer = await answerOn(open(port), 'POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nslow');
    expect(answer).not.toMatch(/^HTTP\/1\.1 200/);
  });

  test('to read a stream is not', async () => {
    const { port } = await listen();
    const socket = open(port);
    socket.write('GET /stream HTTP/1.1\r\nHost: h\r\n\r\n');
    await once(socket, 'data');
    // Every limit has passed for a client that is slow to ask.
    expect(await answerOn(open(port), 'GET / HTTP/1.1\r\n')).not.toContain('here');
    expect(await answerOn(open(port), 'POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n')).not.toContain('here');
    expect(socket.closed).toBe(false);
  });
});

test('more connections than allowed are cut, and one that ends makes room', async () => {
  const { port } = await listen({ ...LIMITS, headMs: 60_000, requestMs: 60_000 });
  const held = Array.from({ length: 4 }, () => open(port));
  await Promise.all(held.map((socket) => once(socket, 'connect')));
  for (const socket of held) socket.write('GET / HTTP/1.1\r\n');
  expect(await answerOn(open(port), WHOLE)).toBe('');
  held[0]!.destroy();
  let answer = '';
  while (answer === '') answer = await answerOn(open(port), WHOLE);
  expect(answer).toContain('here');
});

describe('the port', () => {
  test('that is named and taken is not exchanged for another, and the message names its setting', async () => {
    const port = freePort();
    await listen(LIMITS, port);
    const failure = await listen(LIMITS, port).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(CannotListen);
    expect((failure as Error).message).toContain('set CONSOLE_PORT to another port');
  });

  test('is the next free one from 8081 where none is named', async () => {
    const taken = createServer();
    taken.listen(8081, '127.0.0.1');
    // Somebody else may have it already, which is as good.
    await Promise.race([once(taken, 'listening'), once(taken, 'error')]);
    ends.push(() => void taken.close());
    const { port } = await listen();
    expect(port).toBeGreaterThan(8081);
    expect(port).toBeLessThan(8181);
  });
});

test('closing ends what is under way', async () => {
  const server = await listen();
  const socket = open(server.port);
  socket.write('GET /stream HTTP/1.1\r\nHost: h\r\n\r\n');
  await once(socket, 'data');
  const closed = once(socket, 'close');
  await server.close();
  await closed;
});

describe('the files of the page', () => {
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'weir-page-'));
    ends.push(() => rmSync(directory, { recursive: true, force: true }));
  });
  const build = () => {
    mkdirSync(join(directory, 'assets'));
    writeFileSync(join(directory, 'index.html'), '<!doctype html>');
    writeFileSync(join(directory, 'assets/main-abc.js'), 'code');
    writeFileSync(join(directory, 'assets/main-abc.js.br'), 'compressed');
    writeFileSync(join(directory, 'assets/main-abc.js.map'), 'map');
    writeFileSync(join(directory, '.env'), 'SECRET=1');
  };
  const get = async (path: string, headers: Record<string, string> = {}) => {
    const answer = await files.request(`http://x${path}`, { headers });
    return { status: answer.status, headers: answer.headers, text: await answer.text() };
  };
  let files: Hono<ConsoleEnv>;
  beforeEach(() => {
    files = pageFiles(directory);
  });

  test('are those of the build, and no other', async () => {
    build();
    expect((await get('/')).text).toBe('<!doctype html>');
    expect((await get('/assets/main-abc.js')).text).toBe('code');
    for (const path of [
      '/.env',
      '/assets',
      '/assets/',
      '/assets/main-abc.js.map',
      '/assets/main-abc.js.br',
      '/main-abc.js',
    ]) {
      expect((await get(path)).status, path).toBe(404);
    }
  });

  test('that are named after their contents may be kept, the page may not', async () => {
    build();
    expect((await get('/assets/main-abc.js')).headers.get('Cache-Control')).toContain('immutable');
    expect((await get('/')).headers.get('Cache-Control')).toBeNull();
  });

  test('are compressed for who takes it', async () => {
    build();
    const compressed = await get('/assets/main-abc.js', { 'Accept-Encoding': 'gzip, br' });
    expect(compressed.text).toBe('compressed');
    expect(compressed.headers.get('Content-Encoding')).toBe('br');
    expect(compressed.headers.get('Vary')).toBe('Accept-Encoding');
    expect(compressed.headers.get('Content-Type')).toBe('text/javascript; charset=utf-8');
  });

  test('are said to be missing until they are built', async () => {
    expect(await get('/')).toMatchObject({ status: 503, text: expect.stringContaining('npm run build') });
    build();
    expect((await get('/')).status).toBe(200);
  });
});
