/** "Where is my event?": what the places say, put together. */
import { Hono } from 'hono';
import * as v from 'valibot';
import { describe, expect, test } from 'vitest';
import type { ConsoleEnv } from '../src/console/env.ts';
import { WATCHING } from '../src/console/operator/watching.ts';
import type { FindAnswer } from '../src/console/watch/answers.ts';
import { type FindDeps, findWay } from '../src/console/watch/find.ts';
import { eventsFind } from '../src/console/watch/find-route.ts';
import { whereItIsNot } from '../src/console/page/views/find-words.ts';
import { uuidOf } from '../src/event/uuid.ts';
import type { FoundEvents } from '../src/operations/find-events.ts';
import type { PendingAnswer, RecentRequest } from '../src/watch/messages.ts';
import { OTHER_PROJECT, PROJECT } from './support/factory.ts';

const ID = '01890000-0000-7000-8000-000000000001';
const AT = Date.UTC(2026, 4, 5, 12);
const ROW = JSON.stringify({
  project_id: PROJECT,
  event_id: ID,
  event: 'signup',
  anonymous_id: null,
  user_id: 'u1',
  timestamp: '2026-05-05T12:00:00.000Z',
  session_id: null,
  properties: { secret: 1 },
  extras: {},
  source: 'native',
  received_at: new Date(AT).toISOString(),
});
const STORED = {
  projectId: PROJECT,
  id: ID,
  event: 'signup',
  anonymousId: null,
  userId: 'u1',
  source: 'native',
  receivedAt: AT,
};
const LETTER = {
  id: 'l1',
  state: 'waiting' as const,
  group: 'g',
  errorClass: 'unavailable',
  lastError: 'insert failed',
  createdAt: new Date(AT + 5),
};
const IN_LETTER = { row: ROW, isCut: false, projectId: PROJECT, letter: LETTER };
const REJECTION = {
  id: 'x1',
  projectId: PROJECT,
  door: 'native',
  kind: 'missing_field',
  reason: 'timestamp is required',
  receivedAt: new Date(AT),
};
const NOT_PENDING: PendingAnswer = { events: [], requests: [], requestsSince: AT - 9, isCutShort: false, silent: 0 };
const WAITING: PendingAnswer = { ...NOT_PENDING, events: [{ row: ROW, isCut: false, batchId: 'b1' }] };
const REQUEST: RecentRequest = {
  requestId: 'r1',
  projectId: PROJECT,
  receivedAt: AT,
  accepted: 1,
  rejected: 0,
  isRefused: false,
  ids: [ID],
};

function depsOf(places: Partial<FoundEvents> = {}, more: Partial<FindDeps> = {}): FindDeps {
  const looked = { store: 'all', letters: 'all', rejected: 'all' } as const;
  return {
    findPending: () => Promise.resolve(NOT_PENDING),
    findEvents: () => Promise.resolve({ stored: [], inLetters: [], rejected: [], looked, ...places }),
    wayOf: () => null,
    hasTopic: false,
    ...more,
  };
}

const byId = { by: 'id', id: ID, sent: ID, projectId: null } as const;
const find = (deps: FindDeps, question: Parameters<typeof findWay>[1] = byId, showsEvents = true) =>
  findWay(deps, question, { showsEvents });

