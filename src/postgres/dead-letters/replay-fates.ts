/** What became of dead letters since an operator made them due. */
import { sql } from '../connection/drizzle.ts';
import { answerOf } from '../connection/errors.ts';
import type { Database } from '../connection/pool.ts';
import { uuids } from '../connection/uuids.ts';

/** Letters by what became of them. */
export type Fates = {
  /** Gone, without a part that is quarantined. */
  readonly stored: number;
  /** Quarantined once more, in whole or in part; the events in those. */
  readonly refused: number;
  readonly refusedEvents: number;
  /** Tried since, and due again later. */
  readonly waiting: number;
  /** Not tried since. */
  readonly untried: number;
};

/** `since`: an instant of Postgres's clock, as text. Throws `PostgresFailure`. */
export async function readFates(db: Database, ids: readonly string[], since: string): Promise<Fates> {
  const { rows } = await answerOf(
    db.execute<{ untried: string; waiting: string; refused: string; events: string; gone: string }>(sql`
      with asked as (select unnest(${uuids(ids)}) as id),
      there as (
        select letter.id, event_count, quarantined_at is not null as is_apart,
          quarantined_at is null and coalesce(last_attempt_at < ${since}::timestamptz, true) as is_untried
        from asked join failed_events as letter using (id)
      ),
      parts as (
        select parent_id, sum(event_count) as events from failed_events
        where parent_id = any(${uuids(ids)}) and quarantined_at is not null group by parent_id
      )
      select count(*) filter (where is_untried) as untried,
        count(*) filter (where not is_untried and not is_apart) as waiting,
        count(*) filter (where is_apart) + (select count(*) from parts) as refused,
        coalesce(sum(event_count) filter (where is_apart), 0) + coalesce((select sum(events) from parts), 0) as events,
        ${ids.length} - count(*) - (select count(*) from parts) as gone
      from there`),
  );
  const found = rows[0]!;
  return {
    stored: Number(found.gone),
    refused: Number(found.refused),
    refusedEvents: Number(found.events),
    waiting: Number(found.waiting),
    untried: Number(found.untried),
  };
}

/** Now, by Postgres's clock, as exact as its columns. Throws `PostgresFailure`. */
export async function readNow(db: Database): Promise<string> {
  const { rows } = await answerOf(db.execute<{ now: string }>(sql`select now()::timestamptz(3)::text as now`));
  return rows[0]!.now;
}
