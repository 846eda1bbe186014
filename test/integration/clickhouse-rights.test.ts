/**
 * Weir as a user of ClickHouse with the rights that OPERATIONS lists, and no
 * others. The embedded server has nowhere to keep users that are created in SQL,
 * but reads them with their grants from a file, and holds them to these.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, onTestFinished, test, vi } from 'vitest';
import { putBack } from '../../src/clickhouse/event-store/vanished-rows.ts';
import { createClickHouse } from '../../src/clickhouse/connection/client.ts';
import { startEmbeddedClickHouse } from '../../src/embedded/clickhouse.ts';
import type { EmbeddedStore } from '../../src/embedded/store-process.ts';
import { readRuntime } from '../../src/service/runtime-file.ts';
import { batchIdOf, rowOf } from '../support/rows.ts';
import { startPostgresOnly } from '../support/stores.ts';
import { commandWeir, startWeir } from '../support/weir.ts';

const SETTLED = { timeout: 40_000, interval: 100 };
const OPERATIONS = readFileSync(new URL('../../docs/OPERATIONS.md', import.meta.url), 'utf8');
const PASSWORD = 'secret';

let dir: string;
let clickhouse: EmbeddedStore;
let postgres: Awaited<ReturnType<typeof startPostgresOnly>>;
let env: Record<string, string>;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'weir-rights-'));
  mkdirSync(join(dir, 'config.d'));
  writeFileSync(join(dir, 'config.d/access.xml'), accessOf(join(dir, 'users.xml')));
  writeFileSync(join(dir, 'users.xml'), usersOf(documentedGrants()));
  [clickhouse, postgres] = await Promise.all([startEmbeddedClickHouse({ dir, key: null }), startPostgresOnly()]);
  env = {
    DATABASE_URL: postgres.url,
    CLICKHOUSE_URL: clickhouse.url,
    CLICKHOUSE_USERNAME: 'weir',
    CLICKHOUSE_PASSWORD: PASSWORD,
  };
});
afterAll(async () => {
  await Promise.all([clickhouse?.stop(), postgres?.discard()]);
  rmSync(dir, { recursive: true, force: true });
});

function documentedGrants(): string[] {
  const block = [...OPERATIONS.matchAll(/```sql\n([^`]*)```/g)]
    .map(([, sql]) => sql!)
    .find((sql) => sql.includes('CREATE USER weir'));
  const grants = block!.split(';').map((statement) => statement.replaceAll(/\s+/g, ' ').trim());
  return grants
    .filter((statement) => statement.startsWith('GRANT '))
    .map((statement) => statement.replace(/ TO weir$/, ''));
}

/** As the configuration that servers are installed with: reading system tables needs a grant. */
const accessOf = (usersFile: string) => `<clickhouse>
  <users_config>${usersFile}</users_config>
  <access_control_improvements>
    <select_from_system_db_requires_grant>true</select_from_system_db_requires_grant>
    <select_from_information_schema_requires_grant>true</select_from_information_schema_requires_grant>
  </access_control_improvements>
</clickhouse>`;

const usersOf = (grants: readonly string[]) => `<clickhouse>
  <profiles><default/></profiles>
  <quotas><default/></quotas>
  <users>
    <default><password/><networks><ip>127.0.0.1</ip></networks><profile>default</profile><quota>default</quota></default>
    <weir>
      <password>${PASSWORD}</password>
      <networks><ip>127.0.0.1</ip></networks><profile>default</profile><quota>default</quota>
      <grants>${grants.map((grant) => `<query>${grant}</query>`).join('')}</grants>
    </weir>
  </users>
</clickhouse>`;

async function run(...args: string[]) {
  return commandWeir(args, { cwd: dir, env });
}

async function succeed(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await run(...args);
  expect({ code, stderr }).toEqual({ code: 0, stderr: expect.any(String) });
  return stdout.trim();
}

