/** What clients read of events in Postgres. Creating it makes no connection. */
import type { Log } from '../../log/log.ts';
import { failureOf } from '../../pipeline/outcome.ts';
import type { EventReading } from '../../pipeline/storage-port.ts';
import type { Clock } from '../../runtime/clock.ts';
import { postgresFailureOf } from '../connection/errors.ts';
import { createPostgres } from '../connection/pool.ts';
import { createReads } from './bounded-reads.ts';
import { createCountEvents } from './event-counts.ts';
import { createProjectReader } from './project-reader.ts';
import { READ_LIMITS } from './reader-errors.ts';
import { missingReader } from './reader-role.ts';
import { createDayKeeper } from './user-days.ts';

export type ReadingOptions = {
  /** Of the database that has the events. */
  readonly url: string;
  /** Concurrent queries about projects. */
  readonly maxQueries: number;
  /** Processes that share the limits on counting. */
  readonly workers: number;
};

export type Reading = {
  /** Call it once. `downSignal` aborts while the store is known to be down; `stopping` ends what runs. */
  open(signals: { readonly downSignal: () => AbortSignal; readonly stopping: AbortSignal }): EventReading;
  /** Says once in the log when SQL about projects needs an administrator. Never rejects. */
  look(): Promise<void>;
  /** Keeps what makes counting the users of many events quick; resolves to how much, 0 when nothing was due. Never rejects. */
  keepSomeDays(sinceS: number): Promise<number>;
  /** Closes the connections. Never rejects. */
  close(): Promise<void>;
};

/** A query about a project may need a second connection, for the catalog. */
const CONNECTIONS_A_QUERY = 2;
/** Concurrent counting queries of all clients together: inserts take precedence. */
const COUNTS = { maxAtOnce: 4, maxWaiting: 64, timeoutMs: 30_000, workMemMb: 64 } as const;
/** Postgres's own limit comes first. */
const NET_MS = 3_000;

/** Connections of its own, so that no insert waits behind a question. */
export function createReading(
  { url, maxQueries, workers }: ReadingOptions,
  { clock, log }: { clock: Clock; log: Log },
): Reading {
  const statementMs = READ_LIMITS.maxExecutionS * 1_000 + NET_MS;
  const maxConnections = COUNTS.maxAtOnce + CONNECTIONS_A_QUERY * maxQueries;
  const { pool } = createPostgres({ url, maxConnections, statementMs }, log);
  const days = createDayKeeper({ pool, clock });
  let isSaid = false;
  const shareOf = (limit: number) => Math.ceil(limit / workers);
  const limits = { ...COUNTS, maxAtOnce: shareOf(COUNTS.maxAtOnce), maxWaiting: shareOf(COUNTS.maxWaiting) };
  return {
    open: ({ downSignal, stopping }) => ({
      countEvents: createCountEvents(createReads({ pool, downSignal, clock }, limits)),
      projectReader: createProjectReader({ pool, clock, stopping }),
      queryLimits: READ_LIMITS,
    }),
    look,
    keepSomeDays: keepDays,
    close: async () => void (await failureOf(pool.end())),
  };

  /** Only a comfort: whoever looks after the tables is not kept from it. */
  async function keepDays(sinceS: number): Promise<number> {
    try {
      return await days.keepSome({ sinceS });
    } catch (error) {
      log.warn({ err: postgresFailureOf(error) }, 'users of finished days are not kept: counting them takes longer');
      return 0;
    }
  }

  async function look() {
    const missing = await missingReader(pool).catch(() => null);
    if (missing !== null && !isSaid) log.warn({ remedy: missing }, 'SQL about projects needs the role weir_reader');
    isSaid = missing !== null;
  }
}
