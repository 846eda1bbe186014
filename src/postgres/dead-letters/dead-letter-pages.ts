/**
 * Dead letters page by page, oldest first. A page costs the same wherever it is and however many letters there are: it
 * begins behind the last letter of the one before (no offset), along an index. Where no index fits the filter exactly,
 * so many letters are looked through at a time, and a page may have fewer letters than asked for, or none, and go on.
 */
import type { SQL } from 'drizzle-orm';
import { sql } from '../connection/drizzle.ts';
import { answerOf } from '../connection/errors.ts';
import type { Database } from '../connection/pool.ts';
import { type DeadLetterState, type Selection, matches, state } from './selection.ts';

/** The place of a letter in the order: a page begins behind it. */
export type DeadLetterPlace = { readonly createdAt: Date; readonly id: string };

export type DeadLetterPageRequest = {
  readonly selection: Selection;
  readonly only: DeadLetterState | null;
  readonly after: DeadLetterPlace | null;
  readonly limit: number;
};

/** `next`: where the next page begins; null when there is none. */
export type IdPage = { readonly ids: readonly string[]; readonly next: DeadLetterPlace | null };

/** Letters that are looked through at a time: some tens of milliseconds. */
const WINDOW = 10_000;
/** So many times for one page. */
const WINDOWS = 2;
/** Up to this many letters of a project are found by its index, and sorted. */
const FEW = 30_000;

/** The ids of one page, in order. Throws `PostgresFailure`. */
export async function readIdPage(db: Database, request: DeadLetterPageRequest): Promise<IdPage> {
  const { selection, only, limit } = request;
  const way = await wayTo(db, selection, only);
  const ids: string[] = [];
  let { after } = request;
  for (let windows = 0; windows < WINDOWS; windows++) {
    const found = await readWindow(db, way, { after, limit: limit - ids.length });
    ids.push(...found.ids);
    after = found.next;
    if (after === null || ids.length >= limit) break;
  }
  return { ids, next: after };
}

/**
 * How letters are found: `source` are those that an index leads through in order, all of which are looked at; `filter`
 * chooses among them.
 */
type Way = { readonly source: SQL; readonly filter: SQL | null };

async function wayTo(db: Database, selection: Selection, only: DeadLetterState | null): Promise<Way> {
  const isState = only === null ? null : sql`${state} = ${only}`;
  const apart = sql`quarantined_at is not null`;
  switch (selection.by) {
    case 'ids':
    case 'group':
      return { source: matches(selection)!, filter: isState };
    case 'quarantined':
      return only === null || only === 'quarantined'
        ? { source: apart, filter: null }
        : { source: sql`false`, filter: null };
    case 'all':
      return only === 'quarantined' ? { source: apart, filter: null } : { source: sql`true`, filter: isState };
    case 'project': {
      const ofProject = matches(selection)!;
      if (await isFew(db, ofProject)) {
        // Not merged into the query around it, which could be planned along the order instead.
        const own = sql`id = any(array(select id from failed_events where ${ofProject}))`;
        return { source: own, filter: isState };
      }
      const filter = isState === null ? ofProject : sql`${ofProject} and ${isState}`;
      return { source: only === 'quarantined' ? apart : sql`true`, filter };
    }
  }
}

async function isFew(db: Database, condition: SQL): Promise<boolean> {
  const { rows } = await answerOf(
    db.execute<{ n: string }>(
      sql`select count(*) as n from (select from failed_events where ${condition} limit ${FEW + 1}) as found`,
    ),
  );
  return Number(rows[0]!.n) <= FEW;
}

type Found = { readonly id: string; readonly created_at: string };

async function readWindow(
  db: Database,
  { source, filter }: Way,
  { after, limit }: { after: DeadLetterPlace | null; limit: number },
): Promise<IdPage> {
  // One more than is given out tells whether there is another page.
  const size = filter === null ? limit + 1 : Math.max(WINDOW, limit + 1);
  const behind =
    after === null
      ? sql``
      : sql`and created_at >= ${after.createdAt.toISOString()}::timestamptz and (created_at, id) > (${after.createdAt.toISOString()}::timestamptz, ${after.id}::uuid)`;
  const window = sql`(select id, created_at, quarantined_at, lease_token, visible_at, project_ids from failed_events where ${source} ${behind} order by created_at, id limit ${size})`;
  const found = await answerOf(
    db.execute<Found>(
      sql`select id, created_at::text as created_at from ${window} as failed_events where ${filter ?? sql`true`} order by created_at, id limit ${limit + 1}`,
    ),
  );
  const ids = found.rows.slice(0, limit);
  if (found.rows.length > limit) return pageOf(ids, ids.at(-1)!);
  if (filter === null) return pageOf(ids, null);
  const { rows: last } = await answerOf(
    db.execute<Found>(
      sql`select id, created_at::text as created_at from ${window} as failed_events order by created_at, id offset ${size - 1}`,
    ),
  );
  return pageOf(ids, last[0] ?? null);
}

const pageOf = (found: readonly Found[], last: Found | null): IdPage => ({
  ids: found.map(({ id }) => id),
  next: last === null ? null : { createdAt: new Date(last.created_at), id: last.id },
});