async function asAdmin(query: string): Promise<void> {
  const client = createClickHouse({ url: clickhouse.url, database: 'analytics' });
  try {
    await client.command({ query });
  } finally {
    await client.close();
  }
}

test('the rights are held to: what is not granted is refused, and said', async () => {
  const client = createClickHouse({ url: clickhouse.url, database: 'default', username: 'weir', password: PASSWORD });
  onTestFinished(() => client.close());
  await expect(client.command({ query: 'CREATE DATABASE elsewhere' })).rejects.toMatchObject({ code: '497' });
  const wanting = { ...env, CLICKHOUSE_DATABASE: 'elsewhere' };
  const { code, stderr } = await commandWeir(['migrate'], { cwd: dir, env: wanting });
  expect(code).toBe(1);
  expect(stderr).toMatch(/\(497, weir: Not enough privileges\. .*CREATE DATABASE ON elsewhere.*\): grant the user/);
});

test('with them the log of views is read', async () => {
  const client = createClickHouse({ url: clickhouse.url, database: 'default', username: 'weir', password: PASSWORD });
  onTestFinished(() => client.close());
  await client.command({ query: 'SYSTEM FLUSH LOGS query_views_log' });
  // Made by the first insert that feeds a view; refused would be 497.
  const read = client.query({ query: 'SELECT view_name FROM system.query_views_log', format: 'JSONEachRow' });
  expect([undefined, '60']).toContain(await read.then(() => undefined).catch(({ code }: { code: string }) => code));
});

