/** The table of events as operators look at it, when it does not take a row. */
import type { ClickHouseClient } from '@clickhouse/client';
import type { DescribedTable, EventsOfDay } from '../../pipeline/operator-port.ts';
import type { Clock } from '../../runtime/clock.ts';
import { ask, askOf } from '../connection/ask.ts';
import { type Place, readLayout } from '../connection/layout.ts';
import { quoted } from '../connection/quoting.ts';
import { ROW_FIELDS } from '../../event/row.ts';
import { createTableShapeReader } from '../event-store/table-shape.ts';
import { EVENTS } from '../migrations/event-tables.ts';
import { statementFor } from '../migrations/layout-statements.ts';

/** Throws what the driver throws. */
export async function describeTable(
  { client, clock }: { client: ClickHouseClient; clock: Clock },
  place: Place,
): Promise<DescribedTable> {
  const asking = askOf(client, place.database);
  const options = { database: place.database, table: EVENTS, carried: ROW_FIELDS };
  const { carried, computed, constraints } = await createTableShapeReader({ ask: asking, clock }, options).read();
  const layout = await readLayout(asking, place);
  const name = `${quoted(place.database)}.${EVENTS}`;
  const all = [
    ...carried.map((column) => ({ name: column.name, type: column.type, isCarried: true })),
    ...computed.map((column) => ({ name: column.name, type: column.type, isCarried: false })),
  ];
  return {
    name,
    columns: all,
    constraints,
    dropConstraint: (constraint) => statementFor(layout, `ALTER TABLE ${name} DROP CONSTRAINT ${quoted(constraint)}`),
    allowAbsence: () => null,
  };
}

/** Throws what the driver throws. */
export async function countByDay(
  client: ClickHouseClient,
  projectId: string,
  { since }: { since: string },
): Promise<EventsOfDay[]> {
  const days = await ask<{ day: string; events: string }>(
    client,
    `SELECT toString(toDate(hour)) AS day, toString(sum(events)) AS events FROM event_counts_hourly
     WHERE project_id = {project:UUID} AND hour >= {since:Date} GROUP BY day ORDER BY day`,
    { project: projectId, since },
  );
  return days.map(({ day, events }) => ({ day, events: Number(events) }));
}
