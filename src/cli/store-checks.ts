/** What `weir doctor` measures of the stores. */
import type { Pool } from 'pg';
import type { Config } from '../config/config.ts';
import type { EventSchema } from '../pipeline/storage-port.ts';
import { createLog } from '../log/log.ts';
import {
  checkAddedViews,
  checkBallast,
  checkClickHouseVersion,
  checkClock,
  checkDrift,
  checkDisk,
  checkForeignViews,
  checkLinks,
  checkMigrations,
  checkOwnership,
  checkProperties,
  checkReader,
  checkRebuild,
  checkRights,
  checkSeenTwice,
  fail,
  ok,
  type Check,
} from './checks.ts';
import { CommandFailure, type Cli } from './cli.ts';
import { checkLayout } from './layout-check.ts';
import { describeRebuild } from './migrate.ts';
import { eventStoreOf, findClickHouse, findPostgres, openPostgresEventsOf, withPostgres } from './stores.ts';

export async function examinePostgres({ clock }: Cli, config: Config): Promise<Check[]> {
  const found = failureAsCheck('Postgres', () => findPostgres(config));
  if ('outcome' in found) return [found];
  const [
    { createPostgres },
    { askPostgres },
    { explainFailure },
    { readJournal },
    { hasBallast },
    { findMissingGrants },
  ] = await Promise.all([
    import('../postgres/connection/pool.ts'),
    import('../postgres/operations/connectivity-check.ts'),
    import('../postgres/connection/connection-errors.ts'),
    import('../postgres/migrations/migrations.ts'),
    import('../postgres/dead-letters/disk-room.ts'),
    import('../postgres/operations/rights.ts'),
  ]);
  const { pool } = createPostgres({ url: found.url, maxConnections: 1 }, createLog('silent'));
  const rights: Check[] = [];
  try {
    await pool.query('SELECT 1');
    const createsTables = config.deadLetters.ballastBytes > 0;
    // Missing rights come first: they may prevent the remaining checks.
    rights.push(checkRights('Postgres rights', await findMissingGrants(pool, { createsTables })));
    const askedMs = clock.now();
    const { nowMs, version, appliedMigrations } = await askPostgres(pool);
    const answeredMs = clock.now();
    const ballast = { wanted: createsTables, exists: await hasBallast(pool) };
    return [
      ok('Postgres', `version ${version}, from ${found.from}`),
      ...rights,
      checkMigrations('Postgres schema', { applied: appliedMigrations, known: readJournal().length }),
      checkClock('Postgres clock', { askedMs, answeredMs, theirMs: nowMs }),
      checkBallast('Postgres ballast', ballast),
    ];
  } catch (error) {
    return [
      fail(
        'Postgres',
        `${explainFailure(error)} (from ${found.from})`,
        eventStoreOf(config) === 'Postgres'
          ? 'Until it answers, what Weir has accepted waits in its journal, and new events are refused.'
          : 'Weir still accepts events while ClickHouse answers.',
      ),
      ...rights,
    ];
  } finally {
    await pool.end();
  }
}

