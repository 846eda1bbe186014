/**
 * One running Weir, composed of its parts in the order in which an event meets them. What belongs to the process
 * (signals, files that identify it, embedded stores, the banner) is in `service/`.
 */
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import type { Config } from '../config/config.ts';
import type { Clock } from '../runtime/clock.ts';
import { createCredentials } from '../http/access/credentials.ts';
import { createIdempotency } from '../http/ingest/idempotency.ts';
import { type HttpServer, listen } from '../http/listener/server.ts';
import type { Log } from '../log/log.ts';
import { createJournalSyncs } from '../metrics/journal-syncs.ts';
import type { KeptAnswer } from '../pipeline/ports.ts';
import type { Breaker } from '../pipeline/breaker.ts';
import type { Flusher } from '../pipeline/flusher.ts';
import type { Ledger } from '../pipeline/ledger.ts';
import { endDelivery, endsBy, type Leftovers, saveLeftovers, shutDown } from '../pipeline/shutdown.ts';
import type { OpenWatch } from '../watch/messages.ts';
import type { TopicChannel } from '../topic/topic-channel.ts';
import { startBackgroundLoops } from './background-loops.ts';
import { createConnectivity } from './connectivity.ts';
import { createDelivery } from './delivery.ts';
import { durableDirs } from './durability.ts';
import { dutiesOf, intakeAtStart } from './duties.ts';
import { openIntake } from './intake.ts';
import { type Snapshot, createPages } from './pages.ts';
import { createRejectedEvents } from './rejected-events.ts';
import { createSchemaKeeper } from './schema-keeper.ts';
import { watchOf } from './watch.ts';
import { createPipelineState } from './state.ts';
import { type ControlStorage, type StoreAccess, openControlStorage, openEventStorage } from './storage.ts';
import { createHttpApp } from './http-app.ts';
import { createOperatorSwitches } from './operator-switches.ts';
import { openNoEventStore } from './no-event-store.ts';
import type { openTopic as OpenTopic, Topic } from './topic.ts';
import type { WorkerContext } from './worker-context.ts';

/** `isAnnounced`: load balancers still send requests here and must see the shutdown first (`SHUTDOWN_DRAIN_DELAY`). */
export type StopOptions = { readonly isAnnounced: boolean };

export type Weir = {
  /** 0 for one that does not listen. */
  readonly port: number;
  /** Resolves when Postgres is migrated, however long that takes. */
  readonly postgresReady: Promise<void>;
  /** Resolves when both stores are. */
  readonly migrated: Promise<void>;
  readonly projects: ControlStorage['projects'];
  readonly tokens: ControlStorage['tokens'];
  /** Attributes requests without a token to the project, at the doors that allow it. */
  admitAnonymous(projectId: string): void;
  snapshot(): Promise<Snapshot>;
  /** Tells of events as they are accepted, for as long as somebody looks. */
  readonly openWatch: OpenWatch;
  /** Whether every accepted or recovered event has another home. */
  isDelivered(): boolean;
  /** Keeps answers to idempotency keys in its journal; resolves when they are on disk. Rejects when it cannot. */
  remember(answers: readonly KeptAnswer[]): Promise<void>;
  /** Gives every accepted event a durable home and closes everything. */
  stop(how?: StopOptions): Promise<Leftovers>;
  /** The same for a process without any time left: synchronous, files only. */
  saveNow(): Leftovers;
};

type WeirOptions = {
  readonly config: Config;
  readonly access: StoreAccess;
  readonly version: string;
  readonly clock: Clock;
  readonly log: Log;
  /** null for a Weir without other workers. */
  readonly workerContext?: WorkerContext | null;
};

/** Brokers have none: what they do not take waits. */
const NEVER_OPEN: Pick<Breaker, 'state'> = { state: () => ({ kind: 'closed', reason: null, openSince: null }) };

