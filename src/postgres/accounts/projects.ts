import { isUuid } from '../../event/uuid.ts';
import { and, asc, eq, isNull, sql } from '../connection/drizzle.ts';
import { answerOf } from '../connection/errors.ts';
import type { Database } from '../connection/pool.ts';
import { apiTokens, projects } from '../connection/schema.ts';

export type Project = {
  readonly id: string;
  readonly name: string;
  /** Seconds from arrival until events expire; null keeps them. */
  readonly retentionSeconds: number | null;
  /** Browser origins that may use the project's tokens; an empty list allows every one. */
  readonly allowedOrigins: readonly string[];
  readonly createdAt: Date;
};

/** The tenants that are not deleted. Throws `PostgresFailure`. */
export type Projects = {
  create(project: Pick<Project, 'name' | 'retentionSeconds' | 'allowedOrigins'>): Promise<Project>;
  /** Oldest first. */
  list(): Promise<Project[]>;
  get(id: string): Promise<Project | null>;
  /** Including a deleted one. */
  find(id: string): Promise<(Project & { readonly deletedAt: Date | null }) | null>;
  /** Ends the project and its tokens; may be repeated. False when there never was such a project. */
  delete(id: string): Promise<boolean>;
};

const COLUMNS = {
  id: projects.id,
  name: projects.name,
  retentionSeconds: projects.retentionSeconds,
  allowedOrigins: projects.allowedOrigins,
  createdAt: projects.createdAt,
};

export function createProjects(db: Database): Projects {
  return {
    async create({ name, retentionSeconds, allowedOrigins }) {
      const values = { name, retentionSeconds, allowedOrigins: [...allowedOrigins] };
      const [project] = await answerOf(db.insert(projects).values(values).returning(COLUMNS));
      return project!;
    },
    list: () =>
      answerOf(
        db
          .select(COLUMNS)
          .from(projects)
          .where(isNull(projects.deletedAt))
          .orderBy(asc(projects.createdAt), asc(projects.id)),
      ),
    async get(id) {
      if (!isUuid(id)) return null;
      const [project] = await answerOf(
        db
          .select(COLUMNS)
          .from(projects)
          .where(and(eq(projects.id, id), isNull(projects.deletedAt))),
      );
      return project ?? null;
    },
    async find(id) {
      if (!isUuid(id)) return null;
      const columns = { ...COLUMNS, deletedAt: projects.deletedAt };
      const [project] = await answerOf(db.select(columns).from(projects).where(eq(projects.id, id)));
      return project ?? null;
    },
    async delete(id) {
      if (!isUuid(id)) return false;
      return answerOf(
        db.transaction(async (tx) => {
          const deleted = await tx
            .update(projects)
            .set({ deletedAt: sql`coalesce(${projects.deletedAt}, now())` })
            .where(eq(projects.id, id))
            .returning({ id: projects.id });
          await tx
            .update(apiTokens)
            .set({ revokedAt: sql`now()` })
            .where(and(eq(apiTokens.projectId, id), isNull(apiTokens.revokedAt)));
          return deleted.length > 0;
        }),
      );
    },
  };
}
