/** What `weir doctor` measures of the stores. */
import type { ClickHouseClient } from '@clickhouse/client';
import type { Pool } from 'pg';
import { explainFailure as explainClickHouse } from '../../clickhouse/connection/connection-errors.ts';
import type { Place } from '../../clickhouse/connection/layout.ts';
import { describeForeignViews } from '../../clickhouse/event-store/views.ts';
import { createEventSchema } from '../../clickhouse/migrations/event-schema.ts';
import { findAddedViews } from '../../clickhouse/operations/added-views.ts';
import { askClickHouse } from '../../clickhouse/operations/connectivity-check.ts';
import { describeLayout } from '../../clickhouse/operations/described-layout.ts';
import { countWrongLinks } from '../../clickhouse/operations/identity-links.ts';
import { describeProperties } from '../../clickhouse/operations/property-columns.ts';
import { findSeenTwice } from '../../clickhouse/operations/seen-twice.ts';
import type { EventSchema } from '../../pipeline/storage-port.ts';
import { explainFailure as explainPostgres } from '../../postgres/connection/connection-errors.ts';
import { plainAnswerOf } from '../../postgres/connection/errors.ts';
import { hasBallast } from '../../postgres/dead-letters/disk-room.ts';
import { missingOwnership } from '../../postgres/event-operations/events-check.ts';
import { countWrongLinks as countWrongLinksInPostgres } from '../../postgres/event-operations/identity-links.ts';
import { readJournal } from '../../postgres/migrations/migrations.ts';
import { askPostgres } from '../../postgres/operations/connectivity-check.ts';
import { findMissingGrants } from '../../postgres/operations/rights.ts';
import { missingReader } from '../../postgres/reading/reader-role.ts';
import type { Clock } from '../../runtime/clock.ts';
import { describeRebuild } from '../rebuild-text.ts';
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
import { checkLayout } from './layout-check.ts';

type ExaminedPostgres = {
  /** What named it, for messages. */
  readonly from: string;
  /** Whether Weir sets space aside in it, for which it makes tables. */
  readonly wantsBallast: boolean;
  /** Whether the events are in it, too. */
  readonly hasEvents: boolean;
};

/** Never rejects because of what Postgres answers, or does not. */
export async function examinePostgres(
  { pool, clock }: { pool: Pool; clock: Clock },
  { from, wantsBallast, hasEvents }: ExaminedPostgres,
): Promise<Check[]> {
  const rights: Check[] = [];
  try {
    await pool.query('SELECT 1');
    // Missing rights come first: they may prevent the remaining checks.
    rights.push(checkRights('Postgres rights', await findMissingGrants(pool, { createsTables: wantsBallast })));
    const askedMs = clock.now();
    const { nowMs, version, appliedMigrations } = await askPostgres(pool);
    const answeredMs = clock.now();
    const ballast = { wanted: wantsBallast, exists: await hasBallast(pool) };
    return [
      ok('Postgres', `version ${version}, from ${from}`),
      ...rights,
      checkMigrations('Postgres schema', { applied: appliedMigrations, known: readJournal().length }),
      checkClock('Postgres clock', { askedMs, answeredMs, theirMs: nowMs }),
      checkBallast('Postgres ballast', ballast),
    ];
  } catch (error) {
    const remedy = hasEvents
      ? 'Until it answers, what Weir has accepted waits in its journal, and new events are refused.'
      : 'Weir still accepts events with the tokens that it knows, for about 15 minutes and until it restarts; other requests get 500.';
    return [fail('Postgres', `${explainPostgres(error)} (from ${from})`, remedy), ...rights];
  }
}

/** `from`: what named it, for messages. Never rejects because of what ClickHouse answers, or does not. */
export async function examineClickHouse(
  { client, clock }: { client: ClickHouseClient; clock: Clock },
  { from, database, cluster }: Place & { readonly from: string },
): Promise<Check[]> {
  try {
    const askedMs = clock.now();
    const { version, nowMs, disks } = await askClickHouse(client);
    const answeredMs = clock.now();
    const described = await describeLayout({ client, clock }, { database, cluster });
    const tables = checkLayout('ClickHouse tables', described);
    if (described.layout === null) return [checkClickHouseVersion('ClickHouse', version), ...tables];
    const schema = createEventSchema(client, database, { cluster });
    const drift = await schema.check();
    // A wrong table is reported above; its rows cannot be counted.
    const counted =
      drift.length > 0
        ? []
        : [
            checkRebuild('ClickHouse events', (await schema.rebuild.read()).state, describeRebuild),
            checkSeenTwice('copies of events', await findSeenTwice(client, { withinS: 10 })),
            checkLinks('identity links', await countWrongLinks(client, { withinS: 10 })),
            ...checkProperties('promoted properties', await describeProperties(client, database)),
          ];
    return [
      checkClickHouseVersion('ClickHouse', version),
      ...tables,
      ...checkDrift('ClickHouse schema', drift),
      ...counted,
      ...checkForeignViews('ClickHouse views', await describeForeignViews(client, database)),
      ...checkAddedViews('ClickHouse views inside', await findAddedViews(client, database)),
      ...disks.map((disk) => checkDisk(`ClickHouse disk "${disk.name}"`, disk)),
      checkClock('ClickHouse clock', { askedMs, answeredMs, theirMs: nowMs }),
    ];
  } catch (error) {
    const remedy = 'Until it answers, Weir keeps accepted events in Postgres.';
    return [fail('ClickHouse', `${explainClickHouse(error)} (from ${from})`, remedy)];
  }
}

/** What is checked beside Postgres itself where it stores the events. Throws what `schema` explains. */
export async function examineEventTables(schema: EventSchema, pool: Pool): Promise<Check[]> {
  // Whoever lacks this may lack the right to look at the rest.
  const ownership = await missingOwnership(pool);
  if (ownership !== null) return [checkOwnership('rights on events', ownership)];
  const drift = await schema.check();
  if (drift.length > 0) return checkDrift('events in Postgres', drift);
  return [
    ...checkDrift('events in Postgres', drift),
    checkReader('queries of projects', await plainAnswerOf(missingReader(pool))),
    checkLinks('identity links', await countWrongLinksInPostgres(pool)),
  ];
}

/** The finding that the tables of events could not be examined. */
export const eventTablesFailed = (why: string): Check =>
  fail('events in Postgres', why, 'Mend that, then run `weir doctor` again.');
