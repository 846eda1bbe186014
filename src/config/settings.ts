/**
 * All settings. The parser, `weir config`, `.env.example` and the documentation follow from this table; nothing else
 * knows a setting's name.
 */
import {
  brokers,
  duration,
  flag,
  integer,
  listenHost,
  matching,
  oneOf,
  origins,
  path,
  portOrOff,
  projectOrOff,
  quorum,
  rate,
  operatorToken,
  secret,
  share,
  size,
  url,
  webOrigin,
  type Kind,
} from './kinds.ts';
import { postgresUrl } from './postgres-url.ts';

export type Setting<T> = {
  readonly kind: Kind<T>;
  /** As people write it; empty when there is none. */
  readonly default: string;
  /** One line. */
  readonly description: string;
};

export const SETTINGS = {
  PORT: setting(integer(0, 65_535), '8080', 'TCP port to listen on; 0 takes any free one'),
  HOST: setting(listenHost, '127.0.0.1', 'Address to listen on; with NODE_ENV=production the default is 0.0.0.0'),
  HTTP_KEEP_ALIVE: setting(
    duration('1s', '1h'),
    '620s',
    'How long a connection may be idle; set it above the idle timeout of the load balancer in front (AWS 60 s, Google 600 s)',
  ),
  LOG_LEVEL: setting(
    oneOf('trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'),
    'info',
    'Lowest level of log lines that Weir writes',
  ),
  ALLOWED_ORIGINS: optional(origins, 'Browser origins that may send events, separated by commas; empty allows all'),

  METRICS_TOKEN: optional(
    operatorToken,
    'Token that GET /internal/metrics requires as Authorization: Bearer; empty requires none',
  ),

  EVENT_STORE: optional(
    oneOf('clickhouse', 'postgres'),
    'Where events are stored: clickhouse, or postgres for the database of DATABASE_URL; empty means clickhouse, or postgres where nothing names a ClickHouse and none can be embedded',
  ),
  DATABASE_URL: optional(
    postgresUrl,
    'Postgres for projects, tokens and dead letters, and for the events with EVENT_STORE=postgres; empty starts an embedded one (not in production)',
  ),
  CLICKHOUSE_URL: optional(
    url(['http:', 'https:'], 'http://host:8123'),
    'ClickHouse over HTTP, for the events, including the path of a proxy if there is one; empty starts an embedded one (not in production)',
  ),
  CLICKHOUSE_DATABASE: setting(
    matching(/^[A-Za-z_]\w{0,62}$/, 'a name of letters, digits and underscores'),
    'analytics',
    'ClickHouse database that holds the events; the migrations create it',
  ),
  CLICKHOUSE_USERNAME: optional(
    matching(/^[\x21-\x7e]+$/, 'a user name without spaces'),
    'ClickHouse user; empty means the one in CLICKHOUSE_URL, or "default"',
  ),
  CLICKHOUSE_PASSWORD: optional(secret, 'ClickHouse password; empty means the one in CLICKHOUSE_URL, or none'),
  CLICKHOUSE_CLUSTER: optional(
    matching(/^[\w.{}-]{1,128}$/, 'the name of a cluster, or a macro such as {cluster}'),
    'Cluster of ClickHouse servers that share the tables, one shard of replicas: the migrations run ON CLUSTER; empty means one server, a database of the engine Replicated, or ClickHouse Cloud',
  ),
  CLICKHOUSE_INSERT_QUORUM: optional(
    quorum,
    'Replicas that have to have an insert before it counts as stored: auto (more than half) or a number; empty waits for the one that took it',
  ),
  CLICKHOUSE_REBUILD: setting(
    oneOf('auto', 'off'),
    'auto',
    'Rebuild a large table in the background when a new version needs that: auto, or off (only weir migrate --rebuild does it)',
  ),

  CHANNEL: setting(
    oneOf('local', 'kafka'),
    'local',
    'What stands between intake and inserts: local (this process), or kafka (a topic of KAFKA_BROKERS, for several machines)',
  ),
  WEIR_ROLE: setting(
    oneOf('all', 'ingest', 'flush'),
    'all',
    'What this process does: all; with CHANNEL=kafka also ingest (takes events and appends them to the topic) or flush (reads the topic and inserts)',
  ),
  KAFKA_BROKERS: optional(brokers, 'Brokers of Kafka or Redpanda to begin with, separated by commas'),
  KAFKA_TOPIC: setting(
    matching(/^(?!\.{1,2}$)[\w.-]{1,249}$/, 'a topic name: up to 249 letters, digits, dots, dashes and underscores'),
    'weir.events',
    'Topic for accepted events; weir channel create makes it. Its name is also that of the consumer group',
  ),
  KAFKA_TLS: setting(flag, 'false', 'Whether connections to brokers use TLS'),
  KAFKA_TLS_CA_FILE: optional(
    path,
    'Certificates of the authority that signed those of the brokers (PEM); empty: the usual ones',
  ),
  KAFKA_TLS_CERT_FILE: optional(path, 'Certificate that Weir shows to brokers (PEM)'),
  KAFKA_TLS_KEY_FILE: optional(path, 'Private key of that certificate (PEM)'),
  KAFKA_SASL_MECHANISM: optional(
    oneOf('PLAIN', 'SCRAM-SHA-256', 'SCRAM-SHA-512', 'OAUTHBEARER'),
    'How Weir authenticates itself to brokers; empty: not at all',
  ),
  KAFKA_USERNAME: optional(matching(/^[\x21-\x7e]+$/, 'a user name without spaces'), 'User name for brokers'),
  KAFKA_PASSWORD: optional(secret, 'Password for brokers; the token with OAUTHBEARER'),
  KAFKA_INSTANCE_ID: optional(
    matching(/^[\w.-]{1,200}$/, 'letters, digits, dots, dashes and underscores'),
    'Name of this process among those that read the topic, such as that of its pod: it keeps its partitions over a restart. No two processes may share one; with WEIR_WORKERS each worker adds a dash and its number',
  ),

  INGEST_EVENT_BUFFER: setting(
    integer(1, 10_000_000),
    '50000',
    'Maximum number of events accepted and not yet settled',
  ),
  INGEST_BUFFER_BYTES: setting(
    size('64KiB', '64GiB'),
    '128MiB',
    'Maximum size of those events and of bodies being read',
  ),
  INGEST_PROJECT_SHARE: setting(
    share,
    '0.5',
    'Share of both buffers that one project may hold while they are more than half full',
  ),
  INGEST_FLUSH_EVENTS: setting(
    integer(1, 1_000_000),
    '10000',
    'Close a batch when it holds this many events; while two inserts are under way, twice as many',
  ),
  INGEST_FLUSH_INTERVAL: setting(duration('10ms', '10m'), '2s', 'Close a batch this long after its first event'),
  INGEST_MAX_BODY_BYTES: setting(size('1KiB', '1GiB'), '10MiB', 'Largest request body, as sent and as decompressed'),
  INGEST_MAX_INFLIGHT: setting(integer(1, 64), '4', 'Maximum number of concurrent inserts'),
  INGEST_INSERT_TIMEOUT: setting(duration('100ms', '10m'), '60s', 'Timeout of one insert'),
  INGEST_SHUTDOWN_GRACE: setting(duration('1s', '10m'), '10s', 'Time allowed for saving everything after SIGTERM'),
  SHUTDOWN_DRAIN_DELAY: setting(
    duration('0s', '10m'),
    '0s',
    'How long Weir still accepts events after SIGTERM while /readyz answers 503, before that grace begins',
  ),
  INGEST_DISABLED: setting(flag, 'false', 'Refuse all events with 503 from the start'),
  INGEST_JOURNAL: setting(
    oneOf('on', 'prefer', 'off'),
    'on',
    'Also keep accepted events on disk: on, prefer (continue in memory while the disk fails), off (what an earlier journal holds is still delivered)',
  ),
  INGEST_JOURNAL_MAX_BYTES: setting(
    size('64MiB', '64GiB'),
    '1GiB',
    'Maximum size of the journal; a full journal refuses new events with 503',
  ),
  INGEST_ACK: optional(
    oneOf('queued', 'journaled', 'replicated', 'stored'),
    'How safe an event is when its request is answered: queued (memory), journaled (disk), replicated (brokers, with CHANNEL=kafka), stored (with CHANNEL=local); empty means journaled with a journal, otherwise replicated or queued',
  ),
  INGEST_MAX_FUTURE: setting(duration('0s', '3650d'), '24h', "How far ahead of the server's clock a timestamp may be"),
  INGEST_ANONYMOUS_PROJECT: optional(
    projectOrOff,
    'Project of requests without a token at /events, /events/bulk and /metrics; off means none; empty means the demo project with the embedded Postgres, otherwise none',
  ),
  INGEST_CLIENT_IP: setting(
    oneOf('off', 'anonymised', 'full'),
    'off',
    'Whether events of clients of other services keep the address they came from, as $ip in the extras; anonymised keeps 24 bits of IPv4 and 48 of IPv6',
  ),
  INGEST_CLIENT_USER_AGENT: setting(
    oneOf('off', 'on'),
    'off',
    'Whether events that pages send through clients of other services keep the browser, as $user_agent in the extras',
  ),
  INGEST_TRUSTED_PROXIES: setting(
    integer(0, 16),
    '0',
    'Proxies in front of Weir whose X-Forwarded-For is believed; 0 takes the address of the connection',
  ),
  INGEST_KEEP_REJECTED: setting(
    integer(0, 100_000),
    '0',
    'How many rejected events of each project Weir keeps in Postgres, the latest ones, for weir rejected; 0 keeps none',
  ),
  INGEST_KEEP_REJECTED_FOR: setting(duration('1m', '90d'), '7d', 'How long a rejected event is kept'),
  INGEST_RATE_LIMIT: setting(rate, 'off', 'Maximum rate of requests per project: off, 100/s, 600/m'),

  DLQ_DRAIN_INTERVAL: setting(duration('10ms', '10m'), '2s', 'Pause between two passes over the dead letters'),
  DLQ_DRAIN_BATCH_LIMIT: setting(integer(1, 1_000), '10', 'Maximum number of dead letters claimed in one pass'),
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
    'Which attempts and time count towards quarantine: only those while the store is healthy, or strictly all',
  ),
  DLQ_BALLAST_BYTES: setting(
    size('0', '1GiB'),
    '16MiB',
    'Disk space reserved in Postgres, which Weir frees when the disk is full so that dead letters can leave; 0 reserves none',
  ),

  CONSOLE_PORT: optional(
    portOrOff,
    'TCP port of the console, a page for operators; empty means off with NODE_ENV=production, otherwise auto',
  ),
  CONSOLE_HOST: setting(listenHost, '127.0.0.1', 'Address that the console listens on'),
  CONSOLE_ORIGIN: optional(
    webOrigin,
    'Origin of the console as browsers see it, where a proxy is in front of it; empty means http://CONSOLE_HOST:CONSOLE_PORT',
  ),
  CONSOLE_SHOW_EVENTS: optional(
    oneOf('operators', 'everyone', 'off'),
    'Who sees the contents of events in the console: operators, everyone (viewers too) or off (nobody); empty means off with NODE_ENV=production, otherwise operators',
  ),

  WEIR_DATA_DIR: setting(
    matching(/^[^\0]+$/, 'a directory'),
    '.weir',
    'Directory for the journal and other local state',
  ),
  WEIR_WORKERS: setting(
    integer(1, 64),
    '1',
    'Processes that share the port and the work; the limits of buffers, journal and inserts apply to each',
  ),
  WEIR_CONFIG: optional(
    matching(/^[^\0]+$/, 'the path of a TOML file'),
    'Configuration file; empty reads weir.toml if there is one. Set it in the environment only',
  ),
} as const satisfies Record<string, Setting<unknown>>;

export type SettingName = keyof typeof SETTINGS;

/** What each setting says; null where it says nothing. */
export type Values = {
  readonly [Name in SettingName]: NonNullable<ReturnType<(typeof SETTINGS)[Name]['kind']['parse']>> | null;
};

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
