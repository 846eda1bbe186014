/**
 * The Prometheus page. Counters that other parts keep are read when the page is requested; only what no other part
 * counts is counted here.
 */
import { Counter, Gauge, Registry } from '@prometheus-io/client';
import type { JournalHealth, SchemaFacts } from '../http/health/health-snapshot.ts';
import type { ObserveRequest } from '../http/description/route.ts';
import { type TopicMetrics, registerTopic } from './topic-metrics.ts';
import { createDeliveryMetrics } from './delivery-metrics.ts';
import { journalSyncsOf } from './journal-syncs.ts';
import { type MetricsPage, EVENTS_TOTAL, textOf } from './pages.ts';
import { type ReadMetrics, createReadMetrics } from './read-metrics.ts';
import { createRequestMetrics } from './requests.ts';
import { createStoredLatency, observeStored, storedLatencyOf } from './stored-latency.ts';
import type { Tally } from './tally.ts';
import type { Batch } from '../pipeline/batch.ts';
import type { Breaker } from '../pipeline/breaker.ts';
import type { Channel, ChannelLimits } from '../pipeline/channel-port.ts';
import type { Flags } from '../pipeline/flags.ts';
import type { InsertObservation } from '../pipeline/insert-attempt.ts';
import type { Heartbeat } from '../pipeline/heartbeat.ts';
import type { Ledger } from '../pipeline/ledger.ts';
import type { UsageSink } from '../pipeline/ports.ts';
import type { Moment, Progress } from '../pipeline/progress.ts';
import type { NotKeptCause, RejectedKeeper } from '../pipeline/rejected-keeper.ts';
import type { Rejections } from '../pipeline/rejections.ts';
import type { EventStoreName } from '../pipeline/storage-port.ts';

export type MetricsDeps = {
  readonly channel: Pick<Channel, 'usage'>;
  /** Null without a topic. */
  readonly topic: TopicMetrics | null;
  readonly flags: Flags;
  readonly ledger: Ledger;
  readonly rejections: Pick<Rejections, 'counts'>;
  /** Null where no rejected events are kept. */
  readonly keeper: Pick<RejectedKeeper, 'kept' | 'notKept'> | null;
  readonly breaker: Breaker;
  readonly eventStore: EventStoreName;
  readonly events: Pick<Heartbeat, 'isUp'>;
  readonly postgres: Pick<Heartbeat, 'isUp'> & { isReadOnly(): boolean };
  readonly journal: () => JournalHealth | null;
  readonly journalSyncs: Tally;
  readonly progress: () => Progress;
  readonly schema: () => SchemaFacts;
  readonly postgresPool: () => PoolUse;
  /** The process's own metrics: memory, event loop, garbage collection. */
  readonly processPage: () => Promise<MetricsPage>;
  readonly version: string;
  readonly hasRoom: () => boolean;
  readonly now: () => number;
  /** Inserts that failed in a materialized view that is not Weir's, by view. */
  readonly foreignViewFailures: () => ReadonlyMap<string, number>;
  /** Log lines that standard error did not accept. */
  readonly droppedLogLines: () => number;
};

/** Connections of the pool to Postgres, and queries that wait for one. */
export type PoolUse = { readonly connections: number; readonly idle: number; readonly waiting: number };

export type Metrics = {
  /** `withProcess`: with the process's own: memory, event loop, garbage collection, which it observes from then on. */
  text(withProcess: boolean): Promise<string>;
  page(): Promise<MetricsPage>;
  request: ObserveRequest;
  insert(observation: InsertObservation): void;
  /** As many events of the batch landed. */
  stored(batch: Batch, events: number): void;
  /** The usage sink: how many events of a project landed. */
  usage: UsageSink;
};

const BREAKER_STATES = ['closed', 'half-open', 'open'] as const;

