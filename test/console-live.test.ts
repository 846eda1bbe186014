/** The live view of the console: who gets which events, what a slow page misses, and when a stream ends. */
import { Hono } from 'hono';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { ConsoleEnv } from '../src/console/env.ts';
import type { EventStep, LiveBatch } from '../src/console/watch/answers.ts';
import { type LiveHub, MAX_STREAMS, createLiveHub } from '../src/console/watch/live-hub.ts';
import { live } from '../src/console/watch/live-route.ts';
import type { SeenEvent, Step, StreamOrder, WatchReport } from '../src/watch/messages.ts';
import { type ManualClock, createManualClock, settled } from './support/clock.ts';
import { OTHER_PROJECT, PROJECT } from './support/factory.ts';

const RATES = { rates: { accepted: 1, stored: 1, rejected: 0, deadLettered: 0 }, pending: null };
let clock: ManualClock;
let orders: (readonly StreamOrder[])[];
let hub: LiveHub;
let stop: AbortController;
let running: Promise<void>;

beforeEach(() => {
  clock = createManualClock();
  orders = [];
  stop = new AbortController();
  hub = createLiveHub({ clock, order: (streams) => orders.push(streams), rates: () => RATES });
  running = hub.run(stop.signal);
});
afterEach(async () => {
  stop.abort();
  await running;
});

const idOf = (number: number) => `01890000-0000-7000-8000-${String(number).padStart(12, '0')}`;

type Seen = { id?: number; event?: string; user?: string; project?: string; properties?: string; streams?: number[] };

function seenOf({
  id = 1,
  event = 'signup',
  user = 'u1',
  project = PROJECT,
  properties = '{}',
  streams = [1],
}: Seen): SeenEvent {
  const row =
    `{"project_id":"${project}","event_id":"${idOf(id)}","event":${JSON.stringify(event)},"anonymous_id":"a1",` +
    `"user_id":${JSON.stringify(user)},"timestamp":"2026-01-01T00:00:00.000Z","session_id":null,` +
    `"properties":${properties},"extras":{},"source":"native","received_at":"2026-01-01T00:00:00.000Z"}`;
  return { streams, trail: id, place: 0, requestId: `r${id}`, at: clock.now(), ack: 'journaled', row, isCut: false };
}

const tell = (events: SeenEvent[], more: Partial<WatchReport> = {}) =>
  hub.receive({ worker: null, events, steps: [], counts: [], ...more });

function open(filter = {}, { showsEvents = true, onStuck = () => {} } = {}) {
  return hub.open(filter, { showsEvents, onStuck })!;
}

/** The frames of one reading, by name. */
async function read(stream: { next(): Promise<string | null> }, ms = 250) {
  const reading = stream.next();
  await clock.advance(ms);
  const text = await reading;
  return text === null
    ? null
    : new Map(
        [...text.matchAll(/^event: (\w+)\ndata: (.+)$/gm)].map(([, name, data]) => [
          name!,
          JSON.parse(data!) as unknown,
        ]),
      );
}

const batchIn = (frames: Map<string, unknown> | null) => frames!.get('batch') as LiveBatch;

