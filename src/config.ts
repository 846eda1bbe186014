/**
 * The whole configuration: environment over TOML file over defaults, as one
 * frozen value, or every problem with it at once. Handed the environment and a
 * way to read files; never reaches for either. Only main, serve and the
 * commands import this; every other part is given the numbers it needs.
 */
import type { LogLevel } from './log.ts';
import { SETTINGS, SETTING_NAMES, type SettingName } from './config/settings.ts';
import { readSources, type Environment, type ReadFile, type Source, type Written } from './config/sources.ts';

export type Config = {
  readonly port: number;
  readonly host: string;
  readonly logLevel: LogLevel;
  readonly allowedOrigins: readonly string[];
  readonly databaseUrl: string | null;
  /** `url` carries no credentials: those of the URL are in `username` and `password`. */
  readonly clickhouse: {
    readonly url: string | null;
    readonly database: string;
    readonly username: string;
    readonly password: string;
  };
  readonly channel: { readonly maxEvents: number; readonly maxBytes: number; readonly projectShare: number };
  readonly flush: { readonly maxEvents: number; readonly maxWaitMs: number };
  readonly maxBodyBytes: number;
  readonly maxInFlight: number;
  readonly insertTimeoutMs: number;
  readonly shutdownGraceMs: number;
  readonly disabled: boolean;
  readonly ack: 'queued' | 'journaled' | 'stored';
  readonly journal: { readonly mode: 'on' | 'prefer' | 'off'; readonly maxBytes: number };
  readonly maxFutureMs: number;
  /** The project that requests without a token belong to, or `off`; null leaves it to the demo. */
  readonly anonymousProject: string | null;
  readonly rateLimit: { readonly requests: number; readonly perMs: number } | null;
  readonly deadLetters: {
    readonly drainIntervalMs: number;
    readonly drainBatchLimit: number;
    readonly depth503Threshold: number;
    readonly maxAttempts: number;
    readonly maxAgeMs: number;
    readonly quarantine: 'healthy' | 'strict';
  };
  readonly dataDir: string;
  readonly workers: number;
  readonly production: boolean;
  /** Every setting as text, fit to be printed and logged. */
  readonly effective: readonly EffectiveSetting[];
};

export type EffectiveSetting = {
  readonly name: SettingName;
  /** Secrets redacted; empty when unset. */
  readonly value: string;
  readonly source: Source;
};

/** The configuration cannot be used. `problems` holds every reason, each naming its setting. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    const count = problems.length === 1 ? 'a problem' : `${problems.length} problems`;
    super([`The configuration has ${count}:`, ...problems.map((problem) => `  ${problem}`)].join('\n'));
    this.problems = problems;
  }
}

/** The largest batch in bytes. No setting: what suits ClickHouse does not depend on the installation. */
export const FLUSH_MAX_BYTES = 8 * 1024 * 1024;

type Values = {
  readonly [Name in SettingName]: NonNullable<ReturnType<(typeof SETTINGS)[Name]['kind']['parse']>> | null;
};

/** Throws `ConfigError` with everything that is wrong. */
export function parseConfig(env: Environment, readFile: ReadFile): Config {
  const { written, problems: unreadable } = readSources(env, readFile);
  const { values, problems: unusable } = parseValues(written);
  const production = env['NODE_ENV'] === 'production';
  const problems = [
    ...unreadable,
    ...unusable,
    ...impossible(values),
    ...(production ? missingInProduction(written) : []),
  ];
  if (problems.length > 0) throw new ConfigError(problems);
  return freeze(assemble(values, written, production));
}

/** A setting that cannot be parsed is null here, so that the checks across settings still see the others. */
function parseValues(written: Written): { values: Values; problems: string[] } {
  const problems: string[] = [];
  const values: Record<string, unknown> = {};
  for (const name of SETTING_NAMES) {
    const { kind, default: fallback } = SETTINGS[name];
    const text = written.get(name)?.text ?? fallback;
    const value = text === '' ? null : kind.parse(text);
    if (value === undefined)
      problems.push(`${name}: given ${JSON.stringify(kind.show(text))}; accepted: ${kind.accepts}`);
    values[name] = value ?? null;
  }
  return { values: values as Values, problems };
}

/** Settings that are fine alone and cannot work together. */
function impossible(values: Values): string[] {
  const problems: string[] = [];
  const atMost = (name: SettingName, limit: number | null, why: string) => {
    const value = values[name];
    if (typeof value === 'number' && limit !== null && value > limit) problems.push(`${name}: ${why}`);
  };
  atMost(
    'INGEST_MAX_BODY_BYTES',
    values.INGEST_BUFFER_BYTES,
    'is above INGEST_BUFFER_BYTES, so the largest requests could never be accepted; lower it or raise INGEST_BUFFER_BYTES',
  );
  atMost(
    'INGEST_FLUSH_EVENTS',
    values.INGEST_EVENT_BUFFER,
    'is above INGEST_EVENT_BUFFER, so a batch could never fill; lower it or raise INGEST_EVENT_BUFFER',
  );
  if (values.INGEST_BUFFER_BYTES !== null && values.INGEST_BUFFER_BYTES < FLUSH_MAX_BYTES) {
    problems.push('INGEST_BUFFER_BYTES: is below the 8MiB of one batch, so a batch could never fill; raise it');
  }
  if (values.INGEST_ACK === 'journaled' && values.INGEST_JOURNAL === 'off')
    problems.push('INGEST_ACK: journaled needs the journal; set INGEST_JOURNAL to on or prefer');
  return [...problems, ...clickHouseProblems(values)];
}

