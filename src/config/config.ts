/**
 * The whole configuration: environment over TOML file over defaults, as one frozen value, or every problem with it at
 * once. It receives the environment and a way to read files as arguments. Only main, serve and the commands import it;
 * every other part is given the values it needs.
 */
import type { LogLevel } from '../log/log.ts';
import { type ConsoleSettings, consoleProblems, consoleSettings } from './console-settings.ts';
import { type KafkaSettings, channelProblems, kafkaSettings } from './kafka-settings.ts';
import { postgresUrlProblems } from './postgres-url.ts';
import { SETTINGS, SETTING_NAMES, type SettingName, type Values } from './settings.ts';
import { readSources, type Environment, type ReadFile, type Source, type Written } from './sources.ts';

export type Config = {
  readonly port: number;
  readonly host: string;
  readonly logLevel: LogLevel;
  readonly allowedOrigins: readonly string[];
  /** The token that `/internal/metrics` requires; null when it requires none. */
  readonly metricsToken: string | null;
  /** Where events are stored; null leaves it to what there is. */
  readonly eventStore: 'clickhouse' | 'postgres' | null;
  readonly databaseUrl: string | null;
  /** `url` carries no credentials: they are in `username` and `password`. */
  readonly clickhouse: {
    readonly url: string | null;
    readonly database: string;
    readonly username: string;
    readonly password: string;
    /** The servers that share the tables; null for one server, and where ClickHouse knows them by itself. */
    readonly cluster: string | null;
    /** How many replicas have to have an insert; null for the one that takes it. */
    readonly insertQuorum: 'auto' | number | null;
  };
  /** Whether large tables are rebuilt in the background, or only when somebody asks for it. */
  readonly rebuild: 'auto' | 'off';
  readonly channel: { readonly maxEvents: number; readonly maxBytes: number; readonly projectShare: number };
  /** What stands between intake and inserts; null for this process's own channel. */
  readonly kafka: KafkaSettings | null;
  readonly role: 'all' | 'ingest' | 'flush';
  readonly flush: { readonly maxEvents: number; readonly maxWaitMs: number };
  readonly maxBodyBytes: number;
  readonly maxInFlight: number;
  readonly insertTimeoutMs: number;
  /** How long a connection may be idle. */
  readonly keepAliveMs: number;
  /** Between SIGTERM and the end of intake; the grace begins then. */
  readonly drainDelayMs: number;
  readonly shutdownGraceMs: number;
  readonly disabled: boolean;
  readonly ack: 'queued' | 'journaled' | 'replicated' | 'stored';
  /** What is stored of clients of other services besides what they send. */
  readonly client: {
    readonly ip: 'off' | 'anonymised' | 'full';
    readonly userAgent: boolean;
    readonly trustedProxies: number;
  };
  readonly journal: { readonly mode: 'on' | 'prefer' | 'off'; readonly maxBytes: number };
  readonly maxFutureMs: number;
  /** The project of requests without a token, or `off`; null leaves it to the demo. */
  readonly anonymousProject: string | null;
  /** Rejected events: how many of each project are kept, 0 for none, and for how long. */
  readonly rejected: { readonly keep: number; readonly keepForMs: number };
  readonly rateLimit: { readonly requests: number; readonly perMs: number } | null;
  readonly deadLetters: {
    readonly drainIntervalMs: number;
    readonly drainBatchLimit: number;
    readonly depth503Threshold: number;
    readonly maxAttempts: number;
    readonly maxAgeMs: number;
    readonly quarantine: 'healthy' | 'strict';
    readonly ballastBytes: number;
  };
  readonly console: ConsoleSettings;
  readonly dataDir: string;
  readonly workers: number;
  readonly production: boolean;
  /** Every setting as text, safe to print and log. */
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

const EVERY_ADDRESS = '0.0.0.0';

/** The largest batch in bytes. Not a setting: what suits ClickHouse does not depend on the installation. */
export const FLUSH_MAX_BYTES = 8 * 1024 * 1024;

/** Throws `ConfigError` with every problem. */
export function parseConfig(env: Environment, readFile: ReadFile): Config {
  const { written, problems: unreadable } = readSources(env, readFile);
  const { values, problems: unusable } = parseValues(written);
  const production = env['NODE_ENV'] === 'production';
  const problems = [
    ...unreadable,
    ...unusable,
    ...impossible(values),
    ...(values.DATABASE_URL === null ? [] : postgresUrlProblems(written.get('DATABASE_URL')!.text, readFile)),
    ...(production ? missingInProduction(written, values) : []),
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

/** Settings that are valid on their own and cannot work together. */
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
  return [...problems, ...consoleProblems(values), ...channelProblems(values), ...clickHouseProblems(values)];
}

function clickHouseProblems({
  CLICKHOUSE_URL: url,
  CLICKHOUSE_DATABASE: database,
  CLICKHOUSE_USERNAME: username,
  CLICKHOUSE_PASSWORD: password,
}: Values) {
  if (url === null) return [];
  const problems: string[] = [];
  if (url.search !== '' || url.hash !== '') {
    problems.push(
      'CLICKHOUSE_URL: has a query or a fragment; accepted: scheme, host, port and the path of a proxy (the database is CLICKHOUSE_DATABASE)',
    );
  }
  // Other clients take a URL path for the database; here it is the path of a proxy.
  if (url.pathname === `/${database}`) {
    problems.push('CLICKHOUSE_URL: its path is the name of the database; leave it out and use CLICKHOUSE_DATABASE');
  }
  if (url.username !== '' && username !== null && decodeURIComponent(url.username) !== username) {
    problems.push('CLICKHOUSE_USERNAME: differs from the user in CLICKHOUSE_URL; set only one of them');
  }
  if (url.password !== '' && password !== null && decodeURIComponent(url.password) !== password) {
    problems.push('CLICKHOUSE_PASSWORD: differs from the password in CLICKHOUSE_URL; set only one of them');
  }
  return problems;
}

/** The embedded stores are for trying out; in production they would be a surprise. */
function missingInProduction(written: Written, { EVENT_STORE, WEIR_ROLE }: Values): string[] {
  const problems: string[] = [];
  const expect = (name: 'DATABASE_URL' | 'CLICKHOUSE_URL', instead = '') => {
    if (written.has(name)) return;
    const accepted = `accepted: ${SETTINGS[name].kind.accepts}`;
    problems.push(`${name}: is required when NODE_ENV is production; ${accepted}${instead}`);
  };
  expect('DATABASE_URL');
  if (EVENT_STORE !== 'postgres' && WEIR_ROLE !== 'ingest') {
    expect('CLICKHOUSE_URL', '; or set EVENT_STORE=postgres to store events in the database of DATABASE_URL');
  }
  return problems;
}

/** Only called when there are no problems: a null then means an optional setting without a value. */
function assemble(values: Values, written: Written, production: boolean): Config {
  // In production Weir runs behind something else; anywhere else it serves only this machine.
  const host = production && !written.has('HOST') ? EVERY_ADDRESS : values.HOST!;
  return {
    port: values.PORT!,
    host,
    metricsToken: values.METRICS_TOKEN,
    logLevel: values.LOG_LEVEL!,
    allowedOrigins: values.ALLOWED_ORIGINS ?? [],
    eventStore: values.EVENT_STORE,
    // The text as given: the URL class normalises what a Postgres client reads differently.
    databaseUrl: values.DATABASE_URL === null ? null : written.get('DATABASE_URL')!.text,
    clickhouse: {
      ...clickHouseAccess(values.CLICKHOUSE_URL, {
        username: values.CLICKHOUSE_USERNAME,
        password: values.CLICKHOUSE_PASSWORD,
      }),
      database: values.CLICKHOUSE_DATABASE!,
      cluster: values.CLICKHOUSE_CLUSTER,
      insertQuorum: values.CLICKHOUSE_INSERT_QUORUM,
    },
    rebuild: values.CLICKHOUSE_REBUILD!,
    channel: {
      maxEvents: values.INGEST_EVENT_BUFFER!,
      maxBytes: values.INGEST_BUFFER_BYTES!,
      projectShare: values.INGEST_PROJECT_SHARE!,
    },
    kafka: kafkaSettings(values),
    role: values.WEIR_ROLE!,
    flush: { maxEvents: values.INGEST_FLUSH_EVENTS!, maxWaitMs: values.INGEST_FLUSH_INTERVAL! },
    maxBodyBytes: values.INGEST_MAX_BODY_BYTES!,
    maxInFlight: values.INGEST_MAX_INFLIGHT!,
    insertTimeoutMs: values.INGEST_INSERT_TIMEOUT!,
    keepAliveMs: values.HTTP_KEEP_ALIVE!,
    drainDelayMs: values.SHUTDOWN_DRAIN_DELAY!,
    shutdownGraceMs: values.INGEST_SHUTDOWN_GRACE!,
    disabled: values.INGEST_DISABLED!,
    ack: values.INGEST_ACK ?? defaultAck(values),
    client: {
      ip: values.INGEST_CLIENT_IP!,
      userAgent: values.INGEST_CLIENT_USER_AGENT === 'on',
      trustedProxies: values.INGEST_TRUSTED_PROXIES!,
    },
    journal: { mode: values.INGEST_JOURNAL!, maxBytes: values.INGEST_JOURNAL_MAX_BYTES! },
    maxFutureMs: values.INGEST_MAX_FUTURE!,
    anonymousProject: values.INGEST_ANONYMOUS_PROJECT,
    rejected: { keep: values.INGEST_KEEP_REJECTED!, keepForMs: values.INGEST_KEEP_REJECTED_FOR! },
    rateLimit: values.INGEST_RATE_LIMIT,
    deadLetters: {
      drainIntervalMs: values.DLQ_DRAIN_INTERVAL!,
      drainBatchLimit: values.DLQ_DRAIN_BATCH_LIMIT!,
      depth503Threshold: values.DLQ_DEPTH_503_THRESHOLD!,
      maxAttempts: values.DLQ_MAX_ATTEMPTS!,
      maxAgeMs: values.DLQ_MAX_AGE!,
      quarantine: values.DLQ_QUARANTINE!,
      ballastBytes: values.DLQ_BALLAST_BYTES!,
    },
    console: consoleSettings(values, production),
    dataDir: values.WEIR_DATA_DIR!,
    workers: values.WEIR_WORKERS!,
    production,
    effective: SETTING_NAMES.map((name) => {
      const { text, source } = written.get(name) ?? { text: SETTINGS[name].default, source: 'default' as const };
      if (name === 'HOST') return { name, value: host, source };
      return { name, value: text === '' ? '' : SETTINGS[name].kind.show(text), source };
    }),
  };
}

/** The highest level that is reached before any store or broker answered; without a disk that of the brokers. */
function defaultAck({ INGEST_JOURNAL, CHANNEL }: Values): Config['ack'] {
  if (INGEST_JOURNAL !== 'off') return 'journaled';
  return CHANNEL === 'kafka' ? 'replicated' : 'queued';
}

/**
 * Splits the credentials off a ClickHouse URL, which keeps its path. Separate settings take precedence; where both
 * exist they are equal.
 */
export function clickHouseAccess(
  url: URL | null,
  given: { username: string | null; password: string | null },
): { url: string | null; username: string; password: string } {
  const username = given.username ?? (decodeURIComponent(url?.username ?? '') || 'default');
  const password = given.password ?? decodeURIComponent(url?.password ?? '');
  return { url: url && `${url.origin}${url.pathname.replace(/^\/$/, '')}`, username, password };
}

function freeze<T extends object>(value: T): T {
  for (const part of Object.values(value)) if (typeof part === 'object' && part !== null) freeze(part);
  return Object.freeze(value);
}
