import { ORIGIN_RULE, isOriginPattern } from '../net/origins.ts';
import { type Project, createProjects } from '../postgres/accounts/projects.ts';
import type { Database } from '../postgres/connection/pool.ts';
import { checkedName } from './names.ts';
import { OperationRefused } from './refused.ts';

export type NewProject = Pick<Project, 'name' | 'retentionSeconds' | 'allowedOrigins'>;

/** Throws `OperationRefused` when an origin can never match or the name is empty or too long, and `PostgresFailure`. */
export async function createProject(
  db: Database,
  { name, ...project }: NewProject,
  { actor }: { actor: string },
): Promise<Project> {
  requireOrigins(project.allowedOrigins);
  return createProjects(db, { actor }).create({ ...project, name: checkedName(name) });
}

/** Throws `OperationRefused` for origins that can never match, or too many of them. */
export function requireOrigins(origins: readonly string[]): void {
  if (!origins.every(isOriginPattern)) throw new OperationRefused('invalid', ORIGIN_RULE);
  if (origins.length > MAX_ORIGINS) {
    throw new OperationRefused('invalid', `A project has at most ${MAX_ORIGINS} allowed origins.`);
  }
}

/** Each request of a browser is compared with all of them. */
const MAX_ORIGINS = 100;
