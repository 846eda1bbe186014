/** Which rows are stored, by their ids: on any of the servers that share the table, since one may not have yet what another one took. */
import type { ClickHouseSettings } from '@clickhouse/client';
import { idsOf } from '../../event/rows.ts';
import type { Clock } from '../../runtime/clock.ts';
import { LEAVING_OUT_ABSENT, type Layout, onReplicas, replicasIn } from '../connection/layout.ts';
import { createDivision } from './division.ts';

/** Ids in one question, of the 128 kB that ClickHouse takes in one form field. */
const MAX_ASKED = 2_000;
/** What one takes there; its project as much again at most. */
const ASKED_BYTES = 39;

export type StoredRowsDeps = {
  /** The rows of a query. Throws `InsertFailure`. */
  readonly ask: <Row>(
    query: string,
    params: Record<string, unknown>,
    signal: AbortSignal | undefined,
    settings: ClickHouseSettings,
  ) => Promise<Row[]>;
  readonly readLayout: (signal?: AbortSignal) => Promise<Layout>;
  readonly clock: Pick<Clock, 'elapsed'>;
};

/** Answers `EventStore.findStored` of the table, `database.name`. */
export function createStoredRows({ ask, readLayout, clock }: StoredRowsDeps, table: string) {
  /** What passes of other questions says nothing about these. */
  const lookUps = createDivision({ clock });

  return async function findStored(rows: readonly Buffer[], signal?: AbortSignal): Promise<readonly boolean[]> {
    const ids = rows.map(idsOf);
    const known = ids.filter((id) => id !== null);
    const stored = new Set<string>();
    if (known.length === 0) return ids.map(() => false);
    const place = placeOf(await readLayout(signal), table);
    for (let from = 0; from < known.length; from += MAX_ASKED) {
      const some = known.slice(from, from + MAX_ASKED);
      const found = await lookUps.ask(
        some,
        () => ASKED_BYTES,
        (part) => storedAmong(part, place, signal),
      );
      for (const { project, id } of found.flat()) stored.add(`${project} ${id}`);
    }
    return ids.map((id) => id !== null && stored.has(`${id.projectId} ${id.eventId}`));
  };

  function storedAmong(
    asked: readonly NonNullable<ReturnType<typeof idsOf>>[],
    { from, settings }: Place,
    signal?: AbortSignal,
  ) {
    const arrivals = asked.map(({ receivedAt }) => receivedAt).sort();
    return ask<{ project: string; id: string }>(
      // The arrival names the parts to look into: each knows the earliest and latest in it.
      // The names differ from the columns': in ClickHouse an alias also stands for its text in WHERE.
      `SELECT DISTINCT toString(project_id) AS project, toString(event_id) AS id FROM ${from}
       WHERE received_at BETWEEN parseDateTime64BestEffort({first:String}, 3, 'UTC') AND parseDateTime64BestEffort({last:String}, 3, 'UTC')
       AND has({projects:Array(UUID)}, project_id) AND event_id IN {events:Array(UUID)}`,
      {
        first: arrivals[0]!,
        last: arrivals.at(-1)!,
        projects: [...new Set(asked.map(({ projectId }) => projectId))],
        events: asked.map(({ eventId }) => eventId),
      },
      signal,
      settings,
    );
  }
}

type Place = { readonly from: string; readonly settings: ClickHouseSettings };

function placeOf(layout: Layout, table: string): Place {
  // There a server asks the keeper first what others have taken.
  if (layout.kind === 'cloud') return { from: table, settings: { select_sequential_consistency: '1' } };
  const replicas = replicasIn(layout);
  return { from: onReplicas(replicas, table), settings: replicas === null ? {} : LEAVING_OUT_ABSENT };
}
