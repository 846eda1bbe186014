/** Sends prepared requests as fast as they are answered, and tells what it took until all were stored. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { BenchedWeir, Grounds } from './grounds.ts';
import { type Outcome, type Sendable, type Target, percentilesOf, requestOf, saturate } from './load.ts';
import type { Figure } from './scenario.ts';
import { figureOf } from './statistics.ts';

/** A request and how many events it holds. */
export type Prepared = Sendable & { readonly events: number };

export type Sent = Outcome & {
  /** Events in requests that were answered with 2xx. */
  readonly acknowledged: number;
  /** How often a request was answered with 429 or 503, and sent again. */
  readonly refused: number;
};

export type Measured = {
  readonly acknowledged: number;
  readonly refused: number;
  readonly acknowledgedPerS: number;
  readonly requestsPerS: number;
  /** From the first request until the last event was stored. */
  readonly storedPerS: number;
  /** Processor time of Weir alone, for everything until the last event was stored. */
  readonly cpuMs: number;
  readonly cpuSPerMillion: number;
  /** Of the store of the events, until then. */
  readonly storeSPerMillion: number;
  readonly latencyMs: ReturnType<typeof percentilesOf>;
};

const REFUSALS: ReadonlySet<number> = new Set([429, 503]);
/** As a client that ignores Retry-After, but not quite as rude as one that does not wait at all. */
const RESEND_AFTER_MS = 20;

/** The headers of a request with a token, for `requestOf`. */
export function targetOf(
  { port }: { port: number },
  path: string,
  { token, ...headers }: { token: string } & Readonly<Record<string, string>>,
): Target {
  return { port, path, headers: { authorization: `Bearer ${token}`, ...headers } };
}

export const prepare = (target: Target, body: Buffer, events: number): Prepared => ({
  request: requestOf(target, body),
  events,
});

/** Sends every request until it is acknowledged. Throws when one is answered otherwise, or not at all. */
export async function sendAll(
  { port }: { port: number },
  { requests, connections }: { requests: readonly Prepared[]; connections: number },
): Promise<Sent> {
  const waiting = requests.toReversed();
  let acknowledged = 0;
  let refused = 0;
  let isRefusing = false;
  const next = () => waiting.pop() ?? null;
  const nextAfterRest = async () => {
    await sleep(RESEND_AFTER_MS);
    return next();
  };
  const outcome = await saturate<Prepared>({
    port,
    connections,
    next: () => (isRefusing ? nextAfterRest() : next()),
    onAnswer(status, sent) {
      isRefusing = REFUSALS.has(status);
      if (isRefusing) {
        refused += 1;
        waiting.push(sent);
      } else if (status >= 200 && status < 300) acknowledged += sent.events;
    },
  });
  const odd = [...outcome.statuses.keys()].filter((status) => status >= 300 && !REFUSALS.has(status));
  if (odd.length > 0 || outcome.failures > 0 || waiting.length > 0) {
    const statuses = JSON.stringify(Object.fromEntries(outcome.statuses));
    throw new Error(`answers ${statuses}, ${outcome.failures} without one, ${waiting.length} requests left`);
  }
  return { ...outcome, acknowledged, refused };
}

/** As `sendAll`; waits until everything is stored, makes sure that it is, and leaves the tables empty. */
export async function measureSending(
  { storeCpuMs, expectStored, forget }: Pick<Grounds, 'storeCpuMs' | 'expectStored' | 'forget'>,
  weir: BenchedWeir,
  load: { requests: readonly Prepared[]; connections: number },
): Promise<Measured> {
  const [cpuBefore, storeBefore] = [weir.cpuMs(), storeCpuMs()];
  const startedAt = performance.now();
  const { acknowledged, refused, elapsedMs, latency } = await sendAll(weir, load);
  await weir.settled();
  const storedMs = performance.now() - startedAt;
  const [cpuMs, storeMs] = [weir.cpuMs() - cpuBefore, storeCpuMs() - storeBefore];
  await expectStored(acknowledged);
  await forget();
  return {
    acknowledged,
    refused,
    acknowledgedPerS: (acknowledged * 1_000) / elapsedMs,
    requestsPerS: (load.requests.length * 1_000) / elapsedMs,
    storedPerS: (acknowledged * 1_000) / storedMs,
    cpuMs,
    cpuSPerMillion: (cpuMs * 1_000) / acknowledged,
    storeSPerMillion: (storeMs * 1_000) / acknowledged,
    latencyMs: percentilesOf(latency),
  };
}

/** The percentiles of each round, and of those the median. */
export function latencyFigures(name: string, rounds: readonly Pick<Measured, 'latencyMs'>[]): Figure[] {
  const at = (percentile: keyof Measured['latencyMs']) => rounds.map(({ latencyMs }) => latencyMs[percentile]);
  return [
    figureOf(`${name}: p50`, at('p50'), 'ms'),
    figureOf(`${name}: p99`, at('p99'), 'ms'),
    figureOf(`${name}: p99.9`, at('p999'), 'ms'),
  ];
}