function clickHouseProblems({
  CLICKHOUSE_URL: url,
  CLICKHOUSE_USERNAME: username,
  CLICKHOUSE_PASSWORD: password,
}: Values) {
  if (url === null) return [];
  const problems: string[] = [];
  if (url.pathname !== '/' || url.search !== '' || url.hash !== '') {
    problems.push(
      'CLICKHOUSE_URL: has a path or a query; accepted: scheme, host and port (the database is CLICKHOUSE_DATABASE)',
    );
  }
  if (url.username !== '' && username !== null && decodeURIComponent(url.username) !== username) {
    problems.push('CLICKHOUSE_USERNAME: differs from the user in CLICKHOUSE_URL; give one of the two');
  }
  if (url.password !== '' && password !== null && decodeURIComponent(url.password) !== password) {
    problems.push('CLICKHOUSE_PASSWORD: differs from the password in CLICKHOUSE_URL; give one of the two');
  }
  return problems;
}

/** The embedded stores are for trying out; in production they would be a surprise. */
function missingInProduction(written: Written): string[] {
  const required = ['DATABASE_URL', 'CLICKHOUSE_URL'] as const;
  return required
    .filter((name) => !written.has(name))
    .map((name) => `${name}: is required when NODE_ENV is production; accepted: ${SETTINGS[name].kind.accepts}`);
}

/** Only called when there is no problem: a null is then a setting that may be unset. */
function assemble(values: Values, written: Written, production: boolean): Config {
  return {
    port: values.PORT!,
    host: values.HOST!,
    logLevel: values.LOG_LEVEL!,
    allowedOrigins: values.ALLOWED_ORIGINS ?? [],
    // The text as given: the URL class normalises what a Postgres client reads differently.
    databaseUrl: values.DATABASE_URL === null ? null : written.get('DATABASE_URL')!.text,
    clickhouse: {
      ...clickHouseAccess(values.CLICKHOUSE_URL, {
        username: values.CLICKHOUSE_USERNAME,
        password: values.CLICKHOUSE_PASSWORD,
      }),
      database: values.CLICKHOUSE_DATABASE!,
    },
    channel: {
      maxEvents: values.INGEST_EVENT_BUFFER!,
      maxBytes: values.INGEST_BUFFER_BYTES!,
      projectShare: values.INGEST_PROJECT_SHARE!,
    },
    flush: { maxEvents: values.INGEST_FLUSH_EVENTS!, maxWaitMs: values.INGEST_FLUSH_INTERVAL! },
    maxBodyBytes: values.INGEST_MAX_BODY_BYTES!,
    maxInFlight: values.INGEST_MAX_INFLIGHT!,
    insertTimeoutMs: values.INGEST_INSERT_TIMEOUT!,
    shutdownGraceMs: values.INGEST_SHUTDOWN_GRACE!,
    disabled: values.INGEST_DISABLED!,
    ack: values.INGEST_ACK ?? (values.INGEST_JOURNAL === 'off' ? 'queued' : 'journaled'),
    journal: { mode: values.INGEST_JOURNAL!, maxBytes: values.INGEST_JOURNAL_MAX_BYTES! },
    maxFutureMs: values.INGEST_MAX_FUTURE!,
    anonymousProject: values.INGEST_ANONYMOUS_PROJECT,
    rateLimit: values.INGEST_RATE_LIMIT,
    deadLetters: {
      drainIntervalMs: values.DLQ_DRAIN_INTERVAL!,
      drainBatchLimit: values.DLQ_DRAIN_BATCH_LIMIT!,
      depth503Threshold: values.DLQ_DEPTH_503_THRESHOLD!,
      maxAttempts: values.DLQ_MAX_ATTEMPTS!,
      maxAgeMs: values.DLQ_MAX_AGE!,
      quarantine: values.DLQ_QUARANTINE!,
    },
    dataDir: values.WEIR_DATA_DIR!,
    workers: values.WEIR_WORKERS!,
    production,
    effective: SETTING_NAMES.map((name) => {
      const { text, source } = written.get(name) ?? { text: SETTINGS[name].default, source: 'default' as const };
      return { name, value: text === '' ? '' : SETTINGS[name].kind.show(text), source };
    }),
  };
}

/** Splits the credentials off a ClickHouse URL; what is given apart wins, where both exist they are equal. */
export function clickHouseAccess(
  url: URL | null,
  given: { username: string | null; password: string | null },
): { url: string | null; username: string; password: string } {
  const username = given.username ?? (decodeURIComponent(url?.username ?? '') || 'default');
  const password = given.password ?? decodeURIComponent(url?.password ?? '');
  return { url: url?.origin ?? null, username, password };
}

function freeze<T extends object>(value: T): T {
  for (const part of Object.values(value)) if (typeof part === 'object' && part !== null) freeze(part);
  return Object.freeze(value);
}
