/**
 * Asks the service for its numbers: every second while somebody looks at them, every two while they stand beside
 * something else, every ten otherwise, so that a page that is opened has an hour to show.
 */
import type { Clock } from '../../runtime/clock.ts';
import type { Health, LiveRates, NowAnswer, Series } from './answers.ts';
import { type Counted, readCounted } from './metrics-text.ts';
import { SERVICE_SILENT, explained } from './reasons.ts';
import { createSamples } from './samples.ts';
import type { ServicePages } from './service.ts';

export type Sampler = {
  /** Samples until `signal` aborts. Never rejects. */
  run(signal: AbortSignal): Promise<void>;
  /** Of a moment ago at most, unless the service does not answer. */
  now(): Promise<NowAnswer>;
  series(seconds: number, after: number | null): Series;
  /** The latest numbers, for somebody who looks at something else. */
  rates(): LiveRates;
};

const LOOKED_AT_MS = 1_000;
const GLANCED_AT_MS = 2_000;
const UNSEEN_MS = 10_000;
/** How long a look lasts: a page asks again every few seconds. */
const LOOK_MS = 15_000;
const FRESH_MS = 1_500;
const WAIT_MS = 2_000;

export function createSampler({ pages, clock }: { readonly pages: ServicePages; readonly clock: Clock }): Sampler {
  const samples = createSamples();
  let lookedAt = -Infinity;
  let glancedAt = -Infinity;
  let healthAt = -Infinity;
  let lastAt = clock.now();
  let counted: Counted | null = null;
  let health: Health | null = null;
  let isSilent = false;
  let wake = new AbortController();
  let sampled = Promise.withResolvers<void>();

  return { run, now, series, rates };

  async function run(signal: AbortSignal): Promise<void> {
    signal.addEventListener('abort', () => wake.abort('stopped'), { once: true });
    while (!signal.aborted) {
      await sample(signal);
      if (signal.aborted) return;
      wake = new AbortController();
      await clock.sleep(paceMs(), wake.signal);
    }
  }

  function paceMs(): number {
    const now = clock.elapsed();
    if (now - lookedAt < LOOK_MS) return LOOKED_AT_MS;
    return now - glancedAt < LOOK_MS ? GLANCED_AT_MS : UNSEEN_MS;
  }

  async function sample(signal: AbortSignal): Promise<void> {
    try {
      const withHealth = paceMs() !== GLANCED_AT_MS;
      const read = await pages.read({ withHealth }, signal);
      lastAt = clock.now();
      counted = readCounted(read.metrics);
      if (withHealth) {
        health = read.health as Health;
        healthAt = clock.elapsed();
      }
      isSilent = false;
      samples.add(moment(), counted);
    } catch {
      // Why it does not answer is for its own log; here it is a gap.
      if (signal.aborted) return;
      lastAt = clock.now();
      isSilent = true;
      healthAt = clock.elapsed();
      samples.add(moment(), null);
    }
    if (clock.elapsed() - healthAt > FRESH_MS) return;
    sampled.resolve();
    sampled = Promise.withResolvers();
  }

  function moment() {
    return { at: lastAt, elapsed: clock.elapsed() };
  }

  /** Somebody looks, and goes on looking for a while. */
  function look() {
    const before = paceMs();
    lookedAt = clock.elapsed();
    if (before > LOOKED_AT_MS) wake.abort('looked at');
  }

  function glance() {
    const before = paceMs();
    glancedAt = clock.elapsed();
    if (before > GLANCED_AT_MS) wake.abort('looked at');
  }

  async function now(): Promise<NowAnswer> {
    look();
    if (clock.elapsed() - healthAt > FRESH_MS) {
      const late = new AbortController();
      await Promise.race([sampled.promise, clock.sleep(WAIT_MS, late.signal)]);
      late.abort('sampled');
    }
    return answerOf();
  }

  function answerOf(): NowAnswer {
    const known = isSilent ? null : health;
    return {
      at: lastAt,
      health: known,
      reasons: isSilent ? [SERVICE_SILENT] : (known?.reasons ?? []).map(explained),
      rates: samples.rates(),
      latency: samples.latency(),
      pending: pending(),
      breaker: known?.breaker ?? null,
      stores: known === null ? [] : storesOf(known),
      journal: known?.journal ?? null,
      workers: known?.workers ?? null,
      topic: known?.topic ?? null,
    };
  }

  function rates(): LiveRates {
    glance();
    return { rates: samples.rates(), pending: pending() };
  }

  function pending(): NowAnswer['pending'] {
    if (counted === null) return null;
    const { pendingEvents: events, pendingBytes: bytes, limitEvents, limitBytes } = counted;
    const isKnown = !Number.isNaN(events + bytes + limitEvents + limitBytes);
    return isKnown ? { events, bytes, limitEvents, limitBytes } : null;
  }

  function series(seconds: number, after: number | null): Series {
    look();
    return samples.series(seconds, after);
  }
}

function storesOf({ clickhouse_connected, postgres_connected }: Health): NowAnswer['stores'] {
  const postgres = { name: 'Postgres', connected: postgres_connected } as const;
  return clickhouse_connected === undefined
    ? [postgres]
    : [{ name: 'ClickHouse', connected: clickhouse_connected }, postgres];
}
