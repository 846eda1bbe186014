import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { ConfigError, parseConfig, type Config } from '../src/config/config.ts';
import { nearestName, type Environment } from '../src/config/sources.ts';

const KAFKA = { CHANNEL: 'kafka', KAFKA_BROKERS: 'kafka:9092' };
const PRODUCTION = {
  NODE_ENV: 'production',
  DATABASE_URL: 'postgres://weir:hunter2@db:5432/weir',
  CLICKHOUSE_URL: 'http://clickhouse:8123',
};

/** Reads from these files and no others. */
function filesOf(files: Record<string, string>) {
  return (path: string) => {
    const text = files[path];
    if (text === undefined) throw Object.assign(new Error('missing'), { code: 'ENOENT' });
    return text;
  };
}

function deny(): never {
  throw Object.assign(new Error('denied'), { code: 'EACCES' });
}

function configOf(env: Environment, toml?: string): Config {
  return parseConfig(env, filesOf(toml === undefined ? {} : { 'weir.toml': toml }));
}

function problemsOf(env: Environment, toml?: string): readonly string[] {
  try {
    configOf(env, toml);
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  return [];
}

function effectiveOf(env: Environment, name: string, toml?: string) {
  return configOf(env, toml).effective.find((setting) => setting.name === name);
}

describe('defaults', () => {
  test('an empty environment is a good configuration', () => {
    expect(configOf({})).toMatchObject({
      port: 8080,
      host: '127.0.0.1',
      metricsToken: null,
      logLevel: 'info',
      allowedOrigins: [],
      databaseUrl: null,
      clickhouse: {
        url: null,
        database: 'analytics',
        username: 'default',
        password: '',
        cluster: null,
        insertQuorum: null,
      },
      channel: { maxEvents: 50_000, maxBytes: 134_217_728, projectShare: 0.5 },
      flush: { maxEvents: 10_000, maxWaitMs: 2_000 },
      maxBodyBytes: 10_485_760,
      maxInFlight: 4,
      insertTimeoutMs: 60_000,
      keepAliveMs: 620_000,
      drainDelayMs: 0,
      shutdownGraceMs: 10_000,
      disabled: false,
      ack: 'journaled',
      journal: { mode: 'on', maxBytes: 1_073_741_824 },
      maxFutureMs: 86_400_000,
      rateLimit: null,
      deadLetters: {
        drainIntervalMs: 2_000,
        drainBatchLimit: 10,
        depth503Threshold: 100_000,
        maxAttempts: 20,
        maxAgeMs: 86_400_000,
        quarantine: 'healthy',
      },
      dataDir: '.weir',
      production: false,
    });
  });

  test('the result cannot be changed, at any depth', () => {
    const config = configOf({ ALLOWED_ORIGINS: 'https://a.example' });
    expect(Object.isFrozen(config)).toBe(true);
    expect(Object.isFrozen(config.deadLetters)).toBe(true);
    expect(Object.isFrozen(config.allowedOrigins)).toBe(true);
    expect(Object.isFrozen(config.effective[0])).toBe(true);
  });
});

describe('precedence', () => {
  test('the environment wins over the file, the file over the default', () => {
    const toml = 'PORT = 1000\n[ingest]\nflush_events = 7\n';
    expect(configOf({ PORT: '2000' }, toml).port).toBe(2000);
    expect(configOf({ PORT: '2000' }, toml).flush.maxEvents).toBe(7);
    expect(effectiveOf({ PORT: '2000' }, 'PORT', toml)).toEqual({ name: 'PORT', value: '2000', source: 'env' });
    expect(effectiveOf({}, 'INGEST_FLUSH_EVENTS', toml)?.source).toBe('file');
    expect(effectiveOf({}, 'HOST', toml)?.source).toBe('default');
  });

  test('empty is unset, in the environment and in the file', () => {
    expect(configOf({ PORT: '', DATABASE_URL: '' }, 'HOST = ""').port).toBe(8080);
    expect(configOf({ PORT: '' }, 'PORT = 1234').port).toBe(1234);
    expect(problemsOf({ INGEST_NO_SUCH_THING: '' })).toEqual([]);
  });

  test.each([
    ['flat names', 'INGEST_FLUSH_EVENTS = 12'],
    ['tables', '[ingest]\nflush_events = 12'],
    ['text instead of a number', 'INGEST_FLUSH_EVENTS = "12"'],
    ['dotted keys', 'ingest.flush_events = 12'],
  ])('the file may use %s', (_, toml) => {
    expect(configOf({}, toml).flush.maxEvents).toBe(12);
  });

  test('lists and flags may be written as TOML writes them', () => {
    const config = configOf(
      {},
      'allowed_origins = ["https://a.example", "https://b.example"]\n[ingest]\ndisabled = true',
    );
    expect(config.allowedOrigins).toEqual(['https://a.example', 'https://b.example']);
    expect(config.disabled).toBe(true);
  });

  test('WEIR_CONFIG names another file', () => {
    const readFile = filesOf({ 'weir.toml': 'PORT = 1', '/etc/weir.toml': 'PORT = 2' });
    expect(parseConfig({ WEIR_CONFIG: '/etc/weir.toml' }, readFile).port).toBe(2);
  });
});

describe('values', () => {
  test.each([
    ['500ms', 500],
    ['2s', 2_000],
    ['10m', 600_000],
  ])('a duration %s is %i ms', (text, ms) => {
    expect(configOf({ INGEST_FLUSH_INTERVAL: text }).flush.maxWaitMs).toBe(ms);
  });

  test.each([
    ['24h', 86_400_000],
    ['7d', 604_800_000],
    ['0s', 0],
  ])('a duration %s is %i ms', (text, ms) => {
    expect(configOf({ INGEST_MAX_FUTURE: text }).maxFutureMs).toBe(ms);
  });

  test.each([
    ['64KiB', 65_536],
    ['10MiB', 10_485_760],
    ['1234567', 1_234_567],
    ['2048B', 2_048],
  ])('a size %s is %i bytes', (text, bytes) => {
    expect(configOf({ INGEST_MAX_BODY_BYTES: text }).maxBodyBytes).toBe(bytes);
  });

  test.each([
    ['off', null],
    ['100/s', { requests: 100, perMs: 1_000 }],
    ['600/m', { requests: 600, perMs: 60_000 }],
  ])('a rate limit %s', (text, rateLimit) => {
    expect(configOf({ INGEST_RATE_LIMIT: text }).rateLimit).toEqual(rateLimit);
  });

  test('credentials inside CLICKHOUSE_URL are taken out of it', () => {
    expect(configOf({ CLICKHOUSE_URL: 'https://me:p%40ss@host:8443/' }).clickhouse).toEqual({
      url: 'https://host:8443',
      username: 'me',
      password: 'p@ss',
      database: 'analytics',
      cluster: null,
      insertQuorum: null,
    });
  });

  test.each([
    ['auto', 'auto'],
    ['2', 2],
    ['', null],
  ] as const)('a quorum of %j replicas', (text, insertQuorum) => {
    const { clickhouse } = configOf({ CLICKHOUSE_INSERT_QUORUM: text, CLICKHOUSE_CLUSTER: '{cluster}' });
    expect(clickhouse).toMatchObject({ insertQuorum, cluster: '{cluster}' });
  });

  test.each([
    ['CLICKHOUSE_INSERT_QUORUM', '1'],
    ['CLICKHOUSE_INSERT_QUORUM', 'most'],
    ['CLICKHOUSE_CLUSTER', "it's"],
  ])('%s cannot be %s', (name, text) => {
    expect(() => configOf({ [name]: text })).toThrow(name);
  });
});

describe('the address of ClickHouse', () => {
  const urlOf = (text: string) => configOf({ CLICKHOUSE_URL: text }).clickhouse.url;

  test.each([
    ['http://host:8123', 'http://host:8123'],
    ['http://host:8123/', 'http://host:8123'],
    ['https://me:p@host/stores/events/', 'https://host/stores/events/'],
    ['https://host/events', 'https://host/events'],
  ])('%s is asked at %s: a path is the place of a proxy', (text, url) => {
    expect(urlOf(text)).toBe(url);
  });

  test.each([
    ['http://host:8123/analytics', 'its path is the name of the database; leave it out'],
    ['http://host:8123/?database=other', 'has a query or a fragment'],
    ['http://host:8123/#part', 'has a query or a fragment'],
  ])('%s is refused, and why', (text, why) => {
    expect(problemsOf({ CLICKHOUSE_URL: text })).toEqual([expect.stringContaining(`CLICKHOUSE_URL: ${why}`)]);
  });
});

describe('refusals', () => {
  test.each<[setting: string, text: string, accepted: string]>([
    ['PORT', '65536', 'a whole number from 0 to 65535'],
    ['PORT', '80a', 'a whole number'],
    ['PORT', '-1', 'a whole number'],
    ['PORT', '8080.5', 'a whole number'],
    ['HOST', 'two words', 'an address'],
    ['HOST', 'fe80::1%eth0', 'without a zone'],
    ['HOST', '::1::', 'an address'],
    ['HOST', '[::1]', 'an address'],
    ['HOST', '127.0.0.1:8080', 'an address'],
    ['HOST', '1.2.3.456', 'an address'],
    ['CONSOLE_HOST', 'fe80::1%eth0', 'without a zone'],
    ['LOG_LEVEL', 'verbose', 'trace, debug, info'],
    ['INGEST_FLUSH_INTERVAL', '2', 'a duration'],
    ['INGEST_FLUSH_INTERVAL', '2 s', 'a duration'],
    ['INGEST_FLUSH_INTERVAL', '1ms', 'from 10ms to 10m'],
    ['INGEST_SHUTDOWN_GRACE', '500ms', 'from 1s'],
    ['SHUTDOWN_DRAIN_DELAY', '11m', 'from 0s to 10m'],
    ['HTTP_KEEP_ALIVE', '500ms', 'from 1s to 1h'],
    ['HTTP_KEEP_ALIVE', '0', 'a duration'],
    ['INGEST_INSERT_TIMEOUT', '11m', 'to 10m'],
    ['INGEST_MAX_BODY_BYTES', '10MB', 'a size'],
    ['INGEST_BUFFER_BYTES', '0', 'a size'],
    ['INGEST_FLUSH_EVENTS', '0', 'from 1'],
    ['INGEST_MAX_INFLIGHT', '0', 'from 1 to 64'],
    ['INGEST_PROJECT_SHARE', '0', 'above 0'],
    ['INGEST_PROJECT_SHARE', '1.1', 'at most 1'],
    ['INGEST_DISABLED', 'yes', 'true or false'],
    ['INGEST_ACK', 'maybe', 'queued'],
    ['CHANNEL', 'redis', 'local, kafka'],
    ['WEIR_ROLE', 'both', 'all, ingest, flush'],
    ['KAFKA_BROKERS', 'kafka', 'host:port'],
    ['KAFKA_BROKERS', 'kafka:9092,', 'host:port'],
    ['KAFKA_BROKERS', 'kafka:0', 'host:port'],
    ['KAFKA_BROKERS', 'kafka:65536', 'host:port'],
    ['KAFKA_BROKERS', 'kafka://kafka:9092', 'host:port'],
    ['KAFKA_TOPIC', 'a b', 'a topic name'],
    ['KAFKA_TOPIC', '..', 'a topic name'],
    ['INGEST_RATE_LIMIT', '0/s', 'off, or'],
    ['INGEST_RATE_LIMIT', '10/h', 'off, or'],
    ['DLQ_QUARANTINE', 'never', 'healthy, strict'],
    ['DLQ_DRAIN_BATCH_LIMIT', '1001', 'to 1000'],
    ['CLICKHOUSE_DATABASE', 'a`b', 'a name of letters'],
    ['CLICKHOUSE_URL', 'clickhouse:8123', 'a URL'],
    ['CLICKHOUSE_URL', 'tcp://clickhouse:9000', 'a URL'],
    ['DATABASE_URL', 'mysql://host/db', 'postgres://'],
    ['CONSOLE_PORT', 'on', 'off (or 0), auto'],
    ['CONSOLE_PORT', '65536', 'a port up to 65535'],
    ['CONSOLE_ORIGIN', 'https://a.example/', 'without a path'],
    ['CONSOLE_ORIGIN', 'https://a.example:443', 'an origin such as'],
    ['CONSOLE_ORIGIN', 'capacitor://localhost', 'an origin such as'],
    ['CONSOLE_SHOW_EVENTS', 'true', 'operators, everyone, off'],
    ['ALLOWED_ORIGINS', 'https://a.example/', 'no path'],
    ['ALLOWED_ORIGINS', 'a.example', 'exact origins'],
    ['ALLOWED_ORIGINS', '*', 'empty allows every origin'],
    ['ALLOWED_ORIGINS', 'https://a.example,,https://b.example', 'separated by commas'],
  ])('%s=%s', (name, text, accepted) => {
    const problems = problemsOf({ [name]: text });
    expect(problems).toHaveLength(1);
    expect(problems[0]).toMatch(new RegExp(`^${name}: given ".*"; accepted: `));
    expect(problems[0]).toContain(accepted);
  });

  test('every problem is listed at once', () => {
    const problems = problemsOf(
      { PORT: 'x', INGEST_FLUHS_EVENTS: '1', INGEST_MAX_BODY_BYTES: '1GiB', NODE_ENV: 'production' },
      '[dlq]\nmax_age = "old"\nmax_tries = 3\n',
    );
    expect(problems.map((problem) => problem.split(':')[0])).toEqual([
      'DLQ_MAX_TRIES',
      'INGEST_FLUHS_EVENTS',
      'PORT',
      'DLQ_MAX_AGE',
      'INGEST_MAX_BODY_BYTES',
      'DATABASE_URL',
      'CLICKHOUSE_URL',
    ]);
  });

  test('the message holds every problem on a line of its own', () => {
    expect(() => configOf({ PORT: 'x', HOST: 'a b' })).toThrow(/2 problems:\n {2}PORT: .*\n {2}HOST: /);
  });

  test.each<[why: string, env: Environment, name: string]>([
    ['a body larger than the buffer', { INGEST_MAX_BODY_BYTES: '256MiB' }, 'INGEST_MAX_BODY_BYTES'],
    ['a batch larger than the buffer', { INGEST_EVENT_BUFFER: '9999' }, 'INGEST_FLUSH_EVENTS'],
    [
      'a buffer smaller than a batch',
      { INGEST_BUFFER_BYTES: '1MiB', INGEST_MAX_BODY_BYTES: '1KiB' },
      'INGEST_BUFFER_BYTES',
    ],
    ['a journal that is off', { INGEST_ACK: 'journaled', INGEST_JOURNAL: 'off' }, 'INGEST_ACK'],
    ['a topic without brokers', { CHANNEL: 'kafka' }, 'KAFKA_BROKERS'],
    ['a role that needs a topic', { WEIR_ROLE: 'flush' }, 'WEIR_ROLE'],
    ['waiting for a store that another process writes to', { ...KAFKA, INGEST_ACK: 'stored' }, 'INGEST_ACK'],
    ['waiting for brokers that are not there', { INGEST_ACK: 'replicated' }, 'INGEST_ACK'],
    ['a password without a mechanism', { ...KAFKA, KAFKA_PASSWORD: 'x' }, 'KAFKA_PASSWORD'],
    ['a user without a mechanism', { ...KAFKA, KAFKA_USERNAME: 'x' }, 'KAFKA_USERNAME'],
    ['a mechanism without a user', { ...KAFKA, KAFKA_SASL_MECHANISM: 'PLAIN', KAFKA_PASSWORD: 'x' }, 'KAFKA_USERNAME'],
    ['a token that is missing', { ...KAFKA, KAFKA_SASL_MECHANISM: 'OAUTHBEARER' }, 'KAFKA_PASSWORD'],
    ['an authority without TLS', { ...KAFKA, KAFKA_TLS_CA_FILE: 'ca.pem' }, 'KAFKA_TLS_CA_FILE'],
    [
      'a certificate without its key',
      { ...KAFKA, KAFKA_TLS: 'true', KAFKA_TLS_CERT_FILE: 'c.pem' },
      'KAFKA_TLS_CERT_FILE',
    ],
    ['production without Postgres', { ...PRODUCTION, DATABASE_URL: '' }, 'DATABASE_URL'],
    ['production without ClickHouse', { ...PRODUCTION, CLICKHOUSE_URL: undefined }, 'CLICKHOUSE_URL'],
    ['a database in the URL', { CLICKHOUSE_URL: 'http://host:8123/analytics' }, 'CLICKHOUSE_URL'],
    ['two users', { CLICKHOUSE_URL: 'http://a@host:8123', CLICKHOUSE_USERNAME: 'b' }, 'CLICKHOUSE_USERNAME'],
    ['two passwords', { CLICKHOUSE_URL: 'http://a:b@host:8123', CLICKHOUSE_PASSWORD: 'c' }, 'CLICKHOUSE_PASSWORD'],
  ])('the impossible combination: %s', (_, env, name) => {
    expect(problemsOf(env).map((problem) => problem.split(':')[0])).toEqual([name]);
  });

  test.each([
    [{}, '127.0.0.1'],
    [{ NODE_ENV: 'development' }, '127.0.0.1'],
    [PRODUCTION, '0.0.0.0'],
    [{ ...PRODUCTION, HOST: '127.0.0.1' }, '127.0.0.1'],
    [{ ...PRODUCTION, HOST: '' }, '0.0.0.0'],
    [{ HOST: '::' }, '::'],
  ])('with %j it listens on %s, and says so', (env, host) => {
    expect(configOf(env).host).toBe(host);
    expect(effectiveOf(env, 'HOST')?.value).toBe(host);
  });

  test('the token of the metrics page is shown to nobody, and no short one is taken', () => {
    const token = 'a-token-of-metrics';
    expect(configOf({ METRICS_TOKEN: token }).metricsToken).toBe(token);
    expect(effectiveOf({ METRICS_TOKEN: token }, 'METRICS_TOKEN')?.value).toBe('[redacted]');
    for (const bad of ['short', 'with spaces in it too', 'ümlaute-ümlaute-ümlaute']) {
      const [problem] = problemsOf({ METRICS_TOKEN: bad });
      expect(problem).toMatch(/^METRICS_TOKEN: /);
      expect(problem).not.toContain(bad);
    }
  });

  test.each([
    [{}, 'journaled'],
    [{ INGEST_JOURNAL: 'off' }, 'queued'],
    [KAFKA, 'journaled'],
    [{ ...KAFKA, INGEST_JOURNAL: 'off' }, 'replicated'],
    [{ ...KAFKA, INGEST_ACK: 'replicated' }, 'replicated'],
  ])('with %j events are acknowledged when they are %s', (env, ack) => {
    expect(configOf(env).ack).toBe(ack);
  });

  test('brokers are listed once each, and one that only takes events needs no ClickHouse', () => {
    const { kafka, role } = configOf({
      ...PRODUCTION,
      CLICKHOUSE_URL: undefined,
      CHANNEL: 'kafka',
      WEIR_ROLE: 'ingest',
      KAFKA_BROKERS: 'a.example:9092, [::1]:9093,a.example:9092',
    });
    expect(role).toBe('ingest');
    expect(kafka).toEqual({
      brokers: ['a.example:9092', '[::1]:9093'],
      topic: 'weir.events',
      group: 'weir.events',
      instanceId: null,
      tls: null,
      sasl: null,
    });
  });

  test('production with both stores is fine', () => {
    expect(configOf(PRODUCTION).production).toBe(true);
  });
});

describe('the console', () => {
  test('opens by itself and shows events outside production only', () => {
    expect(configOf({}).console).toEqual({
      port: 'auto',
      host: '127.0.0.1',
      publicOrigin: null,
      showEvents: 'operators',
    });
    expect(configOf(PRODUCTION).console).toMatchObject({ port: 'off', showEvents: 'off' });
    expect(configOf({ ...PRODUCTION, CONSOLE_PORT: '8081' }).console).toMatchObject({ port: 8081, showEvents: 'off' });
  });

  test.each(['0', 'off'])('is off with %s', (text) => {
    expect(configOf({ CONSOLE_PORT: text, PORT: '0' }).console.port).toBe('off');
  });

  test('cannot have the port of the service', () => {
    expect(problemsOf({ CONSOLE_PORT: '8080' })).toEqual([expect.stringMatching(/^CONSOLE_PORT: .* another one$/)]);
  });
});

test('what docker-compose.kafka.yml gives to `channel create` is a configuration that the image accepts', () => {
  const compose = readFileSync(new URL('../docker-compose.kafka.yml', import.meta.url), 'utf8');
  const [, anchored] = /^x-topic: &topic\n((?: {2}\S.*\n)+)/m.exec(compose)!;
  const [, service] = /^ {2}topic:\n((?: {4}.*\n)+)/m.exec(compose)!;
  const pairs = [...`${anchored}${service}`.matchAll(/^ +([A-Z][A-Z_]+): (.+)$/gm)];
  const env = Object.fromEntries(pairs.map(([, name, value]) => [name, value!.replace(/\$\{[^}]*\}/, 'hunter2')]));
  expect(env).toMatchObject({ CHANNEL: 'kafka' });
  expect(problemsOf({ NODE_ENV: 'production', ...env })).toEqual([]);
});

