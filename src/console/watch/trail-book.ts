/** What became of the events that somebody has seen, as far as the service told it: the latest ones. */
import type { SeenEvent, Step } from '../../watch/messages.ts';
import type { EventStep } from './answers.ts';
import type { ReadRow } from './live-events.ts';

/** The way of one event so far; times in epoch ms. */
export type Way = {
  readonly requestId: string;
  readonly acceptedAt: number;
  journaledAt: number | null;
  batchId: string | null;
  batchedAt: number | null;
  /** Where it went, and when. */
  outcome: 'stored' | 'dead-lettered' | 'replicated' | 'refused' | null;
  outcomeAt: number | null;
};

export type TrailBook = {
  /** A number of a trail is that of its worker. */
  saw(worker: number | null, event: SeenEvent, row: Pick<ReadRow, 'id' | 'projectId'>): void;
  /** What the step means for each of the events that were seen, with the streams that saw them. */
  note(worker: number | null, step: Step): readonly { readonly streams: readonly number[]; readonly step: EventStep }[];
  wayOf(projectId: string, eventId: string): Way | null;
};

type Followed = {
  readonly id: string;
  readonly projectId: string;
  readonly place: number;
  readonly streams: readonly number[];
  readonly way: Way;
};

const MAX_TRAILS = 5_000;
/** As many as are told of one request at most, for some streams. */
const MAX_OF_ONE = 80;

export function createTrailBook(): TrailBook {
  const trails = new Map<string, Followed[]>();
  const byEvent = new Map<string, Followed>();

  return {
    saw(worker, { trail, place, streams, requestId, at }, { id, projectId }) {
      const key = keyOf(worker, trail);
      const followed = trails.get(key) ?? [];
      if (followed.length >= MAX_OF_ONE) return;
      const way: Way = {
        requestId,
        acceptedAt: at,
        journaledAt: null,
        batchId: null,
        batchedAt: null,
        outcome: null,
        outcomeAt: null,
      };
      followed.push({ id, projectId, place, streams, way });
      byEvent.set(eventKey(projectId, id), followed.at(-1)!);
      if (followed.length > 1) return;
      trails.set(key, followed);
      if (trails.size > MAX_TRAILS) forget(trails.keys().next().value!);
    },
    note: (worker, step) =>
      (trails.get(keyOf(worker, step.trail)) ?? []).map((followed) => ({
        streams: followed.streams,
        step: advance(followed, step),
      })),
    wayOf: (projectId, eventId) => byEvent.get(eventKey(projectId, eventId))?.way ?? null,
  };

  function forget(key: string) {
    for (const followed of trails.get(key)!) {
      const known = eventKey(followed.projectId, followed.id);
      // The id may have been sent again since.
      if (byEvent.get(known) === followed) byEvent.delete(known);
    }
    trails.delete(key);
  }
}

function advance({ id, projectId, place, way }: Followed, { stage: told, at, batchId, apart }: Step): EventStep {
  const isApart = apart.includes(place);
  const stage = isApart ? 'dead-lettered' : told;
  if (stage === 'journaled') way.journaledAt = at;
  else if (stage === 'batched') {
    way.batchId = batchId;
    way.batchedAt = at;
  } else {
    way.outcome = stage;
    way.outcomeAt = at;
  }
  // A batch that became a dead letter whole is one under its own id.
  const letterId = stage === 'dead-lettered' && !isApart && apart.length === 0 ? batchId : null;
  return { id, projectId, stage, at, batchId, letterId };
}

const keyOf = (worker: number | null, trail: number) => `${worker ?? ''}:${trail}`;
const eventKey = (projectId: string, id: string) => `${projectId} ${id}`;
