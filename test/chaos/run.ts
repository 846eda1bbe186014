/**
 * One chaos run: load and faults together for a while, then everything healed,
 * then a bounded wait until all is at rest, then the audit. Everything random
 * follows from the seed; what the machine makes of it does not.
 */
import { existsSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { randomOf } from '../support/factory.ts';
import {
  type Audit,
  type Load,
  addPoisonConstraint,
  auditOf,
  createLoad,
  createTally,
  wrongIn,
} from '../support/load.ts';
import { type Fault, faultsOn } from './faults.ts';
import { kafkaFaultsOn } from './kafka-faults.ts';
import { postgresFaultsOn } from './postgres-faults.ts';
import {
  healthOf,
  isQuiet,
  isReady,
  startKafkaRig,
  startPostgresRig,
  startRig,
  until,
  type KafkaRig,
  type PostgresRig,
  type Rig,
  type WeirPlace,
} from './rig.ts';

export type ChaosOptions = {
  readonly seconds: number;
  /** What stores the events. */
  readonly store: 'clickhouse' | 'postgres';
  /** What stands between intake and inserts; `kafka` with ClickHouse alone. */
  readonly channel: 'local' | 'kafka';
  readonly seed: number;
  readonly eventsPerSecond: number;
  /** A process that is not ready this long after a fault has broken a promise. */
  readonly readyWithinMs: number;
  /** Only faults whose name matches this. */
  readonly only: string | null;
  /** Leaves the logs where they are and says where. */
  readonly keepLogs: boolean;
  readonly onProgress: (line: string) => void;
};

export type ChaosReport = Audit & {
  readonly seed: number;
  readonly seconds: number;
  readonly requests: Readonly<Record<string, number>>;
  readonly faults: Readonly<Record<string, number>>;
  /** From the end of a fault until `/readyz` answered 200. */
  readonly longestRecoveryMs: number;
  /** From the last heal until all was at rest; null when it never was. */
  readonly restAfterMs: number | null;
  readonly maxRssMiB: number;
  /** Slope over the longest-lived process, without its first seconds. */
  readonly rssTrendMiBPerMinute: number;
  readonly rewrittenTokens: readonly string[];
  readonly badExits: readonly (number | null)[];
  /** Processes that ended without being told to. */
  readonly crashes: number;
  readonly logs: string | null;
  /** Empty when every promise was kept. */
  readonly broken: readonly string[];
};

/** Room for the dead letters of the longest fault many times over, and full within a second. */
const DISK_MIB = 96;
const MIN_GAP_MS = 200;
const MAX_GAP_MS = 2_500;
/**
 * Without a letter less in the table. A lease of a Weir that lost its stores in
 * the middle lives for half a minute, and backoffs double from two seconds.
 */
const STANDSTILL_MS = 90_000;
/** In all, per second of faults. */
const REST_SHARE = 2;
const RECOVERY_WAIT_MS = 60_000;
const PROGRESS_MS = 5_000;
const TRICKLE_MS = 1_000;

export async function runChaos(options: ChaosOptions): Promise<ChaosReport> {
  const { seed, eventsPerSecond, onProgress } = options;
  // Apart, so that the schedule does not depend on how many requests were sent.
  const randomSchedule = randomOf(seed);
  const randomLoad = randomOf(seed ^ 0x5eed);
  const badExits: (number | null)[] = [];
  const cast = await castOf(options, { random: randomSchedule, onBadExit: (code) => badExits.push(code) });
  const { rig, places } = cast;
  const [primary] = places;
  try {
    await addPoisonConstraint(rig.stores);
    await Promise.all(cast.standing.map((place) => place.start()));
    for (const place of cast.standing) await until('every weir is ready', () => isReady(place.url()));

    const tally = createTally();
    const urls = () => cast.intake.map((place) => place.url()).filter((url) => url !== null);
    const load = createLoad({ tally, urls, random: randomLoad }, { token: rig.token, poisonShare: 0.01 });
    const watch = watchMemory(places);
    const stopLoad = new AbortController();
    const loading = load.run(eventsPerSecond, stopLoad.signal);
    const loadFailed = loading.then(() => null);
    const faults = cast.faults.filter(({ name }) => options.only === null || new RegExp(options.only).test(name));

    const endsAt = performance.now() + options.seconds * 1_000;
    const report = setInterval(() => {
      const left = Math.max(0, Math.round((endsAt - performance.now()) / 1_000));
      onProgress(
        `${left} s left · attempted ${tally.attempted()} · acknowledged ${tally.acknowledged()} · now: ${current}`,
      );
    }, PROGRESS_MS);
    let current = 'nothing';
    const counts: Record<string, number> = {};
    let longestRecoveryMs = 0;
    try {
      while (performance.now() < endsAt) {
        await Promise.race([sleep(between(MIN_GAP_MS, MAX_GAP_MS)), loadFailed]);
        const fault = faults[Math.floor(randomSchedule() * faults.length)]!;
        current = fault.name;
        counts[fault.name] = (counts[fault.name] ?? 0) + 1;
        await strike(fault, between(fault.minMs, fault.maxMs));
        for (const place of cast.standing) if (place.pid() === null) await place.start();
        longestRecoveryMs = Math.max(longestRecoveryMs, ...(await Promise.all(cast.standing.map(recovery))));
        current = 'nothing';
      }
    } finally {
      clearInterval(report);
      stopLoad.abort();
    }
    onProgress('healed; waiting for rest');
    await loading;
    // Whatever a killed process left in its journal is for its next one to deliver.
    const used = places.filter(({ dataDir }) => existsSync(dataDir));
    for (const place of used) if (place.pid() === null) await place.start();
    const stopTrickle = new AbortController();
    const trickling = trickle(load, cast.trickleMs, stopTrickle.signal);
    const restAfterMs = await rest(rig, used, options);
    stopTrickle.abort();
    await trickling;
    if (restAfterMs === null) await explainUnrest(rig, used, onProgress);
    const audit = await auditOf(rig.stores, tally);
    const { maxRssMiB, trend } = watch.stop();
    const partial = {
      ...audit,
      seed,
      seconds: options.seconds,
      requests: { ...load.counts() },
      faults: counts,
      longestRecoveryMs: Math.round(longestRecoveryMs),
      restAfterMs: restAfterMs === null ? null : Math.round(restAfterMs),
      maxRssMiB,
      rssTrendMiBPerMinute: trend,
      rewrittenTokens: rig.clickhouse?.rewrittenTokens() ?? [],
      badExits,
      crashes: places.reduce((sum, place) => sum + place.crashes(), 0),
      logs: options.keepLogs ? primary.logFile : null,
    };
    return { ...partial, broken: brokenPromises(partial, options) };
  } finally {
    await rig.stop(options);
  }

  function between(min: number, max: number): number {
    return min + randomSchedule() * (max - min);
  }
}

/** Who plays: the places, those of them that run whenever nothing hurts them, and those that clients know. */
type Cast = {
  readonly rig: Rig | PostgresRig | KafkaRig;
  readonly places: readonly [WeirPlace, ...WeirPlace[]];
  readonly standing: readonly WeirPlace[];
  readonly intake: readonly WeirPlace[];
  readonly faults: readonly Fault[];
  /** Between clean events while all comes to rest: longer than one of them takes. */
  readonly trickleMs: number;
};

type Chances = { readonly random: () => number; readonly onBadExit: (code: number | null) => void };

async function castOf({ store, channel }: ChaosOptions, chances: Chances): Promise<Cast> {
  if (channel === 'kafka') {
    const rig = await startKafkaRig();
    // Each partition is cut by itself: as many batches as without a topic.
    const intake = { WEIR_ROLE: 'ingest', INGEST_FLUSH_INTERVAL: '800ms' };
    const ingest = [
      rig.place('ingest', intake),
      rig.place('ingest-in-memory', { ...intake, INGEST_JOURNAL: 'off' }),
    ] as const;
    const flush = [
      rig.place('flush', { WEIR_ROLE: 'flush' }),
      rig.place('flush-static', { WEIR_ROLE: 'flush', KAFKA_INSTANCE_ID: 'flush-static' }),
    ] as const;
    const places = [...ingest, ...flush] as const;
    const faults = kafkaFaultsOn({ rig, ingest, flush, ...chances });
    return { rig, places, standing: places, intake: ingest, faults, trickleMs: 4 * TRICKLE_MS };
  }
  const rig = store === 'postgres' ? await startPostgresRig() : await startRig({ diskMiB: DISK_MIB });
  const [primary, second] = [rig.place('primary'), rig.place('second')];
  const targets = { primary, second, ...chances };
  const faults = rig.clickhouse !== null ? faultsOn({ rig, ...targets }) : postgresFaultsOn({ rig, ...targets });
  const intake = [primary, second];
  return { rig, places: [primary, second], standing: [primary], intake, faults, trickleMs: TRICKLE_MS };
}

async function strike(fault: Fault, lastsMs: number): Promise<void> {
  try {
    await fault.begin();
    await sleep(lastsMs);
  } finally {
    await fault.end();
  }
}

/** Infinity when it did not recover. */
async function recovery(place: WeirPlace): Promise<number> {
  const startedAt = performance.now();
  try {
    await until('ready again after a fault', () => isReady(place.url()), RECOVERY_WAIT_MS);
    return performance.now() - startedAt;
  } catch {
    return Infinity;
  }
}

async function rest(
  rig: Rig | PostgresRig,
  places: readonly WeirPlace[],
  { seconds, onProgress }: ChaosOptions,
): Promise<number | null> {
  const startedAt = performance.now();
  const deadline = startedAt + STANDSTILL_MS + REST_SHARE * seconds * 1_000;
  let saidAt = startedAt;
  let fewest = Infinity;
  let movedAt = startedAt;
  while (performance.now() < deadline && performance.now() - movedAt < STANDSTILL_MS) {
    if (await isQuiet(rig, places)) return performance.now() - startedAt;
    await sleep(250);
    const { rows } = await rig.stores.postgres.pool.query<{ letters: number; events: number }>(
      'SELECT count(*)::int AS letters, coalesce(sum(event_count), 0)::int AS events FROM failed_events WHERE quarantined_at IS NULL',
    );
    const { letters, events } = rows[0]!;
    if (events < fewest) movedAt = performance.now();
    fewest = Math.min(fewest, events);
    if (performance.now() - saidAt < PROGRESS_MS) continue;
    saidAt = performance.now();
    onProgress(`waiting: ${letters} dead letters with ${events} events`);
  }
  return null;
}

/**
 * A clean event now and then. A row that was refused all alone is blamed only
 * once something else landed; in a silence it waits for that.
 */
async function trickle(load: Load, everyMs: number, stop: AbortSignal): Promise<void> {
  while (!stop.aborted) {
    await load.send(1, { ack: 'stored', stop });
    await sleep(everyMs);
  }
}

/** What a person would look at first. */
async function explainUnrest(
  rig: Rig | PostgresRig,
  places: readonly WeirPlace[],
  onProgress: (line: string) => void,
): Promise<void> {
  for (const place of places) onProgress(`never at rest: ${JSON.stringify(await healthOf(place.url()))}`);
  const { rows } = await rig.stores.postgres.pool.query<object>(
    `SELECT id, generation, event_count, error_class, error_code, last_error, ambiguous, attempt_count, lease_token,
       visible_at - now() AS due_in, now() - last_attempt_at AS last_try
     FROM failed_events WHERE quarantined_at IS NULL LIMIT 10`,
  );
  for (const row of rows) onProgress(JSON.stringify(row));
}

type Sample = { readonly pid: number; readonly atMs: number; readonly mib: number };

function watchMemory(places: readonly WeirPlace[]) {
  const samples: Sample[] = [];
  const timer = setInterval(() => {
    for (const place of places) {
      const pid = place.pid();
      const mib = pid === null ? null : rssOf(pid);
      if (pid !== null && mib !== null) samples.push({ pid, atMs: performance.now(), mib });
    }
  }, 1_000);
  return {
    stop() {
      clearInterval(timer);
      const maxRssMiB = Math.round(Math.max(0, ...samples.map(({ mib }) => mib)));
      return { maxRssMiB, trend: trendOf(samples) };
    },
  };
}

function rssOf(pid: number): number | null {
  try {
    const found = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
    return found ? Number(found[1]) / 1_024 : null;
  } catch {
    return null; // It ended a moment ago.
  }
}

/** MiB a minute by least squares, over the process that was seen most often, after it has warmed up. */
function trendOf(samples: readonly Sample[]): number {
  const byPid = Map.groupBy(samples, ({ pid }) => pid);
  const longest = [...byPid.values()].sort((a, b) => b.length - a.length)[0]?.slice(15) ?? [];
  if (longest.length < 10) return 0;
  const meanAt = mean(longest.map(({ atMs }) => atMs));
  const meanMib = mean(longest.map(({ mib }) => mib));
  const covariance = mean(longest.map(({ atMs, mib }) => (atMs - meanAt) * (mib - meanMib)));
  const variance = mean(longest.map(({ atMs }) => (atMs - meanAt) ** 2));
  return Math.round((covariance / variance) * 60_000 * 10) / 10;
}

const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;

function brokenPromises(report: Omit<ChaosReport, 'broken'>, { readyWithinMs }: ChaosOptions): string[] {
  const counts: Record<string, number> = {
    'tokens with several byte strings': report.rewrittenTokens.length,
    'exits other than 0': report.badExits.length,
    crashes: report.crashes,
    'not ready soon after a fault': Number(report.longestRecoveryMs > readyWithinMs),
    'not at rest': Number(report.restAfterMs === null),
  };
  const wrong = Object.entries(counts).filter(([, count]) => count !== 0);
  return [...wrongIn(report), ...wrong.map(([what, count]) => `${what}: ${count}`)];
}
