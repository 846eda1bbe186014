/** Looking at events as they are accepted: what is seen, what it costs, and what becomes of it. */
import { beforeEach, describe, expect, test } from 'vitest';
import type { ProjectId } from '../src/event/event.ts';
import { rowEncoder } from '../src/event/row.ts';
import type { Accepted } from '../src/pipeline/accept.ts';
import type { Channel } from '../src/pipeline/channel-port.ts';
import { type WatchPoint, watchedChannel } from '../src/pipeline/watch-port.ts';
import type { EventFilter, WatchEnd, WatchReport } from '../src/watch/messages.ts';
import { startWatching } from '../src/watch/watching.ts';
import { type ManualClock, createManualClock } from './support/clock.ts';
import { OTHER_PROJECT, PROJECT, channelOn } from './support/factory.ts';

let clock: ManualClock;
let channel: Channel;
let point: WatchPoint;
let end: WatchEnd;
let reports: WatchReport[];
let made: number;

beforeEach(() => {
  clock = createManualClock();
  point = { watcher: null };
  channel = watchedChannel(
    channelOn(clock, {
      maxEvents: 100_000,
      maxBytes: 100_000_000,
      batch: { maxEvents: 100_000, maxBytes: 100_000_000 },
    }),
    point,
  );
  reports = [];
  made = 0;
  const report = (one: WatchReport) => reports.push(one);
  end = startWatching({ point, clock, report, queued: channel.queued, held: () => [] });
});

type Made = { event?: string; user?: string; properties?: string; id?: string; project?: ProjectId };

const idOf = (number: number) => `01890000-0000-7000-8000-${String(number).padStart(12, '0')}`;

function rowOf({ event = 'signup', user = 'u1', properties = '{}', id, project = PROJECT }: Made): string {
  made += 1;
  const encode = rowEncoder({ projectId: project, source: 'native', receivedAt: clock.now(), retentionSeconds: null });
  const row = encode({
    eventId: id ?? idOf(made),
    event: JSON.stringify(event),
    anonymousId: null,
    userId: JSON.stringify(user),
    timestamp: clock.now(),
    sessionId: null,
    properties,
    extras: '{}',
  });
  // Rows are encoded from byte text.
  return Buffer.from(row, 'utf8').toString('latin1');
}

/** A request whose events are accepted, or that only has rejected ones. */
function send(
  events: Made[],
  {
    requestId = 'r',
    reached = 'journaled',
    rejected = 0,
  }: Partial<{ requestId: string; reached: Accepted; rejected: number }> = {},
) {
  const projectId = events[0]?.project ?? PROJECT;
  const request = { requestId, projectId, receivedAt: clock.now(), rejected, ack: 'journaled' };
  if (events.length === 0) return point.watcher?.took(request, null, null);
  const envelope = { projectId, eventCount: events.length, rows: Buffer.from(events.map(rowOf).join(''), 'latin1') };
  channel.offer(envelope, channel.reserve());
  return point.watcher?.took(request, envelope, Promise.resolve(reached));
}

const look = (filter: EventFilter = {}, credits = 50, stream = 1) => end.order([{ stream, filter, credits }]);
const seen = () => reports.flatMap(({ events }) => events);
const names = () => seen().map(({ row }) => (JSON.parse(row) as { event: string }).event);
const counted = () =>
  reports
    .flatMap(({ counts }) => counts)
    .reduce((sum, one) => ({ matched: sum.matched + one.matched, unexamined: sum.unexamined + one.unexamined }), {
      matched: 0,
      unexamined: 0,
    });
const told = () => clock.advance(500);

describe('events are seen', () => {
  test('with their request, and only while somebody looks', async () => {
    send([{ event: 'before' }]);
    look();
    send([{ event: 'a' }], { requestId: 'r1' });
    await told();
    end.order([]);
    send([{ event: 'after' }]);
    await told();
    expect(seen()).toMatchObject([{ streams: [1], requestId: 'r1', place: 0, ack: 'journaled', isCut: false }]);
    expect(names()).toEqual(['a']);
  });

  test('as many as the viewer can take, and the others are counted', async () => {
    look({}, 10);
    for (let n = 0; n < 100; n += 1) send([{}, {}]);
    await told();
    expect(seen()).toHaveLength(10);
    expect(counted()).toEqual({ matched: 200, unexamined: 0 });
    for (let n = 0; n < 100; n += 1) send([{}]);
    await clock.advance(60_000);
    expect(seen()).toHaveLength(10);
    look({}, 10);
    send([{}]);
    await told();
    expect(seen()).toHaveLength(11);
    expect(counted().matched).toBe(301);
  });

  test('some of each request, so that others are seen too', async () => {
    look({}, 8);
    for (const event of ['a', 'b']) send(Array.from({ length: 500 }, () => ({ event })));
    await told();
    expect(new Set(names())).toEqual(new Set(['a', 'b']));
  });

  test('by several at once, each with a filter and a measure of its own', async () => {
    end.order([
      { stream: 1, filter: {}, credits: 1 },
      { stream: 2, filter: { event: 'rare' }, credits: 5 },
    ]);
    for (let n = 0; n < 50; n += 1) send([{ event: n === 40 ? 'rare' : 'common' }]);
    await told();
    expect(seen().map(({ streams }) => streams)).toEqual([[1], [2]]);
  });
});