/** Loaded only where it is used. */
async function openTopicOf(
  config: Config,
  parts: { ledger: Ledger; inserts: boolean },
  runtime: Parameters<typeof OpenTopic>[1],
): Promise<Topic> {
  const { openTopic } = await import('./topic.ts');
  return openTopic({ config, settings: config.kafka!, ...parts }, runtime);
}

/** Reads the topic, once `ready`, and inserts what it has; `stop` ends both, in this order, within the time. */
function startReading(channel: TopicChannel, { flusher, ready }: { flusher: Flusher; ready: Promise<void> }) {
  const leaving = new AbortController();
  const flusherDone = flusher.run();
  const isLeaving = once(leaving.signal, 'abort');
  const hasLeft = Promise.race([ready, isLeaving]).then(() => channel.run(leaving.signal));
  return {
    async stop({ breaker, clock }: { breaker: Breaker; clock: Clock }, graceMs: number) {
      await endDelivery({ channel, flusher, flusherDone, breaker, clock }, clock.elapsed(), graceMs);
      leaving.abort();
      await hasLeft;
    },
  };
}

/**
 * Time for what a Weir does beside the events once these are safe, when nothing is left of the grace: it has to end
 * before a worker's own deadline, three seconds beyond the grace.
 */
const FOR_LOOPS_MS = 1_000;
/** Time for the stores to hear that their connections end. */
const FOR_CLOSING_MS = 500;

/** For a Weir that only delivers. */
const NO_SERVER: HttpServer = { port: 0, close: () => Promise.resolve(), cut: () => {} };

