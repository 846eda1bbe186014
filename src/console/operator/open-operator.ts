/** The operator API of one console: its stores, its jobs, its routes. Opening makes no connection; a store may be down. */
import { randomUUID } from 'node:crypto';
import type { Hono } from 'hono';
import { openEventOperations } from '../../composition/event-operations.ts';
import { type StoreAccess, openEventStorage } from '../../composition/storage.ts';
import type { Config } from '../../config/config.ts';
import { DOORS } from '../../http/app.ts';
import { decodeKept } from '../../http/ingest/kept-event.ts';
import { QUERY_SLOTS, createQuerySlots } from '../../http/read/query-slots.ts';
import { createVisits } from '../../http/read/visits.ts';
import type { Log } from '../../log/log.ts';
import type { Check } from '../../operations/examination/checks.ts';
import { examineInstance } from '../../operations/examination/instance-check.ts';
import {
  eventTablesFailed,
  examineClickHouse,
  examineEventTables,
  examinePostgres,
} from '../../operations/examination/store-checks.ts';
import { examineSurroundings } from '../../operations/examination/surroundings.ts';
import { examineTopic } from '../../operations/examination/topic-checks.ts';
import { failureOf } from '../../pipeline/outcome.ts';
import { createPostgres } from '../../postgres/connection/pool.ts';
import type { Clock } from '../../runtime/clock.ts';
import { surroundingsOf } from '../../workers/surroundings.ts';
import type { ConsoleEnv } from '../env.ts';
import { readRecipes } from './cookbook.ts';
import type { DescribedRoute } from './described.ts';
import { createJobs } from './jobs.ts';
import type { OperatorEvents } from './operator-deps.ts';
import { operatorRoutes } from './operator-routes.ts';

export type OperatorAccess = {
  readonly config: Config;
  readonly access: StoreAccess;
  readonly serviceUrl: string;
  readonly version: string;
  /** Routes of the console that are described together with these. */
  readonly others: readonly DescribedRoute[];
};

export type OperatorApi = {
  readonly routes: Hono<ConsoleEnv>;
  /** Stops the jobs after their steps, then closes the connections. Never rejects. */
  close(): Promise<void>;
};

/** A page asks for a few things at a time, and each job needs one. */
const POSTGRES_CONNECTIONS = 8;
/** Deleting and counting may keep a store silent for a long time. */
const PATIENCE_MS = 15 * 60_000;

export function openOperator(
  { config, access, serviceUrl, version, others }: OperatorAccess,
  { clock, log }: { clock: Clock; log: Log },
): OperatorApi {
  const stopping = new AbortController();
  const { pool, db } = createPostgres(
    { url: access.databaseUrl, maxConnections: POSTGRES_CONNECTIONS, statementMs: PATIENCE_MS },
    log,
  );
  const { database, cluster } = config.clickhouse;
  const stored = openEventOperations({ config, access }, { pool, clock, patienceMs: PATIENCE_MS });
  const { operations, client } = stored;
  const storage = openEventStorage({ config, access, workers: 1 }, { clock, log });
  const events = config.role === 'ingest' ? null : openEvents();
  const jobs = createJobs({ clock, log, newId: randomUUID });
  const routes = operatorRoutes({
    db,
    events,
    jobs,
    clock,
    log,
    inspectWithinMs: config.insertTimeoutMs,
    decode: (event, retentionSeconds) =>
      decodeKept(event, DOORS, { maxFutureMs: config.maxFutureMs, retentionSeconds }),
    isDisabledHere: config.disabled,
    recipes: readRecipes(storage.name),
    serviceUrl,
    metricsToken: config.metricsToken,
    kafka: config.kafka,
    examine,
    others,
    version,
  });
  return { routes, close };

  function openEvents(): OperatorEvents {
    const { schema } = storage;
    // Nobody watches whether the store is down: each question finds out.
    const awake = new AbortController().signal;
    const { projectReader, queryLimits } = storage.openReading({ downSignal: () => awake, stopping: stopping.signal });
    const querySlots = createQuerySlots({ clock }, QUERY_SLOTS);
    const visits = createVisits(
      { reader: projectReader, querySlots, clock, log, newQueryId: () => `weir-console-${randomUUID()}` },
      { ...queryLimits, maxAtOnce: QUERY_SLOTS.maxOfProject },
    );
    return { operations, schema, visits };
  }

  async function examine(): Promise<Check[]> {
    const hasEvents = client === null;
    const wantsBallast = config.deadLetters.ballastBytes > 0;
    const found = await Promise.all([
      examineInstance(serviceUrl),
      examinePostgres({ pool, clock }, { from: 'DATABASE_URL', wantsBallast, hasEvents }),
      ...(config.role === 'ingest' ? [] : [examineEvents()]),
      ...(config.kafka === null ? [] : [examineTopic(config.kafka)]),
    ]);
    return [...examineSurroundings(surroundingsOf(config)), ...found.flat()];
  }

  async function examineEvents(): Promise<Check[]> {
    if (client !== null) return examineClickHouse({ client, clock }, { from: 'CLICKHOUSE_URL', database, cluster });
    try {
      return await examineEventTables(storage.schema, pool);
    } catch (error) {
      return [eventTablesFailed(storage.schema.explain(error))];
    }
  }

  async function close(): Promise<void> {
    stopping.abort();
    await jobs.close();
    await Promise.all([storage.close(), failureOf(pool.end()), stored.close()]);
  }
}
