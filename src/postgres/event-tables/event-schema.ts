import type { Pool } from 'pg';
import type { EventSchema, RebuildState } from '../../pipeline/storage-port.ts';
import { explainFailure } from '../connection/connection-errors.ts';
import { migrateInTransaction } from '../migrations/migrate.ts';
import { EVENT_MIGRATIONS } from '../migrations/migrations.ts';
import { checkEventTables } from './schema-check.ts';

/** No table of events in Postgres has ever had another form. */
const NOTHING_TO_REBUILD: RebuildState = { kind: 'done' };

/** The tables of events in Postgres. */
export const createEventSchema = (pool: Pool): EventSchema => ({
  migrate: () => migrateInTransaction(pool, EVENT_MIGRATIONS),
  check: () => checkEventTables(pool),
  explain: explainFailure,
  rebuild: {
    read: () => Promise.resolve({ state: NOTHING_TO_REBUILD, next: 'none' }),
    take: () => Promise.resolve(NOTHING_TO_REBUILD),
  },
});
