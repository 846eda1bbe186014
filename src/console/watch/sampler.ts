/**
 * Asks the service for its numbers: every second while somebody looks, every ten otherwise, so that a page that is opened
 * has an hour to show.
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
  /** Somebody looks, and goes on looking for a while. */
  look(): void;
  /** Of a moment ago at most, unless the service does not answer. */
  now(): Promise<NowAnswer>;
  series(seconds: number, after: number | null): Series;
  /** The latest numbers, for somebody who looks. */
  rates(): LiveRates;
};

const LOOKED_AT_MS = 1_000;
const UNSEEN_MS = 10_000;
/** How long a look lasts: a page asks again every few seconds. */
const LOOK_MS = 15_000;
const FRESH_MS = 1_500;
const WAIT_MS = 2_000;

type Seen = { readonly at: number; readonly counted: Counted; readonly health: Health };

export function createSampler({ pages, clock }: { readonly pages: ServicePages; readonly clock: Clock }): Sampler {
  const samples = createSamples();
  let lookedAt = -Infinity;
  let sampledAt = -Infinity;
  let lastAt = clock.now();
  let seen: Seen | null = null;
  let isSilent = false;
  let wake = new AbortController();
  let sampled = Promise.withResolvers<void>();

  return { run, look, now, series, rates };

  async function run(signal: AbortSignal): Promise<void> {
    signal.addEventListener('abort', () => wake.abort('stopped'), { once: true });
    while (!signal.aborted) {
      await sample(signal);
      if (signal.aborted) return;
      const isLooked = clock.elapsed() - lookedAt < LOOK_MS;
      wake = new AbortController();
      await clock.sleep(isLooked ? LOOKED_AT_MS : UNSEEN_MS, wake.signal);
    }
  }

  async function sample(signal: AbortSignal): Promise<void> {
    try {
      const { metrics, health } = await pages.read(signal);
      lastAt = clock.now();
      seen = { at: lastAt, counted: readCounted(metrics), health: health as Health };
      isSilent = false;
      samples.add(moment(), seen.counted);
    } catch {
      // Why it does not answer is for its own log; here it is a gap.
      if (signal.aborted) return;
      lastAt = clock.now();
      isSilent = true;
      samples.add(moment(), null);
    }
    sampledAt = clock.elapsed();
    sampled.resolve();
    sampled = Promise.withResolvers();
  }

  function moment() {
    return { at: lastAt, elapsed: clock.elapsed() };
  }

  function look() {
    const wasUnseen = clock.elapsed() - lookedAt >= LOOK_MS;
    lookedAt = clock.elapsed();
    if (wasUnseen) wake.abort('looked at');
  }

  async function now(): Promise<NowAnswer> {
    look();
    if (clock.elapsed() - sampledAt > FRESH_MS) {
      const late = new AbortController();
      await Promise.race([sampled.promise, clock.sleep(WAIT_MS, late.signal)]);
      late.abort('sampled');
    }
    return answerOf();
  }

  function answerOf(): NowAnswer {
    const health = isSilent ? null : (seen?.health ?? null);
    return {
      at: lastAt,
      health,
      reasons: isSilent ? [SERVICE_SILENT] : (health?.reasons ?? []).map(explained),
      rates: samples.rates(),
      latency: samples.latency(),
      pending: pending(),
      breaker: health?.breaker ?? null,
      stores: health === null ? [] : storesOf(health),
      journal: health?.journal ?? null,
      workers: health?.workers ?? null,
      topic: health?.topic ?? null,
    };
  }

  function rates(): LiveRates {
    look();
    return { rates: samples.rates(), pending: pending() };
  }

  function pending(): NowAnswer['pending'] {
    if (seen === null) return null;
    const { pendingEvents: events, pendingBytes: bytes, limitEvents, limitBytes } = seen.counted;
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
