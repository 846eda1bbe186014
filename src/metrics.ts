/**
 * The Prometheus page. Counters that the parts keep themselves are read when
 * the page is asked for; only what nobody else counts is counted here.
 */
import {
  AggregatorRegistry,
  Counter,
  Gauge,
  Histogram,
  type MetricObjectWithValues,
  type MetricValue,
  Registry,
} from '@prometheus-io/client';
import type { JournalHealth } from './http/health.ts';
import type { ObserveRequest } from './http/route.ts';
import type { Breaker } from './pipeline/breaker.ts';
import type { Channel, ChannelLimits } from './pipeline/channel.ts';
import type { Flags } from './pipeline/flags.ts';
import type { InsertObservation } from './pipeline/flusher.ts';
import type { Heartbeat } from './pipeline/heartbeat.ts';
import type { Ledger } from './pipeline/ledger.ts';
import type { UsageSink } from './pipeline/ports.ts';

export type MetricsDeps = {
  readonly channel: Channel;
  readonly flags: Flags;
  readonly ledger: Ledger;
  readonly breaker: Breaker;
  readonly clickhouse: Pick<Heartbeat, 'isUp'>;
  readonly postgres: Pick<Heartbeat, 'isUp'>;
  readonly journal: () => JournalHealth | null;
  readonly now: () => number;
};

/** Every metric with its values: what `text` is made of. A plain value: workers send theirs to each other. */
export type MetricsPage = readonly MetricObjectWithValues<MetricValue<string>>[];

export type Metrics = {
  text(): Promise<string>;
  page(): Promise<MetricsPage>;
  request: ObserveRequest;
  insert(observation: InsertObservation): void;
  /** The usage sink: how many events of a project landed. */
  usage: UsageSink;
};

/** Projects beyond this many share one label value: a page must not grow with the number of tenants. */
const MAX_PROJECT_LABELS = 500;

const EVENTS_TOTAL = 'weir_events_total';
/** The types whose values only grow. */
const COUNTING: ReadonlySet<string> = new Set(['counter', 'histogram']);

const BREAKER_STATES = ['closed', 'half-open', 'open'] as const;

export function createMetrics(deps: MetricsDeps, limits: ChannelLimits): Metrics {
  const { channel, flags, ledger, breaker, clickhouse, postgres, journal, now } = deps;
  const registry = new Registry();
  const registers = [registry];

  // Counted apart, by method, route and status: the counter's own look-up of labels takes longer than routing a request.
  const answered = new Map<string, Map<string, Map<number, number>>>();
  const requests = new Counter({
    name: 'weir_http_requests_total',
    help: 'HTTP requests answered, by route and status.',
    labelNames: ['method', 'route', 'status'],
    registers: [],
    collect() {
      this.reset();
      for (const [method, routes] of answered) {
        for (const [route, statuses] of routes) {
          for (const [status, count] of statuses) this.inc({ method, route, status: String(status) }, count);
        }
      }
    },
  });
  registry.registerMetric(requests);
  const inserts = new Counter({
    name: 'weir_inserts_total',
    help: 'Inserts into ClickHouse by outcome: stored, or the class and code of the failure.',
    labelNames: ['outcome', 'code'],
    registers,
  });
  const insertSeconds = new Histogram({
    name: 'weir_insert_seconds',
    help: 'How long an insert took until its outcome was known.',
    buckets: [0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 60],
    registers,
  });
  const insertEvents = new Histogram({
    name: 'weir_insert_events',
    help: 'Events in one insert.',
    buckets: [1, 10, 100, 1_000, 5_000, 10_000, 50_000],
    registers,
  });

  const usage = new Counter({
    name: 'weir_usage_events_total',
    help: 'Events that landed in ClickHouse through this process, by project.',
    labelNames: ['project'],
    registers,
  });
  const labelled = new Set<string>();

  const results = {
    accepted: () => ledger.accepted,
    rejected: () => ledger.rejected,
    stored: () => ledger.stored,
    dead_lettered: () => ledger.deadLettered,
    recovered: () => ledger.recovered,
    replayed: () => ledger.replayed,
    quarantined: () => ledger.quarantined,
  };
  readCounter(EVENTS_TOTAL, 'Events by what became of them in this process.', 'result', results);
  // Nothing in the code loses an event knowingly; a shutdown that could save one nowhere says so in its exit code.
  registry.registerMetric(
    new Counter({ name: 'weir_events_lost_total', help: 'Events lost. Must stay 0.', registers: [] }),
  );
  // Of each worker its own: together they are the sum.
  readGauges('sum', {
    weir_pending_events: ['Events accepted and not yet settled.', () => channel.usage().events],
    weir_pending_events_limit: ['The most events that may be pending.', () => limits.maxEvents],
    weir_pending_bytes: ['Bytes of pending rows.', () => channel.usage().bytes],
    weir_reserved_bytes: ['Bytes set aside for bodies being read.', () => channel.usage().reservedBytes],
    weir_pending_bytes_limit: ['The most bytes pending and reserved together.', () => limits.maxBytes],
    weir_journal_bytes: ['Bytes of the journal on disk.', () => journal()?.bytes],
    weir_journal_bytes_limit: ['The most bytes it may have.', () => journal()?.maxBytes],
    weir_unhomed_batches: ['Batches that neither store takes.', () => flags.facts().unhomed],
  });
  // What is true only when it is true of every worker.
  readGauges('min', {
    weir_journal_ok: ['1 while the journal can be written.', () => journal() && Number(journal()?.kind === 'ok')],
    weir_intake_open: ['1 while requests are let in.', () => Number(flags.facts().intake === 'open')],
    weir_clickhouse_up: ['1 while ClickHouse answers.', () => knownAs(clickhouse.isUp())],
    weir_postgres_up: ['1 while Postgres answers.', () => knownAs(postgres.isUp())],
  });
  // The worst of any worker, and what all of them measured in the same table at some moment.
  readGauges('max', {
    weir_breaker_open: [
      '0 closed, 1 half-open, 2 open: inserts are suspended.',
      () => BREAKER_STATES.indexOf(breaker.state().kind),
    ],
    weir_dlq_rows: ['Dead letters that are replayed.', () => flags.facts().deadLetters?.rows],
    weir_dlq_events: ['Events in them.', () => flags.facts().deadLetters?.events],
    weir_dlq_bytes: ['Bytes of their rows.', () => flags.facts().deadLetters?.bytes],
    weir_dlq_oldest_age_seconds: ['Age of the oldest one.', oldestAgeSeconds],
    weir_dlq_quarantined_rows: [
      'Dead letters that wait for a person.',
      () => flags.facts().deadLetters?.quarantinedRows,
    ],
    weir_dlq_quarantined_events: ['Events in them.', () => flags.facts().deadLetters?.quarantinedEvents],
  });

  return {
    text: () => registry.metrics(),
    page: () => registry.getMetricsAsJSON(),
    request(anyMethod, route, status) {
      const routes = within(answered, knownMethod(anyMethod));
      const statuses = within(routes, route);
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
    },
    insert({ failure, events, elapsedMs }) {
      inserts.inc({ outcome: failure?.failureClass ?? 'stored', code: String(failure?.code ?? '') });
      insertSeconds.observe(elapsedMs / 1_000);
      insertEvents.observe(events);
    },
    usage(projectId, eventCount) {
      if (labelled.size < MAX_PROJECT_LABELS) labelled.add(projectId);
      usage.inc({ project: labelled.has(projectId) ? projectId : 'other' }, eventCount);
    },
  };

  function oldestAgeSeconds() {
    const { deadLetters } = flags.facts();
    return deadLetters && (deadLetters.oldestAt === null ? 0 : Math.max(0, now() - deadLetters.oldestAt) / 1_000);
  }

  function readCounter(name: string, help: string, label: string, values: Record<string, () => number>) {
    const counter = new Counter({
      name,
      help,
      labelNames: [label],
      registers: [],
      collect() {
        this.reset();
        for (const [value, read] of Object.entries(values)) this.inc({ [label]: value }, read());
      },
    });
    registry.registerMetric(counter);
  }

  /** Undefined and null are unknown, and left out of the page rather than shown as zero. */
  function readGauges(
    aggregator: 'sum' | 'min' | 'max',
    gauges: Record<string, [help: string, read: () => number | null | undefined]>,
  ) {
    for (const [name, [help, read]] of Object.entries(gauges)) {
      const gauge = new Gauge({
        name,
        help,
        aggregator,
        registers: [],
        collect() {
          const value = read();
          this.remove();
          if (typeof value === 'number') this.set(value);
        },
      });
      registry.registerMetric(gauge);
    }
  }
}

