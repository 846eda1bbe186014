/** The event store on Postgres, composed of its parts. Creating it makes no connection; the server may be down. */
import type { Log } from '../log/log.ts';
import { failureOf } from '../pipeline/outcome.ts';
import type { EventStorage } from '../pipeline/storage-port.ts';
import type { Clock } from '../runtime/clock.ts';
import { connectTrouble } from './connection/connection-errors.ts';
import { createPostgres } from './connection/pool.ts';
import { createEventStore } from './event-store/event-store.ts';
import { createEventSchema } from './event-tables/event-schema.ts';
import { createTableUpkeep } from './event-tables/table-upkeep.ts';
import { createReading } from './reading/reading.ts';

type PostgresEventsOptions = {
  /** Of the database that has the events; they are in its schema `analytics`. */
  readonly url: string;
  /** Concurrent inserts: the flusher and the drain have this many each. */
  readonly maxInFlight: number;
  readonly insertTimeoutMs: number;
  /** Concurrent queries about projects. */
  readonly maxQueries: number;
  /** Processes that share the limits on counting. */
  readonly workers: number;
};

/** Connections beside the inserts of flusher and drain: heartbeat, schema check, isolation. */
const OTHER_CONNECTIONS = 3;

/** Has pools of its own: look-ups of tokens and dead letters wait neither behind inserts nor behind questions. */
export function openPostgresEvents(
  { url, maxInFlight, insertTimeoutMs, maxQueries, workers }: PostgresEventsOptions,
  { clock, log }: { clock: Clock; log: Log },
): EventStorage {
  const { pool, db } = createPostgres(
    { url, maxConnections: 2 * maxInFlight + OTHER_CONNECTIONS, statementMs: insertTimeoutMs },
    log,
  );
  const schema = createEventSchema(pool);
  const lookAfterTables = createTableUpkeep(db);
  const reading = createReading({ url, maxQueries, workers }, { clock, log });

  return {
    name: 'Postgres',
    events: createEventStore({ pool, clock }, { timeoutMs: insertTimeoutMs }),
    schema: { ...schema, check },
    upkeep: {
      doSome: async (sinceS) => (await lookAfterTables()) || reading.keepSomeDays(sinceS),
      neglected: 'the tables of events are not looked after: what has expired stays on the disk, though nobody sees it',
    },
    isAnswering: async () => (await pool.query('SELECT 1')).rowCount === 1,
    connectTrouble,
    notices: () => [],
    foreignViewFailures: () => new Map(),
    openReading: reading.open,
    close: async () => void (await Promise.all([failureOf(pool.end()), reading.close()])),
  };

  /** Also makes what projects read under ready, now that the tables are there. */
  async function check() {
    const drift = await schema.check();
    await reading.look();
    return drift;
  }
}
