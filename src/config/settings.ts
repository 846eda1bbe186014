/**
 * Every setting there is. The parser, `weir config`, `.env.example` and the
 * documentation follow from this table; nothing else knows a setting's name.
 */
import {
  duration,
  flag,
  integer,
  matching,
  oneOf,
  origins,
  projectOrOff,
  rate,
  secret,
  share,
  size,
  url,
  type Kind,
} from './kinds.ts';

export type Setting<T> = {
  readonly kind: Kind<T>;
  /** As a person would write it; empty when there is none. */
  readonly default: string;
  /** One line. */
  readonly description: string;
};

export const SETTINGS = {
  PORT: setting(integer(0, 65_535), '8080', 'TCP port to listen on; 0 takes any free one'),
  HOST: setting(matching(/^[\w.:%-]+$/, 'an address or host name'), '0.0.0.0', 'Address to listen on'),
  LOG_LEVEL: setting(
    oneOf('trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'),
    'info',
    'Least severe log line that is written',
  ),
  ALLOWED_ORIGINS: optional(
    origins,
    'Browser origins that may send events, separated by commas; empty allows every one',
  ),

  DATABASE_URL: optional(
    url(['postgres:', 'postgresql:'], 'postgres://user:password@host:5432/weir'),
    'Postgres for projects, tokens and dead letters; empty starts an embedded one (not in production)',
  ),
  CLICKHOUSE_URL: optional(
    url(['http:', 'https:'], 'http://host:8123'),
    'ClickHouse over HTTP, for the events; empty starts an embedded one (not in production)',
  ),
  CLICKHOUSE_DATABASE: setting(
    matching(/^[A-Za-z_]\w{0,62}$/, 'a name of letters, digits and underscores'),
    'analytics',
    'ClickHouse database that holds the events; made by the migrations',
  ),
  CLICKHOUSE_USERNAME: optional(
    matching(/^[\x21-\x7e]+$/, 'a user name without spaces'),
    'ClickHouse user; empty is the one in CLICKHOUSE_URL, or "default"',
  ),
  CLICKHOUSE_PASSWORD: optional(secret, 'ClickHouse password; empty is the one in CLICKHOUSE_URL, or none'),

  INGEST_EVENT_BUFFER: setting(integer(1, 10_000_000), '50000', 'Events accepted and not yet settled, at most'),
  INGEST_BUFFER_BYTES: setting(size('64KiB', '64GiB'), '128MiB', 'The same in bytes'),
  INGEST_PROJECT_SHARE: setting(
    share,
    '0.5',
    'Part of both buffers that one project may hold while they are over half full',
  ),
  INGEST_FLUSH_EVENTS: setting(integer(1, 1_000_000), '10000', 'A batch is cut at this many events'),
  INGEST_FLUSH_INTERVAL: setting(duration('10ms', '10m'), '2s', 'A batch is cut this long after its first event'),
  INGEST_MAX_BODY_BYTES: setting(size('1KiB', '1GiB'), '10MiB', 'Largest request body, as sent and as decompressed'),
  INGEST_MAX_INFLIGHT: setting(integer(1, 64), '4', 'Inserts that may run at once'),
  INGEST_INSERT_TIMEOUT: setting(duration('100ms', '10m'), '60s', 'An insert that takes longer is given up'),
  INGEST_SHUTDOWN_GRACE: setting(duration('1s', '10m'), '10s', 'Time to save everything after SIGTERM'),
  INGEST_DISABLED: setting(flag, 'false', 'Refuse all events with 503 from the start'),
  INGEST_JOURNAL: setting(
    oneOf('on', 'prefer', 'off'),
    'on',
    'Keep accepted events on disk too: on, prefer (go on in memory while the disk has trouble), off',
  ),
  INGEST_JOURNAL_MAX_BYTES: setting(size('64MiB', '64GiB'), '1GiB', 'Size of the journal, at most; then 503'),
  INGEST_ACK: optional(
    oneOf('queued', 'journaled', 'stored'),
    'How safe an event is when its request is answered: queued (memory), journaled (disk), stored; empty is journaled with a journal, else queued',
  ),
  INGEST_MAX_FUTURE: setting(duration('0s', '3650d'), '24h', "How far ahead of the server's clock a timestamp may be"),
  INGEST_ANONYMOUS_PROJECT: optional(
    projectOrOff,
    'Project that requests without a token belong to, at /events, /events/bulk and /metrics; off: none; empty: the demo project beside the embedded Postgres, else none',
  ),
  INGEST_RATE_LIMIT: setting(rate, 'off', 'Requests per project: off, 100/s, 600/m'),

  DLQ_DRAIN_INTERVAL: setting(duration('10ms', '10m'), '2s', 'Pause between two passes over the dead letters'),
  DLQ_DRAIN_BATCH_LIMIT: setting(integer(1, 1_000), '10', 'Dead letters claimed in one pass, at most'),
  DLQ_DEPTH_503_THRESHOLD: setting(
    integer(0, 1_000_000_000),
    '100000',
    '/healthz answers 503 above this many dead letters',
  ),
  DLQ_MAX_ATTEMPTS: setting(integer(1, 1_000_000), '20', 'Replays of a dead letter before it is quarantined'),
  DLQ_MAX_AGE: setting(duration('1s', '3650d'), '24h', 'Age of a dead letter at which it is quarantined'),
  DLQ_QUARANTINE: setting(
    oneOf('healthy', 'strict'),
    'healthy',
    'Which attempts and time count: only those with a healthy ClickHouse, or strictly all',
  ),

  WEIR_DATA_DIR: setting(matching(/^[^\0]+$/, 'a directory'), '.weir', 'Directory for what this machine keeps'),
  WEIR_WORKERS: setting(
    integer(1, 64),
    '1',
    'Processes that share the port and the work; buffers, journal and inserts at once are for each of them',
  ),
  WEIR_CONFIG: optional(
    matching(/^[^\0]+$/, 'the path of a TOML file'),
    'Configuration file; empty reads weir.toml where there is one. Environment only',
  ),
} as const satisfies Record<string, Setting<unknown>>;

export type SettingName = keyof typeof SETTINGS;

export const SETTING_NAMES = Object.keys(SETTINGS) as SettingName[];

export function isSettingName(name: string): name is SettingName {
  return Object.hasOwn(SETTINGS, name);
}

function setting<T>(kind: Kind<T>, defaultText: string, description: string): Setting<T> {
  return { kind, default: defaultText, description };
}

/** A setting that may stay unset. */
function optional<T>(kind: Kind<T>, description: string): Setting<T | null> {
  return { kind, default: '', description };
}
