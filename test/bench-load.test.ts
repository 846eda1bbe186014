/** The load generator itself: what it counts, and that a server that stalls is not spared. */
import { type IncomingMessage, type ServerResponse, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, test } from 'vitest';
import { createBodies } from './bench/support/bodies.ts';
import { type Sendable, type Target, offer, percentilesOf, requestOf, saturate } from './bench/support/load.ts';
import { prepare, sendAll } from './bench/support/sending.ts';

type Answerer = (incoming: IncomingMessage, answer: ServerResponse, body: string) => void;

const servers: { close(): void; closeAllConnections(): void }[] = [];

afterEach(() => {
  for (const server of servers.splice(0)) {
    server.close();
    server.closeAllConnections();
  }
});

/** A server, and where requests to it go. */
async function serve(respond: Answerer): Promise<Target> {
  const server = createServer((incoming, answer) => {
    let body = '';
    incoming.setEncoding('utf8').on('data', (text: string) => (body += text));
    incoming.on('end', () => respond(incoming, answer, body));
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { port: (server.address() as AddressInfo).port, path: '/there', headers: { 'x-mark': 'm' } };
}

const say = (answer: ServerResponse, status: number) => answer.writeHead(status, { 'content-length': 2 }).end('{}');

/** So many different requests, then none. */
function numbered(target: Target, count: number): () => Sendable | null {
  let made = 0;
  return () => (made < count ? { request: requestOf(target, Buffer.from(`number ${made++}`)) } : null);
}

describe('saturate', () => {
  test('sends every request once and counts the answers by status', async () => {
    const seen: string[] = [];
    const target = await serve((_, answer, body) => {
      seen.push(body);
      say(answer, seen.length % 4 === 0 ? 503 : 202);
    });
    const answered: number[] = [];
    const outcome = await saturate({
      port: target.port,
      connections: 5,
      next: numbered(target, 100),
      onAnswer: (status) => answered.push(status),
    });
    expect(new Set(seen).size).toBe(100);
    expect(Object.fromEntries(outcome.statuses)).toEqual({ 202: 75, 503: 25 });
    expect(answered).toHaveLength(100);
    expect(outcome.failures).toBe(0);
    expect(outcome.latency.count).toBe(100);
  });

  test('says how long a refused client is told to wait', async () => {
    let asked = 0;
    const target = await serve((_, answer) => {
      if (++asked > 1) say(answer, 202);
      else answer.writeHead(503, { 'retry-after': '7', 'content-length': 18 }).end('{"code":"no_room"}');
    });
    const told: unknown[] = [];
    await saturate({
      port: target.port,
      connections: 1,
      next: numbered(target, 2),
      onAnswer: (status, _, { code, retryAfterS }) => told.push([status, code, retryAfterS]),
    });
    expect(told).toEqual([
      [503, 'no_room', 7],
      [202, null, 0],
    ]);
  });

  test('sends what a server understands', async () => {
    const seen: { method: string; url: string; mark: unknown; body: string }[] = [];
    const target = await serve(({ method, url, headers }, answer, body) => {
      seen.push({ method: method!, url: url!, mark: headers['x-mark'], body });
      say(answer, 200);
    });
    await saturate({ port: target.port, connections: 1, next: numbered(target, 1) });
    expect(seen).toEqual([{ method: 'POST', url: '/there', mark: 'm', body: 'number 0' }]);
  });

  test('has one request under way on each connection, never more', async () => {
    let underway = 0;
    let most = 0;
    const target = await serve((_, answer) => {
      most = Math.max(most, ++underway);
      setImmediate(() => {
        underway -= 1;
        say(answer, 202);
      });
    });
    await saturate({ port: target.port, connections: 3, next: numbered(target, 60) });
    expect(most).toBeLessThanOrEqual(3);
  });

  test('counts a connection that ends before its answer as a failure', async () => {
    const target = await serve((incoming) => void incoming.socket.destroy());
    const outcome = await saturate({ port: target.port, connections: 2, next: numbered(target, 10) });
    expect(outcome.failures).toBe(2);
    expect(outcome.statuses.size).toBe(0);
  });

  test('reads an answer that comes in pieces', async () => {
    const target = await serve((_, answer) => {
      answer.writeHead(202, { 'content-length': 4 });
      answer.write('{"');
      setImmediate(() => answer.end('"}'));
    });
    const outcome = await saturate({ port: target.port, connections: 1, next: numbered(target, 3) });
    expect(outcome.statuses.get(202)).toBe(3);
  });
});

describe('offer', () => {
  const RATE = 200;
  const DURATION_MS = 300;
  const DUE = (RATE * DURATION_MS) / 1_000;

  test.each([1, 64])(
    'keeps its rate against a server that stalls, and counts the waiting (%i connections)',
    async (maxConnections) => {
      // Nothing is answered before the offering is over: who waited for answers would have sent next to nothing.
      const stalled: ServerResponse[] = [];
      let isStalling = true;
      const target = await serve((_, answer) => {
        if (isStalling) stalled.push(answer);
        else say(answer, 202);
      });
      const startedAt = performance.now();
      const offered = offer({
        port: target.port,
        maxConnections,
        durationMs: DURATION_MS,
        rateAt: () => RATE,
        next: () => ({ request: requestOf(target, Buffer.from('{}')) }),
      });
      await sleep(DURATION_MS * 2);
      const stalledMs = performance.now() - startedAt;
      isStalling = false;
      for (const answer of stalled) say(answer, 202);

      const { statuses, failures, latency } = await offered;
      expect(statuses.get(202)).toBeGreaterThanOrEqual(DUE - 1);
      expect(statuses.get(202)).toBeLessThanOrEqual(DUE);
      expect(failures).toBe(0);
      // Even the last was due when the offering ended at the latest, and was not answered before the stall ended.
      expect(latency.min / 1_000).toBeGreaterThanOrEqual(stalledMs - DURATION_MS - 25);
      // Half of them were due before the middle.
      expect(percentilesOf(latency).p50).toBeGreaterThanOrEqual(stalledMs - DURATION_MS / 2 - 50);
    },
  );

  test('follows the rate it is given', async () => {
    const target = await serve((_, answer) => say(answer, 202));
    const { statuses } = await offer({
      port: target.port,
      maxConnections: 16,
      durationMs: 200,
      rateAt: (elapsedMs) => (elapsedMs < 1_000 ? 100 : 0),
      next: () => ({ request: requestOf(target, Buffer.from('{}')) }),
    });
    expect(statuses.get(202)).toBeGreaterThanOrEqual(19);
    expect(statuses.get(202)).toBeLessThanOrEqual(20);
  });
});

describe('sending until everything is acknowledged', () => {
  test('sends again what was refused, and says how often', async () => {
    let count = 0;
    const target = await serve((_, answer) => say(answer, ++count % 5 === 0 ? 503 : 202));
    const requests = Array.from({ length: 40 }, (_, index) => prepare(target, Buffer.from(`${index}`), 10));
    const sent = await sendAll(target, { requests, connections: 4 });
    expect(sent.acknowledged).toBe(400);
    expect(sent.refused).toBe(sent.statuses.get(503));
    expect(sent.refused).toBeGreaterThan(0);
  });

  test('fails when something is refused for good', async () => {
    const target = await serve((_, answer) => say(answer, 401));
    const requests = [prepare(target, Buffer.from('{}'), 1)];
    await expect(sendAll(target, { requests, connections: 1 })).rejects.toThrow('"401":1');
  });
});

describe('bodies', () => {
  test.each([
    ['small', 100, 140],
    ['typical', 250, 310],
    ['heavy', 1_800, 2_300],
  ] as const)('%s events have the size they are named for', (size, least, most) => {
    const bytes = createBodies(7).nativeBatch(100, size).length / 100;
    expect(bytes).toBeGreaterThan(least);
    expect(bytes).toBeLessThan(most);
  });

  test('are the same from the same seed, and no two events have one id', () => {
    const idsOf = (seed: number) => {
      const bodies = createBodies(seed);
      return [1, 2].flatMap(() => {
        const { events } = JSON.parse(bodies.nativeBatch(200).toString()) as { events: { event_id: string }[] };
        return events.map(({ event_id: id }) => id);
      });
    };
    expect(idsOf(3)).toEqual(idsOf(3));
    expect(new Set([...idsOf(3), ...idsOf(4)]).size).toBe(800);
  });

  test('of services hold the same events as NDJSON and as batches', () => {
    const { events, ndjson, nativeBatches } = createBodies(5).serviceEvents(20_000);
    expect(events).toBe(63);
    const lines = ndjson.toString().trimEnd().split('\n');
    const batches = nativeBatches(30);
    expect(ndjson.length).toBeLessThanOrEqual(20_000);
    expect(lines).toHaveLength(events);
    expect(batches.reduce((sum, batch) => sum + batch.events, 0)).toBe(events);
    const [first] = (JSON.parse(batches[0]!.body.toString()) as { events: object[] }).events;
    const { name, data, ...rest } = JSON.parse(lines[0]!) as { name: string; data: object };
    expect(first).toEqual({ event: name, properties: data, ...rest });
  });
});
