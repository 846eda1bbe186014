/** Finds stored events by their ids, or those of a user, in bounded time. */
import type { Pool } from 'pg';
import type { EventSearch, StoredEvent } from '../../pipeline/operator-port.ts';
import { PostgresFailure, plainAnswerOf } from '../connection/errors.ts';

type Row = Record<'project' | 'id' | 'event' | 'source' | 'at', string> & Record<'anonymous' | 'person', string | null>;

const CUT = '57014';

/** Newest first; null where it takes too long. Throws `PostgresFailure`. */
export async function findEvents(
  pool: Pool,
  { by, projectId, sinceMs, limit, withinMs }: EventSearch,
): Promise<readonly StoredEvent[] | null> {
  const wanted = by.kind === 'ids' ? 'event_id = ANY ($3::uuid[])' : '(user_id = $3 OR anonymous_id = $3)';
  const client = await plainAnswerOf(pool.connect());
  try {
    await plainAnswerOf(client.query('BEGIN READ ONLY'));
    await plainAnswerOf(client.query(`SET LOCAL statement_timeout = ${Math.ceil(withinMs)}`));
    const { rows } = await plainAnswerOf(
      client.query<Row>(
        `SELECT project_id AS project, event_id AS id, event, anonymous_id AS anonymous, user_id AS person, source,
           (extract(epoch FROM received_at) * 1000)::bigint AS at
         FROM analytics.events_raw
         WHERE ($1::uuid IS NULL OR project_id = $1) AND ($2::float8 IS NULL OR received_at >= to_timestamp($2 / 1000))
           AND ${wanted} AND (expires_at IS NULL OR expires_at > now())
         ORDER BY received_at DESC LIMIT $4`,
        [projectId, sinceMs, by.kind === 'ids' ? by.ids : by.user, limit],
      ),
    );
    return rows.map(eventOf);
  } catch (error) {
    if (error instanceof PostgresFailure && error.code === CUT) return null;
    throw error;
  } finally {
    // A connection on which this fails is not used again.
    await client.query('ROLLBACK').then(
      () => client.release(),
      (error: Error) => client.release(error),
    );
  }
}

const eventOf = ({ project, id, event, anonymous, person, source, at }: Row): StoredEvent => ({
  projectId: project,
  id,
  event,
  anonymousId: anonymous,
  userId: person,
  source,
  receivedAt: Number(at),
});
