/** Brings the events that Postgres stores into ClickHouse: for a service that has outgrown the one database. */
import { Option, type Command } from 'commander';
import type { ClickHouseClient } from '@clickhouse/client';
import type { Pool } from 'pg';
import { createLog } from '../log/log.ts';
import type { ComparedMonth, CopiedEvents, CopyProgress } from '../operations/copy-events.ts';
import { CommandFailure, printJson, type Cli } from './cli.ts';
import { parseProject } from './dlq/selection.ts';
import { counted, grouped } from '../operations/wording.ts';
import { createProgress, withProgress } from './progress.ts';
import { withClickHouse, withPostgres } from './stores.ts';
import { createTable } from './table.ts';

type Options = { readonly project?: string; readonly dryRun?: boolean; readonly json?: boolean };
type Stores = { readonly pool: Pool; readonly clickhouse: ClickHouseClient; readonly database: string };

export function addCopy(program: Command, cli: Cli): void {
  program
    .command('copy')
    .description('bring the events that Postgres stores into ClickHouse, while Weir runs')
    .addOption(new Option('--to <store>', 'where to').choices(['clickhouse']).makeOptionMandatory())
    .option('--project <id>', 'only events of this project', parseProject)
    .option('--dry-run', 'only compare both stores, by project and month')
    .option('--json', 'print the outcome as JSON')
    .addHelpText(
      'after',
      `
For a Weir with EVENT_STORE=postgres. Needs DATABASE_URL and CLICKHOUSE_URL; creates the tables in
ClickHouse. Weir goes on storing events in Postgres meanwhile, and the command goes on until it has
caught up. It asks ClickHouse for each event first, so it may be interrupted and repeated at any time,
and changes nothing in Postgres. Events that have expired are left out.

At the end it compares both stores by project and month; exit code 1 if an event is missing. Then switch
Weir to EVENT_STORE=clickhouse, and run the command again for what arrived in between.

Examples:
  weir copy --to clickhouse --dry-run
  weir copy --to clickhouse
  weir copy --to clickhouse --project 0198c0de-0000-7000-8000-000000000000 --json`,
    )
    .action((options: Options) =>
      withPostgres(cli, (_, pool) =>
        withClickHouse(cli, (clickhouse, { database }) => run(cli, { pool, clickhouse, database }, options)),
      ),
    );
}

async function run(cli: Cli, stores: Stores, options: Options): Promise<void> {
  const [{ hasEvents }, { OperationRefused }] = await Promise.all([
    import('../postgres/operations/event-reader.ts'),
    import('../operations/refused.ts'),
  ]);
  if (!(await hasEvents(stores.pool))) {
    throw new OperationRefused(
      'not-found',
      'This Postgres stores no events: it has no table analytics.events_raw. Weir keeps events there with EVENT_STORE=postgres.',
    );
  }
  const projectId = options.project ?? null;
  if (options.dryRun) return compareOnly(cli, stores, projectId, options);
  const copied = await copy(cli, stores, projectId);
  report(cli, copied, options);
}

async function compareOnly(cli: Cli, stores: Stores, projectId: string | null, { json }: Options): Promise<void> {
  const [{ compareEvents }, { hasEventTable }] = await Promise.all([
    import('../operations/copy-events.ts'),
    import('../clickhouse/operations/stored-events.ts'),
  ]);
  const hasTable = await hasEventTable(stores.clickhouse, stores.database);
  const months = await withProgress(cli, 'Counting', compareEvents(stores, { projectId, hasTable }));
  const missing = missingIn(months);
  if (json) return printJson(cli.io, { dryRun: true, missing, months });
  if (months.length > 0) cli.io.stdout(tableOf(months));
  cli.io.stderr(`${counted(missing, 'event')} to copy. Nothing was changed.\n`);
}

async function copy(cli: Cli, { pool, clickhouse, database }: Stores, projectId: string | null): Promise<CopiedEvents> {
  const { clock } = cli;
  const [
    { copyEvents },
    { createEventStore },
    { createForeignViews },
    { createEventSchema },
    { migrateStores, explainMigrationFailure },
  ] = await Promise.all([
    import('../operations/copy-events.ts'),
    import('../clickhouse/event-store/event-store.ts'),
    import('../clickhouse/event-store/foreign-views.ts'),
    import('../clickhouse/migrations/event-schema.ts'),
    import('../composition/migrate-stores.ts'),
  ]);
  const log = createLog('silent');
  const { cluster, insertQuorum } = cli.config().clickhouse;
  const schema = createEventSchema(clickhouse, database, { cluster });
  await migrateStores({ postgres: pool, events: schema, clock }, log).catch((error: unknown) => {
    throw new CommandFailure(`${explainMigrationFailure(error, schema)}.`, { cause: error });
  });
  const views = createForeignViews({ client: clickhouse, clock, log }, { database });
  const options = { database, timeoutMs: cli.config().insertTimeoutMs, cluster, quorum: insertQuorum };
  const events = createEventStore({ client: clickhouse, clock, views }, options);
  const say = createProgress(cli);
  return copyEvents({ pool, clickhouse, events, clock, random: Math.random }, { projectId }, (progress) =>
    say(() => sentenceOf(progress)),
  );
}

function sentenceOf({ round, done, copied, found }: CopyProgress): string {
  const what = round === 1 ? 'all events' : 'what arrived meanwhile';
  const there = found === 0 ? '' : `, ${grouped(found)} were there`;
  return `Copying ${what}: ${Math.floor(100 * done)} %; ${counted(copied, 'event')} copied${there}`;
}

function report({ io, exitWith }: Cli, copied: CopiedEvents, { json }: Options): void {
  const { months, refused, examples } = copied;
  const missing = missingIn(months);
  if (missing > 0 || refused > 0) exitWith(1);
  if (json) return printJson(io, { ...copied, missing });
  if (months.length > 0) io.stdout(tableOf(months));
  const lines = [
    `${counted(copied.copied, 'event')} copied; ${grouped(copied.found)} were in ClickHouse already.`,
    ...(refused === 0 ? [] : [`ClickHouse refuses ${counted(refused, 'event')}, for example:`]),
    ...examples.map(({ projectId, eventId, reason }) => `  event ${eventId} of project ${projectId}: ${reason}`),
    ...(months.some(hasMore) ? ['Where ClickHouse has more, Weir stored events in it directly.'] : []),
    missing > 0
      ? `${counted(missing, 'event')} of Postgres are not in ClickHouse. Run the same command again: it copies what is missing.`
      : SWITCH,
  ];
  io.stderr(`${lines.join('\n')}\n`);
}

const SWITCH = `Nothing is missing. To switch: start Weir with EVENT_STORE=clickhouse and the same CLICKHOUSE_URL. Then run this
command again: it copies what arrived in between.`;

const missingIn = (months: readonly ComparedMonth[]) =>
  months.reduce((sum, { postgres, clickhouse }) => sum + Math.max(0, postgres - clickhouse), 0);

const hasMore = ({ postgres, clickhouse }: ComparedMonth) => clickhouse > postgres;

function tableOf(months: readonly ComparedMonth[]): string {
  const rows = months.map(({ projectId, month, postgres, clickhouse }) => [
    projectId,
    month,
    grouped(postgres),
    grouped(clickhouse),
  ]);
  const table = createTable(
    ['PROJECT', 'MONTH', 'POSTGRES', 'CLICKHOUSE'].map((name, index) => ({ name, isNumeric: index > 1 })),
    rows,
  );
  return [table.header(), ...rows.map((row) => table.line(row))].join('');
}
