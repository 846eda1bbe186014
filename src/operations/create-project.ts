import { ORIGIN_RULE, isOriginPattern } from '../net/origins.ts';
import { type Project, createProjects } from '../postgres/accounts/projects.ts';
import type { Database } from '../postgres/connection/pool.ts';
import { OperationRefused } from './refused.ts';

export type NewProject = Pick<Project, 'name' | 'retentionSeconds' | 'allowedOrigins'>;

/** Throws `OperationRefused` when an origin can never match, and `PostgresFailure`. */
export async function createProject(db: Database, project: NewProject): Promise<Project> {
  if (!project.allowedOrigins.every(isOriginPattern)) throw new OperationRefused('invalid', ORIGIN_RULE);
  return createProjects(db).create(project);
}