export function createMetrics(deps: MetricsDeps, limits: ChannelLimits): Metrics {
  const registry = new Registry();
  const requests = createRequestMetrics();
  const deliveries = createDeliveryMetrics(registry);
  const storedLatency = createStoredLatency();
  const read = createReadMetrics(registry);
  registerVersion(registry, deps);
  registerForeignViewFailures(registry, deps);
  registerRejections(registry, deps);
  if (deps.topic) registerTopic(registry, deps.topic);
  readTotals(read, deps);
  readSums(read, deps, limits);
  readMinima(read, deps);
  readMaxima(read, deps);

  return {
    text: async (withProcess) => textOf(withProcess ? await page() : await ownPage()),
    page,
    request: requests.observe,
    insert: deliveries.insert,
    stored: (batch, events) => observeStored(storedLatency, batch, events, deps.now()),
    usage: deliveries.usage,
  };

  async function page(): Promise<MetricsPage> {
    return [...(await ownPage()), ...(await deps.processPage())];
  }

  async function ownPage(): Promise<MetricsPage> {
    return [
      ...(await registry.getMetricsAsJSON()),
      ...requests.page(),
      journalSyncsOf(deps.journalSyncs),
      storedLatencyOf(storedLatency),
    ];
  }
}

function registerVersion(registry: Registry, { version }: MetricsDeps) {
  new Gauge({
    name: 'weir_build_info',
    help: 'Always 1; the label is the version of Weir.',
    labelNames: ['version'],
    aggregator: 'first',
    registers: [registry],
  }).set({ version }, 1);
}

function registerForeignViewFailures(registry: Registry, { foreignViewFailures }: MetricsDeps) {
  registry.registerMetric(
    new Counter({
      name: 'weir_foreign_view_failures_total',
      help: "Inserts that failed in a materialized view that is not Weir's; their events landed without it.",
      labelNames: ['view'],
      registers: [],
      collect() {
        this.reset();
        for (const [view, count] of foreignViewFailures()) this.inc({ view }, count);
      },
    }),
  );
}

function registerRejections(registry: Registry, { rejections }: MetricsDeps) {
  registry.registerMetric(
    new Counter({
      name: 'weir_rejected_events_total',
      help: 'Events that were rejected, by the family of doors they came through and the kind of reason.',
      labelNames: ['door', 'reason'],
      registers: [],
      collect() {
        this.reset();
        for (const [door, reasons] of rejections.counts()) {
          for (const [reason, count] of Object.entries(reasons)) this.inc({ door, reason }, count);
        }
      },
    }),
  );
}

function readTotals(
  { readCounter, readCounters }: ReadMetrics,
  { ledger, topic, keeper, droppedLogLines }: MetricsDeps,
) {
  readCounter(EVENTS_TOTAL, 'Events by result in this process.', 'result', {
    accepted: () => ledger.accepted,
    ...(topic && {
      taken: () => ledger.taken,
      replicated: () => ledger.replicated,
      handed_over: () => ledger.handedOver,
    }),
    rejected: () => ledger.rejected,
    stored: () => ledger.stored,
    dead_lettered: () => ledger.deadLettered,
    recovered: () => ledger.recovered,
    replayed: () => ledger.replayed,
    quarantined: () => ledger.quarantined,
  });
  const notKept = (cause: NotKeptCause) => () => keeper?.notKept()[cause] ?? 0;
  readCounter('weir_rejected_events_not_kept_total', 'Rejected events that should be kept and are not.', 'cause', {
    queue_full: notKept('queue_full'),
    store: notKept('store'),
    too_large: notKept('too_large'),
    ended: notKept('ended'),
  });
  readCounters({
    weir_rejected_events_kept_total: ['Rejected events that were kept in Postgres.', () => keeper?.kept() ?? 0],
    weir_events_lost_total: ['Acknowledged events that are gone, as far as they can be counted.', () => ledger.lost],
    weir_unreadable_bytes_total: [
      'Bytes of journal and saved batches that could not be read at the start. They may have held acknowledged events.',
      () => ledger.unreadableBytes,
    ],
    weir_log_lines_dropped_total: [
      'Log lines dropped because standard error was blocked for too long or refused them.',
      droppedLogLines,
    ],
  });
}

/** Each worker reports its own share: the service's value is the sum. */
function readSums(
  { readGauges }: ReadMetrics,
  { channel, journal, flags, postgresPool }: MetricsDeps,
  limits: ChannelLimits,
) {
  readGauges('sum', {
    weir_pending_events: ['Events accepted and not yet settled.', () => channel.usage().events],
    weir_pending_events_limit: ['The most events that may be pending.', () => limits.maxEvents],
    weir_pending_bytes: ['Bytes of pending rows.', () => channel.usage().bytes],
    weir_reserved_bytes: ['Bytes set aside for bodies being read.', () => channel.usage().reservedBytes],
    weir_pending_bytes_limit: ['The most bytes pending and reserved together.', () => limits.maxBytes],
    weir_journal_bytes: ['Bytes of the journal on disk.', () => journal()?.bytes],
    weir_journal_bytes_limit: ['The most bytes that the journal may have on disk.', () => journal()?.maxBytes],
    weir_unhomed_batches: ['Batches that neither store accepts.', () => flags.facts().unhomed],
    weir_postgres_pool_connections: ['Open connections to Postgres.', () => postgresPool().connections],
    weir_postgres_pool_idle: ['Idle connections to Postgres.', () => postgresPool().idle],
    weir_postgres_pool_waiting: ['Statements waiting for a connection to Postgres.', () => postgresPool().waiting],
  });
}

