/** Counts letters of a cause and a state, each count in bounded time. Throws `PostgresFailure`. */
import type { SQL } from 'drizzle-orm';
import { sql } from '../connection/drizzle.ts';
import { answerOf } from '../connection/errors.ts';
import type { Database } from '../connection/pool.ts';
import type { Count } from './dead-letter-statistics.ts';
import { type DeadLetterState, state } from './selection.ts';

/** Letters of one cause in one state. */
export type Tally = Count & {
  readonly group: string;
  readonly state: DeadLetterState;
  readonly errorClass: string;
  readonly errorCode: number | null;
  readonly lastError: string;
  readonly firstSeen: Date;
  readonly lastSeen: Date;
};

const PERCENT = 100;
const COLUMNS = sql`error_fingerprint, error_class, error_code, last_error, event_count, raw_bytes, created_at, last_attempt_at, visible_at, lease_token, quarantined_at`;
/** For the oldest letter that waits, behind quarantined ones. */
const LOOKED_THROUGH = 10_000;

/** The part of the table, 0 to 1, that `pages` of 8 KiB are. */
export async function shareOfTable(db: Database, pages: number): Promise<number> {
  const { rows } = await answerOf(
    db.execute<{ pages: string }>(
      sql`select pg_relation_size('failed_events') / current_setting('block_size')::int as pages`,
    ),
  );
  return Math.min(1, pages / Math.max(1, Number(rows[0]!.pages)));
}

/** Of letters that are in quarantine or not, the first `most` along an index; with one more where there are others. */
export function tallyFirst(db: Database, { isApart, most }: { isApart: boolean; most: number }): Promise<Tally[]> {
  const [condition, order] = isApart
    ? [sql`quarantined_at is not null`, sql`quarantined_at`]
    : [sql`quarantined_at is null`, sql`ambiguous desc, visible_at`];
  return tally(
    db,
    sql`(select ${COLUMNS} from failed_events where ${condition} order by ${order} limit ${most + 1}) as failed_events`,
  );
}

/** The first causes in the order of their index, which is read from one to the next. */
export async function findCauses(db: Database, most: number): Promise<string[]> {
  const found = await answerOf(
    db.execute<{ cause: string }>(sql`
      with recursive causes as (
        (select error_fingerprint as cause from failed_events order by error_fingerprint limit 1)
        union all
        select (select error_fingerprint from failed_events where error_fingerprint > cause order by error_fingerprint limit 1)
        from causes where cause is not null
      )
      select cause from causes where cause is not null limit ${most}`),
  );
  return found.rows.map(({ cause }) => cause);
}

/** Of each of these causes, the `most` oldest letters; with one more where there are others. */
export function tallyCauses(db: Database, causes: readonly string[], most: number): Promise<Tally[]> {
  // Not as an equation, which would let it read along the age of all letters instead.
  const isOf = sql`error_fingerprint >= cause and error_fingerprint <= cause`;
  const each = sql`select ${COLUMNS} from failed_events where ${isOf} order by error_fingerprint, created_at limit ${most + 1}`;
  return tally(db, sql`unnest(${sql.param(causes)}::text[]) as cause cross join lateral (${each}) as failed_events`);
}

/** Of a sample of the table's pages, a new one each time, scaled up. */
export async function tallySample(db: Database, share: number): Promise<Tally[]> {
  const found = await tally(db, sql`failed_events tablesample system (${share * PERCENT})`);
  const whole = (part: number) => Math.round(part / share);
  return found.map((one) => ({
    ...one,
    letters: whole(one.letters),
    events: whole(one.events),
    bytes: whole(one.bytes),
  }));
}

/** The oldest letter that is in no quarantine; null where it is not among the oldest of all. */
export async function oldestReplayed(db: Database): Promise<Date | null> {
  const { rows } = await answerOf(
    db.execute<{ at: string | null }>(sql`
      select min(created_at)::text as at
      from (select created_at, quarantined_at from failed_events order by created_at, id limit ${LOOKED_THROUGH}) as oldest
      where quarantined_at is null`),
  );
  return rows[0]!.at === null ? null : new Date(rows[0]!.at);
}

type Row = Record<
  'group' | 'error_class' | 'last_error' | 'letters' | 'events' | 'bytes' | 'first' | 'last',
  string
> & {
  readonly state: DeadLetterState;
  readonly error_code: number | null;
};

/** `letters`: what stands behind `from`, with the letters as `failed_events`. */
async function tally(db: Database, letters: SQL): Promise<Tally[]> {
  const { rows } = await answerOf(
    db.execute<Row>(sql`
      select error_fingerprint as "group", ${state} as state, min(error_class) as error_class,
        min(error_code) as error_code, min(last_error) as last_error, count(*) as letters,
        sum(event_count) as events, sum(raw_bytes) as bytes, min(created_at)::text as first,
        max(coalesce(last_attempt_at, created_at))::text as last
      from ${letters} group by 1, 2`),
  );
  return rows.map(({ error_class: errorClass, error_code: errorCode, last_error: lastError, first, last, ...of }) => ({
    group: of.group,
    state: of.state,
    errorClass,
    errorCode,
    lastError,
    letters: Number(of.letters),
    events: Number(of.events),
    bytes: Number(of.bytes),
    firstSeen: new Date(first),
    lastSeen: new Date(last),
  }));
}
