/** What became of dead letters since an operator made them due. */
import { sql } from '../connection/drizzle.ts';
import { answerOf } from '../connection/errors.ts';
import type { Database } from '../connection/pool.ts';
import { uuids } from '../connection/uuids.ts';
import { lastOfOperators } from './audit.ts';

/** Letters by what became of them. */
export type Fates = {
  /** Gone by a try, without a part that is quarantined. */
  readonly stored: number;
  /** Gone because somebody discarded them, or deleted the project that all of their events were of. */
  readonly discarded: number;
  /** Gone because somebody divided them, to replay or remove some of their events: what remains has other ids. */
  readonly divided: number;
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
  const done = lastOfOperators(ids, {
    actions: ['discard', 'split', 'import'],
    // An entry has the instant at which its transaction began: it may have waited for the letter's lock.
    since: sql`${since}::timestamptz - interval '1 minute'`,
  });
  const { rows } = await answerOf(
    db.execute<Record<'untried' | 'waiting' | 'refused' | 'events' | 'discarded' | 'divided' | 'gone', string>>(sql`
      with asked as (select unnest(${uuids(ids)}) as id),
      there as (
        select letter.id, event_count, quarantined_at is not null as is_apart,
          quarantined_at is null and coalesce(last_attempt_at < ${since}::timestamptz, true) as is_untried
        from asked join failed_events as letter using (id)
      ),
      taken as (
        select id, action = 'discard' as is_discarded from (${done}) as last
        where action <> 'import' and id not in (select id from there)
      ),
      parts as (
        select parent_id, sum(event_count) as events from failed_events
        where parent_id = any(${uuids(ids)}) and quarantined_at is not null
          and parent_id not in (select id from taken)
        group by parent_id
      )
      select count(*) filter (where is_untried) as untried,
        count(*) filter (where not is_untried and not is_apart) as waiting,
        count(*) filter (where is_apart) + (select count(*) from parts) as refused,
        coalesce(sum(event_count) filter (where is_apart), 0) + coalesce((select sum(events) from parts), 0) as events,
        (select count(*) from taken where is_discarded) as discarded,
        (select count(*) from taken where not is_discarded) as divided,
        ${ids.length} - count(*) - (select count(*) from parts) - (select count(*) from taken) as gone
      from there`),
  );
  const found = rows[0]!;
  return {
    stored: Number(found.gone),
    discarded: Number(found.discarded),
    divided: Number(found.divided),
    refused: Number(found.refused),
    refusedEvents: Number(found.events),
    waiting: Number(found.waiting),
    untried: Number(found.untried),
  };
}
