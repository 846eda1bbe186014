import type { ClickHouseClient } from '@clickhouse/client';
import type { EventOperations } from '../../pipeline/operator-port.ts';
import type { Clock } from '../../runtime/clock.ts';
import { createEventStore } from '../event-store/event-store.ts';
import { countLanded, countRows, eraseProject } from './erase-project.ts';
import { findWrongLinks, removeWrongLinks } from './identity-links.ts';
import { queryNdjson, queryTable } from './operator-query.ts';
import { measureRetentionState, rewriteRetention } from './retention-rewrite.ts';
import { countStored } from './stored-counts.ts';

const inParts = (toDo: number) => ({ toDo, unit: 'part' as const });

/** What operators do with events in ClickHouse. `database`: the client's own. */
export function createEventOperations(
  { client, clock }: { client: ClickHouseClient; clock: Clock },
  { database }: { database: string },
): EventOperations {
  return {
    name: 'ClickHouse',
    countStored: (projectId) => countStored(client, projectId),
    countRows: (projectId) => countRows(client, projectId),
    countLanded: (projectId) => countLanded(client, projectId),
    eraseProject: (projectId, onProgress) =>
      eraseProject({ client, clock }, projectId, ({ partsToDo, ...progress }) =>
        onProgress({ ...progress, ...inParts(partsToDo) }),
      ),
    measureRetention: (projectId, retentionSeconds) => measureRetentionState(client, projectId, retentionSeconds),
    rewriteRetention: (rewrite, onProgress) =>
      rewriteRetention({ client, clock }, rewrite, ({ rows, partsToDo }) =>
        onProgress({ rows, ...inParts(partsToDo) }),
      ),
    findWrongLinks: (projectId) => findWrongLinks(client, projectId),
    removeWrongLinks: (projectId, onProgress) =>
      removeWrongLinks({ client, clock }, projectId, (partsToDo) => onProgress(inParts(partsToDo))),
    inspection: (timeoutMs) => createEventStore({ client, clock }, { database, timeoutMs }),
    queryTable: (sql) => queryTable(client, sql),
    queryNdjson: (sql) => queryNdjson(client, sql),
  };
}
