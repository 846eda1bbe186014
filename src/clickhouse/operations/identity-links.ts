/** Placeholder ids in SQL, and the identity links that were made of them before Weir recognised them. */
import type { ClickHouseClient } from '@clickhouse/client';
import { PLACEHOLDER_PATTERN } from '../../event/placeholder-ids.ts';
import type { RemovedLinks, WrongLinks } from '../../pipeline/operator-port.ts';
import { ask } from '../connection/ask.ts';
import { literal } from '../connection/quoting.ts';
import { type MutationDeps, mutate } from './mutation.ts';

/** The condition that a text column holds a placeholder id. The migrations repeat it word for word. */
export function isPlaceholderIn(column: string): string {
  return `match(${column}, ${literal(`(?is)${PLACEHOLDER_PATTERN}`)})`;
}

/** A link is wrong when either side is a placeholder. Parts that are not merged yet are checked one by one. */
const IS_WRONG = `(${isPlaceholderIn('anonymous_id')} OR ${isPlaceholderIn('finalizeAggregation(user)')})`;

const TOOK_TOO_LONG = '159';

/**
 * How many links of all projects name a placeholder; null when counting takes longer than `withinS`. Throws what the
 * driver throws.
 */
export async function countWrongLinks(
  client: ClickHouseClient,
  { withinS }: { withinS: number },
): Promise<number | null> {
  try {
    const answer = await client.query({
      query: `SELECT toString(uniqExact(project_id, anonymous_id)) AS links FROM identity_links WHERE ${IS_WRONG}`,
      format: 'JSONEachRow',
      clickhouse_settings: { max_execution_time: withinS },
    });
    const [row] = await answer.json<{ links: string }>();
    return Number(row!.links);
  } catch (error) {
    if ((error as { code?: unknown }).code === TOOK_TOO_LONG) return null;
    throw error;
  }
}

/** The wrong links by project and id, largest count first. Throws what the driver throws. */
export async function findWrongLinks(client: ClickHouseClient, projectId: string | null): Promise<WrongLinks[]> {
  const rows = await ask<{ project: string; side: WrongLinks['side']; id: string; links: string }>(
    client,
    `SELECT toString(project_id) AS project,
       if(${isPlaceholderIn('anonymous_id')}, 'anonymous_id', 'user_id') AS side,
       if(side = 'anonymous_id', anonymous_id, finalizeAggregation(user)) AS id,
       toString(uniqExact(anonymous_id)) AS links
     FROM identity_links
     WHERE ${IS_WRONG} AND (isNull({project:Nullable(UUID)}) OR project_id = {project:Nullable(UUID)})
     GROUP BY project, side, id
     ORDER BY uniqExact(anonymous_id) DESC, project, side, id`,
    { project: projectId },
  );
  return rows.map(({ project, side, id, links }) => ({ projectId: project, side, id, links: Number(links) }));
}

/**
 * Removes the wrong links of a project, and restores links that a wrong one hid: those of an id that was linked first
 * to a placeholder and later to a person, as far as the events still exist. May be repeated, also after an
 * interruption. Throws `MutationFailed`, and what the driver throws.
 */
export async function removeWrongLinks(
  { client, clock, replicas = null }: MutationDeps,
  projectId: string,
  onProgress: (partsToDo: number) => void,
): Promise<RemovedLinks> {
  const before = await countOf(projectId);
  if (before.wrong > 0) {
    const change = `DELETE WHERE project_id = {project:UUID} AND ${IS_WRONG}`;
    await mutate(
      { client, clock, replicas },
      { table: 'identity_links', change, projectId, doing: 'delete from identity_links' },
      onProgress,
    );
  }
  const without = await countOf(projectId);
  // The earliest arrival wins, as always, so inserting an existing link again is harmless.
  await client.command({
    query: `INSERT INTO identity_links
      SELECT project_id, assumeNotNull(e.anonymous_id) AS anonymous_id,
        argMinState(assumeNotNull(e.user_id), tuple(e.received_at, e.event_id, assumeNotNull(e.user_id))) AS user
      FROM events_raw_v1 AS e
      WHERE ${ofProject('e.')} AND NOT ${isPlaceholderIn('e.anonymous_id')} AND NOT ${isPlaceholderIn('e.user_id')}
        AND e.anonymous_id IN (
          SELECT w.anonymous_id FROM events_raw_v1 AS w WHERE ${ofProject('w.')} AND ${isPlaceholderIn('w.user_id')}
        )
      GROUP BY project_id, anonymous_id`,
    query_params: { project: projectId },
  });
  const after = await countOf(projectId);
  return { removed: before.wrong, restored: after.all - without.all, left: after.wrong };

  async function countOf(project: string) {
    const [row] = await ask<{ all: string; wrong: string }>(
      client,
      `SELECT toString(uniqExact(anonymous_id)) AS all, toString(uniqExactIf(anonymous_id, ${IS_WRONG})) AS wrong
       FROM identity_links WHERE project_id = {project:UUID}`,
      { project },
    );
    return { all: Number(row!.all), wrong: Number(row!.wrong) };
  }
}

/** Events of a project that link two ids. The migrations say the same of the view that links. */
const ofProject = (of: string) =>
  `${of}project_id = {project:UUID}
   AND (${of}event IN ('$identify', '$alias', '$create_alias') OR ${of}source IN ('amplitude', 'mixpanel'))
   AND isNotNull(${of}user_id) AND isNotNull(${of}anonymous_id)`;
