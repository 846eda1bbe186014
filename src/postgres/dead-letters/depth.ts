/**
 * Measures how many dead letters there are, in bounded time. Few are counted through their indexes; more are counted
 * completely while the table is small; beyond, they are estimated from a sample of the table's pages, which needs no
 * statistics and cannot be wrong for long: every measurement takes a new one.
 */
import type { SQL } from 'drizzle-orm';
import type { DeadLetterDepth } from '../../pipeline/flags.ts';
import { sql } from '../connection/drizzle.ts';
import { answerOf } from '../connection/errors.ts';
import type { Database } from '../connection/pool.ts';
import { failedEvents } from '../connection/schema.ts';

export type DepthLimits = {
  /** Up to this many letters of a kind are counted one by one. */
  readonly letters: number;
  /** The most pages of 8 KiB that are read. */
  readonly pages: number;
};

const LIMITS: DepthLimits = { letters: 2_000, pages: 4_000 };

type Counted = {
  readonly rows: number;
  readonly events: number;
  readonly bytes: number;
  readonly oldestAt: number | null;
};

const WAITING = sql`${failedEvents.quarantinedAt} is null`;
const QUARANTINED = sql`${failedEvents.quarantinedAt} is not null`;

/** Throws `PostgresFailure`. */
export async function measureDepth(db: Database, limits: DepthLimits = LIMITS): Promise<DeadLetterDepth> {
  const waiting = await countFew(WAITING, sql`${failedEvents.ambiguous} desc, ${failedEvents.visibleAt}`);
  const apart = await countFew(QUARANTINED, sql`${failedEvents.quarantinedAt}`);
  const isMuch = ({ rows }: Counted) => rows > limits.letters;
  if (!isMuch(waiting) && !isMuch(apart)) return depthOf(waiting, apart, false);

  const share = await shareToRead();
  const counted = async (few: Counted, kind: SQL) => (isMuch(few) ? atLeast(few, await countPages(kind, share)) : few);
  return depthOf(await counted(waiting, WAITING), await counted(apart, QUARANTINED), share < 1);

  /**
   * One more than the limit shows that there are more. The order is the index's, so that no plan reads the whole table.
   */
  function countFew(kind: SQL, order: SQL): Promise<Counted> {
    return sumOf(
      sql`(select event_count, raw_bytes, created_at from failed_events where ${kind} order by ${order} limit ${limits.letters + 1})`,
      1,
    );
  }

  async function shareToRead(): Promise<number> {
    const { rows } = await answerOf(
      db.execute<{ pages: string }>(
        sql`select pg_relation_size('failed_events') / current_setting('block_size')::int as pages`,
      ),
    );
    return Math.min(1, limits.pages / Math.max(1, Number(rows[0]!.pages)));
  }

  function countPages(kind: SQL, share: number): Promise<Counted> {
    const sample = share < 1 ? sql`tablesample system (${share * 100})` : sql``;
    return sumOf(sql`(select event_count, raw_bytes, created_at from failed_events ${sample} where ${kind})`, share);
  }

  async function sumOf(letters: SQL, share: number): Promise<Counted> {
    const { rows } = await answerOf(
      db.execute<{ rows: string; events: string; bytes: string; oldest: string | null }>(sql`
        select count(*) as rows, coalesce(sum(event_count), 0) as events, coalesce(sum(raw_bytes), 0) as bytes,
          floor(extract(epoch from min(created_at)) * 1000) as oldest
        from ${letters} as letter`),
    );
    const { rows: count, events, bytes, oldest } = rows[0]!;
    const whole = (part: string) => Math.round(Number(part) / share);
    return {
      rows: whole(count),
      events: whole(events),
      bytes: whole(bytes),
      oldestAt: oldest === null ? null : Number(oldest),
    };
  }
}

/** Letters that were counted exist, whatever the sample suggests. */
function atLeast(counted: Counted, estimated: Counted): Counted {
  return {
    rows: Math.max(counted.rows, estimated.rows),
    events: Math.max(counted.events, estimated.events),
    bytes: Math.max(counted.bytes, estimated.bytes),
    oldestAt: Math.min(counted.oldestAt ?? Infinity, estimated.oldestAt ?? Infinity),
  };
}

function depthOf(waiting: Counted, apart: Counted, isEstimate: boolean): DeadLetterDepth {
  return {
    rows: waiting.rows,
    events: waiting.events,
    bytes: waiting.bytes,
    oldestAt: waiting.oldestAt,
    quarantinedRows: apart.rows,
    quarantinedEvents: apart.events,
    isEstimate,
  };
}
