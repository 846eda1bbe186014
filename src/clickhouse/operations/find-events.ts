/** Finds stored events by their ids, or those of a user, in bounded time. */
import { type ClickHouseClient, ClickHouseError } from '@clickhouse/client';
import type { EventSearch, StoredEvent } from '../../pipeline/operator-port.ts';

type Row = Record<'project' | 'id' | 'name' | 'door' | 'at', string> & Record<'anonymous' | 'person', string | null>;

/** It would take longer, or read more, than it may. */
const TOO_LONG: ReadonlySet<string> = new Set(['159', '160', '158', '307']);

// The names differ from the columns': in ClickHouse an alias also stands for its text in WHERE.
const COLUMNS = `toString(project_id) AS project, toString(event_id) AS id, event AS name, anonymous_id AS anonymous,
  user_id AS person, source AS door, toString(toUnixTimestamp64Milli(received_at)) AS at`;

/** Newest first; null where it takes too long. Throws what the driver throws. */
export async function findEvents(
  client: ClickHouseClient,
  { by, projectId, sinceMs, limit, withinMs }: EventSearch,
): Promise<readonly StoredEvent[] | null> {
  const conditions = [
    ...(projectId === null ? [] : ['project_id = {project:UUID}']),
    ...(sinceMs === null ? [] : ["received_at >= fromUnixTimestamp64Milli({since:Int64}, 'UTC')"]),
    by.kind === 'ids' ? 'event_id IN {ids:Array(UUID)}' : '(user_id = {user:String} OR anonymous_id = {user:String})',
    'expires_at > now()',
  ];
  try {
    const answer = await client.query({
      query: `SELECT ${COLUMNS} FROM events_raw_v1 WHERE ${conditions.join(' AND ')}
        ORDER BY received_at DESC LIMIT 1 BY project_id, event_id LIMIT {limit:UInt32}`,
      query_params: {
        limit,
        ...(projectId !== null && { project: projectId }),
        ...(sinceMs !== null && { since: sinceMs }),
        ...(by.kind === 'ids' ? { ids: by.ids } : { user: by.user }),
      },
      format: 'JSONEachRow',
      clickhouse_settings: {
        readonly: '2',
        max_execution_time: Math.ceil(withinMs / 1_000),
        cancel_http_readonly_queries_on_client_close: 1,
      },
      abort_signal: AbortSignal.timeout(Math.ceil(withinMs) + GRACE_MS),
    });
    return (await answer.json<Row>()).map(eventOf);
  } catch (error) {
    if (error instanceof ClickHouseError && TOO_LONG.has(error.code)) return null;
    throw error;
  }
}

/** For an answer that is on its way. */
const GRACE_MS = 2_000;

const eventOf = ({ project, id, name, anonymous, person, door, at }: Row): StoredEvent => ({
  projectId: project,
  id,
  event: name,
  anonymousId: anonymous,
  userId: person,
  source: door,
  receivedAt: Number(at),
});
