import { createProjects } from '../postgres/accounts/projects.ts';
import type { Database } from '../postgres/connection/pool.ts';
import { requireOrigins } from './create-project.ts';
import { findProject } from './find-project.ts';

/**
 * Sets which browser origins may use the tokens of a project, within a minute; an empty list allows every one. False
 * when nothing had to change. Throws `OperationRefused`, `PostgresFailure`.
 */
export async function changeOrigins(
  db: Database,
  { projectId, allowedOrigins, actor }: { projectId: string; allowedOrigins: readonly string[]; actor: string },
): Promise<boolean> {
  requireOrigins(allowedOrigins);
  const { id } = await findProject(db, projectId);
  return createProjects(db, { actor }).changeOrigins(id, [...new Set(allowedOrigins)]);
}