/** Builds all parts, listens, and starts the loops. Throws `CannotListen`; never waits for a store. */
export async function startWeir(options: WeirOptions): Promise<Weir> {
  const { config, access, version, clock, log, workerContext = null } = options;
  const runtime = { clock, log, random: Math.random };
  const stopping = new AbortController();
  const stopDraining = new AbortController();
  const workers = workerContext?.workers ?? 1;
  const listens = workerContext?.listens ?? true;
  const name = randomUUID();
  const duties = dutiesOf(config);

  const state = createPipelineState({ intake: intakeAtStart(config) }, runtime);
  const { flags, ledger, breaker } = state;
  const journalSyncs = createJournalSyncs();
  const topic = config.kafka && (await openTopicOf(config, { ledger, inserts: duties.inserts && listens }, runtime));
  const intake = await openIntake(
    {
      config,
      dirs: workerContext?.dirs ?? durableDirs(config.dataDir),
      name,
      ledger,
      frames: topic && topic.frames,
      onSynced: (elapsedMs) => journalSyncs.observe(elapsedMs / 1_000),
    },
    runtime,
  );
  const { channel, durability } = intake;

  const storage = duties.inserts
    ? openEventStorage({ config, access, workers }, runtime)
    : openNoEventStore(access.clickhouse === null ? 'Postgres' : 'ClickHouse');
  const control = openControlStorage({ config, access, workers }, runtime);
  const connectivity = createConnectivity({ storage, control, breaker: duties.inserts ? breaker : null }, runtime);
  const schema = createSchemaKeeper(
    { postgres: control.pool, events: storage.schema, ...runtime },
    { isRebuildPostponed: config.rebuild === 'off' },
  );

  const credentials = createCredentials({ lookUp: control.tokens.lookUp, ...runtime });
  const { anonymousProject } = config;
  if (anonymousProject !== null && anonymousProject !== 'off') credentials.admitAnonymous(anonymousProject);

  const stores = { config, storage, control, connectivity };
  const rejectedEvents = createRejectedEvents({ ...stores, rejections: state.rejections }, runtime);
  const { keeper } = rejectedEvents;
  const pages = createPages(
    { ...stores, version, topic, intake, state, schema, credentials, journalSyncs, keeper },
    runtime,
  );
  const { metrics, snapshot } = pages;
  const switches = createOperatorSwitches({ control, flags, progress: state.progress, clock }, config);
  const { flusher, drain } = createDelivery(
    {
      ...stores,
      intake,
      source: topic?.channel ?? channel,
      state,
      usage: metrics.usage,
      onInsert: metrics.insert,
      onStored: metrics.stored,
      isPaused: switches.isDrainPaused,
    },
    runtime,
  );
  /** What empties the channel of intake. */
  const outlet = topic?.relayFrom(channel) ?? flusher;

  const idempotency = workerContext?.idempotency ?? createIdempotency({ clock });
  const app = createHttpApp(
    {
      config,
      version,
      intake,
      state,
      reading: storage.openReading({ downSignal: connectivity.events.downSignal, stopping: stopping.signal }),
      credentials,
      idempotency,
      pages: workerContext?.pagesWith(snapshot) ?? pages.own,
      onRequest: metrics.request,
      rejectedEvents,
      workerContext,
    },
    runtime,
  );

  durability.restoreAnswers(idempotency);
  if (durability.others.length === 0) durability.takeUp({ channel, ledger });
  const server = listens ? await listen(app, { ...runtime, signal: workerContext?.abandoned }, config) : NO_SERVER;
  // No further events arrive that a batch could wait for.
  if (!listens) channel.hurry();
  const outletDone = outlet.run();
  const loops = startBackgroundLoops(
    {
      name,
      schema,
      connectivity,
      control,
      drain: duties.inserts ? drain : null,
      switches,
      intake,
      upkeep: storage.upkeep,
      state,
      rejectedEvents,
      listens,
      ...runtime,
    },
    { stopping: stopping.signal, stopDraining: stopDraining.signal },
  );
  // What would be read before there are tables would only be refused.
  const reading = topic?.channel && startReading(topic.channel, { flusher, ready: loops.migrated });
  const { save } = durability;
  return {
    port: server.port,
    postgresReady: loops.postgresReady,
    migrated: loops.migrated,
    projects: control.projects,
    tokens: control.tokens,
    admitAnonymous: credentials.admitAnonymous,
    snapshot,
    openWatch: watchOf({ intake, outlets: [outlet] }, runtime),
    isDelivered: () => channel.usage().events === 0 && durability.isEmpty(),
    remember: async (answers) => {
      await Promise.all(answers.map(async (answer) => durability.journal?.remember(answer)));
    },
    stop,
    saveNow() {
      rejectedEvents.sayAll();
      return saveLeftovers({ channel, flusher: outlet, save, log });
    },
  };

  async function stop({ isAnnounced }: StopOptions = { isAnnounced: false }): Promise<Leftovers> {
    if (isAnnounced && listens && config.drainDelayMs > 0) {
      flags.beginLeaving();
      log.info({ delayMs: config.drainDelayMs }, 'shutting down soon: no longer ready, still accepting events');
      await clock.sleep(config.drainDelayMs);
    }
    // Dead letters are already durable; the remaining time belongs to what is in memory.
    stopDraining.abort();
    const { shutdownGraceMs: graceMs } = config;
    const startedAt = clock.elapsed();
    const [leftovers] = await Promise.all([
      shutDown(
        {
          flags,
          server,
          channel,
          flusher: outlet,
          flusherDone: outletDone,
          breaker: topic ? NEVER_OPEN : breaker,
          save,
          clock,
          log,
        },
        { graceMs },
      ),
      reading?.stop({ breaker, clock }, graceMs),
    ]);
    await topic?.close();
    ledger.lost += leftovers.lost;
    stopping.abort();
    // No event depends on them, and what they do can be cut at any moment: migrations, upkeep, a replay, a heartbeat.
    const loopsEndBy = Math.max(startedAt + graceMs, clock.elapsed() + FOR_LOOPS_MS);
    if (!(await endsBy(loops.ended(), loopsEndBy, clock))) {
      log.warn({ graceMs }, 'a store has not answered what is not about events: ending without its answer');
    }
    await durability.close().catch(() => {});
    await endsBy(Promise.all([control.close(), storage.close()]), clock.elapsed() + FOR_CLOSING_MS, clock);
    return leftovers;
  }
}
