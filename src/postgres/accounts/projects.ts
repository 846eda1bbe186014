import { isDeepStrictEqual } from 'node:util';
import { isUuid } from '../../event/uuid.ts';
import { and, asc, eq, isNull, sql } from '../connection/drizzle.ts';
import { answerOf } from '../connection/errors.ts';
import type { Database, Transaction } from '../connection/pool.ts';
import { accountAuditEntry } from '../connection/project-audit.ts';
import { apiTokens, failedEventsAudit, projects } from '../connection/schema.ts';

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
  /** A page of the same, behind the project with that id. */
  page(after: string | null, limit: number): Promise<Project[]>;
  get(id: string): Promise<Project | null>;
  /** Including a deleted one. */
  find(id: string): Promise<(Project & { readonly deletedAt: Date | null }) | null>;
  /** For whoever asks within a minute from now. False when nothing had to change, or there is no such project. */
  changeOrigins(id: string, allowedOrigins: readonly string[]): Promise<boolean>;
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

/** `actor`: whose name goes into the audit with every change; null where Weir itself makes one, which is not recorded. */
export function createProjects(db: Database, { actor }: { actor: string | null } = { actor: null }): Projects {
  return {
    async create({ name, retentionSeconds, allowedOrigins }) {
      const values = { name, retentionSeconds, allowedOrigins: [...allowedOrigins] };
      return answerOf(
        db.transaction(async (tx) => {
          const [project] = await tx.insert(projects).values(values).returning(COLUMNS);
          await note(tx, 'project create', project!.id, { name });
          return project!;
        }),
      );
    },
    list: () =>
      answerOf(
        db
          .select(COLUMNS)
          .from(projects)
          .where(isNull(projects.deletedAt))
          .orderBy(asc(projects.createdAt), asc(projects.id)),
      ),
    async page(after, limit) {
      const behind =
        after === null
          ? undefined
          : sql`(${projects.createdAt}, ${projects.id}) > (select created_at, id from projects where id = ${after}::uuid)`;
      const alive = and(isNull(projects.deletedAt), behind);
      const found = db.select(COLUMNS).from(projects).where(alive).orderBy(asc(projects.createdAt), asc(projects.id));
      return answerOf(found.limit(limit));
    },
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
    async changeOrigins(id, allowedOrigins) {
      if (!isUuid(id)) return false;
      return answerOf(
        db.transaction(async (tx) => {
          const isAlive = and(eq(projects.id, id), isNull(projects.deletedAt));
          const [before] = await tx
            .select({ from: projects.allowedOrigins })
            .from(projects)
            .where(isAlive)
            .for('update');
          if (!before || isDeepStrictEqual(before.from, allowedOrigins)) return false;
          await tx
            .update(projects)
            .set({ allowedOrigins: [...allowedOrigins] })
            .where(isAlive);
          await note(tx, 'origins', id, { from: before.from, to: allowedOrigins });
          return true;
        }),
      );
    },
    async delete(id) {
      if (!isUuid(id)) return false;
      return answerOf(
        db.transaction(async (tx) => {
          const [found] = await tx
            .select({ deletedAt: projects.deletedAt })
            .from(projects)
            .where(eq(projects.id, id))
            .for('update');
          if (found?.deletedAt === null) await note(tx, 'project delete', id);
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

  /** In the transaction of the change. */
  async function note(
    tx: Transaction,
    action: Parameters<typeof accountAuditEntry>[0]['action'],
    projectId: string,
    detail: object = {},
  ): Promise<void> {
    if (actor === null) return;
    await tx.insert(failedEventsAudit).values(accountAuditEntry({ action, actor, projectId, detail: { ...detail } }));
  }
}