describe('a viewer', () => {
  test('gets the events that match, with what they say, and the rates', async () => {
    const stream = open({ event: 'signup' });
    tell([seenOf({ properties: '{"n":12345678901234567890}' }), seenOf({ id: 2, event: 'other' })]);
    const frames = await read(stream);
    expect(batchIn(frames).events).toMatchObject([
      { id: idOf(1), event: 'signup', distinctId: 'u1', requestId: 'r1', properties: { n: '12345678901234567890' } },
    ]);
    expect(frames!.get('rates')).toEqual(RATES);
  });

  test('who may not see contents gets none of them', async () => {
    const stream = open({}, { showsEvents: false });
    tell([seenOf({ event: 'secret name', user: 'secret user', properties: '{"secret":1}' })]);
    const reading = stream.next();
    await clock.advance(250);
    const text = (await reading)!;
    expect(text).toContain(idOf(1));
    expect(text).not.toContain('secret');
  });

  test('is told what became of the events it saw, and of no others', async () => {
    const stream = open({ projectId: PROJECT });
    const step = (trail: number, stage: Step['stage'], more: Partial<Step> = {}): Step => ({
      trail,
      stage,
      at: clock.now(),
      batchId: 'b1',
      apart: [],
      ...more,
    });
    tell([seenOf({}), seenOf({ id: 2 }), seenOf({ id: 3, project: OTHER_PROJECT })]);
    tell([], {
      steps: [step(1, 'batched'), step(1, 'dead-lettered'), step(2, 'stored', { apart: [0] }), step(3, 'stored')],
    });
    const { steps } = (await read(stream))!.get('steps') as { steps: EventStep[] };
    expect(steps).toMatchObject([
      { id: idOf(1), stage: 'batched', letterId: null },
      { id: idOf(1), stage: 'dead-lettered', letterId: 'b1' },
      { id: idOf(2), stage: 'dead-lettered', letterId: null },
    ]);
    expect(hub.wayOf(PROJECT, idOf(1))).toMatchObject({ requestId: 'r1', outcome: 'dead-lettered', batchId: 'b1' });
    expect(hub.wayOf(OTHER_PROJECT, idOf(3))).toBeNull();
  });

  test('is told of events that it is not shown', async () => {
    const stream = open();
    tell([seenOf({})], { counts: [{ stream: 1, matched: 400, unexamined: 30 }] });
    expect(batchIn(await read(stream))).toMatchObject({ shown: 1, matched: 400, unexamined: 30, dropped: 0 });
  });

  test('sees markup as the text that it is', async () => {
    const event = '</script><img src=x onerror=alert(1)>\n\nevent: end\ndata: {}';
    const stream = open({ event });
    tell([seenOf({ event })]);
    const frames = await read(stream);
    expect(frames!.has('end')).toBe(false);
    expect(batchIn(frames).events).toMatchObject([{ event }]);
  });
});

describe('a page that reads', () => {
  test('is told the moment something comes, with all that comes then, four times a second at most', async () => {
    const stream = open();
    await read(stream);
    await clock.advance(1_000);
    const reading = stream.next();
    await settled();
    tell([seenOf({ id: 1 }), seenOf({ id: 2 })], { counts: [{ stream: 1, matched: 2, unexamined: 0 }] });
    const now = clock.elapsed();
    const frame = await reading;
    expect([frame!.match(/"requestId"/g)?.length, clock.elapsed() - now]).toEqual([2, 0]);

    const next = stream.next();
    for (const id of [3, 4, 5]) {
      tell([seenOf({ id })]);
      await clock.advance(80);
    }
    await clock.advance(10);
    expect((await next)!.match(/"requestId"/g)).toHaveLength(3);
  });

  test('orders more with what it is told, when it has taken that', async () => {
    const stream = open();
    await read(stream);
    await clock.advance(500);
    const before = orders.length;
    const reading = stream.next();
    tell(Array.from({ length: 100 }, (_, id) => seenOf({ id })));
    await reading;
    await settled();
    expect(orders.slice(before)).toMatchObject([[{ credits: 100 }]]);
  });

  test('is told of the rates every two seconds where nothing happens, and of nothing in between', async () => {
    const stream = open();
    await read(stream);
    let frames = 0;
    const reading = (async () => {
      while ((await stream.next()) !== null) frames += 1;
    })();
    await clock.advance(10_000);
    expect(frames).toBe(5);
    stream.end(null);
    await reading;
  });
});

