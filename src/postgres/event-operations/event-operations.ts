import type { Pool } from 'pg';
import type { EventOperations } from '../../pipeline/operator-port.ts';
import type { Clock } from '../../runtime/clock.ts';
import { createEventStore } from '../event-store/event-store.ts';
import { countByDay, describeTable } from './described-table.ts';
import { countLanded, countRows, eraseProject } from './erase-project.ts';
import { findEvents } from './find-events.ts';
import { findWrongLinks, removeWrongLinks } from './identity-links.ts';
import { queryNdjson, queryTable } from './operator-query.ts';
import { measureRetention, rewriteRetention } from './retention-rewrite.ts';
import { countStored } from './stored-counts.ts';

/** What operators do with events in Postgres. Throws `PostgresFailure` where its port speaks of the driver. */
export function createEventOperations({ pool, clock }: { pool: Pool; clock: Clock }): EventOperations {
  return {
    name: 'Postgres',
    describeTable: () => describeTable(pool),
    countByDay: (projectId, days) => countByDay(pool, projectId, days),
    countStored: (projectId) => countStored(pool, projectId),
    countRows: (projectId) => countRows(pool, projectId),
    countLanded: (projectId) => countLanded(pool, projectId),
    eraseProject: (projectId, onProgress) => eraseProject(pool, projectId, onProgress),
    measureRetention: (projectId, retentionSeconds) => measureRetention(pool, projectId, retentionSeconds),
    rewriteRetention: (rewrite, onProgress) => rewriteRetention(pool, rewrite, onProgress),
    findEvents: (search) => findEvents(pool, search),
    findWrongLinks: (projectId) => findWrongLinks(pool, projectId),
    removeWrongLinks: (projectId, onProgress) => removeWrongLinks(pool, projectId, onProgress),
    inspection: (timeoutMs) => createEventStore({ pool, clock }, { timeoutMs }),
    queryTable: (sql) => queryTable(pool, sql),
    queryNdjson: (sql) => queryNdjson(pool, sql),
  };
}
