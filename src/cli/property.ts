/** Properties with a column of their own: which there are, and more or fewer of them. */
import { Option, type Command } from 'commander';
import type { DescribedProperty } from '../clickhouse/operations/property-columns.ts';
import type { PropertyStores } from '../operations/promote-property.ts';
import { PROPERTY_TYPES, type PropertyType, columnOf } from '../clickhouse/migrations/promoted-properties.ts';
import { CommandFailure, printJson, type Cli } from './cli.ts';
import { confirmed } from './confirm.ts';
import { counted, grouped } from '../operations/wording.ts';
import { createProgress } from './progress.ts';
import { eventStoreOf, withClickHouse, withPostgres } from './stores.ts';
import { textTable } from './table.ts';

type Options = { readonly type?: PropertyType; readonly yes?: boolean; readonly json?: boolean };

export function addProperty(program: Command, cli: Cli): void {
  const property = program
    .command('property')
    .description('give properties a column of their own in ClickHouse, for fast questions');
  property
    .command('promote')
    .description('store a property as the column properties.NAME, for stored events too')
    .argument('<name>', 'its name; dots for a property inside another, as in page.url')
    .addOption(new Option('--type <type>', 'what the column holds').choices(PROPERTY_TYPES).default('String'))
    .option('--json', 'print the outcome as JSON')
    .addHelpText('after', PROMOTING)
    .action((name: string, options: Options) => promote(cli, nameIn(name), options));
  property
    .command('ls')
    .description('list the promoted properties, and for how many stored events they have been stored')
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExamples:\n  weir property ls\n  weir property ls --json')
    .action((options: Options) => list(cli, options));
  property
    .command('demote')
    .description('remove the column; the property itself stays in properties')
    .argument('<name>', 'its name')
    .option('--yes', 'skip the confirmation')
    .option('--json', 'print the outcome as JSON')
    .addHelpText(
      'after',
      `
Queries that name the column fail from then on: they have to read the property out of the text, with
JSONExtractString(properties, 'plan').

Examples:
  weir property demote plan
  weir property demote plan --yes --json`,
    )
    .action((name: string, options: Options) => demote(cli, nameIn(name), options));
}

const PROMOTING = `
Queries then find it as properties.plan, in events and in events_raw_v1 (in monitor.events as data.plan),
and read that column instead of the whole text of properties. All projects share the table of events, so
a promoted property is promoted for all of them. Each makes inserts about 2 % more expensive for
ClickHouse; at most 20 are allowed.

New events have the column at once. ClickHouse stores it for older events in the background, month by
month, and computes it from the text until then. After an interruption, run the command again.

String holds any value as JSONExtractString shows it; the other types hold null where a value is of
another kind (docs/QUERIES.md).

Examples:
  weir property promote plan
  weir property promote amount --type Float64
  weir property promote page.url
  weir property promote '$browser' --json`;

/**
 * In Postgres an index on an expression does what a column does in ClickHouse. Its texts are cut: an index refuses long
 * ones, and would keep their events out.
 */
function expectClickHouse({ config }: Cli, name: string): void {
  if (eventStoreOf(config()) === 'ClickHouse') return;
  const path = name.split('.').map((part) => `'${part.replaceAll("'", "''")}'`);
  const document = path.slice(0, -1).reduce((so, part) => `${so} -> ${part}`, 'properties');
  const value = `left(${document} ->> ${path.at(-1)}, 200)`;
  throw new CommandFailure(
    `Columns of properties are for ClickHouse, and these events are in Postgres. There, an index makes such questions fast:\n` +
      `  CREATE INDEX ON analytics.events_raw (project_id, (${value}), "timestamp");\n` +
      `Inserts wait while it is built. Queries that ask for ${value} then use it.`,
  );
}

/** People write it as it is asked for, too. */
const nameIn = (text: string) => (text.startsWith(columnOf('')) ? text.slice(columnOf('').length) : text);

async function promote(cli: Cli, name: string, { type = 'String', json = false }: Options): Promise<void> {
  expectClickHouse(cli, name);
  const { promoteProperty } = await import('../operations/promote-property.ts');
  const say = createProgress(cli);
  const { isNew, rows, filled } = await withStores(cli, (stores) =>
    promoteProperty(stores, { name, type }, (now) =>
      say(() => `${columnOf(name)}: stored for ${grouped(now.filled)} of ${counted(now.rows, 'event')}`),
    ),
  );
  if (filled < rows) cli.exitWith(1);
  if (json) return printJson(cli.io, { name, column: columnOf(name), type, new: isNew, rows, stored: filled });
  const what = `${columnOf(name)} is promoted as ${type}${isNew ? '' : ' already'}`;
  cli.io.stderr(
    filled < rows
      ? `${what}, and stored for ${grouped(filled)} of ${counted(rows, 'event')}: run the command again for the others.\n`
      : `${what}, and stored for all events.\n`,
  );
}

async function list(cli: Cli, { json = false }: Options): Promise<void> {
  expectClickHouse(cli, 'plan');
  await withClickHouse(cli, async (client, { database }) => {
    const { describeProperties } = await import('../clickhouse/operations/property-columns.ts');
    const { properties } = await describeProperties(client, database);
    if (json) {
      const told = properties.map(({ isAltered: altered, ...property }) => ({ ...property, altered }));
      return printJson(cli.io, told);
    }
    if (properties.length === 0) {
      return cli.io.stderr('No property is promoted. To promote one: weir property promote NAME\n');
    }
    cli.io.stdout(textTable(['COLUMN', 'TYPE', 'STORED FOR'], properties.map(cellsOf)));
  });
}

const cellsOf = ({ column, type, rows, stored, isAltered }: DescribedProperty): string[] => [
  column,
  isAltered ? `${type}, changed by hand` : type,
  stored < rows ? `${grouped(stored)} of ${grouped(rows)} events` : 'all events',
];

async function demote(cli: Cli, name: string, options: Options): Promise<void> {
  expectClickHouse(cli, name);
  const { demoteProperty } = await import('../operations/promote-property.ts');
  await confirmed(cli, options, `Remove the column ${columnOf(name)}, for all projects?`);
  await withStores(cli, (stores) => demoteProperty(stores, name));
  if (options.json) return printJson(cli.io, { demoted: name });
  cli.io.stderr(`${columnOf(name)} is removed.\n`);
}

const withStores = <T>(cli: Cli, work: (stores: PropertyStores) => Promise<T>): Promise<T> =>
  withPostgres(cli, (_, pool) =>
    withClickHouse(cli, (clickhouse, place) => work({ clickhouse, ...place, pool, clock: cli.clock })),
  );
