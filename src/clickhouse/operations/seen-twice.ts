/**
 * Copies of events that no sorting key brings together: of one project, name and
 * id, with timestamps in different hours. Whoever counts sees each of them.
 */
import type { ClickHouseClient } from '@clickhouse/client';
import { EVENTS } from '../migrations/event-tables.ts';

/** Ids in the sample: what a question on the side may hold in memory. */
const SAMPLE_IDS = 1_000_000;
const TOOK_TOO_LONG = '159';
const MAX_MEMORY_BYTES = 512 * 1024 ** 2;

export type SeenTwice = {
  /** Ids of the sample that are seen more than once. */
  readonly events: number;
  /** One id of so many was looked at. */
  readonly oneIn: number;
  /** One of them, to look at. */
  readonly example: { readonly projectId: string; readonly event: string; readonly eventId: string } | null;
};

type Found = { events: string; project: string; event: string; id: string };

/** What a sample says; null when it takes longer than `withinS`. Throws what the driver throws. */
export async function findSeenTwice(
  client: ClickHouseClient,
  { withinS }: { withinS: number },
): Promise<SeenTwice | null> {
  const rowsOf = async <Row>(query: string, query_params: Record<string, unknown> = {}) => {
    const answer = await client.query({
      query,
      query_params,
      format: 'JSONEachRow',
      clickhouse_settings: {
        max_execution_time: withinS,
        max_memory_usage: String(MAX_MEMORY_BYTES),
        max_threads: 1,
      },
    });
    return answer.json<Row>();
  };
  try {
    const [sum] = await rowsOf<{ rows: string }>(`SELECT toString(count()) AS rows FROM ${EVENTS}`);
    const oneIn = Math.max(1, Math.ceil(Number(sum!.rows) / SAMPLE_IDS));
    const [found] = await rowsOf<Found>(
      `SELECT toString(count()) AS events, toString(any(project_id)) AS project, any(name) AS event, toString(any(event_id)) AS id
       FROM (
         SELECT project_id, event_id, any(event) AS name FROM ${EVENTS}
         WHERE cityHash64(event_id) % {oneIn:UInt64} = 0 AND expires_at > now()
         GROUP BY project_id, event_id, sipHash64(event)
         HAVING min(toStartOfHour(timestamp)) != max(toStartOfHour(timestamp))
       )`,
      { oneIn: String(oneIn) },
    );
    const events = Number(found!.events);
    const example = { projectId: found!.project, event: found!.event, eventId: found!.id };
    return { events, oneIn, example: events === 0 ? null : example };
  } catch (error) {
    if ((error as { code?: unknown }).code === TOOK_TOO_LONG) return null;
    throw error;
  }
}
