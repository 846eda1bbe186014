/** The kept rejected events as operators select and read them. Throws `PostgresFailure`. */
import type { SQL } from 'drizzle-orm';
import type { RejectionKind } from '../../event/rejection-kind.ts';
import type { RejectedEvent, RejectedFacts } from '../../pipeline/rejected-port.ts';
import { and, asc, desc, eq, inArray, lt, sql } from '../connection/drizzle.ts';
import { answerOf } from '../connection/errors.ts';
import type { Database } from '../connection/pool.ts';
import { rejectedEvents } from '../connection/schema.ts';

/** Which events; every member narrows them further. */
export type RejectedSelection = {
  readonly ids?: readonly string[];
  readonly projectId?: string;
  readonly door?: string;
  readonly kind?: RejectionKind;
};

/** An event without its bytes. */
export type RejectedEntry = Omit<RejectedEvent, 'bytes' | 'facts' | 'receivedAt'> & {
  readonly size: number;
  readonly receivedAt: Date;
  readonly keptAt: Date;
};

const { projectId, door, path, kind, reason, size, position, receivedAt, keptAt } = rejectedEvents;
const ENTRY = {
  id: rejectedEvents.id,
  projectId,
  door,
  path,
  reason,
  size,
  receivedAt,
  keptAt,
  kind: sql<RejectionKind>`${kind}`,
  index: position,
};
/** An event as it was kept. */
const WHOLE = {
  id: rejectedEvents.id,
  projectId,
  door,
  path,
  reason,
  kind: sql<RejectionKind>`${kind}`,
  index: position,
  bytes: rejectedEvents.bytes,
  facts: sql<RejectedFacts>`${rejectedEvents.facts}`,
  receivedAt: sql<string>`(extract(epoch from ${receivedAt}) * 1000)::bigint`.mapWith(Number),
};

export function conditionOf({ ids, projectId, door, kind }: RejectedSelection): SQL | undefined {
  return and(
    ids && inArray(rejectedEvents.id, [...ids]),
    projectId === undefined ? undefined : eq(rejectedEvents.projectId, projectId),
    door === undefined ? undefined : eq(rejectedEvents.door, door),
    kind === undefined ? undefined : eq(rejectedEvents.kind, kind),
  );
}

/** Newest first. */
export function listRejected(db: Database, selection: RejectedSelection, limit: number): Promise<RejectedEntry[]> {
  const found = db.select(ENTRY).from(rejectedEvents).where(conditionOf(selection)).orderBy(desc(rejectedEvents.id));
  return answerOf(found.limit(limit));
}

/** `next`: the id that the next page begins behind; null when there is none. */
export type RejectedPage = { readonly events: readonly RejectedEntry[]; readonly next: string | null };

/** Events that are looked through for one page, where no index fits the selection. */
const WINDOW = 20_000;

/**
 * A page of the same, behind the event with that id. It costs the same however many there are: it may have fewer events
 * than asked for, or none, although there is a next one.
 */
export async function readRejectedPage(
  db: Database,
  { selection, after, limit }: { selection: RejectedSelection; after: string | null; limit: number },
): Promise<RejectedPage> {
  const { door, kind, ...indexed } = selection;
  const isFiltered = door !== undefined || kind !== undefined;
  const source = and(conditionOf(indexed), after === null ? undefined : lt(rejectedEvents.id, after));
  const size = isFiltered ? Math.max(WINDOW, limit + 1) : limit + 1;
  const window = db.select({ id: rejectedEvents.id }).from(rejectedEvents).where(source);
  const ids = window.orderBy(desc(rejectedEvents.id)).limit(size);
  const found = await answerOf(
    db
      .select(ENTRY)
      .from(rejectedEvents)
      .where(and(inArray(rejectedEvents.id, ids), conditionOf(selection)))
      .orderBy(desc(rejectedEvents.id))
      .limit(limit + 1),
  );
  const events = found.slice(0, limit);
  if (found.length > limit) return { events, next: events.at(-1)!.id };
  const [last] = isFiltered
    ? await answerOf(
        window
          .orderBy(desc(rejectedEvents.id))
          .limit(1)
          .offset(size - 1),
      )
    : [];
  return { events, next: last?.id ?? null };
}

export function countRejected(db: Database, selection: RejectedSelection): Promise<number> {
  return answerOf(db.$count(rejectedEvents, conditionOf(selection)));
}

/** Null when it is not there. */
export async function openRejected(db: Database, id: string): Promise<RejectedEvent | null> {
  const [event] = await answerOf(db.select(WHOLE).from(rejectedEvents).where(eq(rejectedEvents.id, id)));
  return event ?? null;
}

/** Where a walk over the events of a selection stands: behind that id. */
export type RejectedWalk = { readonly selection: RejectedSelection; readonly after: string | null };
/** `last`: the id that the walk goes on behind; null when it is over. */
export type RejectedStep = { readonly events: readonly RejectedEvent[]; readonly last: string | null };

/** What is read at a time; a larger event is a step by itself. */
const STEP_EVENTS = 200;
const STEP_BYTES = 4 * 1024 * 1024;

/** The next few events of a walk, in the order of their ids. `isLocking`: locks them, and passes over locked ones. */
export async function nextRejected(
  tx: Pick<Database, 'select'>,
  { selection, after }: RejectedWalk,
  { isLocking }: { isLocking: boolean },
): Promise<RejectedStep> {
  const behind = after === null ? undefined : sql`${rejectedEvents.id} > ${after}::uuid`;
  const sizes = await answerOf(
    tx
      .select({ id: rejectedEvents.id, size: rejectedEvents.size })
      .from(rejectedEvents)
      .where(and(behind, conditionOf(selection)))
      .orderBy(asc(rejectedEvents.id))
      .limit(STEP_EVENTS),
  );
  let total = 0;
  const ids = sizes.filter(({ size }, place) => (total += size) <= STEP_BYTES || place === 0).map(({ id }) => id);
  if (ids.length === 0) return { events: [], last: null };
  const found = tx.select(WHOLE).from(rejectedEvents).where(inArray(rejectedEvents.id, ids));
  const ordered = found.orderBy(asc(rejectedEvents.id));
  const events = await answerOf(isLocking ? ordered.for('update', { skipLocked: true }) : ordered);
  return { events, last: ids.at(-1)! };
}