describe('unknown names', () => {
  test.each([
    ['INGEST_FLUSH_EVENT', 'INGEST_FLUSH_EVENTS'],
    ['INGEST_MAX_IN_FLIGHT', 'INGEST_MAX_INFLIGHT'],
    ['DLQ_MAX_ATTEMPT', 'DLQ_MAX_ATTEMPTS'],
    ['CLICKHOUSE_USER', 'CLICKHOUSE_USERNAME'],
    ['WEIR_DATADIR', 'WEIR_DATA_DIR'],
  ])('%s is refused, suggesting %s', (name, nearest) => {
    expect(nearestName(name)).toBe(nearest);
    expect(problemsOf({ [name]: 'hunter2' })[0]).toBe(
      `${name}: there is no such setting (in the environment); did you mean ${nearest}?`,
    );
  });

  test('names of other programs are theirs', () => {
    expect(problemsOf({ PATH: '/bin', INGESTION: '1', PGHOST: 'x', HOSTNAME: 'y' })).toEqual([]);
  });

  test.each([
    ['METRIC_TOKEN', 'METRICS_TOKEN'],
    ['METRICS_TOKN', 'METRICS_TOKEN'],
    ['METRIC_TOKN', 'METRICS_TOKEN'],
    ['ALLOWED_ORIGIN', 'ALLOWED_ORIGINS'],
    ['CONSOLE_PROT', 'CONSOLE_PORT'],
    ['EVENT_STOR', 'EVENT_STORE'],
    ['LOG_LEVL', 'LOG_LEVEL'],
    ['DATABASE_URI', 'DATABASE_URL'],
    ['HTTP_KEEPALIVE', 'HTTP_KEEP_ALIVE'],
    ['SHUTDOWN_DRAIN_DELY', 'SHUTDOWN_DRAIN_DELAY'],
  ])('%s has no prefix of ours, and is refused, suggesting %s', (name, nearest) => {
    expect(problemsOf({ [name]: 'hunter2' })).toEqual([
      `${name}: there is no such setting (in the environment); did you mean ${nearest}?`,
    ]);
  });

  const OF_OTHERS =
    'HOSTNAME HOSTS POST PORTS CHANNELS NODE_ENV LOGLEVEL LOG_LEVELS LOG_FILE PGDATABASE DATABASE DATABASE_HOST ' +
    'DATABASE_USER DATABASE_SSL REDIS_URL CONSOLE COLORTERM KAFKA_HOME KAFKA_BROKER KAFKA_TOPICS EVENTSTORE_PORT http_proxy ALLOWED_HOSTS';

  test.each(OF_OTHERS.split(' '))('%s may be of another program', (name) => {
    expect(problemsOf({ [name]: 'hunter2' })).toEqual([]);
  });

  test('a broker of a topic is meant for us where there is a topic', () => {
    expect(problemsOf({ CHANNEL: 'kafka', KAFKA_BROKER: 'k:9092' })).toContainEqual(
      expect.stringContaining('did you mean KAFKA_BROKERS?'),
    );
  });

  test('a name beside the right one is no mistake for it', () => {
    expect(problemsOf({ DATABASE_URL: 'postgres://a/b', DATABASE_URL2: 'x' })).toEqual([]);
    expect(problemsOf({ METRIC_TOKEN: 'hunter2' }, 'METRICS_TOKEN = "0123456789abcdef0123456789abcdef"')).toHaveLength(
      1,
    );
  });

  test('names that docker-compose.yml asks for may stand in the .env beside it, and no other like them', () => {
    const compose = readFileSync(new URL('../docker-compose.yml', import.meta.url), 'utf8');
    const asked = [...compose.matchAll(/\$\{(\w+)/g)].map(([, name]) => name!);
    const images = ['WEIR_POSTGRES_IMAGE', 'WEIR_CLICKHOUSE_IMAGE', 'WEIR_NODE_IMAGE'];
    expect(new Set(asked)).toEqual(new Set(['WEIR_POSTGRES_PASSWORD', 'WEIR_CLICKHOUSE_PASSWORD', ...images]));
    expect(problemsOf(Object.fromEntries(asked.map((name) => [name, 'hunter2hunter2'])))).toEqual([]);
    for (const name of ['WEIR_POSTGRES_PASSWORT', 'WEIR_PASSWORD', 'CLICKHOUSE_POSTGRES_PASSWORD']) {
      expect(problemsOf({ [name]: 'hunter2' })).toHaveLength(1);
    }
    // In weir.toml they would be a mistake: Compose does not read it.
    expect(problemsOf({}, 'WEIR_POSTGRES_PASSWORD = "hunter2"')).toHaveLength(1);
  });

  test.each(['docker-compose.postgres.yml', 'docker-compose.kafka.yml'])(
    'names that %s asks for are no unknown settings',
    (file) => {
      const compose = readFileSync(new URL(`../${file}`, import.meta.url), 'utf8');
      const asked = [...compose.matchAll(/\$\{(\w+)/g)].map(([, name]) => name!);
      expect(asked).not.toEqual([]);
      expect(problemsOf(Object.fromEntries(asked.map((name) => [name, 'hunter2hunter2'])))).toEqual([]);
    },
  );

  test('in the file every unknown name is refused', () => {
    expect(problemsOf({}, 'colour = "blue"')).toHaveLength(1);
    expect(problemsOf({}, 'WEIR_CONFIG = "other.toml"')).toHaveLength(1);
    expect(problemsOf({}, 'PORT = 1\nport = 2')).toEqual(['PORT: set twice in the configuration file']);
    expect(problemsOf({}, 'PORT = [1, 2]')).toHaveLength(1);
    expect(problemsOf({}, 'PORT = 2020-01-01')).toHaveLength(1);
  });

  test('what Kubernetes puts into every pod for a service named like us is ignored', () => {
    const links = {
      CLICKHOUSE_SERVICE_HOST: '10.0.0.1',
      CLICKHOUSE_SERVICE_PORT: '8123',
      CLICKHOUSE_SERVICE_PORT_HTTP: '8123',
      CLICKHOUSE_PORT: 'tcp://10.0.0.1:8123',
      CLICKHOUSE_PORT_8123_TCP: 'tcp://10.0.0.1:8123',
      CLICKHOUSE_PORT_8123_TCP_ADDR: '10.0.0.1',
      WEIR_PORT: 'tcp://10.0.0.2:80',
    };
    expect(problemsOf(links)).toEqual([]);
    expect(problemsOf({ WEIR_PORT: '8080' })).toHaveLength(1);
  });
});

describe('the file', () => {
  test('one that is named and missing is an error; weir.toml may be missing', () => {
    expect(problemsOf({ WEIR_CONFIG: 'nowhere.toml' })).toEqual([
      'WEIR_CONFIG: given "nowhere.toml": there is no such file',
    ]);
    expect(problemsOf({})).toEqual([]);
  });

  test('one that cannot be read is an error, not the same as none', () => {
    expect(() => parseConfig({}, deny)).toThrow(/weir\.toml: the file could not be read/);
  });

  test('a syntax error names its place and quotes nothing', () => {
    const [problem] = problemsOf({}, 'PORT = 1\nCLICKHOUSE_PASSWORD = hunter2\n');
    expect(problem).toMatch(/weir\.toml: is not TOML: look at line 2/);
    expect(problem).not.toContain('hunter2');
  });
});

describe('secrets', () => {
  test('are redacted where the settings are printed', () => {
    const env = {
      DATABASE_URL: 'postgres://weir:hunter2@db:5432/weir?sslpassword=hunter3',
      CLICKHOUSE_URL: 'http://me:hunter2@host:8123',
      CLICKHOUSE_PASSWORD: 'hunter2',
    };
    expect(effectiveOf(env, 'DATABASE_URL')?.value).toBe('postgres://weir:redacted@db:5432/weir?sslpassword=redacted');
    expect(effectiveOf(env, 'CLICKHOUSE_PASSWORD')?.value).toBe('[redacted]');
    expect(JSON.stringify(configOf(env).effective)).not.toContain('hunter');
  });

  test('are redacted in problems', () => {
    const problems = problemsOf({
      DATABASE_URL: 'hunter2',
      CLICKHOUSE_URL: 'tcp://me:hunter2@host:9000',
      WEIR_PASSWORD: 'hunter2',
    });
    expect(problems).toHaveLength(3);
    expect(problems.join()).not.toContain('hunter2');
  });

  test('reach the parts that need them', () => {
    const config = configOf({ ...PRODUCTION, CLICKHOUSE_PASSWORD: 'hunter2' });
    expect(config.databaseUrl).toBe(PRODUCTION.DATABASE_URL);
    expect(config.clickhouse.password).toBe('hunter2');
  });
});
