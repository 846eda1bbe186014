import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { claimRuntime } from '../../src/service/runtime-file.ts';
import { startStores, type Stores } from '../support/stores.ts';
import { commandWeir, runWeir } from '../support/weir.ts';

let stores: Stores;
let cwd: string;
let env: Record<string, string>;

beforeAll(async () => {
  cwd = mkdtempSync(join(tmpdir(), 'weir-cli-'));
  stores = await startStores({ isMigrated: false });
  env = { DATABASE_URL: stores.databaseUrl, CLICKHOUSE_URL: stores.clickhouseUrl };
});
afterAll(async () => {
  await stores.stop();
  rmSync(cwd, { recursive: true, force: true });
});

const weir = (...args: string[]) => commandWeir(args, { env, cwd });
const succeed = async (...args: string[]) => {
  const { code, stdout, stderr } = await weir(...args);
  expect({ code, stderr }).toMatchObject({ code: 0 });
  return stdout;
};
const createProject = async (name: string) => (await succeed('project', 'create', name)).trim();

test('a .env in the current directory is read, and what is set already wins', async () => {
  const withEnvFile = join(cwd, 'with-env-file');
  mkdirSync(withEnvFile);
  writeFileSync(join(withEnvFile, '.env'), 'PORT=1234\nHOST=127.0.0.1\n');
  const { stdout } = await runWeir(['config'], { cwd: withEnvFile, env: { PORT: '4321' } });
  expect(stdout).toMatch(/^PORT +4321 +env$/m);
  expect(stdout).toMatch(/^HOST +127\.0\.0\.1 +env$/m);
});

describe('before the migrations', () => {
  test('commands say that the schema is missing, and doctor fails', async () => {
    const list = await weir('project', 'list');
    expect(list).toMatchObject({ code: 1, stdout: '' });
    expect(list.stderr).toContain('run `weir migrate`');
    expect((await weir('doctor')).code).toBe(1);
  });
});

