import { InvalidArgumentError, type Command } from 'commander';
import { ConfigError, type Config } from '../config/config.ts';
import { fail, ok, warn, type Check } from '../operations/examination/checks.ts';
import { examineSurroundings } from '../operations/examination/surroundings.ts';
import { readRuntime } from '../service/runtime-file.ts';
import { surroundingsOf } from '../workers/surroundings.ts';
import { linesOf } from './check-lines.ts';
import { printJson, type Cli } from './cli.ts';
import { parseProject } from './dlq/selection.ts';
import { examineInstance as askInstance } from '../operations/examination/instance-check.ts';
import { reconcile, type ReconcileOptions } from './reconcile.ts';
import { examineClickHouseOf, examinePostgresEvents, examinePostgresOf } from './store-checks.ts';
import { eventStoreOf, unreadable } from './stores.ts';

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
    examinePostgresOf(cli, config),
    // A process that only takes events in has no use for a store of them.
    ...(config.role === 'ingest' ? [] : [examineEvents(cli, config)]),
    ...(config.kafka === null ? [] : [topicChecks(config.kafka)]),
  ]);
  return [...examineSurroundings(surroundingsOf(config)), ...stores.flat()];
}

const examineEvents = (cli: Cli, config: Config) =>
  eventStoreOf(config) === 'Postgres' ? examinePostgresEvents(cli, config) : examineClickHouseOf(cli, config);

async function topicChecks(kafka: NonNullable<Config['kafka']>): Promise<Check[]> {
  const { examineTopic } = await import('../operations/examination/topic-checks.ts');
  return examineTopic(kafka);
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
  if (runtime.kind === 'unreadable') {
    const [detail] = unreadable(dataDir, runtime).message.split('\n');
    return [fail(name, detail!, 'Set WEIR_DATA_DIR to the directory of the Weir, and run this as its user.')];
  }
  if (runtime.kind === 'absent') return [ok(name, `none in ${dataDir}`)];
  if (runtime.kind === 'stale') {
    const remedy = 'It did not shut down cleanly. Start Weir again: it recovers the events that were left.';
    return [warn(name, `the one in ${dataDir} (process ${runtime.pid}) is gone`, remedy)];
  }
  if (runtime.url === null) return [ok(name, `process ${runtime.pid} is starting`)];
  return askInstance(runtime.url);
}
