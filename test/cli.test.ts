import { Readable } from 'node:stream';
import { describe, expect, test } from 'vitest';
import {
  checkClickHouseVersion,
  checkClock,
  checkDisk,
  checkDrift,
  checkAddedViews,
  checkJournalVolume,
  checkMigrations,
} from '../src/operations/examination/checks.ts';
import { runProgram } from '../src/cli/program.ts';
import { createTable, textTable } from '../src/cli/table.ts';
import { printable } from '../src/operations/wording.ts';
import type { Environment } from '../src/config/sources.ts';
import { createManualClock } from './support/clock.ts';

// No Weir can be running in a directory that does not exist.
const NOWHERE = { WEIR_DATA_DIR: '/nonexistent/weir' };

async function run(
  args: string | readonly string[],
  { env = NOWHERE, answer }: { env?: Environment; answer?: string | (() => string) } = {},
) {
  let stdout = '';
  let stderr = '';
  const typed = () => (typeof answer === 'function' ? answer() : (answer ?? ''));
  const code = await runProgram(typeof args === 'string' ? args.split(' ').filter(Boolean) : [...args], {
    io: {
      stdout: (text) => void (stdout += text),
      stderr: (text) => void (stderr += text),
      send: (bytes) => Promise.resolve(void (stdout += Buffer.from(bytes).toString('utf8'))),
      isTTY: answer !== undefined,
    },
    input: {
      ask: () => Promise.resolve(typed()),
      askSecret: () => Promise.resolve(typed()),
      readAll: () => Promise.resolve(''),
      bytes: () => Readable.from([]),
    },
    env,
    readFile: missing,
    clock: createManualClock(),
    user: 'tester',
    releaseSignals: () => {},
  });
  return { code, stdout, stderr };
}

function missing(): never {
  throw Object.assign(new Error('missing'), { code: 'ENOENT' });
}

const COMMANDS = [
  'serve',
  'migrate',
  'config',
  'project create',
  'project list',
  'project retention',
  'project origins',
  'project delete',
  'token create',
  'token list',
  'token revoke',
  'query',
  'property promote',
  'property ls',
  'property demote',
  'dlq ls',
  'dlq groups',
  'dlq show',
  'dlq replay',
  'dlq discard',
  'dlq export',
  'dlq import',
  'dlq pause',
  'dlq resume',
  'dlq stats',
  'dlq audit',
  'intake disable',
  'intake enable',
  'intake status',
  'console link',
  'operator add',
  'operator ls',
  'operator passwd',
  'operator role',
  'operator disable',
  'operator enable',
  'doctor',
];

describe('usage', () => {
  test.each(COMMANDS)('%s --help ends with 0 and shows examples', async (command) => {
    const { code, stdout } = await run(`${command} --help`);
    expect(code).toBe(0);
    expect(stdout).toMatch(new RegExp(`Usage: weir ${command}`));
    expect(stdout).toContain(`Examples:\n  weir ${command}`);
  });

  test.each([
    'nonsense',
    'serve extra',
    'config --colour',
    'project',
    'project create',
    'project create a --retention never',
    'project create a --retention 59s',
    'project create a --allow-origin https://a.example/path',
    'project retention',
    'project retention 0198c0de-0000-7000-8000-000000000000 soon',
    'project retention 0198c0de-0000-7000-8000-000000000000 24h --dry-run',
    'project origins',
    'project origins 0198c0de-0000-7000-8000-000000000000 https://a.example/path',
    'project origins 0198c0de-0000-7000-8000-000000000000 https://a.example --any',
    'project delete',
    'token create',
    'query',
    'dlq',
    'dlq show nonsense',
    'dlq ls --limit 0',
    'dlq ls --quarantined --waiting',
    'dlq replay',
    'dlq replay --all --group 6f1c0d2e9a7b4c55',
    'dlq replay --all --rate 0',
    'dlq replay nonsense',
    'dlq discard --all-quarantined',
    'dlq discard --reason x',
    'dlq discard --all --reason x',
    'dlq export',
    'dlq export --project nonsense',
    'dlq import',
    'intake',
    'console',
    'operator',
    'operator add mira',
    'operator add mira --role admin',
    'operator role mira',
    'operator role mira admin',
    'doctor --project 0198c0de-0000-7000-8000-000000000000',
  ])('"%s" is wrong usage: exit code 2, nothing on stdout', async (args) => {
    const { code, stdout, stderr } = await run(args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).not.toBe('');
  });

  test('without a command the help is shown, as wrong usage', async () => {
    expect(await run('')).toMatchObject({ code: 2, stdout: '' });
  });

  test('--version prints the version of the package', async () => {
    expect(await run('--version')).toMatchObject({ code: 0, stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/) });
  });
});