describe('a filter', () => {
  const SENT: Made[] = [
    { event: 'signup', user: 'u1' },
    { event: 'login', user: 'u1' },
    { event: 'login', user: 'ü/<b>' },
    { event: '<script>alert("x")</script>', user: 'u3' },
    { event: 'other', user: 'u4', properties: '{"event":"login","anonymous_id":null,"user_id":"u1"}' },
  ];

  test.each([
    [{ event: 'login' }, ['login', 'login', 'other']],
    [{ user: 'ü/<b>' }, ['login']],
    [{ event: '<script>alert("x")</script>' }, ['<script>alert("x")</script>']],
    [{ event: 'login', user: 'u1' }, ['login']],
    [{ id: idOf(2) }, ['login']],
    [{ id: idOf(2).toUpperCase() }, ['login']],
    [{ event: 'nothing' }, []],
    [{ projectId: OTHER_PROJECT }, []],
    [{ projectId: PROJECT, event: 'signup' }, ['signup']],
  ] satisfies [EventFilter, string[]][])('%o finds its candidates', async (filter, expected) => {
    look(filter);
    send(SENT);
    await told();
    expect(new Set(names())).toEqual(new Set(expected));
    expect(seen()).toHaveLength(expected.length);
  });

  test.each([
    String.raw`"caf\u00e9\/<bar>"`,
    String.raw`"caf\u00E9\/<bar>"`,
    '"café/<bar>"',
    String.raw`"café\/<bar>"`,
  ])('finds %s, however a client spells it', async (spelled) => {
    look({ event: 'café/<bar>' });
    const row = rowOf({ event: 'here' }).replace('"here"', Buffer.from(spelled, 'utf8').toString('latin1'));
    const envelope = { projectId: PROJECT, eventCount: 1, rows: Buffer.from(row, 'latin1') };
    const request = { requestId: 'r', projectId: PROJECT, receivedAt: 0, rejected: 0, ack: 'queued' };
    point.watcher!.took(request, envelope, Promise.resolve('queued'));
    await told();
    expect(names()).toEqual(['café/<bar>']);
  });

  test('counts no further than it looks, and says how many are left', async () => {
    look({ event: 'login' });
    send(Array.from({ length: 500 }, () => ({ event: 'login' })));
    send([{ event: 'login' }, { event: 'other' }]);
    await told();
    expect(seen()).toHaveLength(5);
    expect(counted()).toEqual({ matched: 5, unexamined: 496 });
  });

  test('says where in its request an event stands', async () => {
    look({ event: 'third' });
    send([{}, {}, { event: 'third' }, {}]);
    await told();
    expect(seen()).toMatchObject([{ place: 2 }]);
  });

  test('reads no more than a bounded part of what passes, and says so', async () => {
    look({ event: 'rare' });
    const large = Array.from({ length: 100 }, () => ({ properties: `{"text":"${'x'.repeat(10_000)}"}` }));
    for (let n = 0; n < 40; n += 1) send(large);
    await told();
    const { unexamined } = counted();
    expect(unexamined).toBeGreaterThan(2_000);
    expect(unexamined).toBeLessThan(4_000);
    send([{ event: 'rare' }]);
    await told();
    expect(names()).toEqual(['rare']);
  });
});

test('of a large event the beginning is told', async () => {
  look();
  send([{ event: 'large', properties: `{"text":"${'x'.repeat(50_000)}"}` }]);
  await told();
  expect(seen()).toMatchObject([{ isCut: true }]);
  expect(seen()[0]!.row.length).toBeLessThan(10_000);
});

describe('what becomes of an event', () => {
  const stages = () => reports.flatMap(({ steps }) => steps).map(({ stage }) => stage);

  test('is told until it has another home, with the batch', async () => {
    look();
    send([{}]);
    await told();
    channel.hurry();
    const batch = (await channel.take())!;
    channel.settle(batch, 'stored');
    await told();
    expect(reports.flatMap(({ steps }) => steps)).toMatchObject([
      { stage: 'journaled', batchId: null },
      { stage: 'batched', batchId: batch.id },
      { stage: 'stored', batchId: batch.id, apart: [] },
    ]);
  });

  test('is told of those that were taken out of their batch', async () => {
    look({ event: 'mine' });
    send([{}, {}]);
    send([{ event: 'mine' }, {}, { event: 'mine' }]);
    channel.hurry();
    const batch = (await channel.take())!;
    channel.settle(batch, 'stored', [1, 4]);
    await told();
    expect(reports.flatMap(({ steps }) => steps).at(-1)).toMatchObject({ stage: 'stored', apart: [2] });
  });

  test('is a refusal where the journal fails, and nothing where the sender asks for memory', async () => {
    look();
    send([{}], { reached: 'not-journaled' });
    send([{}], { reached: 'queued' });
    await told();
    expect(stages()).toEqual(['refused']);
  });

  test('is followed for a bounded number of requests', async () => {
    for (let n = 0; n < 10_000; n += 1) {
      if (n % 50 === 0) look();
      send([{}], { reached: 'queued' });
    }
    channel.hurry();
    const batch = (await channel.take())!;
    channel.settle(batch, 'stored');
    await told();
    expect(stages().filter((stage) => stage === 'stored')).toHaveLength(4_096);
  });
});