// Many commands, each with connections of its own.
test('with them Weir does all that it does', { timeout: 240_000 }, async () => {
  await succeed('migrate');
  const project = await succeed('project', 'create', 'shop');
  const token = await succeed('token', 'create', '--project', project);
  const secret = await succeed('token', 'create', '--project', project, '--secret');
  // Something that only storing finds out, so that bad rows have to be told apart.
  await asAdmin(`ALTER TABLE events_raw_v1 ADD CONSTRAINT mild CHECK event != 'bad'`);
  const url = await serve();

  const events = ['good', 'bad', 'better'].map((event) => ({
    event,
    timestamp: Math.floor(Date.now() / 1_000),
    user_id: 'u1',
  }));
  const accepted = await fetch(`${url}/api/v1/ingest/events`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}` },
    body: JSON.stringify({ events }),
  });
  expect(accepted.status).toBe(202);
  await vi.waitFor(async () => {
    const stored = await succeed('query', 'SELECT event FROM events ORDER BY event', '--json');
    expect(stored).toBe('{"event":"better"}\n{"event":"good"}');
    expect(JSON.parse(await succeed('dlq', 'stats', '--json'))).toMatchObject({
      byState: { quarantined: { events: 1 } },
    });
  }, SETTLED);

  const asked = await fetch(`${url}/api/v1/projects/${project}/query`, {
    method: 'POST',
    headers: { authorization: `Bearer ${secret}` },
    body: JSON.stringify({ sql: 'SELECT count() AS n FROM events' }),
  });
  expect(await asked.json()).toMatchObject({ rows: [['2']] });
  await abandonQuestions(`${url}/api/v1/projects/${project}/query`, secret);
  const counted = await fetch(`${url}/metrics?event_name=good`, { headers: { authorization: `Bearer ${secret}` } });
  expect(counted.status, await counted.text()).toBe(200);

  for (const name of ['plan', 'seats']) await succeed('property', 'promote', name);
  const listed = JSON.parse(await succeed('property', 'ls', '--json')) as { rows: number; stored: number }[];
  expect(listed.map(({ rows, stored }) => rows - stored)).toEqual([0, 0]);
  await succeed('property', 'demote', 'plan', '--yes');

  await succeed('dlq', 'replay', '--all', '--dry-run');
  await succeed('project', 'retention', project, '24h', '--existing', '--yes');
  const doctor = await run('doctor');
  expect(doctor.stdout).toMatch(/^ok {4}ClickHouse: version/m);
  expect(doctor.stdout).toMatch(/^ok {4}ClickHouse disk/m);
  expect(doctor.stdout).toContain('ok    ClickHouse schema: as expected');
  expect((await run('doctor', '--reconcile')).stdout).not.toMatch(/497/);
  await succeed('project', 'delete', project, '--yes');
  // Dead letters are counted every now and then.
  await vi.waitFor(async () => {
    const health: unknown = await (await fetch(`${url}/health`)).json();
    expect(health).toMatchObject({ clickhouse_connected: true, reasons: [] });
  }, SETTLED);
});

/** Both places of a project are free again when Weir may see and stop its own queries, long before it would give up looking. */
async function abandonQuestions(address: string, secret: string): Promise<void> {
  const ask = (sql: string, signal?: AbortSignal) =>
    fetch(address, {
      method: 'POST',
      headers: { authorization: `Bearer ${secret}` },
      body: JSON.stringify({ sql }),
      ...(signal && { signal }),
    });
  const endless =
    'SELECT count() FROM (SELECT arrayJoin(range(1000000))) AS a CROSS JOIN (SELECT arrayJoin(range(1000000))) AS b';
  const weir = createClickHouse({ url: clickhouse.url, database: 'default', username: 'weir', password: PASSWORD });
  onTestFinished(() => weir.close());
  const running = async () => {
    const query = `SELECT query_id FROM system.processes WHERE query_kind = 'Select' AND query LIKE '%CROSS JOIN%' AND query NOT LIKE '%processes%'`;
    return (await weir.query({ query, format: 'JSONEachRow' })).json<{ query_id: string }>();
  };
  const leaving = new AbortController();
  const abandoned = [0, 1].map(() => ask(endless, leaving.signal).catch(() => null));
  await vi.waitFor(async () => expect(await running()).toHaveLength(2), SETTLED);
  leaving.abort();
  await Promise.all(abandoned);
  await vi.waitFor(async () => expect(await running()).toEqual([]), SETTLED);
  await vi.waitFor(async () => expect((await ask('SELECT 1')).status).toBe(200), SETTLED);
}

/** A Weir of its own process; its address. */
async function serve(): Promise<string> {
  const dataDir = join(dir, 'serving');
  const weir = startWeir(['serve'], {
    cwd: dir,
    env: { ...env, PORT: '0', HOST: '127.0.0.1', WEIR_DATA_DIR: dataDir },
  });
  onTestFinished(async () => {
    weir.child.kill('SIGTERM');
    await weir.finished;
    expect(weir.written()).not.toMatch(/"code":497|ACCESS_DENIED|Not enough privileges/);
  });
  return vi.waitFor(async () => {
    const runtime = readRuntime(dataDir);
    const url = runtime.kind === 'running' ? runtime.url : null;
    expect(url).not.toBeNull();
    expect((await fetch(`${url}/ready`)).status).toBe(200);
    return url!;
  }, SETTLED);
}

test('with them rows that vanished are put back', async () => {
  const client = createClickHouse({ url: clickhouse.url, database: 'analytics', username: 'weir', password: PASSWORD });
  onTestFinished(() => client.close());
  const select = async <Row>(query: string, query_params = {}) =>
    (await client.query({ query, query_params, format: 'JSONEachRow' })).json<Row>();
  const count = 'SELECT toUInt32(count()) AS n FROM analytics.events_raw_v1';
  const [before] = await select<{ n: number }>(count);
  await putBack(
    [rowOf({ n: 1 })],
    batchIdOf(1),
    { database: 'analytics', table: 'events_raw_v1', columns: ['project_id', 'event_id', 'event', 'received_at'] },
    {
      run: async (statement, rows) =>
        void (await client.command({
          query: `${statement}\n${Buffer.concat([...rows]).toString()}`,
          clickhouse_settings: { date_time_input_format: 'best_effort', input_format_skip_unknown_fields: 1 },
        })),
      ask: select,
    },
  );
  expect(await select(count)).toEqual([{ n: before!.n + 1 }]);
});
