/** The page of metrics: what is on it, that Prometheus reads it, and that OPERATIONS.md speaks of nothing else. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { createMetrics, type Metrics, type MetricsDeps } from '../src/metrics/metrics.ts';
import { createJournalSyncs } from '../src/metrics/journal-syncs.ts';
import { mergePages } from '../src/metrics/pages.ts';
import { processPage } from '../src/metrics/runtime.ts';
import { createTally, histogramOf } from '../src/metrics/tally.ts';
import { createBreaker } from '../src/pipeline/breaker.ts';
import { createFlags } from '../src/pipeline/flags.ts';
import { createLedger } from '../src/pipeline/ledger.ts';
import { InsertFailure } from '../src/pipeline/ports.ts';
import { createProgress } from '../src/pipeline/progress.ts';
import { createManualClock } from './support/clock.ts';
import { PROJECT, channelOn, randomOf } from './support/factory.ts';
import { parsePage } from './support/prometheus.ts';

/** A process that has seen everything there is to see. */
function busy(changed: Partial<MetricsDeps> = {}): Metrics {
  const clock = createManualClock();
  const flags = createFlags({ intake: 'open' }, () => {});
  flags.measured({
    rows: 1,
    events: 2,
    bytes: 3,
    oldestAt: clock.now(),
    quarantinedRows: 4,
    quarantinedEvents: 5,
    isEstimate: false,
  });
  const progress = createProgress({ clock });
  progress.tried({ failure: null });
  progress.passEnded(null);
  const journalSyncs = createJournalSyncs();
  journalSyncs.observe(0.004);
  const metrics = createMetrics(
    {
      channel: channelOn(clock),
      topic: {
        isUp: () => true,
        pending: () => 3,
        lag: () => [{ partition: 4, records: 5, events: 6, bytes: 7, seconds: 8 }],
        counts: () => ({ removed: 9, foreign: 10 }),
      },
      flags,
      ledger: { ...createLedger(), lost: 3, unreadableBytes: 70 },
      keeper: { kept: () => 7, notKept: () => ({ queue_full: 2, store: 0, too_large: 1, ended: 0 }) },
      rejections: { counts: () => new Map([['segment', { missing_field: 8, too_large: 1 }]]) },
      breaker: createBreaker({ clock, random: () => 0, onChange: () => {} }),
      eventStore: 'ClickHouse',
      events: { isUp: () => true },
      postgres: { isUp: () => true, isReadOnly: () => false },
      journal: () => ({ kind: 'ok', bytes: 1, maxBytes: 2, isHeld: false }),
      journalSyncs,
      progress: progress.read,
      hasRoom: () => true,
      schema: () => ({ postgresReady: true, eventsReady: true, problem: null, drift: ['a', 'b'], rebuild: null }),
      postgresPool: () => ({ connections: 4, idle: 1, waiting: 2 }),
      processPage,
      version: '1.2.3',
      now: clock.now,
      foreignViewFailures: () => new Map([['other.view', 6]]),
      droppedLogLines: () => 5,
      ...changed,
    },
    { maxEvents: 100, maxBytes: 1_000, projectShare: 0.5 },
  );
  const answer = { method: 'POST', route: '/events', kind: 'ingest', elapsedMs: 3 } as const;
  metrics.request({ ...answer, status: 202, refused: null });
  metrics.request({ ...answer, status: 503, refused: 'channel_full', elapsedMs: 0.2 });
  metrics.request({ ...answer, status: 503, refused: 'channel_full' });
  metrics.request({ ...answer, method: 'BREW', route: 'other', kind: 'other', status: 404, refused: 'not_found' });
  metrics.insert({ failure: null, events: 1, bytes: 10, elapsedMs: 20 });
  const failure = new InsertFailure('refused', { failureClass: 'capacity', code: 252 });
  metrics.insert({ failure, events: 1, bytes: 10, elapsedMs: 20 });
  metrics.usage(PROJECT, 1);
  return metrics;
}

const valueOf = (text: string, series: string) => {
  const line = text.split('\n').find((candidate) => candidate.startsWith(`${series} `));
  return line === undefined ? null : Number(line.slice(series.length + 1));
};

test('of one process and of several it is what Prometheus reads, named by its conventions', async () => {
  const one = busy();
  const other = busy({ journal: () => null });
  const text = await one.text(true);
  expect(parsePage(text).problems).toEqual([]);
  const merged = await mergePages([await one.page(), await other.page()], [await other.page()]);
  expect(parsePage(merged).problems).toEqual([]);
  expect([...parsePage(merged).families.keys()].sort()).toEqual([...parsePage(text).families.keys()].sort());
});

test.each([
  ['no help', '# TYPE weir_x gauge\nweir_x 1\n'],
  ['a series twice', '# HELP weir_x What it is.\n# TYPE weir_x gauge\nweir_x{a="1",b="2"} 1\nweir_x{b="2",a="1"} 1\n'],
  ['a counter without _total', '# HELP weir_x What it is.\n# TYPE weir_x counter\nweir_x 1\n'],
  ['a label without its end', '# HELP weir_x What it is.\n# TYPE weir_x gauge\nweir_x{a="1} 1\n'],
  ['a stray series', '# HELP weir_x What it is.\n# TYPE weir_x gauge\nweir_y 1\n'],
  ['no number', '# HELP weir_x What it is.\n# TYPE weir_x gauge\nweir_x undefined\n'],
  [
    'buckets that do not add up',
    '# HELP weir_x What it is.\n# TYPE weir_x histogram\nweir_x_bucket{le="1"} 2\nweir_x_bucket{le="+Inf"} 1\nweir_x_sum 1\nweir_x_count 1\n',
  ],
])('the reader of pages notices %s', (_, page) => {
  expect(parsePage(page).problems).not.toEqual([]);
});