describe('config', () => {
  test('prints every setting with its source and without secrets', async () => {
    const env = { PORT: '9000', CLICKHOUSE_PASSWORD: 'hunter2', DATABASE_URL: 'postgres://a:hunter2@b/c' };
    const { code, stdout } = await run('config', { env });
    expect(code).toBe(0);
    expect(stdout).toMatch(/^PORT +9000 +env$/m);
    expect(stdout).toMatch(/^HOST +127\.0\.0\.1 +default$/m);
    expect(stdout).not.toContain('hunter2');
  });

  test('--json is one array', async () => {
    const rows: unknown = JSON.parse((await run('config --json')).stdout);
    expect(rows).toContainEqual({ name: 'PORT', value: '8080', source: 'default' });
  });

  test('a bad configuration ends every command that needs one, with all problems and no stack', async () => {
    const { code, stderr } = await run('config', { env: { PORT: 'x', INGEST_TYPO: '1' } });
    expect(code).toBe(1);
    expect(stderr).toContain('PORT: given "x"');
    expect(stderr).toContain('INGEST_TYPO: there is no such setting');
    expect(stderr).not.toContain('    at ');
  });
});

describe('without any store', () => {
  test.each([
    ['project list', 'DATABASE_URL'],
    ['token list', 'DATABASE_URL'],
    ['project create x', 'DATABASE_URL'],
    ['query SELECT', 'CLICKHOUSE_URL'],
  ])('"%s" says which setting or what to start', async (args, setting) => {
    const { code, stdout, stderr } = await run(args);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    const instead = setting === 'CLICKHOUSE_URL' ? ' (or EVENT_STORE=postgres, if that stores the events)' : '';
    expect(stderr).toBe(
      `${setting} is not set and no Weir is running in /nonexistent/weir.\nStart one with \`npm start\`, or set ${setting}${instead}.\n`,
    );
  });

  test('doctor fails with a remedy for each store', async () => {
    const { code, stdout } = await run('doctor --json');
    expect(code).toBe(1);
    const checks = JSON.parse(stdout) as { name: string; outcome: string; remedy: string | null }[];
    expect(checks.filter(({ outcome }) => outcome === 'fail').map(({ name }) => name)).toEqual([
      'Postgres',
      'ClickHouse',
    ]);
    expect(checks.every(({ outcome, remedy }) => outcome === 'ok' || remedy !== null)).toBe(true);
  });

  test('doctor reports a bad configuration as a finding', async () => {
    const { code, stdout } = await run('doctor', { env: { PORT: 'x' } });
    expect(code).toBe(1);
    expect(stdout).toContain('FAIL  configuration: PORT: given "x"');
  });

  test('a store that refuses connections is named with where its address came from', async () => {
    const env = {
      ...NOWHERE,
      DATABASE_URL: 'postgres://a:hunter2@127.0.0.1:1/b',
      CLICKHOUSE_URL: 'http://127.0.0.1:1',
    };
    const list = await run('project list', { env });
    expect(list.code).toBe(1);
    expect(list.stderr).toContain('Postgres cannot be reached');
    expect(list.stderr).toContain('DATABASE_URL');
    const query = await run('query SELECT', { env });
    expect(query.code).toBe(1);
    expect(query.stderr).toContain('ClickHouse did not answer');
    expect(list.stderr + query.stderr).not.toContain('hunter2');
    // Without Postgres no token can be looked up.
    const doctor = JSON.parse((await run('doctor --json', { env })).stdout) as { name: string; remedy: string }[];
    expect(doctor.find(({ name }) => name === 'Postgres')?.remedy).toContain('tokens that it knows');
  });
});

