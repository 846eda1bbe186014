/** Opens the stores for `weir doctor`. A store without a setting is a finding and does not end the examination. */
import type { Config } from '../config/config.ts';
import { createLog } from '../log/log.ts';
import { fail, type Check } from '../operations/examination/checks.ts';
import { CommandFailure, type Cli } from './cli.ts';
import { eventStoreOf, findClickHouse, findPostgres, openPostgresEventsOf, withPostgres } from './stores.ts';

const measures = () => import('../operations/examination/store-checks.ts');

export async function examinePostgresOf({ clock }: Cli, config: Config): Promise<Check[]> {
  const found = failureAsCheck('Postgres', () => findPostgres(config));
  if ('outcome' in found) return [found];
  const [{ createPostgres }, { examinePostgres }] = await Promise.all([
    import('../postgres/connection/pool.ts'),
    measures(),
  ]);
  const { pool } = createPostgres({ url: found.url, maxConnections: 1 }, createLog('silent'));
  const wantsBallast = config.deadLetters.ballastBytes > 0;
  const hasEvents = eventStoreOf(config) === 'Postgres';
  try {
    return await examinePostgres({ pool, clock }, { from: found.from, wantsBallast, hasEvents });
  } finally {
    await pool.end();
  }
}

export async function examineClickHouseOf({ clock }: Cli, config: Config): Promise<Check[]> {
  const found = failureAsCheck('ClickHouse', () => findClickHouse(config));
  if ('outcome' in found) return [found];
  const [{ createClickHouse }, { examineClickHouse }] = await Promise.all([
    import('../clickhouse/connection/client.ts'),
    measures(),
  ]);
  const client = createClickHouse(found);
  try {
    return await examineClickHouse({ client, clock }, { ...found, cluster: config.clickhouse.cluster });
  } finally {
    await client.close();
  }
}

/** What is checked beside Postgres itself where it stores the events. A database that is away is reported elsewhere. */
export async function examinePostgresEvents(cli: Cli, config: Config): Promise<Check[]> {
  if ('outcome' in failureAsCheck('Postgres', () => findPostgres(config))) return [];
  const { examineEventTables, eventTablesFailed } = await measures();
  const { schema, close } = await openPostgresEventsOf(cli);
  try {
    return await withPostgres(cli, (_, pool) => examineEventTables(schema, pool));
  } catch (error) {
    return [eventTablesFailed(error instanceof CommandFailure ? error.message : schema.explain(error))];
  } finally {
    await close();
  }
}

function failureAsCheck<T>(name: string, find: () => T): T | Check {
  try {
    return find();
  } catch (error) {
    if (!(error instanceof CommandFailure)) throw error;
    const [detail, remedy] = error.message.split('\n');
    return fail(name, detail!, remedy ?? 'Try again.');
  }
}