describe('an event', () => {
  test.each([
    ['stored', depsOf({ stored: [STORED] })],
    ['dead-letter', depsOf({ inLetters: [IN_LETTER] })],
    ['pending', depsOf({}, { findPending: () => Promise.resolve(WAITING) })],
  ])('is %s', async (place, deps) => {
    const { events } = await find(deps);
    expect(events).toMatchObject([
      { place, id: ID, projectId: PROJECT, event: 'signup', distinctId: 'u1', acceptedAt: AT },
    ]);
  });

  test('that is pending in another project is none of those that were asked for', async () => {
    const deps = depsOf({}, { findPending: () => Promise.resolve(WAITING) });
    expect((await find(deps, { ...byId, projectId: OTHER_PROJECT })).events).toEqual([]);
    expect((await find(deps, { ...byId, projectId: PROJECT })).events).toHaveLength(1);
  });

  test('in several places is in the one that is furthest, with its letter', async () => {
    const deps = depsOf({ stored: [STORED], inLetters: [IN_LETTER] }, { findPending: () => Promise.resolve(WAITING) });
    expect((await find(deps)).events).toMatchObject([{ place: 'stored', letter: { id: 'l1', createdAt: AT + 5 } }]);
  });

  test('has the times of its way, where it was seen', async () => {
    const way = {
      requestId: 'r1',
      acceptedAt: AT,
      journaledAt: AT + 1,
      batchId: 'b1',
      batchedAt: AT + 2,
      outcome: 'stored' as const,
      outcomeAt: AT + 3,
    };
    const seen = await find(depsOf({ stored: [STORED] }, { wayOf: () => way }));
    expect(seen.events).toMatchObject([
      { requestId: 'r1', journaledAt: AT + 1, batchId: 'b1', batchedAt: AT + 2, storedAt: AT + 3 },
    ]);
    const again = await find(depsOf({ stored: [STORED] }, { wayOf: () => ({ ...way, acceptedAt: AT + 60_000 }) }));
    expect(again.events).toMatchObject([{ requestId: null, storedAt: null }]);
  });

  test('that was rejected has its rejection', async () => {
    expect((await find(depsOf({ rejected: [REJECTION] }))).events).toMatchObject([
      { place: 'rejected', id: null, rejection: { id: 'x1', kind: 'missing_field', reason: 'timestamp is required' } },
    ]);
  });

  test('says nothing to whom contents are hidden', async () => {
    const deps = depsOf({ stored: [STORED], rejected: [REJECTION] });
    const { events } = await find(deps, byId, false);
    expect(events).toMatchObject([
      { place: 'stored', event: null, distinctId: null },
      { place: 'rejected', rejection: { id: 'x1', reason: null } },
    ]);
  });
});

describe('a request', () => {
  const question = { by: 'request', requestId: 'r1' } as const;
  const remembered = (requests: readonly RecentRequest[]) => ({
    findPending: (asked: Parameters<FindDeps['findPending']>[0]) =>
      Promise.resolve(asked.by === 'request' ? { ...NOT_PENDING, requests } : NOT_PENDING),
  });

  test('leads to its events', async () => {
    const asked: unknown[] = [];
    const deps = depsOf({ stored: [STORED] }, remembered([REQUEST]));
    const answer = await find({ ...deps, findEvents: (of) => (asked.push(of), deps.findEvents(of)) }, question);
    expect(asked).toEqual([{ by: { kind: 'ids', ids: [ID], sent: [] }, projectId: PROJECT, receivedAt: AT }]);
    expect(answer).toMatchObject({
      events: [{ place: 'stored', requestId: 'r1' }],
      requests: [{ requestId: 'r1', accepted: 1 }],
      requestsSince: AT - 9,
    });
  });

  test.each([
    [1, 1],
    [0, 0],
  ])('with %i rejected events has %i of those that were rejected at its moment', async (rejected, count) => {
    const deps = depsOf({ rejected: [REJECTION] }, remembered([{ ...REQUEST, ids: [], rejected }]));
    expect((await find(deps, question)).events).toHaveLength(count);
  });

  test('names events that are nowhere', async () => {
    const answer = await find(depsOf({}, remembered([REQUEST])), question);
    expect(answer.events).toMatchObject([{ place: 'gone', id: ID, requestId: 'r1', acceptedAt: AT }]);
  });

  test('names those that were between two places when they were looked for', async () => {
    let looks = 0;
    const deps = depsOf({}, remembered([REQUEST]));
    const findEvents = async (of: Parameters<FindDeps['findEvents']>[0]) => {
      const found = await deps.findEvents(of);
      looks += 1;
      return looks === 1 ? found : { ...found, stored: [STORED] };
    };
    expect((await find({ ...deps, findEvents }, question)).events).toMatchObject([{ place: 'stored' }]);
  });

  test('names events that are in the topic, where there is one', async () => {
    const answer = await find(depsOf({}, { ...remembered([REQUEST]), hasTopic: true }), question);
    expect(answer.events).toMatchObject([{ place: 'replicated', id: ID }]);
  });

  test('that is not remembered has none, it is said since when they are, and that no place was asked', async () => {
    const answer = await find(depsOf({}, remembered([])), question);
    expect(answer).toMatchObject({ events: [], requests: [], requestsSince: AT - 9 });
    const notAsked = 'not asked';
    expect(answer.looked).toEqual({ pending: notAsked, store: notAsked, letters: notAsked, rejected: notAsked });
    expect(whereItIsNot('requestId', answer)).toContain('No request with this id is remembered. Those since 2026-');
  });

  test('whose service is silent says so, and that nothing else was asked', async () => {
    const answer = await find(depsOf({}, { findPending: () => Promise.resolve(null) }), question);
    expect(answer.looked).toMatchObject({ pending: 'unavailable', store: 'not asked', letters: 'not asked' });
    expect(whereItIsNot('requestId', answer)).toContain('The service does not answer');
  });

  test.each([
    ['none', [], 'not asked'],
    ['the first', [ID], 'a part'],
  ])('of which %s of the ids are known: so far its events were looked for', async (_, ids, looked) => {
    const answer = await find(depsOf({}, remembered([{ ...REQUEST, accepted: 20, ids }])), question);
    expect(answer.looked).toEqual({ pending: looked, store: looked, letters: looked, rejected: 'all' });
    if (ids.length === 0) expect(whereItIsNot('requestId', answer)).toContain('no longer remembered');
  });

  test('that was refused in the end has no event that is missed', async () => {
    const refused = { ...REQUEST, accepted: 0, ids: [], isRefused: true };
    const answer = await find(depsOf({}, remembered([refused])), question);
    expect(answer).toMatchObject({ events: [], requests: [{ accepted: 0, isRefused: true }] });
    expect(whereItIsNot('requestId', answer)).not.toMatch(/nowhere|remembered/);
  });
});

