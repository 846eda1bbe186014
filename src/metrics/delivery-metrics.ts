/** Counts inserts and the events that landed. */
import { Counter, Histogram, type Registry } from '@prometheus-io/client';
import type { InsertObservation } from '../pipeline/insert-attempt.ts';
import type { UsageSink } from '../pipeline/ports.ts';

/** Projects beyond this many share one label value: a page must not grow with the number of tenants. */
const MAX_PROJECT_LABELS = 500;

export type DeliveryMetrics = { insert(observation: InsertObservation): void; readonly usage: UsageSink };

export function createDeliveryMetrics(registry: Registry): DeliveryMetrics {
  const registers = [registry];
  const inserts = new Counter({
    name: 'weir_inserts_total',
    help: 'Inserts of events by outcome: stored, or the class and code of the failure.',
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
    help: 'Events that landed through this process, by project.',
    labelNames: ['project'],
    registers,
  });
  const labelled = new Set<string>();

  return {
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
}
