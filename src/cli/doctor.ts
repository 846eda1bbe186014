import { InvalidArgumentError, type Command } from 'commander';
import { ConfigError, type Config } from '../config.ts';
import { createLog } from '../log.ts';
import { readRuntime } from '../runtime-file.ts';
import {
  checkClickHouseVersion,
  checkClock,
  checkDrift,
  checkDirectory,
  checkDisk,
  checkMigrations,
  fail,
  ok,
  warn,
  type Check,
} from './checks.ts';
import { CommandFailure, printJson, type Cli } from './cli.ts';
import { parseProject } from './dlq/selection.ts';
import { reconcile, type ReconcileOptions } from './reconcile.ts';
import { findClickHouse, findPostgres } from './stores.ts';
import { printable } from './table.ts';

const MARKS = { ok: 'ok  ', warn: 'WARN', fail: 'FAIL' } as const;
const ANSWER_WITHIN_MS = 5_000;

export function addDoctor(program: Command, cli: Cli): void {
  program
    .command('doctor')
    .description('check everything around Weir and say what to do; exit code 1 when something fails')
    .option('--reconcile', 'count events instead: whether everything accepted is where it should be')
    .option('--project <id>', 'with --reconcile: only the stores, of one project', parseProject)
    .option('--url <url>', 'with --reconcile: a running Weir to compare with; repeat it for several', collectUrl)
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
Checks the configuration, the running Weir, both stores with their schemas, the disks and the clocks.

--reconcile reads the counters of the running Weir and counts what the stores hold. It reads all of
events_raw_v1: on a large table it takes its time.

Examples:
  weir doctor
  weir doctor --json
  weir doctor --reconcile
  weir doctor --reconcile --url http://weir-1:8080 --url http://weir-2:8080
  weir doctor --reconcile --project 0198c0de-0000-7000-8000-000000000000`,
    )
    .action(async (options: ReconcileOptions & { reconcile?: boolean }, command: Command) => {
      if (options.reconcile) return reconcile(cli, options);
      if (options.project ?? options.url) command.error('error: --project and --url need --reconcile');
      const checks = await examine(cli);
      if (options.json) printJson(cli.io, checks);
      else cli.io.stdout(checks.map(describe).join(''));
      if (checks.some(({ outcome }) => outcome === 'fail')) cli.exitWith(1);
    });
}

function collectUrl(text: string, earlier: readonly string[] = []): string[] {
  if (!/^https?:\/\//.test(text) || !URL.canParse(text)) {
    throw new InvalidArgumentError('A URL such as http://localhost:8080.');
  }
  return [...earlier, text];
}

function describe({ name, outcome, detail, remedy }: Check): string {
  const line = `${MARKS[outcome]}  ${name}: ${printable(detail)}\n`;
  return remedy === null ? line : `${line}      ${remedy}\n`;
}

async function examine(cli: Cli): Promise<Check[]> {
  const config = configOf(cli);
  if (config instanceof ConfigError) {
    return config.problems.map((problem) => fail('configuration', problem, 'Correct it; nothing else was checked.'));
  }
  const stores = await Promise.all([
    examineInstance(config),
    examinePostgres(cli, config),
    examineClickHouse(cli, config),
  ]);
  return [
    ok('configuration', `${config.effective.filter(({ source }) => source !== 'default').length} settings changed`),
    checkDirectory(`disk of ${config.dataDir}`, config.dataDir),
    ...stores.flat(),
  ];
}

function configOf(cli: Cli): Config | ConfigError {
  try {
    return cli.config();
  } catch (error) {
    if (error instanceof ConfigError) return error;
    throw error;
  }
}

async function examineInstance({ dataDir }: Config): Promise<Check[]> {
  const name = 'running Weir';
  const runtime = readRuntime(dataDir);
  if (runtime.kind === 'absent') return [ok(name, `none in ${dataDir}`)];
  if (runtime.kind === 'stale') {
    const remedy = 'It did not stop by itself. Start Weir again: it picks up what is left.';
    return [warn(name, `the one in ${dataDir} (process ${runtime.pid}) is gone`, remedy)];
  }
  if (runtime.url === null) return [ok(name, `process ${runtime.pid} is starting`)];
  return [await askHealth(name, runtime.url)];
}

async function askHealth(name: string, url: string): Promise<Check> {
  try {
    const answer = await fetch(new URL('/health', url), { signal: AbortSignal.timeout(ANSWER_WITHIN_MS) });
    const health = (await answer.json()) as { status?: unknown; reasons?: unknown };
    const detail = `${url} is ${String(health.status)}${reasonsIn(health.reasons)}`;
    if (health.status === 'ok') return ok(name, detail);
    const remedy = 'See docs/OPERATIONS.md for what each reason means.';
    return health.status === 'down' ? fail(name, detail, remedy) : warn(name, detail, remedy);
  } catch {
    // Refused, too slow, or no JSON: to the operator it is all the same, it does not answer.
    return fail(
      name,
      `${url} does not answer`,
      'Look at its log; when it hangs, stop it with SIGTERM and start it again.',
    );
  }
}

function reasonsIn(reasons: unknown): string {
  return Array.isArray(reasons) && reasons.length > 0 ? `: ${reasons.map(textOf).join(', ')}` : '';
}

function textOf(reason: unknown): string {
  return typeof reason === 'string' ? reason : JSON.stringify(reason);
}

async function examinePostgres({ clock }: Cli, config: Config): Promise<Check[]> {
  const found = failureAsCheck('Postgres', () => findPostgres(config));
  if ('outcome' in found) return [found];
  const [{ createPostgres }, { askPostgres, countKnownMigrations, explainFailure }] = await Promise.all([
    import('../postgres/pool.ts'),
    import('../postgres/reach.ts'),
  ]);
  const { pool } = createPostgres({ url: found.url, maxConnections: 1 }, createLog('silent'));
  try {
    await pool.query('SELECT 1');
    const askedMs = clock.now();
    const { nowMs, version, appliedMigrations } = await askPostgres(pool);
    return [
      ok('Postgres', `version ${version}, from ${found.from}`),
      checkMigrations('Postgres schema', { applied: appliedMigrations, known: countKnownMigrations() }),
      checkClock('Postgres clock', { askedMs, answeredMs: clock.now(), theirMs: nowMs }),
    ];
  } catch (error) {
    return [
      fail(
        'Postgres',
        `${explainFailure(error)} (from ${found.from})`,
        'Weir still takes events in while ClickHouse answers.',
      ),
    ];
  } finally {
    await pool.end();
  }
}

async function examineClickHouse({ clock }: Cli, config: Config): Promise<Check[]> {
  const found = failureAsCheck('ClickHouse', () => findClickHouse(config));
  if ('outcome' in found) return [found];
  const [{ createClickHouse }, { askClickHouse, explainFailure }, { checkSchema }] = await Promise.all([
    import('../clickhouse/client.ts'),
    import('../clickhouse/reach.ts'),
    import('../clickhouse/schema-check.ts'),
  ]);
  const client = createClickHouse(found);
  try {
    const askedMs = clock.now();
    const { version, nowMs, disks } = await askClickHouse(client);
    const answeredMs = clock.now();
    return [
      checkClickHouseVersion('ClickHouse', version),
      ...checkDrift('ClickHouse schema', await checkSchema(client, found.database)),
      ...disks.map((disk) => checkDisk(`ClickHouse disk "${disk.name}"`, disk)),
      checkClock('ClickHouse clock', { askedMs, answeredMs, theirMs: nowMs }),
    ];
  } catch (error) {
    return [
      fail(
        'ClickHouse',
        `${explainFailure(error)} (from ${found.from})`,
        'Weir keeps accepted events in Postgres meanwhile.',
      ),
    ];
  } finally {
    await client.close();
  }
}

/** A store that nobody named is a finding, not the end of the examination. */
function failureAsCheck<T>(name: string, find: () => T): T | Check {
  try {
    return find();
  } catch (error) {
    if (!(error instanceof CommandFailure)) throw error;
    const [detail, remedy] = error.message.split('\n');
    return fail(name, detail!, remedy ?? 'Try again.');
  }
}