test('says what was lost, refused, waited for and found different', async () => {
  const text = await busy().text(true);
  const expected: Record<string, number> = {
    weir_events_lost_total: 3,
    weir_unreadable_bytes_total: 70,
    weir_log_lines_dropped_total: 5,
    'weir_http_refusals_total{code="channel_full"}': 2,
    'weir_http_refusals_total{code="not_found"}': 1,
    'weir_http_requests_total{method="POST",route="/events",status="503"}': 2,
    'weir_http_requests_total{method="other",route="other",status="404"}': 1,
    'weir_http_request_duration_seconds_bucket{kind="ingest",status="5xx",le="0.001"}': 1,
    'weir_http_request_duration_seconds_count{kind="ingest",status="5xx"}': 2,
    'weir_http_request_duration_seconds_count{kind="ingest",status="2xx"}': 1,
    weir_journal_sync_duration_seconds_count: 1,
    'weir_journal_sync_duration_seconds_bucket{le="0.005"}': 1,
    weir_postgres_pool_connections: 4,
    weir_postgres_pool_idle: 1,
    weir_postgres_pool_waiting: 2,
    weir_postgres_writable: 1,
    weir_schema_drift: 2,
    weir_topic_up: 1,
    weir_topic_partitions: 1,
    weir_topic_pending_events: 3,
    'weir_topic_lag_records{partition="4"}': 5,
    'weir_topic_lag_events{partition="4"}': 6,
    'weir_topic_lag_bytes{partition="4"}': 7,
    'weir_topic_lag_seconds{partition="4"}': 8,
    weir_topic_removed_records_total: 9,
    weir_topic_foreign_records_total: 10,
    weir_rejected_events_kept_total: 7,
    'weir_rejected_events_not_kept_total{cause="queue_full"}': 2,
    'weir_rejected_events_total{door="segment",reason="missing_field"}': 8,
    'weir_build_info{version="1.2.3"}': 1,
  };
  for (const [series, value] of Object.entries(expected)) expect(valueOf(text, series), series).toBe(value);
});

test('has what every process has, and of several the worst', async () => {
  const { families } = parsePage(await busy().text(true));
  for (const name of [
    'process_cpu_seconds_total',
    'process_resident_memory_bytes',
    'process_open_fds',
    'process_start_time_seconds',
    'nodejs_eventloop_lag_p99_seconds',
    'nodejs_heap_size_used_bytes',
  ]) {
    expect(families.get(name)?.series, name).toHaveLength(1);
  }
  const unasked = () => Promise.reject(new Error('observes the process'));
  const own = parsePage(await busy({ processPage: unasked }).text(false));
  expect([...own.families.keys()].filter((name) => !name.startsWith('weir_'))).toEqual([]);
  expect([...families.keys()].filter((name) => name.startsWith('weir_'))).toEqual([...own.families.keys()]);
  const page =
    (lag: number, memory: number): MetricsDeps['processPage'] =>
    async () => [
      {
        name: 'nodejs_eventloop_lag_p99_seconds',
        help: 'Of ours.',
        type: 'gauge',
        aggregator: 'max',
        values: [{ labels: {}, value: lag }],
      },
      {
        name: 'process_resident_memory_bytes',
        help: 'Of ours.',
        type: 'gauge',
        aggregator: 'sum',
        values: [{ labels: {}, value: memory }],
      },
    ];
  const [one, other, gone] = await Promise.all(
    [page(1, 10), page(3, 20), page(9, 40)].map((processOf) => busy({ processPage: processOf }).page()),
  );
  const text = await mergePages([one!, other!], [gone!]);
  expect(valueOf(text, 'nodejs_eventloop_lag_p99_seconds')).toBe(3);
  // The memory of a process that is gone is free again.
  expect(valueOf(text, 'process_resident_memory_bytes')).toBe(30);
});

test('a tally counts as the plain way does (SEED=7)', () => {
  const random = randomOf(7);
  const bounds = [0.1, 0.5, 1];
  const tally = createTally(bounds);
  const values = Array.from({ length: 1_000 }, () =>
    random() < 0.2 ? bounds[Math.floor(random() * 3)]! : random() * 1.5,
  );
  for (const value of values) tally.observe(value);
  expect(tally.read().atMost).toEqual(bounds.map((bound) => values.filter((value) => value <= bound).length));
  expect(tally.read().count).toBe(1_000);
  expect(tally.read().sum).toBeCloseTo(values.reduce((sum, value) => sum + value, 0));
  expect(histogramOf({ name: 'x', help: 'x', bounds }, []).values).toEqual([]);
});

describe('OPERATIONS.md', () => {
  const operations = readFileSync('docs/OPERATIONS.md', 'utf8');
  const named = new Set([...operations.matchAll(/\b(?:weir|process|nodejs)_[a-z0-9_]+\b/g)].map(([name]) => name));
  /** Names that are no metrics: a member of the export file, roles of the databases. */
  const OTHERS = new Set(['weir_letter', 'weir_owner', 'weir_reader']);

  test('names no metric that is not on the page', async () => {
    const { families } = parsePage(await busy().text(true));
    const isThere = (name: string) => families.has(name) || families.has(name.replace(/_(bucket|sum|count)$/, ''));
    expect([...named].filter((name) => !OTHERS.has(name) && !name.endsWith('_') && !isThere(name))).toEqual([]);
  });

  test('names every metric of Weir’s own that is on the page', async () => {
    const { families } = parsePage(await busy().text(true));
    expect([...families.keys()].filter((name) => name.startsWith('weir_') && !named.has(name))).toEqual([]);
  });
});