export async function examineClickHouse({ clock }: Cli, config: Config): Promise<Check[]> {
  const found = failureAsCheck('ClickHouse', () => findClickHouse(config));
  if ('outcome' in found) return [found];
  const [
    { createClickHouse },
    { askClickHouse },
    { describeForeignViews },
    { findAddedViews },
    { countWrongLinks },
    { findSeenTwice },
    { describeProperties },
    { createEventSchema },
    { explainFailure },
    { describeLayout },
  ] = await Promise.all([
    import('../clickhouse/connection/client.ts'),
    import('../clickhouse/operations/connectivity-check.ts'),
    import('../clickhouse/event-store/views.ts'),
    import('../clickhouse/operations/added-views.ts'),
    import('../clickhouse/operations/identity-links.ts'),
    import('../clickhouse/operations/seen-twice.ts'),
    import('../clickhouse/operations/property-columns.ts'),
    import('../clickhouse/migrations/event-schema.ts'),
    import('../clickhouse/connection/connection-errors.ts'),
    import('../clickhouse/operations/described-layout.ts'),
  ]);
  const client = createClickHouse(found);
  const { cluster } = config.clickhouse;
  try {
    const askedMs = clock.now();
    const { version, nowMs, disks } = await askClickHouse(client);
    const answeredMs = clock.now();
    const described = await describeLayout({ client, clock }, { database: found.database, cluster });
    const tables = checkLayout('ClickHouse tables', described);
    if (described.layout === null) return [checkClickHouseVersion('ClickHouse', version), ...tables];
    const schema = createEventSchema(client, found.database, { cluster });
    const drift = await schema.check();
    // A wrong table is reported above; its rows cannot be counted.
    const counted =
      drift.length > 0
        ? []
        : [
            checkRebuild('ClickHouse events', (await schema.rebuild.read()).state, describeRebuild),
            checkSeenTwice('copies of events', await findSeenTwice(client, { withinS: 10 })),
            checkLinks('identity links', await countWrongLinks(client, { withinS: 10 })),
            ...checkProperties('promoted properties', await describeProperties(client, found.database)),
          ];
    return [
      checkClickHouseVersion('ClickHouse', version),
      ...tables,
      ...checkDrift('ClickHouse schema', drift),
      ...counted,
      ...checkForeignViews('ClickHouse views', await describeForeignViews(client, found.database)),
      ...checkAddedViews('ClickHouse views inside', await findAddedViews(client, found.database)),
      ...disks.map((disk) => checkDisk(`ClickHouse disk "${disk.name}"`, disk)),
      checkClock('ClickHouse clock', { askedMs, answeredMs, theirMs: nowMs }),
    ];
  } catch (error) {
    return [
      fail(
        'ClickHouse',
        `${explainFailure(error)} (from ${found.from})`,
        'Until it answers, Weir keeps accepted events in Postgres.',
      ),
    ];
  } finally {
    await client.close();
  }
}

/** What is checked beside Postgres itself where it stores the events. A database that is away is reported elsewhere. */
export async function examinePostgresEvents(cli: Cli, config: Config): Promise<Check[]> {
  if ('outcome' in failureAsCheck('Postgres', () => findPostgres(config))) return [];
  const { schema, close } = await openPostgresEventsOf(cli);
  try {
    return await withPostgres(cli, (_, pool) => examineEventTables(schema, pool));
  } catch (error) {
    const why = error instanceof CommandFailure ? error.message : schema.explain(error);
    return [fail('events in Postgres', why, 'Mend that, then run `weir doctor` again.')];
  } finally {
    await close();
  }
}

async function examineEventTables(schema: EventSchema, pool: Pool): Promise<Check[]> {
  const [{ countWrongLinks }, { missingOwnership }, { missingReader }, { plainAnswerOf }] = await Promise.all([
    import('../postgres/event-operations/identity-links.ts'),
    import('../postgres/event-operations/events-check.ts'),
    import('../postgres/reading/reader-role.ts'),
    import('../postgres/connection/errors.ts'),
  ]);
  // Whoever lacks this may lack the right to look at the rest.
  const ownership = await missingOwnership(pool);
  if (ownership !== null) return [checkOwnership('rights on events', ownership)];
  const drift = await schema.check();
  if (drift.length > 0) return checkDrift('events in Postgres', drift);
  return [
    ...checkDrift('events in Postgres', drift),
    checkReader('queries of projects', await plainAnswerOf(missingReader(pool))),
    checkLinks('identity links', await countWrongLinks(pool)),
  ];
}

/** A store without a setting is a finding and does not end the examination. */
function failureAsCheck<T>(name: string, find: () => T): T | Check {
  try {
    return find();
  } catch (error) {
    if (!(error instanceof CommandFailure)) throw error;
    const [detail, remedy] = error.message.split('\n');
    return fail(name, detail!, remedy ?? 'Try again.');
  }
}
