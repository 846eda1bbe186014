/** Weir as a user of Postgres with the documented rights and no others, in a schema of its own, and over a socket. */
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { readJournal } from '../../src/postgres/migrations/migrations.ts';
import { readRuntime } from '../../src/service/runtime-file.ts';
import { startStores, type Stores } from '../support/stores.ts';
import { commandWeir, startWeir } from '../support/weir.ts';

const SETTLED = { timeout: 30_000, interval: 100 };
const OPERATIONS = readFileSync(new URL('../../docs/OPERATIONS.md', import.meta.url), 'utf8');
const PASSWORD = 'secret';

let stores: Stores;
let cwd: string;
beforeAll(async () => {
  stores = await startStores();
  cwd = mkdtempSync(join(tmpdir(), 'weir-roles-'));
});
afterAll(async () => {
  await stores?.stop();
  rmSync(cwd, { recursive: true, force: true });
});

const admin = (statement: string) => stores.postgres.pool.query(statement);

function urlOf(user: string, database: string, more = ''): string {
  const url = new URL(stores.databaseUrl);
  return `postgres://${user}:${PASSWORD}@${url.host}/${database}${more}`;
}

async function run(databaseUrl: string, ...args: string[]) {
  const env = { DATABASE_URL: databaseUrl, CLICKHOUSE_URL: stores.clickhouseUrl };
  return commandWeir(args, { cwd, env });
}

async function rowsOf(databaseUrl: string, statements: string): Promise<unknown[]> {
  const client = new Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    const answer = (await client.query(statements)) as { rows?: unknown[] };
    return answer.rows ?? [];
  } finally {
    await client.end();
  }
}

/** A database of its own with a user that owns it. */
async function ownedBy(user: string): Promise<string> {
  await admin(`CREATE ROLE ${user} LOGIN PASSWORD '${PASSWORD}'`);
  await admin(`CREATE DATABASE ${user} OWNER ${user}`);
  return urlOf(user, user);
}

const schemasOf = (databaseUrl: string) =>
  rowsOf(
    databaseUrl,
    `SELECT DISTINCT schemaname FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1`,
  );

/** Does a bit of everything that Weir does in Postgres. */
async function expectToWork(databaseUrl: string): Promise<void> {
  const doctor = await run(databaseUrl, 'doctor');
  expect(doctor.stdout).toMatch(/^ok {4}Postgres: version/m);
  expect(doctor.stdout).toContain(`ok    Postgres schema: all ${readJournal().length} migrations applied`);
  const project = (await run(databaseUrl, 'project', 'create', 'shop')).stdout.trim();
  const commands = [
    ['token', 'create', '--project', project],
    ['project', 'retention', project, '90d'],
    ['intake', 'disable'],
    ['intake', 'enable'],
    ['dlq', 'pause'],
    ['dlq', 'resume'],
    ['dlq', 'stats'],
    ['dlq', 'replay', '--all'],
    ['dlq', 'discard', '--all-quarantined', '--reason', 'none', '--yes'],
    ['project', 'delete', project, '--keep-events', '--yes'],
  ];
  for (const command of commands)
    expect(await run(databaseUrl, ...command), command.join(' ')).toMatchObject({ code: 0 });
}

