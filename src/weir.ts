/**
 * Every part of a running Weir, wired together. Builds and runs; what belongs
 * to the process (signals, files that say who runs, embedded stores, the
 * banner) is in serve.ts.
 */
import { randomUUID, randomUUIDv7 } from 'node:crypto';
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
import { type ServiceHealth, type Vitals, readVitals } from './http/health.ts';
import { type Idempotency, createIdempotency } from './http/idempotency.ts';
import { type RateLimit, createRateLimit } from './http/rate-limit.ts';
import { createRequestIds } from './http/request-ids.ts';
import { type HttpServer, listen } from './http/server.ts';
import { createTurns } from './http/turns.ts';
import type { Log } from './log.ts';
import { type MetricsPage, createMetrics } from './metrics.ts';
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
import type { KeptAnswer } from './pipeline/ports.ts';
import { createReplayer } from './pipeline/replay.ts';
import { type Residue, saveResidue, shutDown } from './pipeline/shutdown.ts';
import { createDeadLetters } from './postgres/dead-letters.ts';
import { createPostgres } from './postgres/pool.ts';
import { createProjects } from './postgres/projects.ts';
import { type Positions, createSwitches } from './postgres/switches.ts';
import { createTokens } from './postgres/tokens.ts';
import { type KeptIn, keptIn, openSafekeeping } from './safekeeping.ts';
import { createSchemaKeeper, watchSwitches } from './upkeep.ts';

/** Where both stores are by now, whether configured or started here. */
export type StoreAccess = {
  readonly databaseUrl: string;
  readonly clickhouse: { readonly url: string; readonly username: string; readonly password: string };
};

/** A Weir at one moment. A plain value: workers send theirs to each other. */
export type Look = { readonly vitals: Vitals; readonly metrics: MetricsPage };

/** What the pages say: of this process alone, or of all workers together. */
export type Pages = { health(): Promise<ServiceHealth>; metrics(): Promise<string> };

/** What a Weir shares with others that are workers of the same service. */
export type Among = {
  readonly workers: number;
  readonly dirs: KeptIn;
  /** False for one that only delivers what its directory holds. */
  readonly listens: boolean;
  readonly idempotency: Idempotency;
  readonly rateLimit: RateLimit | null;
  readonly pagesWith: (own: () => Promise<Look>) => Pages;
};

export type Weir = {
  /** 0 of one that does not listen. */
  readonly port: number;
  /** Resolves when Postgres is migrated, however long that takes. */
  readonly postgresReady: Promise<void>;
  /** Resolves when both stores are. */
  readonly migrated: Promise<void>;
  readonly projects: ReturnType<typeof createProjects>;
  readonly tokens: ReturnType<typeof createTokens>;
  /** Lets requests without a token belong to the project, at the doors that allow it. */
  admitAnonymous(projectId: string): void;
  look(): Promise<Look>;
  /** Whether everything it has taken in or up has another home. */
  isDelivered(): boolean;
  /** Keeps answers to idempotency keys in its journal; resolves when they are on disk. Rejects when it cannot. */
  remember(answers: readonly KeptAnswer[]): Promise<void>;
  /** Gives every accepted event a durable home and closes everything. */
  stop(): Promise<Residue>;
  /** The same for a process that has no time left: synchronous, files only. */
  saveNow(): Residue;
};

/** Look-ups, spills and the drain together; a Weir is a modest client of its Postgres. */
const POSTGRES_CONNECTIONS = 8;
/** The same of one of several workers: they are clients of one Postgres, which has a hundred places unless told otherwise. */
const POSTGRES_CONNECTIONS_AMONG_OTHERS = 4;
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
/** The questions about projects, all together. */
const QUERIES_AT_ONCE = 4;
/** Each with a look at the tables beside it. */
const QUERY_CONNECTIONS = 2 * QUERIES_AT_ONCE;

