/**
 * Reads the events that Postgres stores, as the rows that were accepted: by blocks, in the order in which they lie
 * there, which needs no index and no more memory than a few of them.
 */
import { escapeLiteral, type Pool, type PoolClient } from 'pg';
import type { ProjectId } from '../../event/event.ts';
import { rawStringOf } from '../../event/raw-json.ts';
import { withReadable } from '../../event/readable.ts';
import { rowEncoder } from '../../event/row.ts';
import { transactionLimits } from '../connection/connection.ts';
import { answerOf, plainAnswerOf } from '../connection/errors.ts';

/** One partition of `analytics.events_raw`. */
export type EventPartition = {
  /** As SQL names it. */
  readonly name: string;
  /** Blocks of the table that may hold rows of this moment's snapshot. */
  readonly blocks: number;
};

/** Blocks of a partition, `to` not among them. */
export type BlockRange = { readonly partition: string; readonly from: number; readonly to: number };

/** An event, and the row that it was accepted as: its bytes, up to the spelling of texts outside of documents. */
export type ReadEvent = {
  readonly projectId: string;
  readonly eventId: string;
  readonly event: string;
  /** Epoch milliseconds. */
  readonly receivedAt: number;
  /** One line of NDJSON. */
  readonly row: Buffer;
};

/** Events of a project that arrived within a month, such as `2026-11`, in UTC. */
export type MonthOfEvents = {
  readonly projectId: string;
  readonly month: string;
  readonly events: number;
  /** When the last one arrived, in epoch milliseconds. */
  readonly lastReceivedAt: number;
};

/** What one snapshot of the database shows, without what has expired by now. Throws `PostgresFailure`. */
export type EventReader = {
  /** Epoch seconds: what expires until then is left out. */
  readonly at: number;
  /** The transactions that ended before `mark` are seen by this snapshot and every later one. */
  readonly mark: string;
  /** The partitions there are, oldest first. */
  partitions(): Promise<EventPartition[]>;
  /** The events in these blocks, some at a time; none once the partition is dropped. */
  events(range: BlockRange): AsyncGenerator<readonly ReadEvent[]>;
  /** Counts them all. */
  count(): Promise<MonthOfEvents[]>;
};

export type ReaderOptions = {
  /** Of this project alone; null for all. */
  readonly projectId: string | null;
  /** Of another reader: only what that one did not see, and some that it did. Null for all. */
  readonly since: string | null;
};

/** A few hundred of the largest rows are held at a time. */
const FETCHED = 200;
/** Whoever copies waits for another store between two reads. */
const LIMITS = transactionLimits({ statementMs: 15 * 60_000, idleMs: 15 * 60_000 });
const NO_SUCH_TABLE = '42P01';

/** Whether Postgres stores events at all. Throws `PostgresFailure`. */
export async function hasEvents(pool: Pool): Promise<boolean> {
  const { rows } = await plainAnswerOf(
    pool.query<{ is_there: boolean }>(`SELECT to_regclass('analytics.events_raw') IS NOT NULL AS is_there`),
  );
  return rows[0]!.is_there;
}

/** Runs `work` in a transaction that reads one snapshot. Throws `PostgresFailure`, and what `work` throws. */
export async function withEventReader<T>(
  pool: Pool,
  options: ReaderOptions,
  work: (reader: EventReader) => Promise<T>,
): Promise<T> {
  const connection = await plainAnswerOf(pool.connect());
  let hasFailed = true;
  try {
    await plainAnswerOf(connection.query(`BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; ${LIMITS}`));
    const result = await work(await createReader(connection, options));
    await plainAnswerOf(connection.query('COMMIT'));
    hasFailed = false;
    return result;
  } finally {
    connection.release(hasFailed);
  }
}

async function createReader(connection: PoolClient, { projectId, since }: ReaderOptions): Promise<EventReader> {
  const { rows } = await plainAnswerOf(
    connection.query<{ at: string; mark: string }>(
      `SELECT floor(extract(epoch FROM now()))::bigint AS at, pg_snapshot_xmin(pg_current_snapshot())::xid::text AS mark`,
    ),
  );
  const { at, mark } = rows[0]!;
  const wanted = [
    `(expires_at IS NULL OR expires_at > to_timestamp(${Number(at)}))`,
    ...(projectId === null ? [] : [`project_id = ${escapeLiteral(projectId)}`]),
  ].join(' AND ');
  // Of ids that count up and begin anew: a transaction is as old as others have begun since.
  const isNew = since === null ? '' : ` AND age(xmin) <= age(${escapeLiteral(since)}::xid)`;

  return {
    at: Number(at),
    mark,
    partitions: () => listPartitions(connection),
    events: (range) => readEvents(connection, `${wanted}${isNew}`, range),
    count: () => countEvents(connection, wanted),
  };
}

