/** Whether ClickHouse has a table of events, and which events; asked by whoever brings it those of another store. */
import type { ClickHouseClient } from '@clickhouse/client';
import { ask, askOf } from '../connection/ask.ts';
import { classOfCode, PASSING } from '../connection/error-codes.ts';
import { failureFromForeignAnswer } from '../connection/errors.ts';
import { NotClickHouse } from '../connection/verified-answers.ts';
import { EVENTS } from '../migrations/event-tables.ts';

/** What tells an event from every other one, and when it arrived. */
export type EventKey = {
  readonly projectId: string;
  readonly eventId: string;
  readonly event: string;
  /** Epoch milliseconds. */
  readonly receivedAt: number;
};

/** Ids in one question, of the 128 kB that ClickHouse takes in one form field. */
const MAX_ASKED = 2_000;

/** Whether the table of events is there. Throws what the driver throws. */
export async function hasEventTable(client: ClickHouseClient, database: string): Promise<boolean> {
  const tables = await askOf(client, database)(
    'SELECT name FROM system.tables WHERE database = {database:String} AND name = {table:String}',
    { table: EVENTS },
  );
  return tables.length > 0;
}

/** Which of the events are stored, as `true` at their index. Throws what the driver throws. */
export async function findStoredEvents(client: ClickHouseClient, events: readonly EventKey[]): Promise<boolean[]> {
  const stored = new Set<string>();
  for (let from = 0; from < events.length; from += MAX_ASKED) {
    for (const key of await storedAmong(client, events.slice(from, from + MAX_ASKED))) stored.add(textOf(key));
  }
  return events.map((key) => stored.has(textOf(key)));
}

type StoredKey = Omit<EventKey, 'receivedAt'>;

const textOf = ({ projectId, eventId, event }: StoredKey) => `${projectId} ${eventId} ${event}`;

async function storedAmong(client: ClickHouseClient, events: readonly EventKey[]): Promise<readonly StoredKey[]> {
  const arrivals = events.map(({ receivedAt }) => receivedAt);
  const answer = await client.query({
    // The arrival names the parts to look into. In ClickHouse an alias also stands for its text in WHERE.
    query: `SELECT DISTINCT toString(project_id) AS projectId, toString(event_id) AS eventId, toString(${EVENTS}.event) AS event
     FROM ${EVENTS}
     WHERE received_at BETWEEN fromUnixTimestamp64Milli({first:Int64}, 'UTC') AND fromUnixTimestamp64Milli({last:Int64}, 'UTC')
       AND has({projects:Array(UUID)}, project_id) AND event_id IN {events:Array(UUID)}`,
    query_params: {
      first: Math.min(...arrivals),
      last: Math.max(...arrivals),
      projects: [...new Set(events.map(({ projectId }) => projectId))],
      events: events.map(({ eventId }) => eventId),
    },
    use_multipart_params: true,
    // Ends with a brace: rows that were cut off must not read as rows that are not there.
    format: 'JSON',
  });
  const { data } = await answer.json<StoredKey>();
  return data;
}

type CountedMonth = {
  /** Of arrival, such as `2026-11`, in UTC. */
  readonly month: string;
  /** Epoch milliseconds: what arrived later is left out. */
  readonly until: number;
  /** Epoch seconds: what expires until then is left out. */
  readonly at: number;
};

/** The events of a month by project, each once however many copies there are. Throws what the driver throws. */
export async function countStoredEvents(
  client: ClickHouseClient,
  { month, until, at }: CountedMonth,
): Promise<ReadonlyMap<string, number>> {
  const counted = await ask<{ project: string; events: string }>(
    client,
    `SELECT toString(project_id) AS project, toString(count()) AS events FROM ${EVENTS} FINAL
     WHERE toYYYYMM(received_at) = {month:UInt32} AND received_at <= fromUnixTimestamp64Milli({until:Int64}, 'UTC')
       AND expires_at > toDateTime({at:UInt32}, 'UTC')
     GROUP BY project_id`,
    { month: Number(month.replace('-', '')), until, at },
  );
  return new Map(counted.map(({ project, events }) => [project, Number(events)]));
}

/** Whether a question failed in a way that may pass. */
export function isPassingFailure(error: unknown): boolean {
  if (error instanceof NotClickHouse) return PASSING.has(failureFromForeignAnswer(error).failureClass);
  const { code } = (error instanceof Error ? error : {}) as { code?: unknown };
  // A number is ClickHouse's own; anything else says that it gave no answer.
  return !/^\d+$/.test(String(code)) || PASSING.has(classOfCode(Number(code)));
}
