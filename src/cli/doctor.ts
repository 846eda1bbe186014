import { existsSync } from 'node:fs';
import { InvalidArgumentError, type Command } from 'commander';
import { ConfigError, type Config } from '../config/config.ts';
import { bytesIn, volumeOf } from '../journal/volume.ts';
import { readRuntime } from '../service/runtime-file.ts';
import { workerDirectoryOf } from '../workers/worker-directories.ts';
import { checkDirectory, checkJournalVolume, fail, linesOf, ok, warn, type Check } from './checks.ts';
import { printJson, type Cli } from './cli.ts';
import { parseProject } from './dlq/selection.ts';
import { checkRejections } from './rejection-check.ts';
import { reconcile, type ReconcileOptions } from './reconcile.ts';
import { examineClickHouse, examinePostgres, examinePostgresEvents } from './store-checks.ts';
import { eventStoreOf } from './stores.ts';
import { examineTopic } from './topic-checks.ts';

const ANSWER_WITHIN_MS = 5_000;

export function addDoctor(program: Command, cli: Cli): void {
  program
    .command('doctor')
    .description('check everything around Weir and print remedies; exit code 1 if a check fails')
    .option('--reconcile', 'count events instead: check that every accepted event is where it should be')
    .option('--project <id>', 'with --reconcile: check only the stores, for one project', parseProject)
    .option(
      '--url <url>',
      'with --reconcile: a running Weir to compare with; repeat the option for several',
      collectUrl,
    )
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
Checks the configuration, the running Weir, the stores with their schemas, the disks and the clocks.

--reconcile reads the counters of the running Weir and counts what the stores hold. It reads all
events, which takes a while on a large table.

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
      else cli.io.stdout(checks.map(linesOf).join(''));
      if (checks.some(({ outcome }) => outcome === 'fail')) cli.exitWith(1);
    });
}

function examineJournal({ journal, workers, dataDir }: Config): Check[] {
  // A directory that does not exist yet is created at the first start, so its future disk is checked instead.
  const volume = journal.mode === 'off' || !existsSync(dataDir) ? null : volumeOf(dataDir);
  if (volume === null) return [];
  const dirs = Array.from({ length: workers }, (_, index) => workerDirectoryOf(dataDir, index + 1).journalDir);
  const used = { maxBytes: journal.maxBytes, workers, ownBytes: bytesIn(dirs) };
  return [checkJournalVolume('volume of the journal', volume, used)];
}

function collectUrl(text: string, earlier: readonly string[] = []): string[] {
  if (!/^https?:\/\//.test(text) || !URL.canParse(text)) {
    throw new InvalidArgumentError('A URL such as http://localhost:8080.');
  }
  return [...earlier, text];
}

async function examine(cli: Cli): Promise<Check[]> {
  const config = configOf(cli);
  if (config instanceof ConfigError) {
    return config.problems.map((problem) => fail('configuration', problem, 'Correct it; nothing else was checked.'));
  }
  const stores = await Promise.all([
    examineInstance(config),
    examinePostgres(cli, config),
    // A process that only takes events in has no use for a store of them.
    ...(config.role === 'ingest' ? [] : [examineEvents(cli, config)]),
    ...(config.kafka === null ? [] : [examineTopic(config.kafka)]),
  ]);
  return [
    ok('configuration', `${config.effective.filter(({ source }) => source !== 'default').length} settings changed`),
    checkDirectory(`disk of ${config.dataDir}`, config.dataDir),
    ...examineJournal(config),
    ...stores.flat(),
  ];
}

const examineEvents = (cli: Cli, config: Config) =>
  eventStoreOf(config) === 'Postgres' ? examinePostgresEvents(cli, config) : examineClickHouse(cli, config);

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
    const remedy = 'It did not shut down cleanly. Start Weir again: it recovers the events that were left.';
    return [warn(name, `the one in ${dataDir} (process ${runtime.pid}) is gone`, remedy)];
  }
  if (runtime.url === null) return [ok(name, `process ${runtime.pid} is starting`)];
  return askHealth(name, runtime.url);
}

async function askHealth(name: string, url: string): Promise<Check[]> {
  try {
    const answer = await fetch(new URL('/health', url), { signal: AbortSignal.timeout(ANSWER_WITHIN_MS) });
    const health = (await answer.json()) as { status?: unknown; reasons?: unknown; rejecting?: unknown };
    const rejected = checkRejections('rejected events', health.rejecting);
    const detail = `${url} is ${String(health.status)}${reasonsIn(health.reasons)}`;
    if (health.status === 'ok') return [ok(name, detail), ...rejected];
    const remedy = 'See docs/OPERATIONS.md for what each reason means.';
    return [health.status === 'down' ? fail(name, detail, remedy) : warn(name, detail, remedy), ...rejected];
  } catch {
    // Refused, too slow, or no JSON: for the operator all of these mean that it does not answer.
    const remedy = 'Check its log; if it hangs, stop it with SIGTERM and start it again.';
    return [fail(name, `${url} does not answer`, remedy)];
  }
}

function reasonsIn(reasons: unknown): string {
  return Array.isArray(reasons) && reasons.length > 0 ? `: ${reasons.map(textOf).join(', ')}` : '';
}

function textOf(reason: unknown): string {
  return typeof reason === 'string' ? reason : JSON.stringify(reason);
}
