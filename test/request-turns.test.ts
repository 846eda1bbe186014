/** Many requests at once, and everything else that the event loop has to do meanwhile. */
import { afterEach, describe, expect, test } from 'vitest';
import { createAnswerHeaders } from '../src/http/answers/common-headers.ts';
import { createDoorRouter, listenerFor } from '../src/http/ingest/door-router.ts';
import { createRequestTurns } from '../src/http/listener/request-turns.ts';
import { type HttpServer, listen } from '../src/http/listener/server.ts';
import type { DoorRequest } from '../src/http/request/door-request.ts';
import { createLog } from '../src/log/log.ts';
import { createFlags } from '../src/pipeline/flags.ts';
import { systemClock } from '../src/runtime/clock.ts';
import { type Line, dial } from './support/line.ts';
import { receiversOf } from './support/receivers.ts';

const nextTurn = () => systemClock.turn();

describe('a turn', () => {
  /** Requests that take 0.3 ms each. */
  function begun() {
    let elapsed = 0;
    const turns = createRequestTurns({ clock: { elapsed: () => elapsed } });
    const order: string[] = [];
    const begin = (name: string) => {
      elapsed += 0.3;
      order.push(name);
    };
    return {
      order,
      arrive(name: string) {
        if (turns.take(() => begin(name))) begin(name);
      },
    };
  }

  test('has the requests that fit into a millisecond, the others have the next ones, in order of arrival', async () => {
    const { order, arrive } = begun();
    for (const name of 'abcdefghij') arrive(name);
    expect(order.join('')).toBe('abcd');
    await nextTurn();
    expect(order.join('')).toBe('abcdefgh');
    await nextTurn();
    expect(order.join('')).toBe('abcdefghij');
  });

  test('has nobody who came after those that wait', async () => {
    const { order, arrive } = begun();
    for (const name of 'abcdef') arrive(name);
    await nextTurn();
    arrive('g');
    expect(order.join('')).toBe('abcdefg');
    for (const name of 'hijkl') arrive(name);
    arrive('m');
    await nextTurn();
    arrive('n');
    await nextTurn();
    await nextTurn();
    expect(order.join('')).toBe('abcdefghijklmn');
  });

  test('that is over leaves nothing behind', async () => {
    const { order, arrive } = begun();
    for (const name of 'abcd') {
      arrive(name);
      arrive(name);
      await nextTurn();
    }
    expect(order.join('')).toBe('aabbccdd');
  });
});

describe('over a hundred connections', () => {
  const open: { server: HttpServer; lines: Line[] }[] = [];
  afterEach(async () => {
    for (const { server, lines } of open.splice(0)) {
      for (const { socket } of lines) socket.destroy();
      server.cut();
      await server.close();
    }
  });

  /** A door that takes half a millisecond for each request, and tells which turn of the event loop it was in. */
  async function start() {
    const flags = createFlags({ intake: 'open' }, () => {});
    const counting = { turn: 0, isOver: false };
    const inTurns: number[] = [];
    const busy = (_request: DoorRequest) => {
      const until = performance.now() + 0.5;
      while (performance.now() < until);
      inTurns.push(counting.turn);
      return { status: 202, headers: {}, body: 'ok' };
    };
    const log = createLog('silent');
    const doorRouter = createDoorRouter(receiversOf({ '/busy': busy }), {
      answerHeaders: createAnswerHeaders({ flags, newRequestId: () => 'made' }, { allowedOrigins: [] }),
      onRequest: () => {},
      clock: systemClock,
      log,
    });
    const listener = listenerFor(doorRouter, {
      others: (_, answer) => answer.writeHead(404).end(),
      clock: systemClock,
    });
    const server = await listen({ doorRouter, listener }, { clock: systemClock, log }, { host: '127.0.0.1', port: 0 });
    const lines = await Promise.all(Array.from({ length: 100 }, () => dial(server.port)));
    open.push({ server, lines });
    return { server, lines, inTurns, counting };
  }

  const request = 'POST /busy HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}';

  /** Everything has arrived before any of it is read. */
  async function sendAll(lines: readonly Line[]) {
    for (const line of lines) line.write(request);
    const until = performance.now() + 50;
    while (performance.now() < until);
  }

  test('the event loop turns between their requests', async () => {
    const { lines, inTurns, counting } = await start();
    const count = () => {
      counting.turn += 1;
      if (!counting.isOver) setImmediate(count);
    };
    setImmediate(count);
    await sendAll(lines);
    await Promise.all(lines.map((line) => line.until((text) => text.endsWith('ok'))));
    counting.isOver = true;
    expect(inTurns).toHaveLength(100);
    const most = Math.max(...inTurns.map((turn) => inTurns.filter((other) => other === turn).length));
    expect(most).toBeLessThan(10);
  });

  test('what has arrived is answered before a server that closes ends the connection', async () => {
    const { server, lines } = await start();
    const answers = (received: string) => received.split('202 Accepted').length - 1;
    await sendAll(lines);
    await Promise.all(lines.map((line) => line.until((received) => answers(received) === 1)));
    await sendAll(lines);
    await server.close();
    const all = await Promise.all(lines.map((line) => line.ended));
    expect(all.map(answers)).toEqual(lines.map(() => 2));
  });
});
