/** "Where is my event?": every place is asked, and what is known of one event is put together. */
import type { FoundEvents, InLetter } from '../../operations/find-events.ts';
import type { PendingAnswer, PendingEvent, PendingQuestion, RecentRequest } from '../../watch/messages.ts';
import type { EventQuestion } from '../../operations/find-events.ts';
import type { StoredEvent } from '../../pipeline/operator-port.ts';
import type { FindAnswer, FoundEvent, LookedThrough } from './answers.ts';
import { readRow } from './live-events.ts';
import type { Way } from './trail-book.ts';

export type FindQuestion =
  /** `id`: a UUID, and how its client spelled it. */
  | { readonly by: 'id'; readonly id: string; readonly sent: string; readonly projectId: string | null }
  | { readonly by: 'user'; readonly user: string; readonly projectId: string | null }
  | { readonly by: 'request'; readonly requestId: string };

export type FindDeps = {
  readonly findPending: (question: PendingQuestion) => Promise<PendingAnswer | null>;
  readonly findEvents: (question: EventQuestion) => Promise<FoundEvents>;
  readonly wayOf: (projectId: string, eventId: string) => Way | null;
  /** Whether there is a topic, in which events may be that are nowhere else. */
  readonly hasTopic: boolean;
};

type Asked = {
  readonly stores: EventQuestion;
  readonly pending: PendingQuestion;
  /** Whether rejected events can belong to it: those of another request may have arrived at the same moment. */
  readonly mayBeRejected: boolean;
};

/** `showsEvents`: with what events say. Never rejects because a place cannot be asked: the answer says so. */
export async function findWay(
  deps: FindDeps,
  question: FindQuestion,
  { showsEvents }: { readonly showsEvents: boolean },
): Promise<FindAnswer> {
  let found = await lookOnce(deps, question);
  // One that was on its way from one place to the next is found now.
  if (found.events.some(({ place }) => place === 'gone')) found = await lookOnce(deps, question);
  return showsEvents ? found : { ...found, events: found.events.map(hidden) };
}

async function lookOnce(deps: FindDeps, question: FindQuestion): Promise<FindAnswer> {
  const recent =
    question.by === 'request' ? await deps.findPending({ by: 'request', requestId: question.requestId }) : null;
  const requests = recent?.requests ?? [];
  const asked = question.by === 'request' ? requests.map(ofRequest) : [askedOf(question)];
  const answers = await Promise.all(
    asked.map(async ({ stores, pending, mayBeRejected }) => {
      // What is pending first: it may be stored meanwhile, and is found there then.
      const waiting = await deps.findPending(pending);
      const places = await deps.findEvents(stores);
      return { waiting, places: mayBeRejected ? places : { ...places, rejected: [] }, of: stores.projectId };
    }),
  );
  const events = answers.flatMap(({ waiting, places, of }) => placesOf(waiting?.events ?? [], places, of, deps));
  const known = question.by === 'request' ? withMissing(events, requests, deps) : events;
  const waitings =
    question.by === 'request' ? [recent, ...answers.map(({ waiting }) => waiting)] : [answers[0]!.waiting];
  const forIds = question.by === 'request' ? idsKnownOf(requests) : [];
  const forRejected: LookedThrough[] = question.by === 'request' && requests.length === 0 ? ['not asked'] : [];
  return {
    events: known,
    requests: requests.map(({ requestId, projectId, receivedAt, accepted, rejected, isRefused }) => ({
      requestId,
      projectId,
      receivedAt,
      accepted,
      rejected,
      isRefused,
    })),
    requestsSince: recent?.requestsSince ?? null,
    looked: {
      pending: worst([...forIds, ...waitings.map(pendingLooked)]),
      store: worst([...forIds, ...answers.map(({ places }) => places.looked.store)]),
      letters: worst([...forIds, ...answers.map(({ places }) => places.looked.letters)]),
      rejected: worst([...forRejected, ...answers.map(({ places }) => places.looked.rejected)]),
    },
  };
}

/** How far events of the requests can be looked for: of a large one the first ids are known, of an older one none. */
function idsKnownOf(requests: readonly RecentRequest[]): LookedThrough[] {
  if (requests.length === 0) return ['not asked'];
  return requests.map(({ accepted, ids }) => {
    if (ids.length === accepted) return 'all';
    return ids.length === 0 ? 'not asked' : 'a part';
  });
}

function pendingLooked(answer: PendingAnswer | null): LookedThrough {
  if (answer === null) return 'unavailable';
  return answer.isCutShort || answer.silent > 0 ? 'a part' : 'all';
}

function askedOf(question: Exclude<FindQuestion, { by: 'request' }>): Asked {
  const { projectId } = question;
  return question.by === 'id'
    ? {
        stores: { by: { kind: 'ids', ids: [question.id], sent: [question.sent] }, projectId, receivedAt: null },
        pending: { by: 'ids', ids: [question.id] },
        mayBeRejected: true,
      }
    : {
        stores: { by: { kind: 'user', user: question.user }, projectId, receivedAt: null },
        pending: { by: 'user', user: question.user, projectId },
        mayBeRejected: true,
      };
}