async function listPartitions(connection: PoolClient): Promise<EventPartition[]> {
  const { rows } = await plainAnswerOf(
    connection.query<{ name: string; blocks: string }>(
      `SELECT format('%I.%I', nspname, relname) AS name,
         pg_relation_size(c.oid) / current_setting('block_size')::int AS blocks
       FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid JOIN pg_namespace n ON n.oid = relnamespace
       WHERE inhparent = to_regclass('analytics.events_raw') ORDER BY relname`,
    ),
  );
  return rows.map(({ name, blocks }) => ({ name, blocks: Number(blocks) }));
}

/** As the driver gives them: numbers of 64 bits as texts. */
type Found = {
  readonly project_id: ProjectId;
  readonly event_id: string;
  readonly event: string;
  readonly anonymous_id: string | null;
  readonly user_id: string | null;
  readonly session_id: string | null;
  readonly source: string;
  readonly properties: string;
  readonly extras: string;
  readonly timestamp_ms: string;
  readonly received_ms: string;
  readonly expires_s: string | null;
};

async function* readEvents(
  connection: PoolClient,
  wanted: string,
  { partition, from, to }: BlockRange,
): AsyncGenerator<readonly ReadEvent[]> {
  await plainAnswerOf(connection.query('SAVEPOINT reading'));
  try {
    await plainAnswerOf(
      connection.query(
        `DECLARE reading NO SCROLL CURSOR FOR
         SELECT project_id, event_id, event, anonymous_id, user_id, session_id, source,
           coalesce(properties_sent, properties::text) AS properties, coalesce(extras_sent, extras::text) AS extras,
           round(date_part('epoch', "timestamp") * 1000)::bigint AS timestamp_ms,
           round(date_part('epoch', received_at) * 1000)::bigint AS received_ms,
           date_part('epoch', expires_at)::bigint AS expires_s
         FROM ${partition} WHERE ctid >= '(${from},0)' AND ctid < '(${to},0)' AND ${wanted}`,
      ),
    );
  } catch (error) {
    if ((error as { code?: unknown }).code !== NO_SUCH_TABLE) throw error;
    await plainAnswerOf(connection.query('ROLLBACK TO SAVEPOINT reading'));
    return;
  }
  for (;;) {
    const { rows } = await answerOf(connection.query<Found>(`FETCH ${FETCHED} FROM reading`));
    if (rows.length > 0) yield rows.map(readEventOf);
    if (rows.length < FETCHED) break;
  }
  await plainAnswerOf(connection.query('CLOSE reading; RELEASE SAVEPOINT reading'));
}

function readEventOf(found: Found): ReadEvent {
  const receivedAt = Number(found.received_ms);
  const expires = found.expires_s === null ? null : Number(found.expires_s);
  const encodeRow = rowEncoder({
    projectId: found.project_id,
    source: found.source,
    receivedAt,
    retentionSeconds: expires === null ? null : expires - Math.floor(receivedAt / 1000),
  });
  const parts = withReadable({
    eventId: found.event_id,
    event: rawStringOf(found.event),
    anonymousId: rawOf(found.anonymous_id),
    userId: rawOf(found.user_id),
    timestamp: Number(found.timestamp_ms),
    sessionId: rawOf(found.session_id),
    properties: byteTextOf(found.properties),
    extras: byteTextOf(found.extras),
  });
  return {
    projectId: found.project_id,
    eventId: found.event_id,
    event: found.event,
    receivedAt,
    row: Buffer.from(encodeRow(parts), 'latin1'),
  };
}

const rawOf = (text: string | null) => (text === null ? null : rawStringOf(text));
const byteTextOf = (text: string) => Buffer.from(text, 'utf8').toString('latin1');

async function countEvents(connection: PoolClient, wanted: string): Promise<MonthOfEvents[]> {
  const { rows } = await plainAnswerOf(
    connection.query<{ project_id: string; month: string; events: string; last_ms: string }>(
      `SELECT project_id, to_char(month, 'YYYY-MM') AS month, events,
         round(date_part('epoch', last) * 1000)::bigint AS last_ms
       FROM (
         SELECT project_id, date_trunc('month', received_at AT TIME ZONE 'UTC') AS month,
           count(*) AS events, max(received_at) AS last
         FROM analytics.events_raw WHERE ${wanted} GROUP BY 1, 2
       ) AS counted ORDER BY month, project_id`,
    ),
  );
  return rows.map(({ project_id: projectId, month, events, last_ms: last }) => ({
    projectId,
    month,
    events: Number(events),
    lastReceivedAt: Number(last),
  }));
}