describe('a data directory that is a file', () => {
  const env = { WEIR_DATA_DIR: '/dev/null' };

  test.each(['project list', 'query SELECT', 'console link --actor x', 'doctor --reconcile'])(
    '"%s" says what to do, without a stack',
    async (args) => {
      const { code, stderr } = await run(args, { env: { ...env, CONSOLE_PORT: 'off' } });
      expect(code).toBe(1);
      expect(stderr.replace('Counting…\n', '')).toBe(
        'WEIR_DATA_DIR /dev/null is not a directory (ENOTDIR).\nName the directory of the Weir, or set DATABASE_URL and CLICKHOUSE_URL.\n',
      );
    },
  );

  test('is a finding of doctor, also where both stores are named', async () => {
    const stores = { DATABASE_URL: 'postgres://127.0.0.1:1/b', CLICKHOUSE_URL: 'http://127.0.0.1:1' };
    for (const given of [env, { ...env, ...stores }]) {
      const { code, stdout } = await run('doctor', { env: given });
      expect(code).toBe(1);
      expect(stdout).toContain('FAIL  running Weir: WEIR_DATA_DIR /dev/null is not a directory (ENOTDIR).');
    }
  });
});

test.each(['', ' ', '-'])('a query without a statement is refused before any store is asked: "%s"', async (sql) => {
  const { code, stderr } = await run(['query', sql], { env: { ...NOWHERE, CLICKHOUSE_URL: 'http://127.0.0.1:1' } });
  expect({ code, stderr }).toEqual({ code: 1, stderr: 'The query is empty.\n' });
});

describe('confirmation', () => {
  const env = { ...NOWHERE, DATABASE_URL: 'postgres://127.0.0.1:1/b' };

  test('where nobody can be asked, nothing is done', async () => {
    const { code, stderr } = await run('token revoke x', { env });
    expect(code).toBe(1);
    expect(stderr).toContain('--yes');
  });

  test('any answer but yes changes nothing', async () => {
    expect((await run('token revoke x', { env, answer: 'n' })).stderr).toBe('Nothing was changed.\n');
    expect((await run('token revoke x', { env, answer: '' })).stderr).toBe('Nothing was changed.\n');
    expect((await run('token revoke x', { env, answer: 'y' })).stderr).toContain('There is no active token x');
  });
});

describe('a password', () => {
  const env = { ...NOWHERE, DATABASE_URL: 'postgres://127.0.0.1:1/b' };
  const add = 'operator add mira --role viewer';

  test('is asked for twice, and what is typed differently makes no account', async () => {
    const typed = ['a long password', 'a long passwort'];
    const { code, stderr } = await run(add, { env, answer: () => typed.shift()! });
    expect({ code, stderr }).toEqual({ code: 1, stderr: 'The two passwords differ. Nothing was changed.\n' });
  });

  test('is not asked for where nobody is there, and is no argument', async () => {
    expect((await run(add, { env })).stderr).toContain('--password-stdin');
    expect((await run(`${add} --password x`, { env })).code).toBe(2);
  });

  test('that is too short, and a name of invisible characters, are refused', async () => {
    expect((await run(add, { env, answer: 'short' })).stderr).toContain('12 to 1024 characters');
    const named = await run('operator add \u200b --role viewer', { env, answer: 'a long password' });
    expect(named.stderr).toContain('visible character');
  });
});

