/**
 * Every part of a running Weir, wired together. Builds and runs; what belongs
 * to the process (signals, files that say who runs, embedded stores, the
 * banner) is in serve.ts.
 */
import { randomUUIDv7 } from 'node:crypto';
import { createClickHouse } from './clickhouse/client.ts';
import { createCountEvents } from './clickhouse/event-counts.ts';
import { createEventStore } from './clickhouse/event-store.ts';
import { isAnswering as isClickHouseAnswering } from './clickhouse/heartbeat.ts';
import { createProjectReader } from './clickhouse/project-reader.ts';
import { READ_LIMITS } from './clickhouse/reader-settings.ts';
import { createReads } from './clickhouse/reads.ts';
import type { Clock } from './clock.ts';
import { type Config, FLUSH_MAX_BYTES } from './config.ts';
import { createApp } from './http/app.ts';
import { createCredentials } from './http/credentials.ts';
import { createIdempotency } from './http/idempotency.ts';
import { createRateLimit } from './http/rate-limit.ts';
import { listen } from './http/server.ts';
import type { Log } from './log.ts';
import { createMetrics } from './metrics.ts';
import { createAccept } from './pipeline/accept.ts';
import type { BatchId } from './pipeline/batch.ts';
import { type BreakerState, createBreaker } from './pipeline/breaker.ts';
import { createChannel } from './pipeline/channel.ts';
import { createDrain } from './pipeline/drain.ts';
import { createFlags } from './pipeline/flags.ts';
import { createFlusher } from './pipeline/flusher.ts';
import { createHeartbeat } from './pipeline/heartbeat.ts';
import { journaledChannel } from './pipeline/journaled-channel.ts';
import { createLedger } from './pipeline/ledger.ts';
import { failureOf } from './pipeline/outcome.ts';
import { createReplayer } from './pipeline/replay.ts';
import { type Residue, saveResidue, shutDown } from './pipeline/shutdown.ts';
import { createDeadLetters } from './postgres/dead-letters.ts';
import { createPostgres } from './postgres/pool.ts';
import { createProjects } from './postgres/projects.ts';
import { type Positions, createSwitches } from './postgres/switches.ts';
import { createTokens } from './postgres/tokens.ts';
import { openSafekeeping } from './safekeeping.ts';
import { createSchemaKeeper, watchSwitches } from './upkeep.ts';

/** Where both stores are by now, whether configured or started here. */
export type StoreAccess = {
  readonly databaseUrl: string;
  readonly clickhouse: { readonly url: string; readonly username: string; readonly password: string };
};

export type Weir = {
  readonly port: number;
  /** Resolves when Postgres is migrated, however long that takes. */
  readonly postgresReady: Promise<void>;
  /** Resolves when both stores are. */
  readonly migrated: Promise<void>;
  readonly projects: ReturnType<typeof createProjects>;
  readonly tokens: ReturnType<typeof createTokens>;
  /** Lets requests without a token belong to the project, at the doors that allow it. */
  admitAnonymous(projectId: string): void;
  /** Gives every accepted event a durable home and closes everything. */
  stop(): Promise<Residue>;
  /** The same for a process that has no time left: synchronous, files only. */
  saveNow(): Residue;
};

/** Look-ups, spills and the drain together; a Weir is a modest client of its Postgres. */
const POSTGRES_CONNECTIONS = 8;
/** What a lease outlives an insert by: the statements around it. */
const LEASE_MARGIN_MS = 30_000;
/** Beside the inserts of flusher and drain: heartbeat, schema check, isolation. */
const OTHER_CLICKHOUSE_CONNECTIONS = 8;
/** What clients may ask of ClickHouse at the same time, all together: inserts come first. */
const READS = {
  maxAtOnce: 4,
  maxWaiting: 64,
  timeoutMs: 30_000,
  maxMemoryBytes: 1024 ** 3,
  maxThreads: 4,
} as const;
/** The questions about projects: four at a time, each with a look at the tables beside it. */
const QUERY_CONNECTIONS = 8;

