/** Identity links of ids that a later version takes for placeholders; those that are known are never linked. */
import type { Pool } from 'pg';
import type { RemovedLinks, ToDo, WrongLinks } from '../../pipeline/operator-port.ts';
import { plainAnswerOf } from '../connection/errors.ts';

const IS_WRONG = '(analytics.is_placeholder_id(anonymous_id) OR analytics.is_placeholder_id(user_id))';

/** How many links of all projects name a placeholder. Throws `PostgresFailure`. */
export async function countWrongLinks(pool: Pool): Promise<number> {
  const { rows } = await plainAnswerOf(
    pool.query<{ links: string }>(`SELECT count(*) AS links FROM analytics.identities WHERE ${IS_WRONG}`),
  );
  return Number(rows[0]!.links);
}

/** The wrong links by project and id, largest count first. Throws `PostgresFailure`. */
export async function findWrongLinks(pool: Pool, projectId: string | null): Promise<WrongLinks[]> {
  const { rows } = await plainAnswerOf(
    pool.query<{ project: string; side: WrongLinks['side']; id: string; links: string }>(
      `SELECT project_id AS project, side, id, count(*) AS links
       FROM analytics.identities, LATERAL (
         SELECT CASE WHEN analytics.is_placeholder_id(anonymous_id) THEN 'anonymous_id' ELSE 'user_id' END AS side
       ) AS s, LATERAL (SELECT CASE WHEN side = 'anonymous_id' THEN anonymous_id ELSE user_id END AS id) AS i
       WHERE ${IS_WRONG} AND ($1::uuid IS NULL OR project_id = $1)
       GROUP BY 1, 2, 3 ORDER BY count(*) DESC, 1, 2, 3`,
      [projectId],
    ),
  );
  return rows.map(({ project, side, id, links }) => ({ projectId: project, side, id, links: Number(links) }));
}

/**
 * Removes the wrong links of a project. They hid no others: an id that means nobody is not linked, whoever came first.
 * Throws `PostgresFailure`.
 */
export async function removeWrongLinks(
  pool: Pool,
  projectId: string,
  onProgress: (toDo: ToDo) => void,
): Promise<RemovedLinks> {
  onProgress({ toDo: 0, unit: 'row' });
  const { rowCount } = await plainAnswerOf(
    pool.query(`DELETE FROM analytics.identities WHERE project_id = $1 AND ${IS_WRONG}`, [projectId]),
  );
  const [left] = (
    await plainAnswerOf(
      pool.query<{ links: string }>(
        `SELECT count(*) AS links FROM analytics.identities WHERE project_id = $1 AND ${IS_WRONG}`,
        [projectId],
      ),
    )
  ).rows;
  return { removed: rowCount ?? 0, restored: 0, left: Number(left!.links) };
}
