import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import pg from 'pg';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { KEY_HEADER } from '../../src/clickhouse/connection/key.ts';
import { newKey, startEmbeddedClickHouse } from '../../src/embedded/clickhouse.ts';
import { startEmbeddedPostgres } from '../../src/embedded/postgres.ts';
import type { EmbeddedStore } from '../../src/embedded/store-process.ts';
import { migratePostgres } from '../../src/postgres/migrations/migrate.ts';
import { readRuntime } from '../../src/service/runtime-file.ts';
import { freePort } from '../support/ports.ts';
import { EVENTS_PATH } from '../support/door.ts';
import { superuserUrlOf } from '../support/stores.ts';
import { commandWeir, startWeir } from '../support/weir.ts';

/** However busy the machine is. */
const SOON = { timeout: 20_000 };
/** Starting all of it. */
const WHOLE = { timeout: 40_000, interval: 100 };

let dir: string;
const started: EmbeddedStore[] = [];

beforeEach(async () => {
  // As under /root: nobody but the owner may walk through, and Postgres does not run as root.
  const locked = await mkdtemp(join(tmpdir(), 'weir-embedded-'));
  chmodSync(locked, 0o700);
  dir = join(locked, 'data');
  await mkdir(dir);
});
afterEach(async () => {
  await Promise.all(started.splice(0).map((store) => store.stop()));
  // What a program left behind may still be leaving.
  await rm(join(dir, '..'), { recursive: true, force: true, maxRetries: 40 });
});

type Start = (at: { dir: string; port?: number }) => Promise<EmbeddedStore>;

async function startWith(start: Start, port?: number): Promise<EmbeddedStore> {
  const store = await start({ dir, ...(port === undefined ? {} : { port }) });
  started.push(store);
  return store;
}

async function askClickHouse({ url }: { url: string }, query: string): Promise<string> {
  const answer = await fetch(url, { method: 'POST', body: query });
  const text = await answer.text();
  if (!answer.ok) throw new Error(text);
  return text.trim();
}

async function askPostgres({ url }: { url: string }, query: string): Promise<string> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const { rows } = await client.query({ text: query, rowMode: 'array' });
    return String(rows[0]?.[0] ?? '');
  } finally {
    await client.end();
  }
}

// First starts are many; waiting for the disk is one test's business.
// Who may ask is one test's business.
const startOpenClickHouse: Start = (at) => startEmbeddedClickHouse({ ...at, key: null });
const startQuickPostgres: Start = (at) => startEmbeddedPostgres({ ...at, durable: false });

const kinds = [
  {
    name: 'ClickHouse',
    start: startOpenClickHouse,
    ask: askClickHouse,
    create: 'CREATE TABLE kept (a UInt8) ENGINE = MergeTree ORDER BY a',
  },
  { name: 'Postgres', start: startQuickPostgres, ask: askPostgres, create: 'CREATE TABLE kept (a int)' },
];