describe('verdicts', () => {
  const GIB = 1024 ** 3;

  test.each([
    ['smaller than all journals together', 3, 3, 0, 'warn'],
    ['large enough, and free', 10, 5, 0, 'ok'],
    ['large enough, and used by the journals', 10, 1, 3, 'ok'],
    ['large enough, and used by others', 10, 3, 0, 'warn'],
  ])('a volume of the journals that is %s', (_what, total, free, own, outcome) => {
    const check = checkJournalVolume(
      'v',
      { totalBytes: total * GIB, freeBytes: free * GIB },
      { maxBytes: 2 * GIB, workers: 2, ownBytes: own * GIB },
    );
    expect(check.outcome).toBe(outcome);
    if (outcome === 'warn') expect(check.remedy).toContain('INGEST_JOURNAL_MAX_BYTES');
  });

  test.each([
    [10, 'ok'],
    [4.9, 'warn'],
    [0.9, 'fail'],
  ])('%d GiB free is %s', (free, outcome) => {
    expect(checkDisk('d', { freeBytes: free * GIB, totalBytes: 100 * GIB }).outcome).toBe(outcome);
  });

  test.each([
    [500, 'ok'],
    [-500, 'ok'],
    [2_000, 'warn'],
    [-2_000, 'warn'],
    [400_000, 'fail'],
  ])('a clock %d ms away is %s', (skewMs, outcome) => {
    expect(checkClock('c', { askedMs: 1_000_000, answeredMs: 1_000_010, theirMs: 1_000_005 + skewMs }).outcome).toBe(
      outcome,
    );
  });

  test('a slow answer is not mistaken for a wrong clock', () => {
    expect(checkClock('c', { askedMs: 0, answeredMs: 9_000, theirMs: 100 }).outcome).toBe('ok');
  });

  test.each([
    ['26.7.3.1', 'ok'],
    ['25.8.1.2', 'ok'],
    ['25.7.9.9', 'warn'],
    ['24.12.1.1', 'warn'],
  ])('ClickHouse %s is %s', (version, outcome) => {
    expect(checkClickHouseVersion('v', version).outcome).toBe(outcome);
  });

  test.each([
    [3, 3, 'ok'],
    [2, 3, 'fail'],
    [4, 3, 'warn'],
  ])('%i applied of %i known migrations is %s', (applied, known, outcome) => {
    expect(checkMigrations('m', { applied, known }).outcome).toBe(outcome);
  });
});

test('every drift of the schema is a warning with the statement to run', () => {
  expect(checkDrift('s', [])).toEqual([{ name: 's', outcome: 'ok', detail: 'as expected', remedy: null }]);
  expect(checkDrift('s', [{ table: 't', problem: 'no window', remedy: 'ALTER TABLE t' }])).toEqual([
    { name: 's', outcome: 'warn', detail: 't: no window', remedy: 'Run: ALTER TABLE t' },
  ]);
});

test('every view that Weir did not make is a warning', () => {
  expect(checkAddedViews('v', [])).toEqual([]);
  expect(checkAddedViews('v', ['a.b', 'c.d'])).toMatchObject([
    { name: 'v', outcome: 'warn', detail: 'a.b was not made by Weir' },
    { name: 'v', outcome: 'warn', detail: 'c.d was not made by Weir' },
  ]);
});

describe('tables', () => {
  test('are aligned, numbers to the right, and end without spaces', () => {
    const columns = [
      { name: 'event', isNumeric: false },
      { name: 'n', isNumeric: true },
    ];
    const rows = [
      ['a', '1000'],
      ['signed_up', '2'],
    ];
    const table = createTable(columns, rows);
    expect([table.header(), ...rows.map(table.line)].join('')).toBe(
      ['event         n', 'a          1000', 'signed_up     2', ''].join('\n'),
    );
    expect(textTable(['A', 'B'], [['1', '']])).toBe('A  B\n1\n');
  });

  test('what clients sent cannot steer the terminal', () => {
    expect(printable('a\u001b[31mb\u009bc\u202ed')).toBe('a\ufffd[31mb\ufffdc\ufffdd');
  });
});
