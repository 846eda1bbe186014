/**
 * What operators monitor in every process: CPU, memory, file descriptors, event loop lag. Names and meanings are those
 * of the client library.
 */
import { type Aggregator, Registry, collectDefaultMetrics } from '@prometheus-io/client';
import type { MetricsPage } from './pages.ts';

/** Metrics without a use, or with one value for each heap space and handle type. */
const LEFT_OUT =
  /^nodejs_(heap_space_|active_(handles|requests|resources)|eventloop_lag_(seconds|min|stddev)|eventloop_utilization)/;

/** The library measures how busy the event loop is by a timer, ten times a second; nobody sees it here. */
const NEVER_MS = 2 ** 31 - 1;

/** For several workers the worst value counts; the library's other metrics are sums. */
const MERGED: Readonly<Record<string, Aggregator>> = {
  process_start_time_seconds: 'min',
  process_max_fds: 'min',
  nodejs_eventloop_lag_max_seconds: 'max',
  nodejs_eventloop_lag_mean_seconds: 'max',
  nodejs_eventloop_lag_p50_seconds: 'max',
  nodejs_eventloop_lag_p90_seconds: 'max',
  nodejs_eventloop_lag_p99_seconds: 'max',
};

/** One per process: each collector would watch the event loop and the garbage collector on its own. */
let registry: Registry | null = null;

/** The page of this process, observed from the first call on. */
export async function processPage(): Promise<MetricsPage> {
  registry ??= watchProcess();
  const page = await registry.getMetricsAsJSON();
  return page.map((metric) => ({ ...metric, aggregator: MERGED[metric.name] ?? metric.aggregator }));
}

function watchProcess(): Registry {
  const watching = new Registry();
  collectDefaultMetrics({ register: watching, eventLoopUtilizationTimeout: NEVER_MS });
  for (const { name } of watching.getMetricsAsArray()) if (LEFT_OUT.test(name)) watching.removeSingleMetric(name);
  return watching;
}