describe('what is pending is found', () => {
  test.each([
    ['by its id', { by: 'ids', ids: [idOf(9), idOf(2)] }, 1],
    ['by its user', { by: 'user', user: 'u7', projectId: null }, 1],
    ['unless it is not there', { by: 'ids', ids: [idOf(99)] }, 0],
  ] as const)('%s', async (_, question, count) => {
    send([{}, { user: 'u7' }]);
    const answering = end.find(question);
    await clock.advance(1);
    expect((await answering).events).toHaveLength(count);
  });

  test('with the batch that holds it, until it is settled', async () => {
    send([{}]);
    channel.hurry();
    const batch = (await channel.take())!;
    const other = startWatching({ point, clock, report: () => {}, queued: channel.queued, held: () => [batch] });
    expect((await other.find({ by: 'ids', ids: [idOf(1)] })).events).toMatchObject([{ batchId: batch.id }]);
  });
});

describe('a request of a while ago is found', () => {
  const find = async (requestId: string) => (await end.find({ by: 'request', requestId })).requests;

  test('with its events, also if all of them were rejected, without anybody looking at streams', async () => {
    send([{}, {}], { requestId: 'one', rejected: 1 });
    send([], { requestId: 'none', rejected: 3 });
    expect(await find('one')).toMatchObject([{ accepted: 2, rejected: 1, ids: [idOf(1), idOf(2)] }]);
    expect(await find('none')).toMatchObject([{ accepted: 0, rejected: 3, ids: [] }]);
    expect(await find('on')).toEqual([]);
  });

  test('the latest ones first, and the oldest are forgotten', async () => {
    send([{}], { requestId: 'first' });
    for (let n = 0; n < 20_000; n += 1)
      point.watcher!.took({ ...REQUEST, requestId: `r${n % 8_000}`, receivedAt: n }, null, null);
    expect(await find('first')).toEqual([]);
    expect((await find('r3999')).map(({ receivedAt }) => receivedAt)).toEqual([19_999, 11_999, 3_999]);
    expect((await end.find({ by: 'request', requestId: 'x' })).requestsSince).toBe(20_000 - 16_384);
  });

  test('without the events of one that was refused in the end', async () => {
    const [kept, refused] = ['kept', 'refused'].map((requestId) => send([{}], { requestId, rejected: 1 }));
    expect(refused).not.toBe(kept);
    point.watcher!.refused(refused!);
    expect(await find('refused')).toMatchObject([{ accepted: 0, rejected: 0, ids: [], isRefused: true }]);
    expect(await find('kept')).toMatchObject([{ accepted: 1, rejected: 1, isRefused: false }]);
    // Its place may belong to another by then.
    for (let n = 0; n < 16_384; n += 1) send([], { requestId: `r${n}`, rejected: 1 });
    point.watcher!.refused(kept!);
    for (const requestId of ['r16382', 'r16383']) {
      expect(await find(requestId)).toMatchObject([{ rejected: 1, isRefused: false }]);
    }
  });

  test('names the first events of a large one', async () => {
    send(
      Array.from({ length: 500 }, () => ({})),
      { requestId: 'large' },
    );
    const [found] = await find('large');
    expect(found).toMatchObject({ accepted: 500 });
    expect(found!.ids).toEqual(Array.from({ length: 16 }, (_, n) => idOf(n + 1)));
  });
});

const REQUEST = { projectId: PROJECT, rejected: 0, ack: 'queued' };

test('a process that replaces another goes on with other numbers', async () => {
  look();
  send([{}]);
  await told();
  await clock.advance(1_000);
  const later: WatchReport[] = [];
  const replaced = startWatching({
    point,
    clock,
    report: (one) => later.push(one),
    queued: channel.queued,
    held: () => [],
  });
  replaced.order([{ stream: 1, filter: {}, credits: 5 }]);
  send([{}]);
  await told();
  expect(later.flatMap(({ events }) => events)[0]!.trail).toBeGreaterThan(seen()[0]!.trail);
});

test('when the viewer is gone, nothing is left on the way of events', () => {
  look();
  end.close();
  expect(point.watcher).toBeNull();
});