test('it is nowhere only where every place was looked through', async () => {
  expect(whereItIsNot('id', await find(depsOf()))).toContain('It is nowhere');
  const looked = { store: 'unavailable', letters: 'all', rejected: 'all' } as const;
  expect(whereItIsNot('id', await find(depsOf({ looked })))).not.toContain('nowhere');
});

test('a place that cannot be asked, or not to its end, is named', async () => {
  const looked = { store: 'a part', letters: 'unavailable', rejected: 'all' } as const;
  const deps = depsOf({ looked }, { findPending: () => Promise.resolve(null) });
  expect((await find(deps)).looked).toEqual({ ...looked, pending: 'unavailable' });
  const silent = depsOf({}, { findPending: () => Promise.resolve({ ...NOT_PENDING, silent: 1 }) });
  expect((await find(silent)).looked.pending).toBe('a part');
});

describe('GET /events/find', () => {
  const appOf = (deps: FindDeps) =>
    new Hono<ConsoleEnv>()
      .use(async (c, next) => {
        c.set('operator', { name: 'ann', role: 'viewer', showsEvents: true });
        await next();
      })
      .get('/events/find', eventsFind(deps));

  test.each(['', `id=${ID}&user=u1`, 'requestId=', `requestId=${'x'.repeat(129)}`, 'user=&id='])(
    'refuses "%s"',
    async (query) => {
      const answer = await appOf(depsOf()).request(`/events/find?${query}`);
      expect(answer.status).toBe(400);
    },
  );

  test.each([
    [ID.toUpperCase(), ID],
    ['order-17', uuidOf('order-17')],
  ])('looks for %s by the id that is stored, and as it was sent', async (sent, id) => {
    const asked: unknown[] = [];
    const deps = depsOf();
    const app = appOf({
      ...deps,
      findEvents: (question) => {
        asked.push(question.by);
        return deps.findEvents(question);
      },
    });
    await app.request(`/events/find?id=${sent}`);
    expect(asked).toEqual([{ kind: 'ids', ids: [id], sent: [sent] }]);
  });

  test('answers as it is described', async () => {
    const deps = depsOf({ stored: [STORED], inLetters: [IN_LETTER], rejected: [REJECTION] });
    const answer: unknown = await (await appOf(deps).request(`/events/find?id=${ID}`)).json();
    const { schema } = WATCHING.find(({ path }) => path === '/events/find')!.answers[200]!;
    expect(v.safeParse(schema!, answer).issues ?? []).toEqual([]);
  });

  test('answers two at a time', async () => {
    const held = Promise.withResolvers<PendingAnswer>();
    const app = appOf(depsOf({}, { findPending: () => held.promise }));
    const asking = [1, 2].map(async () => app.request(`/events/find?id=${ID}`));
    expect(await app.request(`/events/find?id=${ID}`)).toMatchObject({ status: 503 });
    held.resolve(NOT_PENDING);
    for (const answer of await Promise.all(asking)) {
      expect(answer.status).toBe(200);
      expect(((await answer.json()) as FindAnswer).events).toEqual([]);
    }
  });
});
