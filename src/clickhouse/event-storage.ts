/** The event store on ClickHouse, composed of its parts. Creating it makes no connection; the server may be down. */
import type { Log } from '../log/log.ts';
import { failureOf } from '../pipeline/outcome.ts';
import type { EventStorage } from '../pipeline/storage-port.ts';
import type { Clock } from '../runtime/clock.ts';
import { createClickHouse } from './connection/client.ts';
import { connectTrouble } from './connection/connection-errors.ts';
import { isAnswering } from './connection/ping.ts';
import { createForeignAnswers } from './connection/foreign-answers.ts';
import { type InsertQuorum, createEventStore } from './event-store/event-store.ts';
import { catchUp } from './reading/caught-up.ts';
import { checkSomeHours } from './reading/counted-copies.ts';
import { dropAbandoned } from './event-store/vanished-rows.ts';
import { createForeignViews } from './event-store/foreign-views.ts';
import { EVENTS } from './migrations/event-tables.ts';
import { createEventSchema } from './migrations/event-schema.ts';
import { createReads } from './reading/bounded-reads.ts';
import { createCountEvents } from './reading/event-counts.ts';
import { createProjectReader } from './reading/project-reader.ts';
import { READ_LIMITS } from './reading/reader-settings.ts';

export type ClickHouseAccess = {
  readonly url: string;
  readonly username: string;
  readonly password: string;
  /** The key that the embedded server expects; null for any other server. */
  readonly key: string | null;
};

type ClickHouseOptions = {
  readonly access: ClickHouseAccess;
  readonly database: string;
  /** The servers that share the tables, as the setting names them. */
  readonly cluster?: string | null;
  readonly insertQuorum?: InsertQuorum | null;
  /** Concurrent inserts: the flusher and the drain have this many each. */
  readonly maxInFlight: number;
  readonly insertTimeoutMs: number;
  /** Concurrent queries about projects. */
  readonly maxQueries: number;
  /** Processes that share the limits on counting. */
  readonly workers: number;
};

/** Connections beside the inserts of flusher and drain: heartbeat, schema check, isolation. */
const OTHER_CONNECTIONS = 8;
/** Concurrent counting queries of all clients together: inserts take precedence. */
const COUNTS = {
  maxAtOnce: 4,
  maxWaiting: 64,
  timeoutMs: 30_000,
  maxMemoryBytes: 1024 ** 3,
  maxThreads: 4,
} as const;
/** A query about a project also needs a connection for reading the catalog or for checking whether it has stopped. */
const CONNECTIONS_A_QUERY = 2;
/** Putting rows back takes seconds; each of its statements ends within an insert's time limit. */
const ABANDONED_S = 60 * 60;
/** The client's time limit is only a net below the deadline of each request. */
const NET_MS = 5_000;

export function openClickHouse(
  { access, database, cluster = null, insertQuorum = null, ...limits }: ClickHouseOptions,
  { clock, log }: { clock: Clock; log: Log },
): EventStorage {
  const { maxInFlight, insertTimeoutMs, maxQueries, workers } = limits;
  const foreignAnswers = createForeignAnswers({ clock, log });
  const shared = { ...access, database, onForeignAnswer: foreignAnswers.saw };
  const client = createClickHouse({
    ...shared,
    maxConnections: maxInFlight * 2 + OTHER_CONNECTIONS,
    requestTimeoutMs: insertTimeoutMs + NET_MS,
  });
  // A separate client, so that no insert waits for a connection behind a client's query.
  const readingClient = createClickHouse({
    ...shared,
    maxConnections: COUNTS.maxAtOnce + CONNECTIONS_A_QUERY * maxQueries,
    requestTimeoutMs: COUNTS.timeoutMs + NET_MS,
  });
  const views = createForeignViews({ client, clock, log }, { database });
  const onVanished = (rows: { readonly batchId: string; readonly events: number }) =>
    log.warn(rows, 'ClickHouse lost a batch that it had recorded as stored; Weir stored it again');
  const shareOf = (limit: number) => Math.ceil(limit / workers);

  const schema = createEventSchema(client, database, { cluster });

  return {
    name: 'ClickHouse',
    events: createEventStore(
      { client, clock, views, onVanished },
      { database, timeoutMs: insertTimeoutMs, cluster, quorum: insertQuorum },
    ),
    schema: { ...schema, check },
    upkeep: {
      async doSome(sinceS) {
        await catchUp(client, { database, cluster });
        return checkSomeHours(client, { sinceS });
      },
      neglected: 'hourly counts are not checked for copies: events that clients sent again count twice in /metrics',
    },
    isAnswering: (signal) => isAnswering(client, signal),
    connectTrouble,
    notices: () => [foreignAnswers.notice(), ...views.notices()].filter((notice) => notice !== null),
    foreignViewFailures: views.failures,
    openReading({ downSignal, stopping }) {
      const limits = { ...COUNTS, maxAtOnce: shareOf(COUNTS.maxAtOnce), maxWaiting: shareOf(COUNTS.maxWaiting) };
      return {
        countEvents: createCountEvents(createReads({ client: readingClient, downSignal, clock }, limits)),
        projectReader: createProjectReader({ client: readingClient, clock, stopping }, { database }),
        queryLimits: READ_LIMITS,
      };
    },
    close: async () => void (await Promise.all([failureOf(client.close()), failureOf(readingClient.close())])),
  };

  /** Also cleans up after this process and others. What cannot be dropped now is found again next time. */
  async function check() {
    await failureOf(dropAbandoned(client, { database, table: EVENTS, olderThanS: ABANDONED_S }));
    return schema.check();
  }
}
