import type { ClickHouseClient } from '@clickhouse/client';
import type { EventOperations } from '../../pipeline/operator-port.ts';
import type { Clock } from '../../runtime/clock.ts';
import { askOf } from '../connection/ask.ts';
import { readLayout, replicasIn } from '../connection/layout.ts';
import { createEventStore } from '../event-store/event-store.ts';
import { countByDay, describeTable } from './described-table.ts';
import { countLanded, countRows, eraseProject } from './erase-project.ts';
import { findEvents } from './find-events.ts';
import { findWrongLinks, removeWrongLinks } from './identity-links.ts';
import { queryNdjson, queryTable } from './operator-query.ts';
import { measureRetentionState, rewriteRetention } from './retention-rewrite.ts';
import { countStored } from './stored-counts.ts';

const inParts = (toDo: number) => ({ toDo, unit: 'part' as const });

/** What operators do with events in ClickHouse. `database`: the client's own. */
export function createEventOperations(
  { client, clock }: { client: ClickHouseClient; clock: Clock },
  { database, cluster = null }: { readonly database: string; readonly cluster?: string | null },
): EventOperations {
  /** With the servers that a change of rows has to reach. */
  const deps = async () => {
    const layout = await readLayout(askOf(client, database), { database, cluster });
    return { client, clock, replicas: replicasIn(layout) };
  };

  return {
    name: 'ClickHouse',
    describeTable: () => describeTable({ client, clock }, { database, cluster }),
    countByDay: (projectId, days) => countByDay(client, projectId, days),
    countStored: (projectId) => countStored(client, projectId),
    countRows: (projectId) => countRows(client, projectId),
    countLanded: (projectId) => countLanded(client, projectId),
    eraseProject: async (projectId, onProgress) =>
      eraseProject(await deps(), projectId, ({ partsToDo, ...progress }) =>
        onProgress({ ...progress, ...inParts(partsToDo) }),
      ),
    measureRetention: (projectId, retentionSeconds) => measureRetentionState(client, projectId, retentionSeconds),
    rewriteRetention: async (rewrite, onProgress) =>
      rewriteRetention(await deps(), rewrite, ({ rows, partsToDo }) => onProgress({ rows, ...inParts(partsToDo) })),
    findEvents: (search) => findEvents(client, search),
    findWrongLinks: (projectId) => findWrongLinks(client, projectId),
    removeWrongLinks: async (projectId, onProgress) =>
      removeWrongLinks(await deps(), projectId, (partsToDo) => onProgress(inParts(partsToDo))),
    inspection: (timeoutMs) => createEventStore({ client, clock }, { database, timeoutMs, cluster }),
    queryTable: (sql) => queryTable(client, sql),
    queryNdjson: (sql) => queryNdjson(client, sql),
  };
}
