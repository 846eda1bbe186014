/**
 * Where events are that somebody asks about: in the store, in dead letters, among the kept rejected ones. Each place is
 * looked through as far as a person can wait for, and says how far that was.
 */
import { idsOf } from '../event/rows.ts';
import type { EventOperations, StoredEvent } from '../pipeline/operator-port.ts';
import type { Database } from '../postgres/connection/pool.ts';
import { type LetterWithRows, searchLetters } from '../postgres/dead-letters/letter-search.ts';
import { type FoundRejection, searchRejected } from '../postgres/rejected-events/rejected-search.ts';
import type { Clock } from '../runtime/clock.ts';
import { type RowSearch, rowSearchOf, rowSearchOfIds, shownRow } from '../watch/row-search.ts';
import { spellingsOf } from '../watch/spellings.ts';
import { unquoted } from './hidden-values.ts';

export type EventQuestion = {
  readonly by:
    | {
        readonly kind: 'ids';
        readonly ids: readonly string[];
        /** How a rejected event may spell one of them. */
        readonly sent: readonly string[];
      }
    | { readonly kind: 'user'; readonly user: string };
  /** null: of every project. */
  readonly projectId: string | null;
  /** Of the request, in epoch ms; null where it is not known. Rejected events are then those of that moment. */
  readonly receivedAt: number | null;
};

/** How a place was looked through; `unavailable`: it could not be. */
export type Looked = 'all' | 'a part' | 'unavailable';

export type InLetter = {
  readonly row: string;
  readonly isCut: boolean;
  readonly projectId: string;
  readonly letter: Omit<LetterWithRows, 'rows'>;
};

export type FoundEvents = {
  readonly stored: readonly StoredEvent[];
  readonly inLetters: readonly InLetter[];
  readonly rejected: readonly FoundRejection[];
  readonly looked: { readonly store: Looked; readonly letters: Looked; readonly rejected: Looked };
};

export type FindEventsDeps = {
  readonly db: Database;
  /** null where this installation stores none. */
  readonly events: Pick<EventOperations, 'findEvents'> | null;
  readonly clock: Pick<Clock, 'now' | 'elapsed'>;
};

const MAX_FOUND = 50;
/** For the whole store; it is asked about ever longer times. */
const STORE_WITHIN_MS = 10_000;
const SPANS_MS: readonly (number | null)[] = [3_600_000, 7 * 86_400_000, null];

/** Never rejects because a store is away: the answer says so. */
export async function findEvents(deps: FindEventsDeps, question: EventQuestion): Promise<FoundEvents> {
  const [store, letters, rejected] = await Promise.all([
    searchStore(deps, question),
    looked(() => lettersWith(deps.db, question), []),
    looked(() => rejectedOnes(deps.db, question), []),
  ]);
  return {
    stored: store.found,
    inLetters: letters.found,
    rejected: rejected.found,
    looked: { store: store.looked, letters: letters.looked, rejected: rejected.looked },
  };
}

type LookedThrough<Found> = { readonly found: Found; readonly looked: Looked };

async function looked<Found>(look: () => Promise<LookedThrough<Found>>, none: Found): Promise<LookedThrough<Found>> {
  try {
    return await look();
  } catch (error) {
    if (error instanceof TypeError || error instanceof RangeError) throw error;
    // Why a store is away is said by health.
    return { found: none, looked: 'unavailable' };
  }
}

function searchStore(deps: FindEventsDeps, question: EventQuestion): Promise<LookedThrough<readonly StoredEvent[]>> {
  const { events } = deps;
  if (events === null) return Promise.resolve({ found: [], looked: 'unavailable' });
  return looked(() => storedOnes({ ...deps, events }, question), []);
}

/** Most are asked about soon after they were sent. */
async function storedOnes(
  { events, clock }: { readonly events: Pick<EventOperations, 'findEvents'>; readonly clock: FindEventsDeps['clock'] },
  { by, projectId }: EventQuestion,
): Promise<LookedThrough<readonly StoredEvent[]>> {
  const startedAt = clock.elapsed();
  const limit = by.kind === 'ids' ? by.ids.length : MAX_FOUND;
  let found: readonly StoredEvent[] = [];
  for (const span of SPANS_MS) {
    const withinMs = STORE_WITHIN_MS - (clock.elapsed() - startedAt);
    if (withinMs < 1) return { found, looked: 'a part' };
    const sinceMs = span === null ? null : clock.now() - span;
    const answer = await events.findEvents({ by, projectId, sinceMs, limit: MAX_FOUND, withinMs });
    if (answer === null) return { found, looked: 'a part' };
    found = answer;
    if (found.length >= limit) break;
  }
  return { found, looked: by.kind === 'user' && found.length >= limit ? 'a part' : 'all' };
}

async function lettersWith(
  db: Database,
  { by, projectId }: EventQuestion,
): Promise<LookedThrough<readonly InLetter[]>> {
  const search: RowSearch = by.kind === 'ids' ? rowSearchOfIds(by.ids) : rowSearchOf({ user: by.user })!;
  const { letters, isCutShort } = await searchLetters(db, {
    projectId,
    holds: (rows) => search.find(rows, 1).length > 0,
  });
  const found = letters.flatMap(({ rows, ...letter }) =>
    search.find(rows, MAX_FOUND).flatMap((row) => {
      const ids = idsOf(rows.subarray(row.start, row.end));
      if (ids === null || (projectId !== null && ids.projectId !== projectId)) return [];
      const shown = { ...letter, lastError: unquoted(letter.lastError) };
      return [{ ...shownRow(rows, row), projectId: ids.projectId, letter: shown }];
    }),
  );
  return { found: found.slice(0, MAX_FOUND), looked: isCutShort || found.length > MAX_FOUND ? 'a part' : 'all' };
}

async function rejectedOnes(
  db: Database,
  { by, projectId, receivedAt }: EventQuestion,
): Promise<LookedThrough<readonly FoundRejection[]>> {
  const texts = by.kind === 'ids' ? [...by.ids, ...by.sent] : spellingsOf(by.user);
  const isOfRequest = receivedAt !== null;
  const found = await searchRejected(db, { projectId, receivedAt, texts: isOfRequest ? null : texts });
  return { found, looked: 'all' };
}
