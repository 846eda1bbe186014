import { type Project, createProjects } from '../postgres/accounts/projects.ts';
import type { Database } from '../postgres/connection/pool.ts';
import { OperationRefused } from './refused.ts';

/** Throws `OperationRefused` when there is no such project, or it is deleted, and `PostgresFailure`. */
export async function findProject(db: Database, id: string): Promise<Project> {
  return (await createProjects(db).get(id)) ?? refuse(id);
}

/** The project, even a deleted one: deleting may be repeated, and what is left may be looked at. Throws `OperationRefused`, `PostgresFailure`. */
export async function findKnownProject(
  db: Database,
  id: string,
): Promise<Project & { readonly deletedAt: Date | null }> {
  return (await createProjects(db).find(id)) ?? refuse(id);
}

function refuse(id: string): never {
  throw new OperationRefused('not-found', `There is no project ${id}. See \`weir project list\`.`);
}
