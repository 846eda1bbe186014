/**
 * Gives a project's stored events the expiry of another retention, in chunks, and deletes at once what has expired then.
 * May be repeated after an interruption. Events that expired before stay gone, whether or not they are removed yet.
 */
import type { Pool } from 'pg';
import type {
  RetentionRewrite,
  RetentionRewriteProgress,
  RetentionState,
  RewrittenRetention,
} from '../../pipeline/operator-port.ts';
import { plainAnswerOf } from '../connection/errors.ts';
import { changeInChunks, partitionsOf } from './in-chunks.ts';

/** The latest expiry that the front doors write, as `rowEncoder` does. */
const LATEST_EXPIRY = 4_294_967_295;
/** The same as in `rowEncoder`: the second of arrival plus the retention, at most the latest possible second. */
const NEW_EXPIRY = `CASE WHEN $2::bigint IS NULL THEN NULL
  ELSE to_timestamp(least(floor(extract(epoch FROM received_at)) + $2::bigint, ${LATEST_EXPIRY})) END`;
const IS_THERE = 'project_id = $1 AND (expires_at IS NULL OR expires_at > now())';
const DIFFERS = `expires_at IS DISTINCT FROM ${NEW_EXPIRY}`;
const IS_OVER = `${NEW_EXPIRY} <= now()`;

/** Throws `PostgresFailure`. */
export async function measureRetention(
  pool: Pool,
  projectId: string,
  retentionSeconds: number | null,
): Promise<RetentionState> {
  const { rows } = await plainAnswerOf(
    pool.query<Record<keyof RetentionState, string>>(
      `SELECT count(*) AS stored, count(*) FILTER (WHERE ${DIFFERS}) AS differing,
         count(*) FILTER (WHERE ${DIFFERS} AND ${IS_OVER}) AS expiring
       FROM analytics.events_raw WHERE ${IS_THERE}`,
      [projectId, retentionSeconds],
    ),
  );
  const { stored, differing, expiring } = rows[0]!;
  return { stored: Number(stored), differing: Number(differing), expiring: Number(expiring) };
}

/** The last call wins: every chunk asks first whether its retention is still wanted. Throws `PostgresFailure`. */
export async function rewriteRetention(
  pool: Pool,
  { projectId, retentionSeconds, confirmWanted }: RetentionRewrite,
  onProgress: (progress: RetentionRewriteProgress) => void,
): Promise<RewrittenRetention> {
  const { differing } = await measureRetention(pool, projectId, retentionSeconds);
  const params = [projectId, retentionSeconds];
  let done = 0;
  const onChunk = async (rows: number) => {
    done += rows;
    onProgress({ rows: differing, toDo: Math.max(0, differing - done), unit: 'row' });
    await confirmWanted();
  };
  if (differing > 0) await confirmWanted();
  let expired = 0;
  let kept = 0;
  for (const table of differing > 0 ? await partitionsOf(pool) : []) {
    const over = `${IS_THERE} AND ${DIFFERS} AND ${IS_OVER}`;
    const remove = (isChosen: string) =>
      `DELETE FROM ONLY ${table} WHERE ${isChosen} AND ${IS_OVER} AND project_id = $1`;
    expired += await changeInChunks(pool, { table, where: over, statement: remove }, params, onChunk);
    const restamp = (isChosen: string) =>
      `UPDATE ONLY ${table} SET expires_at = ${NEW_EXPIRY} WHERE ${isChosen} AND project_id = $1`;
    const differs = `${IS_THERE} AND ${DIFFERS}`;
    kept += await changeInChunks(pool, { table, where: differs, statement: restamp }, params, onChunk);
  }
  const { differing: left } = await measureRetention(pool, projectId, retentionSeconds);
  return { changed: kept + expired, expired, left };
}