describe.each(kinds)('the embedded $name', ({ start, ask, create }) => {
  const count = 'SELECT count(*) FROM kept';

  test('keeps its data over a stop and over kill -9, on the same port when asked', async () => {
    const first = await startWith(start);
    await ask(first, create);
    await ask(first, 'INSERT INTO kept VALUES (1), (2)');
    await first.stop();
    const second = await startWith(start, first.port);
    expect(second.url).toBe(first.url);
    await ask(second, 'INSERT INTO kept VALUES (3)');
    process.kill(second.pid, 'SIGKILL');
    expect(await second.exited).toMatchObject({ signal: 'SIGKILL' });
    const third = await startWith(start, first.port);
    expect(await ask(third, count)).toBe('3');
  });

  test('stops also when it hangs, when it is dead, and twice', async () => {
    const store = await startWith(start);
    process.kill(store.pid, 'SIGSTOP');
    await store.stop();
    await store.stop();
    await expect(ask(store, 'SELECT 1')).rejects.toThrow(/fetch failed|ECONNREFUSED/);
  });

  test('refuses a directory in use and names the owner', async () => {
    const store = await startWith(start);
    await expect(startWith(start)).rejects.toThrow(new RegExp(`in use by the process ${store.pid}`));
    expect(await ask(store, 'SELECT 1')).toBe('1');
  });

  test('names a port that is taken', async () => {
    const squatter = createServer().listen(0, '127.0.0.1');
    await once(squatter, 'listening');
    const { port } = squatter.address() as AddressInfo;
    await expect(startWith(start, port)).rejects.toThrow(`port ${port} is taken`);
    squatter.close();
  });

  test('goes when its parent is killed, and a successor starts at once', async () => {
    const owner = spawn(process.execPath, ['--input-type=module', '-e', ownerProgram(start, dir)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const lines = createInterface({ input: owner.stdout });
    const [line] = (await once(lines, 'line')) as [string];
    const { pid, url } = JSON.parse(line) as { pid: number; url: string };
    await ask({ url }, create);
    owner.kill('SIGKILL');
    await once(owner, 'exit');
    const successor = await startWith(start);
    expect(await ask(successor, count)).toBe('0');
    expect(successor.pid).not.toBe(pid);
  });

  test('does not keep a finished program alive', async () => {
    const program = `${ownerProgram(start, dir)}\nclearInterval(keepAlive);`;
    const owner = spawn(process.execPath, ['--input-type=module', '-e', program], { stdio: 'ignore' });
    const [code] = (await once(owner, 'exit')) as [number];
    expect(code).toBe(0);
  });
});

function ownerProgram(start: Start, at: string): string {
  const [file, name] =
    start === startQuickPostgres ? ['postgres', 'startEmbeddedPostgres'] : ['clickhouse', 'startEmbeddedClickHouse'];
  const url = new URL(`../../src/embedded/${file}.ts`, import.meta.url).href;
  return `const keepAlive = setInterval(() => {}, 1000);
    const { ${name} } = await import(${JSON.stringify(url)});
    const { pid, url } = await ${name}({ dir: ${JSON.stringify(at)}, durable: false, key: null });
    console.log(JSON.stringify({ pid, url }));`;
}

test('the embedded ClickHouse runs with the settings it was given', async () => {
  const store = await startWith(startOpenClickHouse);
  const changed = await askClickHouse(
    store,
    "SELECT name, value FROM system.server_settings WHERE name IN ('background_pool_size', 'max_server_memory_usage', 'keep_alive_timeout') ORDER BY name",
  );
  expect(changed).toBe('background_pool_size\t2\nkeep_alive_timeout\t30\nmax_server_memory_usage\t3000000000');
});

test('the embedded ClickHouse gives way to who waits for answers', async () => {
  const { pid, url } = await startWith(startOpenClickHouse);
  await askClickHouse({ url }, 'SELECT 1');
  const tasks = `/proc/${pid}/task`;
  const niceness = readdirSync(tasks).flatMap((thread) => {
    const [, name, after] = /^\d+ \((.*)\) (.*)\n/.exec(readFileSync(join(tasks, thread, 'stat'), 'utf8'))!;
    // What works on inserts and merges; some of its other threads choose for themselves.
    return /^(HTTPHandler|MergeMutate)/.test(name!) ? [Number(after!.split(' ')[16])] : [];
  });
  expect([...new Set(niceness)]).toEqual([5]);
  // Where sessions are weighed first, that alone would change nothing.
  const session = `/proc/${pid}/autogroup`;
  if (existsSync(session)) await expect.poll(() => readFileSync(session, 'utf8'), SOON).toContain('nice 5');
});

/** Everything that ClickHouse answers by itself, and where a question may be hidden. */
const PATHS = [
  '/',
  '/?query=SELECT+1',
  '/ping',
  '/ping?query=SELECT+1',
  '/play',
  '/play?user=default',
  '/dashboard',
  '/binary',
  '/merges',
  '/jemalloc',
  '/metrics',
  '/js/uplot.js',
  '/js/lz-string.js',
  '/replicas_status',
  '/replicas_status?verbose=1',
  '/api/v1/query?query=1',
  '//?query=SELECT+1',
  '/anything?query=SELECT+1',
];

/** What `url` answers to whoever has `headers`: in any way of asking, at any path. */
async function answersTo(url: string, headers: Record<string, string>): Promise<Set<string>> {
  const asked = PATHS.flatMap((path) =>
    (['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS'] as const).map(async (method) => {
      const body = method === 'POST' || method === 'PUT' ? { body: 'SELECT 1' } : {};
      const answer = await fetch(url + path, { method, headers, ...body });
      const text = await answer.text();
      return `${answer.status} ${text}${answer.headers.get('x-clickhouse-query-id') ?? ''}`;
    }),
  );
  return new Set(await Promise.all(asked));
}

/** With the length and the characters of a key, and another one. */
const nearly = (key: string) => (key.startsWith('0') ? '1' : '0') + key.slice(1);

describe('who may ask the embedded ClickHouse', () => {
  const REFUSED = new Set(['403 ', '403 This ClickHouse belongs to a Weir; ask it through `weir query`.\n']);

  test('it answers nothing to whoever has not its key, at no path and in no way', async () => {
    const key = newKey();
    const { url } = await startWith((at) => startEmbeddedClickHouse({ ...at, key }));
    const strangers: Record<string, string>[] = [
      {},
      { [KEY_HEADER]: '' },
      { [KEY_HEADER]: nearly(key) },
      { [KEY_HEADER]: key.slice(0, -1) },
      { [KEY_HEADER]: `${key}0` },
      { [KEY_HEADER]: 'regex:.*' },
      { 'X-Weir-Keys': key, 'X-ClickHouse-Key': key, 'X-ClickHouse-User': 'default', Authorization: `Bearer ${key}` },
      { Origin: 'http://127.0.0.1:8080', Cookie: `${KEY_HEADER}=${key}` },
    ];
    for (const headers of strangers) expect(await answersTo(url, headers)).toEqual(REFUSED);
    expect(await answersTo(`${url}/?${KEY_HEADER}=${key}&`, {})).toEqual(REFUSED);

    const asked = await fetch(`${url}/?query=SELECT+1`, { headers: { [KEY_HEADER]: key } });
    expect({ status: asked.status, text: await asked.text() }).toEqual({ status: 200, text: '1\n' });
  });

  test('its key lies only where its owner reads, also where an earlier version left other rights', async () => {
    chmodSync(dir, 0o755);
    writeFileSync(join(dir, 'config.xml'), '<clickhouse/>', { mode: 0o644 });
    const key = newKey();
    const { pid } = await startWith((at) => startEmbeddedClickHouse({ ...at, key }));
    expect(statSync(dir).mode & 0o777).toBe(0o700);
    expect(statSync(join(dir, 'config.xml')).mode & 0o777).toBe(0o600);
    // Anybody may read the command line of a process.
    expect(readFileSync(`/proc/${pid}/cmdline`, 'utf8')).not.toContain(key);
    expect(readFileSync(join(dir, 'clickhouse.log'), 'utf8')).not.toContain(key);
  });

  test(
    'a Weir, its workers and its commands have the key, and no line of its log has',
    { timeout: 90_000 },
    async () => {
      const env = {
        PORT: String(freePort()),
        HOST: '127.0.0.1',
        WEIR_DATA_DIR: dir,
        WEIR_WORKERS: '2',
        LOG_LEVEL: 'debug',
      };
      const weir = startWeir(['serve'], { cwd: dir, env });
      try {
        const { url, clickhouseUrl, clickhouseKey, databaseUrl } = await vi.waitFor(() => {
          const runtime = readRuntime(dir);
          if (runtime.kind !== 'running' || runtime.url === null)
            throw new Error(`it is still starting: ${weir.written()}`);
          const { clickhouseUrl, clickhouseKey, databaseUrl } = runtime;
          return {
            url: runtime.url,
            clickhouseUrl: clickhouseUrl!,
            clickhouseKey: clickhouseKey!,
            databaseUrl: databaseUrl!,
          };
        }, WHOLE);
        const ready = async () => expect((await fetch(`${url}/readyz`)).status).toBe(200);
        await vi.waitFor(ready, WHOLE);
        const token = await vi.waitFor(() => /mere_pub_[0-9a-f]{64}/.exec(weir.written())![0], WHOLE);
        await expect(askClickHouse({ url: clickhouseUrl }, 'SELECT 1')).rejects.toThrow(
          'This ClickHouse belongs to a Weir',
        );

        const events = [{ event: 'kept', user_id: 'u1', timestamp: '2026-01-02T03:04:05Z', properties: {} }];
        const headers = { 'content-type': 'application/json', authorization: `Bearer ${token}` };
        const sent = await fetch(url + EVENTS_PATH, { method: 'POST', headers, body: JSON.stringify({ events }) });
        expect(sent.status).toBeLessThan(300);
        const query = () =>
          commandWeir(['query', '--json', "SELECT user_id FROM events WHERE event = 'kept'"], { cwd: dir, env });
        await vi.waitFor(
          async () => expect(await query()).toMatchObject({ code: 0, stdout: '{"user_id":"u1"}\n' }),
          WHOLE,
        );
        await expect(askPostgres({ url: databaseUrl }, "COPY (SELECT 1) TO PROGRAM 'true'")).rejects.toThrow('denied');
        const doctor = await commandWeir(['doctor'], { cwd: dir, env });
        expect(doctor.stdout).toMatch(/ClickHouse/);
        expect(doctor.stdout).not.toMatch(/not ClickHouse|403/);
        expect(weir.written() + doctor.stdout).not.toContain(clickhouseKey);
      } finally {
        weir.child.kill('SIGTERM');
        expect((await weir.finished).code).toBe(0);
      }
    },
  );
});

test('the embedded Postgres writes through to the disk unless told otherwise', async () => {
  const durable = await startWith(startEmbeddedPostgres);
  expect(await askPostgres(durable, 'SHOW fsync')).toBe('on');
  await durable.stop();
  const quick = await startWith((at) => startEmbeddedPostgres({ ...at, durable: false }));
  expect(await askPostgres(quick, 'SHOW fsync')).toBe('off');
});

test('the embedded Postgres writes no value of a refused row into its log', async () => {
  const postgres = await startWith((at) => startEmbeddedPostgres({ ...at, durable: false }));
  await askPostgres(postgres, "CREATE TABLE taken (text text CHECK (text <> 'a secret'))");
  await expect(askPostgres(postgres, "INSERT INTO taken VALUES ('a secret')")).rejects.toThrow('violates check');
  const log = readFileSync(join(dir, 'postgres.log'), 'utf8');
  expect(log).toContain('violates check constraint');
  expect(log).not.toContain('a secret');
});

describe('who Weir is in the embedded Postgres', () => {
  /** What the server's user may do beyond its database, and what lets it get there. */
  const BEYOND = [
    "COPY (SELECT 1) TO PROGRAM 'true'",
    "COPY (SELECT 1) TO '/tmp/anything'",
    "SELECT pg_read_file('PG_VERSION')",
    "SELECT lo_import('/etc/passwd')",
    'SELECT rolpassword FROM pg_authid',
    'ALTER SYSTEM SET fsync = off',
    'SELECT pg_reload_conf()',
    'CREATE ROLE another SUPERUSER',
    'CREATE DATABASE another',
    'ALTER ROLE weir_service SUPERUSER',
    "ALTER ROLE weir PASSWORD 'mine'",
    'SET ROLE weir',
    'CREATE EXTENSION file_fdw',
    "CREATE FUNCTION c() RETURNS int AS 'libc', 'getpid' LANGUAGE c",
    'SET session_preload_libraries = anything',
  ];
  const MAY = `SELECT array[rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls]::text FROM pg_roles
    WHERE rolname = current_user`;
  const READER_MAY = `SELECT array[rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls, rolcanlogin]::text
    FROM pg_roles WHERE rolname = 'weir_reader'`;

  async function expectModest(store: { url: string }) {
    expect(await askPostgres(store, MAY)).toBe('{f,f,f,f,f}');
    const roles = 'SELECT array_agg(roleid::regrole)::text FROM pg_auth_members WHERE member = current_user::regrole';
    expect(await askPostgres(store, roles)).toBe('{weir_reader}');
    expect(await askPostgres(store, READER_MAY)).toBe('{f,f,f,f,f,f}');
    await askPostgres(store, 'SET ROLE weir_reader');
    await askPostgres(store, 'SET temp_file_limit = 1');
    for (const statement of BEYOND) await expect(askPostgres(store, statement), statement).rejects.toThrow(DENIED);
  }
  const DENIED = /permission denied|must be superuser|[Oo]nly roles with|does not exist/;

  test('no superuser, and neither its rights nor the passwords lie about', async () => {
    const store = await startWith(startQuickPostgres);
    await expectModest(store);
    for (const file of ['weir-password', 'weir-service-password'])
      expect(statSync(join(dir, 'data', file)).mode & 0o777, file).toBe(0o600);
  });

  /** As the version before left it: the superuser owns everything, and there is no other role. */
  async function makeAsBefore(): Promise<EmbeddedStore> {
    const before = await startWith(startQuickPostgres);
    const url = superuserUrlOf(dir, before.port);
    await askPostgres({ url }, 'ALTER DATABASE weir OWNER TO weir');
    await askPostgres({ url }, 'DROP OWNED BY weir_service');
    await askPostgres({ url }, 'DROP ROLE weir_service');
    await askPostgres({ url }, 'DROP ROLE weir_reader');
    for (const file of ['weir-service-password', 'weir-reader']) await rm(join(dir, 'data', file));
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    await migratePostgres(client);
    await client.query(`INSERT INTO projects (name) VALUES ('kept')`);
    await client.query(MORE_OBJECTS);
    await client.end();
    expect(Number(await askPostgres({ url }, FOREIGN))).toBeGreaterThan(10);
    return before;
  }

  async function expectHandedOver(store: EmbeddedStore) {
    expect(await askPostgres(store, FOREIGN)).toBe('0');
    expect(await askPostgres(store, 'SELECT name FROM projects')).toBe('kept');
  }

  const TAKES_UP = 'takes up the data directory of a version that was the superuser, killed or not';
  test(TAKES_UP, { timeout: 90_000 }, async () => {
    const before = await makeAsBefore();
    await expect(startWith(startQuickPostgres)).rejects.toThrow(`in use by the process ${before.pid}`);
    process.kill(before.pid, 'SIGKILL');

    const store = await startWith(startQuickPostgres, before.port);
    await expectModest(store);
    await expectHandedOver(store);
    await askPostgres(store, 'ALTER TABLE projects ADD COLUMN more int');
    await askPostgres(store, 'CREATE TABLE another (a int)');
    await askPostgres(store, 'DROP SCHEMA "Odd schema" CASCADE');
    await store.stop();
    // And from then on it is as any other.
    await expectHandedOver(await startWith(startQuickPostgres));
  });

  const INTERRUPTED = 'takes it up as well after a first try that was killed, at whatever step';
  test(INTERRUPTED, { timeout: 90_000 }, async () => {
    await (await makeAsBefore()).stop();
    for (const delayMs of [60, 180]) {
      const start = startEmbeddedPostgres({ dir, durable: false, signal: AbortSignal.timeout(delayMs) });
      // What is so far by then is the machine's affair.
      await start.then(
        (store) => store.stop(),
        (error: Error) => expect(error.message).toContain('the start was given up'),
      );
    }
    const store = await startWith(startQuickPostgres);
    await expectHandedOver(store);

    // Half done, and then the power went: a name without a text.
    const url = superuserUrlOf(dir, store.port);
    await askPostgres({ url }, 'ALTER TABLE projects OWNER TO weir');
    await askPostgres({ url }, 'ALTER DATABASE weir OWNER TO weir');
    await store.stop();
    writeFileSync(join(dir, 'data', 'weir-service-password'), '');
    const again = await startWith(startQuickPostgres);
    await expectHandedOver(again);
    await expectModest(again);
  });

  test('gets the role that projects read under in one of a version without it', async () => {
    const before = await startWith(startQuickPostgres);
    await askPostgres({ url: superuserUrlOf(dir, before.port) }, 'DROP ROLE weir_reader');
    await before.stop();
    await rm(join(dir, 'data', 'weir-reader'));
    await expectModest(await startWith(startQuickPostgres));
  });

  /** One of each kind that has an owner, with names that have to be quoted. */
  const MORE_OBJECTS = `CREATE SCHEMA "Odd schema";
    CREATE TABLE "Odd schema"."A table" (id serial, n int GENERATED ALWAYS AS IDENTITY) PARTITION BY RANGE (id);
    CREATE TABLE "Odd schema".part PARTITION OF "Odd schema"."A table" FOR VALUES FROM (1) TO (9);
    CREATE VIEW "Odd schema".a_view AS SELECT 1 AS one;
    CREATE MATERIALIZED VIEW a_copy AS SELECT 1 AS one;
    CREATE SEQUENCE "Odd schema"."by itself";
    CREATE TYPE mood AS ENUM ('good');
    CREATE TYPE "Odd schema".pair AS (a int, b int);
    CREATE TYPE span AS RANGE (subtype = int);
    CREATE DOMAIN even AS int CHECK (VALUE % 2 = 0);
    CREATE FUNCTION twice(int) RETURNS int LANGUAGE sql AS 'SELECT $1 * 2';
    CREATE PROCEDURE "Odd schema".nothing() LANGUAGE sql AS 'SELECT 1';
    CREATE AGGREGATE total(int) (sfunc = int4pl, stype = int)`;

  /** What is not Postgres's own and does not belong to the service. */
  const FOREIGN = `SELECT count(*) FROM (
      SELECT nspname AS name, nspowner AS owner FROM pg_namespace WHERE nspname !~ '^pg_|^information_schema$|^public$'
      UNION ALL SELECT relname, relowner FROM pg_class WHERE relnamespace::regnamespace::text !~ '^pg_|^information_schema$'
      UNION ALL SELECT proname, proowner FROM pg_proc WHERE pronamespace::regnamespace::text !~ '^pg_|^information_schema$'
      UNION ALL SELECT typname, typowner FROM pg_type WHERE typnamespace::regnamespace::text !~ '^pg_|^information_schema$'
      UNION ALL SELECT datname, datdba FROM pg_database WHERE datname = 'weir') AS things
    WHERE owner IS DISTINCT FROM to_regrole('weir_service')`;
});

test('the embedded Postgres starts its first time in one of two starts at once', async () => {
  const starts = await Promise.allSettled([startWith(startQuickPostgres), startWith(startQuickPostgres)]);
  const winner = starts.find((outcome) => outcome.status === 'fulfilled');
  expect(starts.filter((outcome) => outcome.status === 'rejected')).toHaveLength(1);
  expect(await askPostgres(winner!.value, 'SELECT current_database()')).toBe('weir');
});