/** Facts that hold for the service only when they hold for every worker. */
function readMinima(
  { readGauges }: ReadMetrics,
  { journal, flags, eventStore, events, postgres, hasRoom }: MetricsDeps,
) {
  readGauges('min', {
    weir_journal_ok: ['1 while the journal can be written.', () => journal() && Number(journal()?.kind === 'ok')],
    weir_intake_open: ['1 while requests are let in.', () => Number(flags.facts().intake === 'open')],
    ...(eventStore === 'ClickHouse' && {
      weir_clickhouse_up: ['1 while ClickHouse answers.', () => knownAs(events.isUp())] as const,
    }),
    weir_dlq_has_room: ['1 while Postgres has room for dead letters.', () => Number(hasRoom())],
    weir_postgres_up: ['1 while Postgres answers.', () => knownAs(postgres.isUp())],
    weir_postgres_writable: [
      '1 while Postgres accepts writes; a read-only one cannot store dead letters, nor events.',
      () => knownAs(postgres.isUp() && !postgres.isReadOnly()),
    ],
  });
}

/** The worst value of any worker, or what all workers read from the same table at slightly different times. */
function readMaxima({ readGauges }: ReadMetrics, { breaker, flags, schema, progress, now }: MetricsDeps) {
  readGauges('max', {
    weir_breaker_open: [
      '0 closed, 1 half-open, 2 open: inserts are suspended.',
      () => BREAKER_STATES.indexOf(breaker.state().kind),
    ],
    weir_dlq_is_estimate: [
      '1 while there are too many dead letters to count them.',
      () => flags.facts().deadLetters && Number(flags.facts().deadLetters?.isEstimate),
    ],
    weir_dlq_rows: ['Dead letters that are replayed.', () => flags.facts().deadLetters?.rows],
    weir_dlq_events: ['Events in dead letters that are replayed.', () => flags.facts().deadLetters?.events],
    weir_dlq_bytes: ['Bytes of the rows in dead letters that are replayed.', () => flags.facts().deadLetters?.bytes],
    weir_dlq_oldest_age_seconds: ['Age of the oldest dead letter that is replayed.', oldestAgeSeconds],
    weir_dlq_quarantined_rows: [
      'Quarantined dead letters, which wait for an operator.',
      () => flags.facts().deadLetters?.quarantinedRows,
    ],
    weir_schema_drift: [
      'Differences between the tables of the events and what Weir made; normally 0.',
      () => (schema().eventsReady ? schema().drift.length : null),
    ],
    weir_rebuild_rows: [
      'Rows that the present part of a rebuild of the events (copying, checking, finishing) has processed.',
      () => rebuild()?.rows,
    ],
    weir_rebuild_rows_expected: ['Approximate number of rows that part has to process.', () => rebuild()?.total],
    weir_last_insert_success_timestamp_seconds: ['When a batch last landed.', () => secondsOf(progress().landed)],
    weir_last_drain_pass_success_timestamp_seconds: [
      'When a pass over the dead letters last succeeded.',
      () => secondsOf(progress().passed),
    ],
    weir_dlq_quarantined_events: [
      'Events in quarantined dead letters.',
      () => flags.facts().deadLetters?.quarantinedEvents,
    ],
  });

  function rebuild() {
    const state = schema().rebuild;
    return state?.kind === 'running' ? state : null;
  }

  function oldestAgeSeconds() {
    const { deadLetters } = flags.facts();
    return deadLetters && (deadLetters.oldestAt === null ? 0 : Math.max(0, now() - deadLetters.oldestAt) / 1_000);
  }
}

const secondsOf = (moment: Moment | null) => moment && moment.at / 1_000;

/** Whether a store answers is unknown until it has answered, or failed to. */
function knownAs(isUp: boolean | null): number | null {
  return isUp === null ? null : Number(isUp);
}
