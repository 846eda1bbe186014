/** A Weir that knows one database: Postgres stores the events too, and nothing it says names a ClickHouse. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { createProjects } from '../../src/postgres/accounts/projects.ts';
import { createTokens } from '../../src/postgres/accounts/tokens.ts';
import { type OpenDoor, openDoor } from '../support/door.ts';
import { type PostgresStores, startPostgresStores } from '../support/stores.ts';
import { commandWeir } from '../support/weir.ts';

const QUICK = { INGEST_FLUSH_INTERVAL: '50ms', DLQ_DRAIN_INTERVAL: '50ms' };
const WAIT = { timeout: 30_000, interval: 50 };

let stores: PostgresStores;
let cwd: string;
let door: OpenDoor;

beforeAll(async () => {
  stores = await startPostgresStores();
  cwd = mkdtempSync(join(tmpdir(), 'weir-postgres-'));
  door = await openDoor(stores, QUICK);
  await vi.waitFor(async () => expect((await door.ask('/ready')).status).toBe(200), WAIT);
});
afterAll(async () => {
  await door.stop();
  await stores.stop();
  rmSync(cwd, { recursive: true, force: true });
});

const weir = (...args: string[]) =>
  commandWeir(args, { env: { EVENT_STORE: 'postgres', DATABASE_URL: stores.databaseUrl }, cwd });

async function newProject(name: string, retentionSeconds: number | null = null) {
  const { id } = await createProjects(stores.postgres.db).create({ name, retentionSeconds, allowedOrigins: [] });
  const tokens = createTokens(stores.postgres.db);
  const tokenOf = async (kind: 'public' | 'secret') =>
    (await tokens.create({ projectId: id, kind, name: null, imported: null }))!.plaintext;
  return { id, token: await tokenOf('public'), secret: await tokenOf('secret') };
}

const sent = (token: string, events: readonly object[]) =>
  door.send({ events }, { authorization: `Bearer ${token}` }, '?ack=stored');

const eventsOf = (count: number, fields: object = {}) =>
  Array.from({ length: count }, (_, index) => ({
    event: 'visit',
    event_id: randomUUID(),
    user_id: `user-${index % 3}`,
    timestamp: new Date().toISOString(),
    properties: { index },
    ...fields,
  }));

describe('a running one', () => {
  test('stores what it acknowledges as stored, and names no ClickHouse', async () => {
    const { token, id } = await newProject('plain');
    const { status, headers } = await sent(token, eventsOf(10));
    expect([status, headers.get('weir-ack')]).toEqual([202, 'stored']);
    expect(
      await stores.select(`SELECT count(*)::int AS n FROM analytics.events_raw WHERE project_id = '${id}'`),
    ).toEqual([{ n: 10 }]);
    const health = await door.health();
    expect(health).toMatchObject({ status: 'ok', reasons: [], postgres_connected: true });
    expect(health).not.toHaveProperty('clickhouse_connected');
    const page = (await door.ask('/internal/metrics')).text;
    expect(page).toContain('weir_postgres_up 1');
    expect(page + JSON.stringify(health) + door.logged()).not.toMatch(/clickhouse/i);
  });

  test('isolates exactly the events that a constraint refuses, and stores them once it is gone', async () => {
    const { id, token } = await newProject('poisoned');
    await stores.select(`ALTER TABLE analytics.events_raw ADD CONSTRAINT no_poison CHECK (event <> 'poison')`);
    const events = eventsOf(60).map((event, index) => (index % 20 === 7 ? { ...event, event: 'poison' } : event));
    await sent(token, events);
    const quarantined = () =>
      stores.select<{ events: number }>(
        `SELECT sum(event_count)::int AS events FROM failed_events WHERE quarantined_at IS NOT NULL AND '${id}' = ANY (project_ids)`,
      );
    await vi.waitFor(async () => expect(await quarantined()).toEqual([{ events: 3 }]), WAIT);
    const stored = () =>
      stores.select(`SELECT count(*)::int AS n FROM analytics.events_raw WHERE project_id = '${id}'`);
    expect(await stored()).toEqual([{ n: 57 }]);

    const tried = await weir('dlq', 'replay', '--all', '--dry-run', '--json');
    expect(tried.stderr).toBe('');
    expect(JSON.parse(tried.stdout)).toMatchObject({ letters: [{ refused: 3, wouldPass: 0 }] });
    await stores.select('ALTER TABLE analytics.events_raw DROP CONSTRAINT no_poison');
    expect(JSON.parse((await weir('dlq', 'replay', '--all', '--dry-run', '--json')).stdout)).toMatchObject({
      letters: [{ refused: 0, wouldPass: 3 }],
    });
    expect((await weir('dlq', 'replay', '--all')).code).toBe(0);
    await vi.waitFor(async () => expect(await stored()).toEqual([{ n: 60 }]), WAIT);
  });
});

test('a rejected event that is accepted today is stored, once', async () => {
  const { id, token } = await newProject('rejected');
  const strict = await openDoor(stores, { ...QUICK, INGEST_KEEP_REJECTED: '10', INGEST_MAX_FUTURE: '1h' });
  try {
    const event = { ...eventsOf(1)[0], timestamp: new Date(Date.now() + 2 * 3_600_000).toISOString() };
    const headers = { authorization: `Bearer ${token}` };
    await vi.waitFor(
      async () => expect((await strict.send({ events: [event] }, headers)).json).toMatchObject({ rejected: 1 }),
      WAIT,
    );
    await vi.waitFor(
      async () =>
        expect((await weir('rejected', 'replay', '--project', id, '--dry-run', '--json')).stdout).toContain(
          '"accepted":1',
        ),
      WAIT,
    );
    expect((await weir('rejected', 'replay', '--project', id, '--json')).code).toBe(0);
    const stored = () =>
      stores.select(`SELECT count(*)::int AS n FROM analytics.events_raw WHERE project_id = '${id}'`);
    await vi.waitFor(async () => expect(await stored()).toEqual([{ n: 1 }]), WAIT);
  } finally {
    await strict.stop();
  }
});

describe('an operator', () => {
  test('migrates what is migrated, as often as they like', async () => {
    expect(JSON.parse((await weir('migrate', '--json')).stdout)).toEqual({ postgres: [], rebuild: { kind: 'done' } });
    expect((await weir('migrate')).stderr).toBe('All tables are up to date.\n');
  });

  test('asks in SQL, for a table and for lines of JSON, and changes nothing', async () => {
    const json = await weir(
      'query',
      '--json',
      `SELECT 1 AS one, 'a' || chr(10) AS two, '{"x":[1]}'::json AS three, 12345678901234567890::numeric AS four; `,
    );
    expect(json).toEqual({
      code: 0,
      stdout: '{"one":1,"two":"a\\n","three":{"x":[1]},"four":12345678901234567890}\n',
      stderr: '',
    });
    const table = await weir('query', 'SELECT n, NULL AS nothing FROM generate_series(8, 11) AS n -- all');
    expect(table.stdout).toBe(' n  nothing\n 8  \\N\n 9  \\N\n10  \\N\n11  \\N\n');
    expect(
      (await weir('query', '--json', 'SELECT n FROM generate_series(1, 2500) AS n')).stdout.split('\n'),
    ).toHaveLength(2501);
    expect((await weir('query', 'EXPLAIN SELECT 1')).stdout).toContain('Result');
    expect((await weir('query', 'SELECT 1 AS one WHERE false')).stdout).toBe('one\n');

    for (const statement of [
      'DELETE FROM analytics.events_raw',
      'SELECT 1; DELETE FROM analytics.events_raw',
      'SELECT 1; COMMIT; DELETE FROM analytics.events_raw',
      `WITH gone AS (DELETE FROM analytics.events_raw RETURNING 1) SELECT * FROM gone`,
      'SELECT wrong FROM nowhere',
      "SELECT set_config('transaction_read_only', 'off', false)",
    ]) {
      for (const options of [[], ['--json']]) {
        const { code, stderr } = await weir('query', ...options, statement);
        expect([code, stderr]).toEqual([1, expect.stringMatching(/^Postgres refused the query \([0-9A-Z]{5}\): /)]);
      }
    }
  });

  test('deletes a project with all its events, and no other', async () => {
    const [gone, kept] = [await newProject('gone'), await newProject('kept')];
    const linked = { event: '$identify', anonymous_id: 'a-1', user_id: 'u-1' };
    for (const { token } of [gone, kept]) await sent(token, [...eventsOf(20), ...eventsOf(1, linked)]);
    await stores.postgres.pool.query(
      `INSERT INTO analytics.event_users_daily (project_id, event, day, users, events, places)
       SELECT id::uuid, 'visit', '2026-05-04', 1, 1, 0::bit(262144) FROM unnest($1::text[]) AS id`,
      [[gone.id, kept.id]],
    );
    const { code, stdout, stderr } = await weir('project', 'delete', gone.id, '--yes', '--json');
    expect([code, stderr]).toEqual([0, 'Tokens revoked.\n']);
    expect(JSON.parse(stdout)).toMatchObject({
      deleted: gone.id,
      tables: [
        { table: 'events_raw', rows: 21, left: 0 },
        { table: 'event_counts_hourly', left: 0 },
        { table: 'event_users_daily', rows: 1, left: 0 },
        { table: 'identities', rows: 1, left: 0 },
      ],
    });
    for (const table of ['events_raw', 'event_counts_hourly', 'event_users_daily', 'identities']) {
      const left = await stores.select<{ project_id: string }>(
        `SELECT DISTINCT project_id::text FROM analytics.${table} WHERE project_id IN ('${gone.id}', '${kept.id}')`,
      );
      expect(left).toEqual([{ project_id: kept.id }]);
    }
    expect((await weir('project', 'delete', kept.id, '--yes')).stderr).toContain('Postgres: 21 events removed.');
  });

  test('gives stored events another retention, and deletes at once what is too old for it', async () => {
    const { id, token } = await newProject('retained');
    const other = await newProject('untouched');
    await sent(token, eventsOf(30));
    await sent(other.token, eventsOf(5));
    // Three hours ago may have been another month.
    await stores.select(`SELECT analytics.add_partition(now() - interval '3 hours')`);
    await stores.select(
      `UPDATE analytics.events_raw SET received_at = received_at - interval '3 hours'
       WHERE project_id = '${id}' AND (properties ->> 'index')::int < 10`,
    );
    const state = JSON.parse(
      (await weir('project', 'retention', id, '2h', '--existing', '--dry-run', '--json')).stdout,
    );
    expect(state).toMatchObject({ stored: 30, differing: 30, expiring: 10 });
    const changed = await weir('project', 'retention', id, '2h', '--existing', '--yes', '--json');
    expect(JSON.parse(changed.stdout)).toMatchObject({ stored: { changed: 30, expired: 10, left: 0 } });
    const stamped = await stores.select(
      `SELECT count(*)::int AS n, bool_and(expires_at = date_trunc('second', received_at) + interval '2 hours') AS is_right
       FROM analytics.events_raw WHERE project_id = '${id}'`,
    );
    expect(stamped).toEqual([{ n: 20, is_right: true }]);
    await weir('project', 'retention', id, 'none', '--existing', '--yes');
    expect(
      await stores.select(`SELECT count(*)::int AS n FROM analytics.events_raw WHERE expires_at IS NOT NULL`),
    ).toEqual([{ n: 0 }]);
    expect(
      await stores.select(`SELECT count(*)::int AS n FROM analytics.events_raw WHERE project_id = '${other.id}'`),
    ).toEqual([{ n: 5 }]);
  });

  test('finds no link of a placeholder, and removes one that a later version takes for one', async () => {
    const { id, token } = await newProject('linked');
    await sent(token, [
      ...eventsOf(1, { event: '$identify', anonymous_id: 'undefined', user_id: 'u-1' }),
      ...eventsOf(1, { event: '$identify', anonymous_id: 'a-1', user_id: 'u-1' }),
    ]);
    expect(JSON.parse((await weir('identities', 'clean', '--project', id, '--json')).stdout)).toEqual({
      applied: false,
      links: [],
    });
    await stores.select(
      `INSERT INTO analytics.identities SELECT project_id, event_id, received_at, 'null', user_id
       FROM analytics.identities WHERE project_id = '${id}'`,
    );
    const cleaned = await weir('identities', 'clean', '--project', id, '--apply', '--yes', '--json');
    expect(JSON.parse(cleaned.stdout)).toMatchObject({ projects: [{ project: id, removed: 1, restored: 0, left: 0 }] });
    expect(await stores.select(`SELECT anonymous_id FROM analytics.identities WHERE project_id = '${id}'`)).toEqual([
      { anonymous_id: 'a-1' },
    ]);
  });

  test('is told that columns of properties are for ClickHouse, and of an index that works here', async () => {
    for (const args of [['promote', "it's.plan"], ['demote', 'plan', '--yes'], ['ls']]) {
      const { code, stderr } = await weir('property', ...args);
      expect([code, stderr]).toEqual([1, expect.stringContaining('CREATE INDEX ON analytics.events_raw')]);
    }
    const { stderr } = await weir('property', 'promote', "it's.plan");
    const statement = /CREATE INDEX .*;/.exec(stderr)![0];
    await stores.select(statement);
    const { token } = await newProject('indexed');
    // Longer than an index takes.
    const { status } = await sent(token, eventsOf(2, { properties: { "it's": { plan: 'x'.repeat(20_000) } } }));
    expect(status).toBe(202);
    expect((await weir('doctor', '--json')).stdout).not.toContain('"fail"');
  });

  test('sees with doctor what is wrong with the tables, and nothing of ClickHouse', async () => {
    const doctor = await weir('doctor', '--json');
    const checks = JSON.parse(doctor.stdout) as { name: string; outcome: string; remedy: string | null }[];
    expect(checks.filter(({ outcome }) => outcome !== 'ok').map(({ name }) => name)).toEqual([]);
    expect(checks.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['Postgres', 'events in Postgres', 'identity links']),
    );
    expect(doctor.stdout).not.toMatch(/clickhouse/i);
  });

  test('sees with doctor what an administrator has to grant', async () => {
    await stores.select(
      `CREATE ROLE limited LOGIN PASSWORD 'limited'; GRANT USAGE ON SCHEMA analytics, monitor, drizzle TO limited;
       GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public, drizzle, analytics TO limited`,
    );
    const url = new URL(stores.databaseUrl);
    url.username = url.password = 'limited';
    const check = async (name: string) => {
      const env = { EVENT_STORE: 'postgres', DATABASE_URL: url.href };
      const { stdout } = await commandWeir(['doctor', '--json'], { env, cwd });
      return (JSON.parse(stdout) as { name: string }[]).find((one) => one.name === name);
    };
    const told = (statement: string) => ({ remedy: expect.stringContaining(statement) });
    expect(await check('rights on events')).toMatchObject({ outcome: 'fail', ...told('GRANT weir TO limited') });
    await stores.select('GRANT weir TO limited');
    expect(await check('rights on events')).toBeUndefined();
    expect(await check('queries of projects')).toMatchObject({
      outcome: 'warn',
      ...told('GRANT weir_reader TO limited'),
    });
    await stores.select('GRANT weir_reader TO limited');
    expect(await check('queries of projects')).toMatchObject({ outcome: 'ok' });
  });

  test('sees with --reconcile that the ledger closes, copies that clients sent again included', async () => {
    const { token, id } = await newProject('reconciled');
    const events = eventsOf(12);
    await sent(token, events);
    await sent(token, events);
    const all = await weir('doctor', '--reconcile', '--json', '--url', door.url);
    const { checks, stores: counts } = JSON.parse(all.stdout) as {
      checks: { name: string; outcome: string }[];
      stores: { store: string; events: { counted: number; landed: number } };
    };
    expect(checks.filter(({ outcome }) => outcome === 'fail')).toEqual([]);
    expect(counts.store).toBe('Postgres');
    expect(counts.events.landed - counts.events.counted).toBeGreaterThanOrEqual(12);
    const one = JSON.parse((await weir('doctor', '--reconcile', '--json', '--project', id)).stdout);
    expect(one.stores.events).toEqual({ rows: 12, distinctRows: 12, counted: 12, landed: 12 });
    expect((await weir('doctor', '--reconcile', '--url', door.url)).stdout).not.toMatch(/clickhouse/i);
  });
});
