/**
 * Gives properties a column of their own in the table of events, which all projects share, and takes it away again.
 * Every step may be repeated; after an interruption the same call does the rest.
 */
import type { ClickHouseClient } from '@clickhouse/client';
import type { Pool } from 'pg';
import { LayoutRefused } from '../clickhouse/connection/layout.ts';
import {
  type FoundProperties,
  MAX_PROMOTED,
  type PromotedProperty,
  nameProblem,
  pathTo,
  shellWord,
} from '../clickhouse/migrations/promoted-properties.ts';
import { MutationFailed } from '../clickhouse/operations/mutation.ts';
import { readProperties, setProperties } from '../clickhouse/operations/property-columns.ts';
import { type FillingProgress, fillProperty } from '../clickhouse/operations/property-filling.ts';
import { hasEventTable } from '../clickhouse/operations/stored-events.ts';
import { MigrationLocked, keepingLock, withMigrationLock } from '../postgres/migrations/migrate.ts';
import type { Clock } from '../runtime/clock.ts';
import { OperationRefused } from './refused.ts';

/** `pool`: of the Postgres whose lock keeps migrations away meanwhile. `database`: the client's own. */
export type PropertyStores = {
  readonly clickhouse: ClickHouseClient;
  readonly database: string;
  /** The servers that share the tables, as the setting names them. */
  readonly cluster?: string | null;
  readonly pool: Pool;
  readonly clock: Clock;
};

/** `isNew`: whether it was not promoted before. */
export type Promoted = FillingProgress & { readonly isNew: boolean };

/**
 * From now on for new events and questions, then for the events that are stored. Throws `OperationRefused`,
 * `PostgresFailure`, and what ClickHouse's driver throws.
 */
export async function promoteProperty(
  stores: PropertyStores,
  property: PromotedProperty,
  onProgress: (progress: FillingProgress) => void = () => {},
): Promise<Promoted> {
  const { clickhouse: client, database, clock } = stores;
  const { name } = property;
  const problem = nameProblem(name);
  if (problem !== null) {
    throw new OperationRefused('invalid', `properties.${name} cannot be promoted: ${problem}. ${instead(name)}`);
  }
  const isNew = await exclusively(stores, async () => {
    await expectMigrated(stores);
    const found = await readProperties(client, database);
    const isThere = isPromoted(found, property);
    await setProperties(client, database, isThere ? found.promoted : [...found.promoted, property], stores);
    return !isThere;
  });
  try {
    return { isNew, ...(await fillProperty({ client, clock }, { database, name }, onProgress)) };
  } catch (error) {
    if (!(error instanceof MutationFailed)) throw error;
    const remedy = 'New events have it. Fix that, then run this command again.';
    throw new OperationRefused('store', `${error.message}. ${remedy}`, { cause: error });
  }
}

async function expectMigrated({ clickhouse, database }: PropertyStores): Promise<void> {
  if (await hasEventTable(clickhouse, database)) return;
  throw new OperationRefused(
    'conflict',
    `ClickHouse has no table ${database}.events_raw_v1. Run \`weir migrate\` first.`,
  );
}

/** Whether it is promoted already, as wanted. Throws `OperationRefused` when it may not be. */
function isPromoted({ promoted, altered, foreign }: FoundProperties, { name, type }: PromotedProperty): boolean {
  const [changed] = altered;
  if (changed !== undefined) {
    throw new OperationRefused(
      'conflict',
      `Somebody has changed the column properties.${changed}: take it away with \`weir property demote ${shellWord(changed)}\`, then promote it again.`,
    );
  }
  if (foreign.includes(`properties.${name}`)) throw notOurs(name);
  const there = promoted.find((property) => property.name === name);
  if (there === undefined && promoted.length >= MAX_PROMOTED) {
    throw new OperationRefused(
      'conflict',
      `${MAX_PROMOTED} properties are promoted, which is the limit: each makes inserts more expensive. Demote one first: see \`weir property ls\`.`,
    );
  }
  if (there && there.type !== type) {
    throw new OperationRefused(
      'conflict',
      `properties.${name} is promoted as ${there.type}. To change that: \`weir property demote ${shellWord(name)}\`, then promote it again.`,
    );
  }
  return there !== undefined;
}

/** Takes the column away; the property stays in `properties`. Throws as `promoteProperty`. */
export async function demoteProperty(stores: PropertyStores, name: string): Promise<void> {
  const { clickhouse: client, database } = stores;
  await exclusively(stores, async () => {
    const { promoted, foreign } = await readProperties(client, database);
    if (foreign.includes(`properties.${name}`)) throw notOurs(name);
    const left = promoted.filter((property) => property.name !== name);
    if (left.length === promoted.length) {
      throw new OperationRefused('not-found', `properties.${name} is not promoted. See \`weir property ls\`.`);
    }
    await setProperties(client, database, left, stores);
  });
}

async function exclusively<T>({ pool, clock }: PropertyStores, work: () => Promise<T>): Promise<T> {
  try {
    return await withMigrationLock(pool, clock, (held) => keepingLock(held, clock, work));
  } catch (error) {
    if (!(error instanceof MigrationLocked || error instanceof LayoutRefused)) throw error;
    throw new OperationRefused('conflict', `${error.message}.`, { cause: error });
  }
}

const notOurs = (name: string) =>
  new OperationRefused(
    'conflict',
    `events_raw_v1 has a column properties.${name} that is not Weir's. Drop or rename it in ClickHouse first.`,
  );

const instead = (name: string) => `Ask for JSONExtractString(properties, ${pathTo(name)}) instead.`;
