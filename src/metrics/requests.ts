/**
 * Counts every HTTP request: how many, how long, why refused. Updated while each request is answered, so the counts are
 * kept in plain maps and become metrics only when the page is read.
 */
import type { Observation, ObserveRequest } from '../http/description/route.ts';
import type { MetricsPage } from './pages.ts';
import { type Tally, createTally, histogramOf } from './tally.ts';

export type RequestMetrics = { readonly observe: ObserveRequest; page(): MetricsPage };

const DURATIONS = {
  name: 'weir_http_request_duration_seconds',
  help: 'From the end of a request’s headers to its answer, by kind of route and class of status. ack=stored waits up to 30 s on purpose.',
  bounds: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
};

export function createRequestMetrics(): RequestMetrics {
  const answered = new Map<string, Map<string, Map<number, number>>>();
  const durations = new Map<string, Tally[]>();
  const refusals = new Map<string, number>();

  return { observe, page };

  function observe({ method: anyMethod, route, kind, status, elapsedMs, refused }: Observation) {
    const statuses = within(within(answered, knownMethod(anyMethod)), route);
    statuses.set(status, (statuses.get(status) ?? 0) + 1);
    const statusClass = Math.floor(status / 100);
    const byClass = durations.get(kind) ?? [];
    if (byClass.length === 0) durations.set(kind, byClass);
    (byClass[statusClass] ??= createTally(DURATIONS.bounds)).observe(elapsedMs / 1_000);
    if (refused !== null) refusals.set(refused, (refusals.get(refused) ?? 0) + 1);
  }

  function page(): MetricsPage {
    const requests = [...answered].flatMap(([method, routes]) =>
      [...routes].flatMap(([route, statuses]) =>
        [...statuses].map(([status, value]) => ({ labels: { method, route, status: String(status) }, value })),
      ),
    );
    const tallies = [...durations].flatMap(([kind, byClass]) =>
      // A missing tally means that no status of that class was answered.
      byClass.flatMap((tally, statusClass) => ({ labels: { kind, status: `${statusClass}xx` }, tally })),
    );
    return [
      counterOf('weir_http_requests_total', 'HTTP requests answered, by route and status.', requests),
      counterOf(
        'weir_http_refusals_total',
        'Requests refused as a whole, by the code of the answer.',
        [...refusals].map(([code, value]) => ({ labels: { code }, value })),
      ),
      histogramOf(DURATIONS, tallies),
    ];
  }
}

function counterOf(name: string, help: string, values: MetricsPage[number]['values']): MetricsPage[number] {
  return { name, help, type: 'counter', aggregator: 'sum', values };
}

/** The inner map, created when it is missing. */
function within<Key, Inner>(outer: Map<string, Map<Key, Inner>>, name: string): Map<Key, Inner> {
  const found = outer.get(name);
  if (found) return found;
  const made = new Map<Key, Inner>();
  outer.set(name, made);
  return made;
}

/** Clients may invent methods; the number of label values must not grow with them. */
function knownMethod(method: string): string {
  return KNOWN_METHODS.has(method) ? method : 'other';
}

const KNOWN_METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'POST', 'OPTIONS', 'PUT', 'DELETE', 'PATCH']);