/** Builds all parts, listens, and starts the loops. Throws `CannotListen`; never waits for a store. */
export async function startWeir({
  config,
  access,
  version,
  clock,
  log,
}: {
  config: Config;
  access: StoreAccess;
  version: string;
  clock: Clock;
  log: Log;
}): Promise<Weir> {
  const stopping = new AbortController();
  const stopDraining = new AbortController();
  const { database } = config.clickhouse;
  const random = Math.random;
  const safekeeping = await openSafekeeping({ config, clock, log });
  const { journal } = safekeeping;

  const { pool, db } = createPostgres({ url: access.databaseUrl, maxConnections: POSTGRES_CONNECTIONS }, log);
  const clickhouse = createClickHouse({
    ...access.clickhouse,
    database,
    maxConnections: config.maxInFlight * 2 + OTHER_CLICKHOUSE_CONNECTIONS,
    // Only a net below the insert's own deadline.
    requestTimeoutMs: config.insertTimeoutMs + 5_000,
  });
  // Of its own, so that no insert waits for a connection behind somebody's question.
  const readingClickHouse = createClickHouse({
    ...access.clickhouse,
    database,
    maxConnections: READS.maxAtOnce + QUERY_CONNECTIONS,
    requestTimeoutMs: READS.timeoutMs + 5_000,
  });
  const projects = createProjects(db);
  const tokens = createTokens(db);
  const deadLetters = createDeadLetters(db, log);
  const events = createEventStore({ client: clickhouse, clock }, { database, timeoutMs: config.insertTimeoutMs });

  const flags = createFlags({ intake: config.disabled ? 'disabled' : 'open' }, (facts) => {
    log.info({ intake: facts.intake, unhomed: facts.unhomed }, 'flags changed');
  });
  const ledger = createLedger();
  const breaker = createBreaker({
    clock,
    random,
    onChange: sayChanges(log),
  });
  const channelLimits = config.channel;
  const plainChannel = createChannel({ clock, newBatchId: () => randomUUIDv7() as BatchId }, channelLimits, {
    ...config.flush,
    maxBytes: FLUSH_MAX_BYTES,
  });
  const channel = journal ? journaledChannel({ channel: plainChannel, journal, clock, log }) : plainChannel;

  const clickhouseBeat = createHeartbeat({
    clock,
    ask: (signal) => isClickHouseAnswering(clickhouse, signal),
    onChange: (isUp) => {
      log[isUp ? 'info' : 'warn']({ store: 'clickhouse' }, isUp ? 'store answers' : 'store does not answer');
      if (isUp) breaker.allowProbe();
    },
    onDown: () => breaker.trip('unavailable'),
  });
  const postgresBeat = createHeartbeat({
    clock,
    ask: () => pool.query('SELECT 1'),
    onChange: (isUp) =>
      log[isUp ? 'info' : 'warn']({ store: 'postgres' }, isUp ? 'store answers' : 'store does not answer'),
    onDown: () => {},
  });

  const reads = createReads({ client: readingClickHouse, downSignal: clickhouseBeat.downSignal, clock }, READS);

  const credentials = createCredentials({ lookUp: tokens.lookUp, clock, log });
  const { anonymousProject } = config;
  if (anonymousProject !== null && anonymousProject !== 'off') credentials.admitAnonymous(anonymousProject);
  const metrics = createMetrics(
    {
      channel,
      flags,
      ledger,
      breaker,
      clickhouse: clickhouseBeat,
      postgres: postgresBeat,
      journal: safekeeping.facts,
      now: clock.now,
    },
    channelLimits,
  );
  const flusher = createFlusher(
    {
      channel,
      events,
      deadLetters: { add: spill, forget: deadLetters.forget },
      breaker,
      heartbeat: clickhouseBeat,
      flags,
      ledger,
      clock,
      random,
      log,
      usage: metrics.usage,
      onInsert: metrics.insert,
    },
    { maxInFlight: config.maxInFlight },
  );

  const switches = createSwitches(db);
  let positions: Positions = { intake: 'open', drain: 'running' };
  const leaseMs = config.insertTimeoutMs + LEASE_MARGIN_MS;
  const drain = createDrain(
    {
      deadLetters,
      replayer: createReplayer(
        {
          events,
          deadLetters,
          breaker,
          heartbeat: clickhouseBeat,
          ledger,
          clock,
          random,
          log,
          usage: metrics.usage,
          onInsert: metrics.insert,
        },
        { ...config.deadLetters, leaseMs },
      ),
      breaker,
      flags,
      isFreshBusy: flusher.isBusy,
      isPaused: () => positions.drain === 'paused',
      clock,
      random,
      log,
    },
    {
      intervalMs: config.deadLetters.drainIntervalMs,
      maxRows: config.deadLetters.drainBatchLimit,
      maxInFlight: config.maxInFlight,
      leaseMs,
    },
  );

  const idempotency = createIdempotency({ clock });
  const schema = createSchemaKeeper({ postgres: pool, clickhouse, clock, random, log }, { database });
  const app = createApp(
    {
      ingest: {
        flags,
        channel,
        accept: createAccept({ channel, journal, ledger }, { isRequired: config.journal.mode === 'on' }),
        journalRefusal: safekeeping.refusal,
        credentials,
        idempotency,
        rateLimit: config.rateLimit && createRateLimit(config.rateLimit),
        ledger,
        clock,
        newEventId: randomUUIDv7,
      },
      health: {
        flags,
        channel,
        ledger,
        breaker,
        credentials,
        clickhouse: clickhouseBeat,
        postgres: postgresBeat,
        schema: schema.facts,
        journal: safekeeping.facts,
        journalRefusal: safekeeping.refusal,
        version,
      },
      countEvents: createCountEvents(reads),
      query: {
        reader: createProjectReader({ client: readingClickHouse }, { database }),
        credentials,
        flags,
        clock,
        newQueryId: randomUUIDv7,
        log,
      },
      metricsText: metrics.text,
      newRequestId: randomUUIDv7,
      onRequest: metrics.request,
      log,
    },
    {
      ingest: { maxBodyBytes: config.maxBodyBytes, maxFutureMs: config.maxFutureMs, defaultAck: config.ack },
      query: READ_LIMITS,
      allowedOrigins: config.allowedOrigins,
      depth503Threshold: config.deadLetters.depth503Threshold,
    },
  );

  safekeeping.takeUp({ channel, idempotency, ledger });
  const server = await listen(app, { clock, log }, config);
  const flusherDone = flusher.run();
  const migrated = schema.run(stopping.signal).then(() => breaker.allowProbe());
  const postgresReady = Promise.race([schema.postgresReady, migrated]);
  const loops = [
    clickhouseBeat.run(stopping.signal),
    postgresBeat.run(stopping.signal),
    migrated,
    postgresReady.then(() => drain.run(stopDraining.signal)),
    postgresReady.then(() => watchSwitches({ switches, clock, onRead: obey }, stopping.signal)),
  ];
  const { save } = safekeeping;
  return {
    port: server.port,
    postgresReady,
    migrated,
    projects,
    tokens,
    admitAnonymous: credentials.admitAnonymous,
    stop,
    saveNow,
  };

  async function stop(): Promise<Residue> {
    // The dead letters are safe where they are; the time that is left belongs to what is in memory.
    stopDraining.abort();
    const residue = await shutDown(
      { flags, server, channel, flusher, flusherDone, breaker, save, clock, log },
      { graceMs: config.shutdownGraceMs },
    );
    stopping.abort();
    await Promise.allSettled(loops);
    await failureOf(safekeeping.close());
    await Promise.all([failureOf(pool.end()), failureOf(clickhouse.close()), failureOf(readingClickHouse.close())]);
    return residue;
  }

  /** A Postgres that is known not to answer is not waited for: the batch's next try of ClickHouse comes sooner. */
  async function spill(...letter: Parameters<typeof deadLetters.add>): Promise<void> {
    if (postgresBeat.downSignal().aborted) throw new Error('postgres does not answer');
    await deadLetters.add(...letter);
  }

  function obey(read: Positions) {
    positions = read;
    flags.setIntake(config.disabled ? 'disabled' : read.intake);
  }

  function saveNow(): Residue {
    return saveResidue({ channel, flusher, save, log });
  }
}

/** Says when inserts are suspended, why, and when they go on; not every probe in between that found nothing better. */
function sayChanges(log: Log): (state: BreakerState) => void {
  let saidReason: BreakerState['reason'] = null;
  return ({ kind, reason }) => {
    const isNews = kind === 'closed' || (kind === 'open' && reason !== saidReason);
    if (isNews) saidReason = reason;
    log[isNews ? levelOf(kind, reason) : 'debug']({ breaker: kind, reason }, 'breaker changed');
  };
}

/** An open breaker is trouble; one that opened for schema or rights needs a person. */
function levelOf(kind: BreakerState['kind'], reason: BreakerState['reason']): 'info' | 'warn' | 'error' {
  if (kind === 'closed') return 'info';
  return reason === 'operator' ? 'error' : 'warn';
}