/** The map in the map, made when it is not there. */
function within<Key, Inner>(outer: Map<string, Map<Key, Inner>>, name: string): Map<Key, Inner> {
  const found = outer.get(name);
  if (found) return found;
  const made = new Map<Key, Inner>();
  outer.set(name, made);
  return made;
}

/**
 * One page for several workers. Of those that do not speak for themselves at the
 * moment only what is summed counts: what was a fact then need not be one now.
 */
export function mergePages(current: readonly MetricsPage[], absent: readonly MetricsPage[]): Promise<string> {
  const summed = absent.map((page) => page.filter(({ aggregator }) => (aggregator ?? 'sum') === 'sum'));
  return aggregate([...current, ...summed]).metrics();
}

/**
 * What processes counted that have ended, with one more: counters must not fall
 * because a worker died. Of what it had pending its successor has found
 * `recovered` and counts them again; the rest left its journal, and so has landed.
 */
export function addEnded(before: MetricsPage, last: MetricsPage, recovered: number): Promise<MetricsPage> {
  const pending = valueOf(last, 'weir_pending_events') ?? 0;
  const countedAgain = Math.min(pending, recovered);
  const counted = last
    .filter(({ type }) => COUNTING.has(type))
    .map((metric) =>
      metric.name === EVENTS_TOTAL
        ? {
            ...metric,
            values: metric.values.map((counted) => {
              const { result } = counted.labels;
              if (result === 'accepted') return { ...counted, value: counted.value - countedAgain };
              return result === 'stored' ? { ...counted, value: counted.value + pending - countedAgain } : counted;
            }),
          }
        : metric,
    );
  return aggregate([before, counted]).getMetricsAsJSON();
}

/** How many events a process took up at its start. */
export const recoveredIn = (page: MetricsPage): number => valueOf(page, EVENTS_TOTAL, 'recovered') ?? 0;

/** How many events processes have accepted. */
export const acceptedIn = (page: MetricsPage): number => valueOf(page, EVENTS_TOTAL, 'accepted') ?? 0;

function valueOf(page: MetricsPage, name: string, result?: string): number | undefined {
  const values = page.find((metric) => metric.name === name)?.values;
  return values?.find(({ labels }) => labels['result'] === result)?.value;
}

const aggregate = (pages: readonly MetricsPage[]) => AggregatorRegistry.aggregate(pages.map((page) => [...page]));

/** Whether a store answers is unknown until it has answered, or failed to. */
function knownAs(isUp: boolean | null): number | null {
  return isUp === null ? null : Number(isUp);
}

/** A client may invent methods; a label may not grow with them. */
function knownMethod(method: string): string {
  return KNOWN_METHODS.has(method) ? method : 'other';
}

const KNOWN_METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'POST', 'OPTIONS', 'PUT', 'DELETE', 'PATCH']);