describe('after the migrations', () => {
  beforeAll(async () => {
    await succeed('migrate');
  });

  test('migrating again changes nothing and succeeds', async () => {
    expect((await weir('migrate', '--json')).code).toBe(0);
  });

  test('doctor warns of a view in Weir’s databases that Weir did not make', async () => {
    const foreign = ['analytics.somebodys', 'monitor.theirs'];
    for (const view of foreign) await stores.clickhouse.command({ query: `CREATE VIEW ${view} AS SELECT 1 AS one` });
    const { stdout } = await weir('doctor', '--json');
    const checks = JSON.parse(stdout) as { name: string; outcome: string; detail: string }[];
    expect(checks.filter(({ name }) => name === 'ClickHouse views inside')).toEqual(
      foreign.map((view) => ({
        name: 'ClickHouse views inside',
        outcome: 'warn',
        detail: `${view} was not made by Weir`,
        remedy: expect.stringContaining('another database'),
      })),
    );
    for (const view of foreign) await stores.clickhouse.command({ query: `DROP VIEW ${view}` });
    expect((await weir('doctor', '--json')).stdout).not.toContain('ClickHouse views inside');
  });

  test('doctor finds nothing that fails', async () => {
    const { code, stdout } = await weir('doctor', '--json');
    const checks = JSON.parse(stdout) as { name: string; outcome: string; detail: string }[];
    expect(checks.filter(({ outcome }) => outcome === 'fail')).toEqual([]);
    expect(checks.map(({ name }) => name)).toEqual(
      expect.arrayContaining([
        'configuration',
        'Postgres',
        'Postgres rights',
        'Postgres schema',
        'Postgres clock',
        'ClickHouse',
        'ClickHouse schema',
        'ClickHouse clock',
      ]),
    );
    expect(code).toBe(0);
  });

  test('a project is created, listed and deleted', async () => {
    const id = await createProject('shop');
    expect(id).toMatch(/^[0-9a-f-]{36}$/);
    expect(await succeed('project', 'list')).toMatch(new RegExp(`^${id}  shop +none +any `, 'm'));

    const refused = await weir('project', 'delete', id);
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain('--yes');
    await succeed('project', 'delete', id, '--yes');
    expect(await succeed('project', 'list')).not.toContain(id);
    expect((await weir('project', 'delete', id, '--yes')).stderr).toContain(`Project ${id} deleted`);
  });

  test('a project keeps its retention and origins', async () => {
    const options = '--json --retention 30d --allow-origin https://a.example --allow-origin https://b.example';
    const created = await succeed('project', 'create', 'short', ...options.split(' '));
    expect(JSON.parse(created)).toMatchObject({
      name: 'short',
      retention: '30d',
      retentionSeconds: 2_592_000,
      allowedOrigins: ['https://a.example', 'https://b.example'],
    });
  });

  test('a token is printed once, alone on stdout, and never again', async () => {
    const project = await createProject('tokens');
    const created = await weir('token', 'create', '--project', project, '--name', 'website');
    expect(created.stdout).toMatch(/^mere_pub_[0-9a-f]{64}\n$/);
    expect(created.stderr).toContain('cannot be shown again');

    const list = await succeed('token', 'list', '--project', project);
    expect(list).toMatch(/public +website .* never +active$/m);
    const json = await succeed('token', 'list', '--json');
    const secretPart = created.stdout.trim().slice('mere_pub_'.length);
    expect(list + json).not.toContain(secretPart);
    expect(json).not.toMatch(/hash/i);
  });

  test('a project that nobody has made has no list of tokens; one without tokens, and a deleted one, have an empty one', async () => {
    const nobodys = '0198c0de-0000-7000-8000-00000000dead';
    for (const id of [nobodys, 'nonsense']) {
      const refused = await weir('token', 'list', '--project', id);
      expect(refused).toMatchObject({ code: 1, stdout: '' });
      expect(refused.stderr).toContain(`There is no project ${id}.`);
    }
    for (const args of [['export'], ['replay'], ['replay', '--dry-run'], ['discard', '--reason', 'x', '--yes']]) {
      const refused = await weir('dlq', ...args, '--project', nobodys);
      expect(refused).toMatchObject({ code: 1, stdout: '' });
      expect(refused.stderr).toContain(`There is no project ${nobodys}.`);
    }
    const project = await createProject('no tokens');
    expect(JSON.parse(await succeed('token', 'list', '--project', project, '--json'))).toEqual([]);
    await succeed('dlq', 'discard', '--reason', 'x', '--yes', '--project', project);
    await succeed('project', 'delete', project, '--yes');
    expect(JSON.parse(await succeed('token', 'list', '--project', project, '--json'))).toEqual([]);
    await succeed('dlq', 'export', '--project', project);
  });

  test('a secret token says so in its prefix', async () => {
    const project = await createProject('secrets');
    const created = JSON.parse(await succeed('token', 'create', '--project', project, '--secret', '--json')) as object;
    expect(created).toEqual({ id: expect.any(String), token: expect.stringMatching(/^mere_sec_[0-9a-f]{64}$/) });
  });

  test('a key is imported from stdin without being printed, once', async () => {
    const project = await createProject('imports');
    const args = ['token', 'create', '--project', project, '--import', '-'];
    const imported = await commandWeir(args, { env, cwd, stdin: 'phc_old_key_of_ours\n' });
    expect(imported.code).toBe(0);
    expect(imported.stdout + imported.stderr).not.toContain('phc_old_key');
    const again = await commandWeir(args, { env, cwd, stdin: 'phc_old_key_of_ours\n' });
    expect(again).toMatchObject({ code: 1, stderr: expect.stringContaining('already is a token') });
    // Short enough to be guessed: it is taken, and said.
    expect(imported.stderr).toContain('Warning: this key has 19 characters');
    const long = await commandWeir(args, { env, cwd, stdin: `phc_${'0a'.repeat(10)}\n` });
    expect(long).toMatchObject({ code: 0, stderr: expect.not.stringContaining('Warning') });
    const unusable = await commandWeir(args, { env, cwd, stdin: 'two words here\n' });
    expect(unusable.code).toBe(1);
  });

  test('a token is revoked once, with confirmation', async () => {
    const project = await createProject('revocations');
    const { id } = JSON.parse(await succeed('token', 'create', '--project', project, '--json')) as { id: string };
    expect((await weir('token', 'revoke', id)).code).toBe(1);
    await succeed('token', 'revoke', id, '--yes');
    expect(await succeed('token', 'list', '--project', project)).toMatch(/revoked 20/);
    expect((await weir('token', 'revoke', id, '--yes')).stderr).toContain('There is no active token');
  });

  test.each(['0198c0de-0000-7000-8000-000000000000', 'nonsense'])(
    'a token needs a project that exists: %s',
    async (id) => {
      const { code, stdout, stderr } = await weir('token', 'create', '--project', id);
      expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
      expect(stderr).toContain(`There is no project ${id}`);
    },
  );

  describe('query', () => {
    test('prints an aligned table', async () => {
      expect(
        await succeed(
          'query',
          "SELECT * FROM (SELECT 'a' AS name, 1000 AS n UNION ALL SELECT 'long name', 2) ORDER BY n",
        ),
      ).toBe(['name          n', 'long name     2', 'a          1000', ''].join('\n'));
    });

    test('prints the heading alone when there are no rows', async () => {
      expect(await succeed('query', 'SELECT event FROM events_raw_v1 WHERE 0')).toBe('event\n');
    });

    test('--json prints one object a line, with digits as they are', async () => {
      expect(await succeed('query', '--json', 'SELECT number, 18446744073709551615 AS big FROM numbers(2);')).toBe(
        '{"number":0,"big":18446744073709551615}\n{"number":1,"big":18446744073709551615}\n',
      );
    });

    test('reads the statement from stdin', async () => {
      const { stdout } = await runWeir(['query', '-'], { env, cwd, stdin: 'SELECT 1 AS one -- a comment\n' });
      expect(stdout).toBe('one\n  1\n');
    });

    test('names the way to a property that has no column', async () => {
      const { code, stderr } = await weir('query', 'SELECT properties.plan FROM events');
      expect(code).toBe(1);
      expect(stderr).toContain("JSONExtractString(properties, 'plan')");
      expect(stderr).toContain('weir property promote plan');
    });

    test('shows what ClickHouse says, and fails', async () => {
      const { code, stdout, stderr } = await weir('query', 'SELECT nonsense FROM events_raw_v1');
      expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
      expect(stderr).toContain('code 47');
      expect(stderr).toContain('nonsense');
      expect(stderr).not.toContain('    at ');
    });

    test('fails when ClickHouse gives up in the middle of an answer', async () => {
      const { code, stderr } = await weir(
        'query',
        "SELECT repeat('x', 100), throwIf(number = 100000) FROM numbers(200000) SETTINGS max_block_size = 1000",
      );
      expect(code).toBe(1);
      expect(stderr).toContain('code 395');
    });

    test('cannot write', async () => {
      const { code, stderr } = await weir('query', 'DROP TABLE events_raw_v1');
      expect(code).toBe(1);
      expect(stderr).toContain('code 164');
    });

    test('streams a large answer in little memory', async () => {
      const { code, stdout } = await weir('query', '--json', 'SELECT number FROM numbers(300000)');
      expect(code).toBe(0);
      expect(stdout.length).toBeGreaterThan(300_000 * 12);
    });
  });

  test('without settings the stores of the running Weir are used', async () => {
    const dataDir = join(cwd, 'running');
    const claim = claimRuntime(dataDir, process.pid);
    claim.publish({
      url: null,
      databaseUrl: stores.databaseUrl,
      clickhouseUrl: stores.clickhouseUrl,
      clickhouseKey: null,
      consoleUrl: null,
    });
    const options = { cwd, env: { WEIR_DATA_DIR: dataDir } };
    expect((await runWeir(['project', 'list'], options)).code).toBe(0);
    expect((await runWeir(['query', 'SELECT 1 AS one'], options)).stdout).toBe('one\n  1\n');
    claim.release();
    expect((await runWeir(['project', 'list'], options)).stderr).toContain('no Weir is running');
  });

  test('passwords do not reach the output of any command', async () => {
    const secretive = { ...env, CLICKHOUSE_PASSWORD: 'hunter2' };
    for (const args of [['config'], ['config', '--json'], ['doctor'], ['query', 'SELECT 1']]) {
      const { stdout, stderr } = await runWeir(args, { env: secretive, cwd });
      expect(stdout + stderr).not.toContain('hunter2');
    }
  });
});