describe('a page that reads slowly', () => {
  test('misses events, which are counted, and orders no more than it can take', async () => {
    const stream = open();
    await read(stream);
    await clock.advance(500);
    expect(orders.at(-1)).toMatchObject([{ credits: 100 }]);
    tell(Array.from({ length: 300 }, (_, id) => seenOf({ id })));
    await clock.advance(500);
    expect(orders.at(-1)).toMatchObject([{ credits: 0 }]);
    expect(batchIn(await read(stream))).toMatchObject({ shown: 100, dropped: 200 });
  });

  test('orders nothing when it does not read at all, and is given up after a minute', async () => {
    let stuck = 0;
    const stream = open({}, { onStuck: () => (stuck += 1) });
    await read(stream);
    await clock.advance(2_000);
    expect(orders.at(-1)).toMatchObject([{ credits: 0 }]);
    await clock.advance(60_000);
    expect(stuck).toBe(1);
    expect(orders.at(-1)).toEqual([]);
    expect(await read(stream)).toBeNull();
  });
});

describe('a stream', () => {
  test('ends with the console', async () => {
    const stream = open();
    await read(stream);
    const reading = stream.next();
    stop.abort();
    await running;
    expect(await reading).toContain('the console ends');
    expect(await stream.next()).toBeNull();
  });

  test('that nobody wants is ordered no more', async () => {
    const stream = open();
    await clock.advance(250);
    expect(orders.at(-1)).toHaveLength(1);
    stream.end(null);
    await clock.advance(250);
    expect(orders.at(-1)).toEqual([]);
  });

  test('does not remember more of what it saw than it can show', async () => {
    const stream = open();
    for (let n = 0; n < 6_000; n += 1) tell([seenOf({ id: n })]);
    expect(hub.wayOf(PROJECT, idOf(0))).toBeNull();
    expect(hub.wayOf(PROJECT, idOf(5_999))).not.toBeNull();
    stream.end(null);
  });
});

describe('GET /live', () => {
  const appWith = (showsEvents = true) =>
    new Hono<ConsoleEnv>()
      .use(async (c, next) => {
        c.set('operator', { name: 'ann', role: 'viewer', showsEvents });
        await next();
      })
      .get('/live', live(hub));

  test('streams until the page leaves', async () => {
    const answer = await appWith().request('/live?event=signup');
    expect(answer.headers.get('Content-Type')).toContain('text/event-stream');
    const reader = answer.body!.getReader();
    await reader.read();
    tell([seenOf({})]);
    const reading = reader.read();
    await clock.advance(250);
    expect(Buffer.from((await reading).value ?? []).toString()).toContain('event: batch');
    await reader.cancel();
    await clock.advance(250);
    expect(orders.at(-1)).toEqual([]);
  });

  test(`refuses more than ${MAX_STREAMS}, and takes another when one has left`, async () => {
    const app = appWith();
    const answers = await Promise.all(Array.from({ length: MAX_STREAMS + 1 }, async () => app.request('/live')));
    expect(answers.map(({ status }) => status)).toEqual([...Array<number>(MAX_STREAMS).fill(200), 503]);
    expect(await answers.at(-1)!.json()).toMatchObject({
      code: 'busy',
      error: expect.stringContaining('20 pages') as string,
    });
    await answers[0]!.body!.cancel();
    expect((await app.request('/live')).status).toBe(200);
  });

  test('answers HEAD as GET, and takes no place for it', async () => {
    const app = appWith();
    const of = async (method: string) => {
      const { status, headers, body } = await app.request('/live', { method });
      await body?.cancel();
      return { status, headers: [...headers] };
    };
    const got = await of('GET');
    for (let n = 0; n <= MAX_STREAMS; n++) expect(await of('HEAD')).toEqual(got);
    expect((await app.request('/live?project=x', { method: 'HEAD' })).status).toBe(400);
    await clock.advance(250);
    expect(orders.at(-1)).toEqual([]);
    expect((await app.request('/live')).status).toBe(200);
  });

  test.each(['project=x', `id=${'x'.repeat(1_001)}`, `event=${'x'.repeat(1_001)}`])('refuses %s', async (query) => {
    const answer = await appWith().request(`/live?${query}`);
    expect(answer.status).toBe(400);
    expect(await answer.json()).toMatchObject({ code: 'invalid_request' });
  });
});
