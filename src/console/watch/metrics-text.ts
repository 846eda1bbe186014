/** Reads the few numbers that the console shows from the service's page of metrics, in Prometheus's text format. */
import { STORED_WITHIN_S } from '../../metrics/stored-latency.ts';

/** What has been counted since the service started, and what is so now. NaN: the page does not say. */
export type Counted = {
  readonly accepted: number;
  /** With what was a dead letter first. */
  readonly stored: number;
  readonly rejected: number;
  readonly deadLettered: number;
  readonly pendingEvents: number;
  readonly pendingBytes: number;
  readonly limitEvents: number;
  readonly limitBytes: number;
  /** Events that were stored within each of `STORED_WITHIN_S` of their arrival; the last one counts all. */
  readonly storedWithin: readonly number[];
};

const GAUGES = {
  weir_pending_events: 'pendingEvents',
  weir_pending_bytes: 'pendingBytes',
  weir_pending_events_limit: 'limitEvents',
  weir_pending_bytes_limit: 'limitBytes',
} as const;
const EVENTS = 'weir_events_total';
const LATENCY = 'weir_stored_latency_seconds_bucket';

const isGauge = (name: string): name is keyof typeof GAUGES => Object.hasOwn(GAUGES, name);

/** Lines that it does not know are skipped: the page has many more. */
export function readCounted(text: string): Counted {
  const results = new Map<string, number>();
  const within = new Map<number, number>();
  const gauges = { pendingEvents: NaN, pendingBytes: NaN, limitEvents: NaN, limitBytes: NaN };
  for (const line of text.split('\n')) {
    if (!line.startsWith('weir_')) continue;
    const [, name = '', labels = '', value = ''] = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
    if (name === EVENTS) results.set(labelOf(labels, 'result'), Number(value));
    else if (name === LATENCY) within.set(boundOf(labelOf(labels, 'le')), Number(value));
    else if (isGauge(name)) gauges[GAUGES[name]] = Number(value);
  }
  const result = (name: string) => results.get(name) ?? NaN;
  return {
    accepted: result('accepted'),
    stored: result('stored') + result('replayed'),
    rejected: result('rejected'),
    deadLettered: result('dead_lettered'),
    ...gauges,
    storedWithin: [...STORED_WITHIN_S, Infinity].map((bound) => within.get(bound) ?? NaN),
  };
}

const labelOf = (labels: string, name: string) => new RegExp(`(?:^|,)${name}="([^"]*)"`).exec(labels)?.[1] ?? '';
const boundOf = (le: string) => (le === '+Inf' ? Infinity : Number(le));