test('a user with exactly the documented rights runs the service, once somebody else has migrated', async () => {
  const blocks = [...OPERATIONS.matchAll(/```sql\n([^`]*)```/g)].map(([, sql]) =>
    // The server of the tests has a user and a database of that name already.
    sql!.replaceAll('…', PASSWORD).replaceAll(/\bweir\b/g, 'service'),
  );
  const asSuperuser = blocks.find((sql) => sql.includes('CREATE ROLE weir_owner'))!;
  const asOwner = blocks.find((sql) => sql.includes('GRANT USAGE ON SCHEMA public'))!;
  // Each by itself: a database cannot be created among others.
  for (const statement of asSuperuser.split(';\n').filter((text) => text.trim() !== '')) await admin(statement);
  const owner = urlOf('weir_owner', 'service');
  const user = urlOf('service', 'service');

  const early = await run(user, 'migrate');
  expect(early).toMatchObject({ code: 1, stderr: expect.stringMatching(/\(42501, permission denied for .*\): grant/) });
  expect(await run(owner, 'migrate')).toMatchObject({ code: 0 });
  await rowsOf(owner, asOwner);
  expect(await run(user, 'migrate')).toMatchObject({ code: 0, stderr: 'All tables are up to date.\n' });
  await expectToWork(user);
  await expect(rowsOf(user, 'ALTER TABLE projects ADD COLUMN anything int')).rejects.toThrow('must be owner');

  const dataDir = join(cwd, 'serving');
  const env = {
    PORT: '0',
    HOST: '127.0.0.1',
    WEIR_DATA_DIR: dataDir,
    DATABASE_URL: user,
    CLICKHOUSE_URL: stores.clickhouseUrl,
  };
  const weir = startWeir(['serve'], { cwd, env });
  onTestFinished(async () => {
    weir.child.kill('SIGTERM');
    await weir.finished;
  });
  await vi.waitFor(async () => {
    const runtime = readRuntime(dataDir);
    const url = runtime.kind === 'running' && runtime.url !== null ? runtime.url : 'http://127.0.0.1:1';
    const answer = await fetch(new URL('/health', url));
    expect(await answer.json()).toMatchObject({ status: 'ok', reasons: [], postgres_connected: true });
  }, SETTLED);
});

describe('doctor lists the rights that a user lacks, as the statements that give them', () => {
  const grantsIn = (stdout: string) => stdout.match(/GRANT [^;]+;/g) ?? [];

  test.each([
    { schema: 'public', owner: 'owner_of_public', user: 'user_of_public' },
    { schema: '"Odd schema"', owner: 'owner_apart', user: '"User apart"' },
  ])('in $schema', async ({ schema, owner, user }) => {
    const url = await ownedBy(owner);
    await admin(`CREATE ROLE ${user} LOGIN PASSWORD '${PASSWORD}'`);
    await rowsOf(url, `CREATE SCHEMA IF NOT EXISTS ${schema}`);
    // As careful installations do.
    await rowsOf(url, `REVOKE ALL ON SCHEMA ${schema} FROM PUBLIC`);
    for (const role of [owner, user]) await admin(`ALTER ROLE ${role} SET search_path = nothing, ${schema}`);
    const its = urlOf(encodeURIComponent(user.replaceAll('"', '')), owner);
    expect(await run(url, 'migrate')).toMatchObject({ code: 0 });

    const bare = await run(its, 'doctor');
    expect(bare.code).toBe(1);
    expect(bare.stdout).toMatch(/^FAIL {2}Postgres rights: /m);
    // One by one: what is given is not asked for again, and the rest is.
    const grants = grantsIn(bare.stdout);
    expect(grants).toContain(`GRANT USAGE ON SCHEMA ${schema} TO ${user};`);
    expect(grants).toContain(`GRANT DELETE, INSERT, SELECT, UPDATE ON ${schema}.failed_events TO ${user};`);
    const [last] = grants.slice(-1);
    await rowsOf(url, grants.slice(0, -1).join('\n'));
    expect(grantsIn((await run(its, 'doctor')).stdout)).toEqual([last]);
    await rowsOf(url, last!);
    expect((await run(its, 'doctor')).stdout).toContain('ok    Postgres rights: all that Weir needs');
    await expectToWork(its);

    await rowsOf(url, `REVOKE UPDATE ON ${schema}.settings FROM ${user}`);
    const wanting = await run(its, 'doctor');
    expect(grantsIn(wanting.stdout)).toEqual([`GRANT UPDATE ON ${schema}.settings TO ${user};`]);
    expect(wanting.code).toBe(1);
  });

  test('not the one for the ballast, where there is to be none', async () => {
    const url = await ownedBy('without_ballast');
    await admin(`CREATE ROLE modest LOGIN PASSWORD '${PASSWORD}'`);
    await run(url, 'migrate');
    const env = { DATABASE_URL: urlOf('modest', 'without_ballast'), CLICKHOUSE_URL: stores.clickhouseUrl };
    const ballast = 'GRANT CREATE ON SCHEMA public TO modest;';
    const { stdout } = await commandWeir(['doctor'], { cwd, env });
    expect(grantsIn(stdout)).toContain(ballast);
    const without = await commandWeir(['doctor'], { cwd, env: { ...env, DLQ_BALLAST_BYTES: '0' } });
    expect(grantsIn(without.stdout)).not.toContain(ballast);
    expect(grantsIn(without.stdout).length).toBeGreaterThan(5);
  });
});

describe('a schema other than public', () => {
  test('of the role: everything is in it, the list of migrations too', async () => {
    const url = await ownedBy('apart');
    await rowsOf(url, 'CREATE SCHEMA own; ALTER ROLE apart SET search_path = own');
    expect(await run(url, 'migrate')).toMatchObject({ code: 0 });
    expect(await schemasOf(url)).toEqual([{ schemaname: 'own' }]);
    await expectToWork(url);
  });

  test('of the URL: two installations share a database', async () => {
    const url = await ownedBy('shared');
    await rowsOf(url, 'CREATE SCHEMA one; CREATE SCHEMA "Two"');
    const one = `${url}?options=-c%20search_path%3Done`;
    const two = `${url}?options=-c%20search_path%3D%22Two%22`;
    for (const each of [one, two, url]) expect(await run(each, 'migrate')).toMatchObject({ code: 0 });
    expect(await schemasOf(url)).toEqual(['Two', 'drizzle', 'one', 'public'].map((schemaname) => ({ schemaname })));
    await run(one, 'project', 'create', 'only-here');
    expect((await run(two, 'project', 'list')).stdout).not.toContain('only-here');
    expect((await run(one, 'project', 'list')).stdout).toContain('only-here');
    await expectToWork(two);
  });

  test('that somebody creates later, with the name of the user, changes nothing', async () => {
    const url = await ownedBy('later');
    expect(await run(url, 'migrate')).toMatchObject({ code: 0 });
    await rowsOf(url, 'CREATE SCHEMA later');
    expect(await run(url, 'migrate')).toMatchObject({ code: 0, stderr: 'All tables are up to date.\n' });
    await expectToWork(url);
  });

  test('that does not exist is named as what is wrong', async () => {
    const url = await ownedBy('nowhere');
    const lost = await run(`${url}?options=-c%20search_path%3Dnosuch`, 'migrate');
    expect(lost).toMatchObject({ code: 1, stderr: expect.stringContaining('no schema of the search_path exists') });
    const doctor = await run(`${url}?options=-c%20search_path%3Dnosuch`, 'doctor');
    expect(doctor.stdout).toMatch(/FAIL {2}Postgres: .*no schema of the search_path exists/);
  });

  test('in another spelling is refused at the start', async () => {
    const refused = await run(`${stores.databaseUrl}?schema=own`, 'doctor');
    expect(refused.stdout).toContain(
      'FAIL  configuration: DATABASE_URL: schema= would be ignored; set the search path',
    );
  });
});

test('a socket is an address too', async () => {
  const socket = createServer((client) => {
    const server = connect(stores.postgresServer.port, '127.0.0.1');
    client.on('error', () => server.destroy()).on('close', () => server.destroy());
    server.on('error', () => client.destroy()).on('close', () => client.destroy());
    client.pipe(server).pipe(client);
  });
  socket.listen(join(cwd, '.s.PGSQL.5432'));
  await once(socket, 'listening');
  onTestFinished(() => void socket.close());
  const { username, password, pathname } = new URL(stores.databaseUrl);
  for (const url of [
    `postgres://${username}:${password}@${pathname}?host=${cwd}`,
    `postgres://${pathname}?host=${cwd}&user=${username}&password=${password}`,
    `postgres://${username}:${password}@${encodeURIComponent(cwd)}${pathname}`,
  ]) {
    expect((await run(url, 'doctor')).stdout).toMatch(/^ok {4}Postgres: version/m);
  }
});
