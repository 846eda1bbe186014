/** The example of docs/adding-a-door.md, mounted as any door is. */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { systemClock } from '../src/clock.ts';
import { createDoorway, listenerFor } from '../src/http/doorway.ts';
import { operationOf } from '../src/http/doors/operation.ts';
import { createEveryAnswer } from '../src/http/every-answer.ts';
import { createIdempotency } from '../src/http/idempotency.ts';
import { ingest } from '../src/http/ingest.ts';
import { openApiOf } from '../src/http/openapi.ts';
import { type HttpServer, listen } from '../src/http/server.ts';
import { createTurns } from '../src/http/turns.ts';
import { createLog } from '../src/log.ts';
import { createAccept } from '../src/pipeline/accept.ts';
import { createFlags } from '../src/pipeline/flags.ts';
import { createLedger } from '../src/pipeline/ledger.ts';
import { candidatesOf } from './support/candidates.ts';
import { readDescription } from './support/description.ts';
import { readingsDoor } from './support/example-door.ts';
import { PROJECT, channelOn } from './support/factory.ts';

const clock = systemClock;
const channel = channelOn(clock, {
  maxEvents: 10_000,
  maxBytes: 10_000_000,
  batch: { maxEvents: 1_000, maxWaitMs: 1 },
});
const ledger = createLedger();
const turns = createTurns();
const flags = createFlags({ intake: 'open' }, () => {});
const credential = { projectId: PROJECT, kind: 'public', retentionSeconds: null, allowedOrigins: [] } as const;
const receive = ingest(
  readingsDoor,
  {
    flags,
    channel,
    accept: createAccept({ channel, journal: null, ledger }, { isRequired: false }),
    journalRefusal: () => null,
    credentials: {
      find: async (token) => (token === 'good' ? credential : null),
      anonymous: async () => null,
      admitAnonymous: () => {},
      hasUsable: () => true,
    },
    idempotency: createIdempotency({ clock }),
    rateLimit: null,
    turns,
    ledger,
    clock,
    newEventId: () => '0198c0de-0000-7000-8000-000000000000',
  },
  { maxBodyBytes: 1_000_000, maxFutureMs: 0, defaultAck: 'queued' },
);
const route = { method: 'POST', path: readingsDoor.path, receive, operation: operationOf(readingsDoor) } as const;
const description = readDescription(openApiOf([route], { version: 'test' }));

let server: HttpServer;
beforeAll(async () => {
  const log = createLog('silent');
  const doorway = createDoorway(new Map([[route.path, route.receive]]), {
    everyAnswer: createEveryAnswer({ flags, newRequestId: () => 'r-1' }, { allowedOrigins: [] }),
    onRequest: () => {},
    log,
  });
  const listener = listenerFor(doorway, { others: (_, answer) => answer.writeHead(404).end(), clock });
  server = await listen({ doorway, listener }, { clock, log }, { host: '127.0.0.1', port: 0 });
});
afterAll(() => server.close());

async function send(body: unknown, token = 'good') {
  const url = `http://127.0.0.1:${server.port}${readingsDoor.path}`;
  const headers = { authorization: `Bearer ${token}` };
  const response = await fetch(url, { method: 'POST', headers, body: JSON.stringify(body) });
  const { status } = response;
  const text = await response.text();
  const answer = { status, headers: response.headers, text };
  expect(description.problemsWithAnswer(description.operation('POST', readingsDoor.path), answer)).toEqual([]);
  return { status, json: JSON.parse(text) as Record<string, unknown> };
}

test('the page shows the door as it is', () => {
  const page = readFileSync(new URL('../docs/adding-a-door.md', import.meta.url), 'utf8');
  const source = readFileSync(new URL('support/example-door.ts', import.meta.url), 'utf8');
  const [, shown] = /```ts\n(import [\s\S]*?)```/.exec(page) ?? [];
  const app = readFileSync(new URL('../src/http/app.ts', import.meta.url), 'utf8');
  const [, doors] = /^(const DOORS: .*)\];$/m.exec(app)!;
  expect(page).toContain(`\n${doors}, readingsDoor];\n`);
  expect(shown).toBe(source.replaceAll('../../src/http/doors/', './').replaceAll('../../src/', '../../'));
});

test('an event sent through it becomes a row', async () => {
  const sent = [{ ...(readingsDoor.example as object[])[0], site: 'north', firmware: 7 }];
  expect(await send(sent)).toEqual({ status: 202, json: { accepted: 1, rejected: 0 } });
  const batch = (await channel.take())!;
  expect(JSON.parse(Buffer.concat([...batch.chunks]).toString())).toMatchObject({
    project_id: PROJECT,
    source: 'readings',
    event: 'temperature',
    anonymous_id: 'roof-3',
    timestamp: '2026-05-04T12:30:00.000Z',
    properties: { value: 21.5, unit: 'C' },
    extras: { site: 'north', firmware: 7 },
  });
  channel.settle(batch, 'stored');
});

test('nothing of a body is looked at before its turn', async () => {
  const wait = Promise.withResolvers<void>();
  const asked = vi.spyOn(turns, 'take').mockReturnValueOnce(wait.promise);
  const sent = readingsDoor.example as object[];
  const answer = send(sent);
  await vi.waitFor(() => expect(asked).toHaveBeenCalledWith(JSON.stringify(sent).length));
  expect((await send([{ kind: 'k' }])).json['accepted']).toBe(0);
  expect(channel.usage()).toMatchObject({ events: 0 });
  wait.resolve();
  expect(await answer).toEqual({ status: 202, json: { accepted: 1, rejected: 0 } });
  channel.settle((await channel.take())!, 'stored');
});

test('it takes exactly what its description allows', async () => {
  const at = '/components/schemas/ReadingsEvent';
  const events = candidatesOf(description.schema({ $ref: `#${at}` }), description.schema, PROJECT);
  for (const event of [
    ...events,
    { kind: 'k', timestamp: 1, device: 'd', value: 1 },
    { kind: 'k', device: 'd', value: 1 },
  ]) {
    const { json } = await send([event]);
    expect(json['accepted'], JSON.stringify(event)).toBe(description.problemsWith(at, event).length === 0 ? 1 : 0);
  }
});

test('it refuses what every door refuses', async () => {
  expect(await send([], 'unknown')).toMatchObject({ status: 401, json: { code: 'unauthorized' } });
  expect(await send([])).toMatchObject({ status: 400, json: { code: 'invalid_envelope' } });
  expect(await send(Array.from({ length: 501 }, () => ({})))).toMatchObject({
    status: 400,
    json: { code: 'too_many_events' },
  });
});