/** What one of so many workers may have of a limit on all of them together. */
const partOf = (whole: number, workers: number) => Math.ceil(whole / workers);

/** Builds all parts, listens, and starts the loops. Throws `CannotListen`; never waits for a store. */
export async function startWeir({
  config,
  access,
  version,
  clock,
  log,
  among = null,
}: {
  config: Config;
  access: StoreAccess;
  version: string;
  clock: Clock;
  log: Log;
  /** null for a Weir that is alone. */
  among?: Among | null;
}): Promise<Weir> {
  const stopping = new AbortController();
  const stopDraining = new AbortController();
  const { database } = config.clickhouse;
  const random = Math.random;
  const workers = among?.workers ?? 1;
  const dirs = among?.dirs ?? keptIn(config.dataDir);
  const safekeeping = await openSafekeeping({ config, dirs, clock, log });
  const { journal } = safekeeping;

  const maxConnections = workers === 1 ? POSTGRES_CONNECTIONS : POSTGRES_CONNECTIONS_AMONG_OTHERS;
  const { pool, db } = createPostgres({ url: access.databaseUrl, maxConnections }, log);
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

  const reads = createReads(
    { client: readingClickHouse, downSignal: clickhouseBeat.downSignal, clock },
    { ...READS, maxAtOnce: partOf(READS.maxAtOnce, workers), maxWaiting: partOf(READS.maxWaiting, workers) },
  );

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

  const idempotency = among?.idempotency ?? createIdempotency({ clock });
  const ownRateLimit = () => config.rateLimit && createRateLimit(config.rateLimit);
  const schema = createSchemaKeeper({ postgres: pool, clickhouse, clock, random, log }, { database });
  const vitals = () =>
    readVitals({
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
    });
  const look = async (): Promise<Look> => ({ vitals: vitals(), metrics: await metrics.page() });
  const pages = among?.pagesWith(look) ?? {
    health: async () => ({ vitals: vitals(), reasons: [], workers: null }),
    metrics: metrics.text,
  };
  const app = createApp(
    {
      ingest: {
        flags,
        channel,
        accept: createAccept({ channel, journal, ledger }, { isRequired: config.journal.mode === 'on' }),
        journalRefusal: safekeeping.refusal,
        credentials,
        idempotency,
        rateLimit: among ? among.rateLimit : ownRateLimit(),
        turns: createTurns(),
        ledger,
        clock,
        newEventId: randomUUIDv7,
      },
      health: { service: pages.health, version },
      countEvents: createCountEvents(reads),
      query: {
        reader: createProjectReader({ client: readingClickHouse }, { database }),
        credentials,
        flags,
        clock,
        newQueryId: randomUUIDv7,
        log,
      },
      metricsText: pages.metrics,
      newRequestId: createRequestIds(randomUUID().slice(0, 8)),
      onRequest: metrics.request,
      log,
    },
    {
      ingest: { maxBodyBytes: config.maxBodyBytes, maxFutureMs: config.maxFutureMs, defaultAck: config.ack },
      query: { ...READ_LIMITS, maxAtOnce: partOf(QUERIES_AT_ONCE, workers) },
      allowedOrigins: config.allowedOrigins,
      depth503Threshold: config.deadLetters.depth503Threshold,
    },
  );

  safekeeping.takeUp({ channel, idempotency, ledger });
  const listens = among?.listens ?? true;
  const server = listens ? await listen(app, { clock, log }, config) : NO_SERVER;
  // No more is to come that a batch could wait for.
  if (!listens) channel.hurry();
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
    look,
    isDelivered: () => channel.usage().events === 0 && safekeeping.isEmpty(),
    remember: async (answers) => {
      await Promise.all(answers.map(async (answer) => safekeeping.journal?.remember(answer)));
    },
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

/** Of a Weir that only delivers. */
const NO_SERVER: HttpServer = { port: 0, close: () => Promise.resolve(), cut: () => {} };

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