function ofRequest({ ids, projectId, receivedAt, rejected }: RecentRequest): Asked {
  const stores: EventQuestion = { by: { kind: 'ids', ids, sent: [] }, projectId, receivedAt };
  return { stores, pending: { by: 'ids', ids }, mayBeRejected: rejected > 0 };
}

const worst = (looked: readonly LookedThrough[]): LookedThrough =>
  (['unavailable', 'not asked', 'a part'] as const).find((one) => looked.includes(one)) ?? 'all';

/**
 * Each event once, where it is furthest: what is stored may still be in a letter, or be sent again. `of`: the project that was
 * asked about; null: any.
 */
function placesOf(
  waiting: readonly PendingEvent[],
  places: FoundEvents,
  of: string | null,
  { wayOf }: FindDeps,
): FoundEvent[] {
  const found = new Map<string, FoundEvent>();
  const add = (event: FoundEvent) => {
    const key = `${event.projectId} ${event.id}`;
    const known = found.get(key);
    // The first place counts; a letter is worth knowing in any case.
    if (known === undefined) found.set(key, event);
    else if (known.letter === null && event.letter !== null) found.set(key, { ...known, letter: event.letter });
  };
  for (const event of places.stored) add(storedOne(event, wayOf(event.projectId, event.id)));
  for (const one of places.inLetters)
    addRow(one, (event) => ({ ...event, place: 'dead-letter', letter: letterOf(one) }));
  for (const one of waiting)
    addRow(one, (event) => ({ ...event, place: 'pending', batchId: event.batchId ?? one.batchId }));
  const rejected = places.rejected.map(({ id, projectId, door, kind, reason, receivedAt }): FoundEvent => ({
    ...BLANK,
    place: 'rejected',
    projectId,
    source: door,
    acceptedAt: receivedAt.getTime(),
    rejection: { id, kind, reason },
  }));
  return [...found.values(), ...rejected];

  function addRow(row: { readonly row: string; readonly isCut: boolean }, complete: (event: FoundEvent) => FoundEvent) {
    const read = readRow(row);
    if (read === null || (of !== null && read.projectId !== of)) return;
    const { id, projectId, event, userId, anonymousId, source, receivedAt: acceptedAt } = read;
    const way = wayOf(projectId, id);
    const known = { ...BLANK, id, projectId, event, distinctId: userId ?? anonymousId, source, acceptedAt };
    add(complete({ ...known, ...timesOf(way, acceptedAt) }));
  }
}

const BLANK: FoundEvent = {
  place: 'gone',
  projectId: '',
  id: null,
  event: null,
  distinctId: null,
  source: null,
  requestId: null,
  acceptedAt: null,
  journaledAt: null,
  batchId: null,
  batchedAt: null,
  storedAt: null,
  letter: null,
  rejection: null,
};

function storedOne({ id, projectId, event, userId, anonymousId, source, receivedAt }: StoredEvent, way: Way | null) {
  const known = { ...BLANK, place: 'stored' as const, id, projectId, event, distinctId: userId ?? anonymousId, source };
  return { ...known, acceptedAt: receivedAt, ...timesOf(way, receivedAt) };
}

/** The way of an event that was sent again is that of the later one. */
function timesOf(way: Way | null, acceptedAt: number | null) {
  if (way === null || (acceptedAt !== null && way.acceptedAt !== acceptedAt)) return {};
  const { requestId, journaledAt, batchId, batchedAt, outcome, outcomeAt } = way;
  return { requestId, journaledAt, batchId, batchedAt, storedAt: outcome === 'stored' ? outcomeAt : null };
}

const letterOf = ({ letter: { createdAt, ...letter } }: InLetter) => ({ ...letter, createdAt: createdAt.getTime() });

/** With the events of the requests that are in no place, and the request's id with all others. */
function withMissing(
  events: readonly FoundEvent[],
  requests: readonly RecentRequest[],
  { hasTopic, wayOf }: FindDeps,
): FoundEvent[] {
  const known = events.map((event): FoundEvent => {
    const from = requests.find(({ ids, projectId }) => projectId === event.projectId && ids.includes(event.id ?? ''));
    return from === undefined ? event : { ...event, requestId: from.requestId };
  });
  const ids = new Set(known.map(({ id }) => id));
  const missing = requests.flatMap(({ requestId, projectId, receivedAt: acceptedAt, ids: all }) =>
    all
      .filter((id) => !ids.has(id))
      .map((id): FoundEvent => {
        const place = hasTopic ? 'replicated' : 'gone';
        return { ...BLANK, place, projectId, id, acceptedAt, ...timesOf(wayOf(projectId, id), acceptedAt), requestId };
      }),
  );
  return [...known, ...missing];
}

function hidden(event: FoundEvent): FoundEvent {
  const { rejection } = event;
  return { ...event, event: null, distinctId: null, rejection: rejection && { ...rejection, reason: null } };
}
