/** The console looks at a service that runs: what it does, its events as they are accepted, and where each of them is. */
import { readFileSync, readdirSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { EventStep, FindAnswer, LiveBatch, NowAnswer, Series } from '../../src/console/watch/answers.ts';
import { type WeirPlace, until } from '../chaos/rig.ts';
import { type Visitor, visitConsole } from '../support/console-visitor.ts';
import { type Grounds, NEVER, startGrounds, startPostgresGrounds } from '../support/grounds.ts';
import { freePort } from '../support/ports.ts';

let grounds: Grounds;
let rig: Grounds['rig'];
let weir: WeirPlace;
let visitor: Visitor;

beforeAll(async () => {
  grounds = await startGrounds();
  rig = grounds.rig;
});
afterAll(async () => rig?.stop());
beforeEach(() => grounds.clear());
afterEach(async () => {
  visitor?.leave();
  await grounds.endLatest();
});

async function open(env: Record<string, string> = {}) {
  const port = freePort();
  weir = await grounds.newWeir({ CONSOLE_PORT: String(port), ...env });
  visitor = await visitConsole(rig.stores, port);
}

type Sent = { readonly requestId: string; readonly ids: readonly string[] };

/** One request with events of those names; one without a name is rejected. */
async function send(
  names: readonly (string | null)[],
  { ack = 'journaled', user = 'u1', token = rig.token } = {},
): Promise<Sent> {
  const ids = names.map(() => grounds.tally().newId());
  const events = names.map((event, place) => ({
    ...(event !== null && { event }),
    event_id: ids[place],
    user_id: user,
    timestamp: Date.now(),
  }));
  const answer = await fetch(`${weir.url()}/api/v1/ingest/events?ack=${ack}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, connection: 'close' },
    body: JSON.stringify({ events }),
  });
  expect(answer.status).toBeLessThan(300);
  return { requestId: answer.headers.get('x-request-id')!, ids };
}

const find = (query: string) => visitor.read<FindAnswer>(`/events/find?${query}`);
const placeOf = async (id: string) => (await find(`id=${id}`)).events[0]?.place;
const becomes = (id: string, place: string) => until(place, async () => (await placeOf(id)) === place);
const shownIn = (live: Awaited<ReturnType<Visitor['live']>>) =>
  live.all<LiveBatch>('batch').flatMap(({ events }) => events);

/** A stream that is ordered from the service: it was told of an event. */
async function openLive(query = '') {
  const live = await visitor.live(query);
  expect(live.status).toBe(200);
  await until('rates', () => Promise.resolve(live.frames.length > 0));
  return live;
}

describe.each([
  ['one process', {}],
  ['two workers', { WEIR_WORKERS: '2' }],
])('of %s', (_, env) => {
  test('an event is seen as it is accepted, followed to where it is stored, and found there', async () => {
    await open(env);
    const live = await openLive('?event=signup');
    let sent = await send(['signup', 'other']);
    // Until the order of the stream has reached whoever accepted it.
    await until('seen', async () => {
      if (shownIn(live).length > 0) return true;
      sent = await send(['signup', 'other'], { ack: 'stored' });
      return false;
    });
    const [seen] = shownIn(live);
    expect(seen).toMatchObject({ event: 'signup', distinctId: 'u1', projectId: rig.projectId });
    const steps = () =>
      live
        .all<{ steps: EventStep[] }>('steps')
        .flatMap((told) => told.steps)
        .filter(({ id }) => id === seen!.id);
    await until('stored', () => Promise.resolve(steps().some(({ stage }) => stage === 'stored')));
    expect(new Set(steps().map(({ stage }) => stage))).toEqual(new Set(['journaled', 'batched', 'stored']));
    expect(shownIn(live).map(({ event }) => event)).not.toContain('other');

    const found = await find(`id=${seen!.id}`);
    expect(found.events).toMatchObject([
      { place: 'stored', event: 'signup', requestId: seen!.requestId, batchId: expect.any(String) as string },
    ]);
    const [{ acceptedAt, journaledAt, batchedAt, storedAt }] = found.events as [FindAnswer['events'][number]];
    const times = [acceptedAt, journaledAt, batchedAt, storedAt];
    expect(times).toEqual(times.toSorted((one, other) => one! - other!));
    expect(found.looked).toEqual({ pending: 'all', store: 'all', letters: 'all', rejected: 'all' });

    await becomes(sent.ids[1]!, 'stored');
    const ofRequest = await find(`requestId=${sent.requestId}`);
    expect(ofRequest.requests).toMatchObject([{ requestId: sent.requestId, accepted: 2, rejected: 0 }]);
    expect(new Set(ofRequest.events.map(({ id }) => id))).toEqual(new Set(sent.ids));
    const ofUser = await find('user=u1');
    expect(ofUser.events.map(({ id }) => id)).toEqual(expect.arrayContaining([...sent.ids]));
    expect((await find('user=nobody')).events).toEqual([]);
  });

  test('what it does now is told, with an hour behind it', async () => {
    await open(env);
    await send(['a', 'b'], { ack: 'stored' });
    let now!: NowAnswer;
    await until('a latency', async () => {
      await send(['c'], { ack: 'stored' });
      now = await visitor.read<NowAnswer>('/now');
      return now.latency.p99 !== null && (now.rates.stored ?? 0) > 0;
    });
    expect(now).toMatchObject({
      health: { breaker: 'closed' },
      breaker: 'closed',
      stores: [
        { name: 'ClickHouse', connected: true },
        { name: 'Postgres', connected: true },
      ],
      pending: { limitEvents: expect.any(Number) as number },
    });
    expect(now.workers?.length ?? 1).toBe(Number(env['WEIR_WORKERS' as keyof typeof env] ?? 1));
    const series = await visitor.read<Series>('/now/series?seconds=60');
    expect(series.stored.some((rate) => rate !== null && rate > 0)).toBe(true);
  });

  test('an event that waits is pending, until somebody makes the batch go', async () => {
    await open({ ...env, ...NEVER });
    const { ids, requestId } = await send(['waiting']);
    // Asked of whoever accepted it, which is told of the console when that has started.
    expect((await find(`id=${ids[0]}`)).events).toMatchObject([{ place: 'pending', event: 'waiting', batchId: null }]);
    const { looked } = await find(`requestId=${requestId}`);
    expect(looked.pending).toBe('all');
    await weir.terminate();
    const [{ stored }] = (await rig.stores.select<{ stored: string }>(
      `SELECT toString(count()) AS stored FROM analytics.events_raw_v1 WHERE event_id = '${ids[0]}'`,
    )) as [{ stored: string }];
    expect(stored).toBe('1');
  });
});

test('where Postgres stores the events, they are found there', async () => {
  const ofPostgres = await startPostgresGrounds();
  try {
    const port = freePort();
    weir = await ofPostgres.newWeir({ CONSOLE_PORT: String(port) });
    visitor = await visitConsole(ofPostgres.rig.stores, port);
    const { ids, requestId } = await send(['there'], { ack: 'stored', user: 'p1', token: ofPostgres.rig.token });
    for (const query of [`id=${ids[0]}`, `requestId=${requestId}`, `user=p1&project=${ofPostgres.rig.projectId}`]) {
      expect((await find(query)).events).toMatchObject([
        { place: 'stored', id: ids[0], event: 'there', source: 'native' },
      ]);
    }
    expect((await find('user=nobody')).looked.store).toBe('all');
  } finally {
    visitor.leave();
    await ofPostgres.rig.stop();
  }
});

test('an event that ClickHouse does not take is in a dead letter, and stored after its replay', async () => {
  await open();
  await rig.clickhouse.refuse();
  const live = await openLive();
  const { ids } = await send(['spilled']);
  await becomes(ids[0]!, 'dead-letter');
  const { events, looked } = await find(`id=${ids[0]}`);
  // The drain may be trying it at this moment.
  const state = expect.stringMatching(/^(waiting|replaying)$/) as string;
  expect(events).toMatchObject([
    {
      event: 'spilled',
      letter: { id: expect.any(String) as string, state, errorClass: expect.any(String) as string },
    },
  ]);
  expect(looked).toMatchObject({ store: 'unavailable', letters: 'all' });
  expect(events[0]!.letter!.lastError).not.toContain('spilled');
  const now = await visitor.read<NowAnswer>('/now');
  expect(now.reasons.every(({ code }) => code !== 'other')).toBe(true);
  live.close();

  await grounds.heal();
  await becomes(ids[0]!, 'stored');
});

test('an event that was rejected is found by the request that brought it', async () => {
  await open({ INGEST_KEEP_REJECTED: '100' });
  const { requestId, ids } = await send(['good', null]);
  await until('kept', async () => {
    const found = await find(`requestId=${requestId}`);
    return new Set(found.events.map(({ place }) => place)).has('rejected');
  });
  await becomes(ids[0]!, 'stored');
  const { events, requests } = await find(`requestId=${requestId}`);
  expect(requests).toMatchObject([{ accepted: 1, rejected: 1 }]);
  expect(new Set(events.map(({ place }) => place))).toEqual(new Set(['stored', 'rejected']));
  expect(events.find(({ place }) => place === 'rejected')).toMatchObject({
    rejection: { kind: 'missing_field', reason: expect.stringContaining('event') as string },
  });
  expect((await find(`id=${ids[1]}`)).events).toMatchObject([{ place: 'rejected' }]);
});

test('names that are markup are found and shown as they are', async () => {
  await open();
  const name = '"><script>alert(1)</script>&';
  const live = await openLive(`?event=${encodeURIComponent(name)}&user=${encodeURIComponent('<b>é/')}`);
  await until('seen', async () => {
    if (shownIn(live).length > 0) return true;
    await send([name, 'other'], { user: '<b>é/' });
    return false;
  });
  expect(shownIn(live)[0]).toMatchObject({ event: name, distinctId: '<b>é/' });
  const answer = await visitor.get(`/events/find?user=${encodeURIComponent('<b>é/')}`);
  expect(answer.headers.get('content-type')).toContain('application/json');
  expect(answer.headers.get('cache-control')).toBe('no-store');
});

test('a stream that nobody reads holds up neither the others nor the service, and the 21st is refused', async () => {
  await open();
  const stuck = await Promise.all(Array.from({ length: 19 }, () => visitor.live('', { isRead: false })));
  expect(stuck.map(({ status }) => status)).toEqual(stuck.map(() => 200));
  const live = await openLive();
  const refused = await visitor.get('/live');
  expect(refused.status).toBe(503);
  expect(await refused.json()).toMatchObject({ code: 'busy', error: expect.stringContaining('20 pages') as string });
  await until('seen', async () => {
    await send(['a']);
    return shownIn(live).length > 20;
  });
  stuck[0]!.close();
  await until('room', async () => {
    const more = await visitor.live();
    return more.status === 200;
  });
});

test('a frozen console costs the service nothing, and goes on when it wakes up', async () => {
  await open({ INGEST_EVENT_BUFFER: '200000' });
  const live = await openLive();
  const body = () =>
    JSON.stringify({
      events: Array.from({ length: 200 }, (_, n) => ({
        event: 'load',
        event_id: grounds.tally().newId(),
        timestamp: Date.now(),
        properties: { n, text: 'x'.repeat(500) },
      })),
    });
  const load = async (requests: number) => {
    let accepted = 0;
    for (let n = 0; n < requests; n += 1) {
      const answer = await grounds.post(weir, body());
      if (answer?.status === 202) accepted += 200;
    }
    await grounds.rest(weir);
    return accepted;
  };
  const before = await load(20);
  const consolePid = childOf(weir.pid()!);
  process.kill(consolePid, 'SIGSTOP');
  const framesBefore = live.frames.length;
  const meanwhile = await load(150);
  process.kill(consolePid, 'SIGCONT');
  const [{ stored }] = (await rig.stores.select<{ stored: string }>(
    `SELECT toString(uniqExact(event_id)) AS stored FROM analytics.events_raw_v1 WHERE event = 'load'`,
  )) as [{ stored: string }];
  // An answer that did not come in time leaves open whether the events were taken.
  expect(Number(stored)).toBeGreaterThanOrEqual(before + meanwhile);
  await until('it goes on', async () => {
    await send(['after']);
    return shownIn(live).some(({ event }) => event === 'after');
  });
  // The service held for it what it had ordered before, and no more: two orders at most.
  const late = live.frames.slice(framesBefore).filter(({ name }) => name === 'batch');
  const batches = late.map(({ data }) => data as LiveBatch);
  const loaded = batches.flatMap(({ events }) => events).filter(({ event }) => event === 'load').length;
  const dropped = batches.reduce((sum, batch) => sum + batch.dropped, 0);
  expect(loaded + dropped).toBeLessThanOrEqual(100);
});

/** The only process that this one has started. */
function childOf(pid: number): number {
  const children = readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .filter((entry) => parentOf(entry) === pid);
  expect(children).toHaveLength(1);
  return Number(children[0]);
}

function parentOf(pid: string): number | null {
  try {
    return Number(readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)!.split(' ')[1]);
  } catch {
    return null; // It ended between the listing and the look.
  }
}
