import { hash, randomBytes } from 'node:crypto';
import { and, asc, eq, inArray, isNull, lt, or, sql } from '../connection/drizzle.ts';
import type { ProjectId } from '../../event/event.ts';
import { anonymousKey, anonymousProjectOf, type Credential, type LookUpCredentials } from '../../pipeline/ports.ts';
import { answerOf, PostgresFailure } from '../connection/errors.ts';
import type { Database, Transaction } from '../connection/pool.ts';
import { accountAuditEntry } from '../connection/project-audit.ts';
import { isUuid } from '../../event/uuid.ts';
import { apiTokens, failedEventsAudit, projects } from '../connection/schema.ts';

export type Token = {
  readonly id: string;
  readonly projectId: string;
  readonly kind: 'public' | 'secret';
  readonly name: string | null;
  readonly createdAt: Date;
  /** Accurate to five minutes; null when it was never used. */
  readonly lastUsedAt: Date | null;
  readonly revokedAt: Date | null;
};

export type NewToken = {
  readonly projectId: string;
  readonly kind: 'public' | 'secret';
  readonly name: string | null;
  /** The key of another service that becomes a token; null generates one. */
  readonly imported: string | null;
};

/** The key is already a token, of this or of another project, live or revoked. */
export class TokenExists extends Error {
  override readonly name = 'TokenExists';

  constructor() {
    super('this key is already a token');
  }
}

/** The credentials of clients. Throws `PostgresFailure`. */
export type Tokens = {
  /** Null when there is no such project. The only time the plaintext is available. Throws `TokenExists`. */
  create(token: NewToken): Promise<(Token & { readonly plaintext: string }) | null>;
  /** Oldest first, including revoked ones; of every project when `projectId` is null. */
  list(projectId: string | null): Promise<Token[]>;
  /** A page of those of a project, behind the token with that id. */
  page(projectId: string, after: string | null, limit: number): Promise<Token[]>;
  /** For good. False when there is no live token with that id. */
  revoke(id: string): Promise<boolean>;
  /** Also records their use, in the background and at most every five minutes each. */
  lookUp: LookUpCredentials;
};

const COLUMNS = {
  id: apiTokens.id,
  projectId: apiTokens.projectId,
  kind: apiTokens.kind,
  name: apiTokens.name,
  createdAt: apiTokens.createdAt,
  lastUsedAt: apiTokens.lastUsedAt,
  revokedAt: apiTokens.revokedAt,
};

const UNIQUE_VIOLATION = '23505';
const PREFIXES = { public: 'mere_pub_', secret: 'mere_sec_' } as const;

const lastUseIsOld = or(isNull(apiTokens.lastUsedAt), lt(apiTokens.lastUsedAt, sql`now() - interval '5 minutes'`));

/** `actor`: whose name goes into the audit with every change; null where Weir itself makes one, which is not recorded. */
export function createTokens(db: Database, { actor }: { actor: string | null } = { actor: null }): Tokens {
  return { create, list, page, revoke, lookUp };

  async function create({ projectId, kind, name, imported }: NewToken) {
    if (!isUuid(projectId)) return null;
    const plaintext = imported ?? `${PREFIXES[kind]}${randomBytes(32).toString('hex')}`;
    const token = await answerOf(
      db.transaction(async (tx) => {
        // Locked, so that the project cannot be deleted between this check and the insert.
        const [project] = await tx
          .select({ id: projects.id })
          .from(projects)
          .where(and(eq(projects.id, projectId), isNull(projects.deletedAt)))
          .for('share');
        if (!project) return null;
        const values = { projectId, kind, name, tokenHash: hash('sha256', plaintext) };
        const [created] = await tx.insert(apiTokens).values(values).returning(COLUMNS);
        await note(tx, 'token create', created!, { isImported: imported !== null });
        return created!;
      }),
    ).catch((error: unknown) => {
      throw error instanceof PostgresFailure && error.code === UNIQUE_VIOLATION ? new TokenExists() : error;
    });
    return token && { ...token, plaintext };
  }

  async function list(projectId: string | null) {
    if (projectId !== null && !isUuid(projectId)) return [];
    const ofProject = projectId === null ? undefined : eq(apiTokens.projectId, projectId);
    return answerOf(
      db.select(COLUMNS).from(apiTokens).where(ofProject).orderBy(asc(apiTokens.createdAt), asc(apiTokens.id)),
    );
  }

  async function page(projectId: string, after: string | null, limit: number) {
    const behind =
      after === null
        ? undefined
        : sql`(${apiTokens.createdAt}, ${apiTokens.id}) > (select created_at, id from api_tokens where id = ${after}::uuid)`;
    const own = and(eq(apiTokens.projectId, projectId), behind);
    const found = db.select(COLUMNS).from(apiTokens).where(own).orderBy(asc(apiTokens.createdAt), asc(apiTokens.id));
    return answerOf(found.limit(limit));
  }

  async function revoke(id: string) {
    if (!isUuid(id)) return false;
    return answerOf(
      db.transaction(async (tx) => {
        const [revoked] = await tx
          .update(apiTokens)
          .set({ revokedAt: sql`now()` })
          .where(and(eq(apiTokens.id, id), isNull(apiTokens.revokedAt)))
          .returning(COLUMNS);
        if (!revoked) return false;
        await note(tx, 'token revoke', revoked);
        return true;
      }),
    );
  }

  /** In the transaction of the change. */
  async function note(
    tx: Transaction,
    action: 'token create' | 'token revoke',
    { id: token, projectId, kind, name }: Token,
    more: object = {},
  ): Promise<void> {
    if (actor === null) return;
    const detail = { token, kind, ...(name !== null && { name }), ...more };
    await tx.insert(failedEventsAudit).values(accountAuditEntry({ action, actor, projectId, detail }));
  }

  async function lookUp(keys: readonly string[]): Promise<ReadonlyMap<string, Credential>> {
    const [opened, found] = await Promise.all([
      lookUpProjects(keys.flatMap((key) => anonymousProjectOf(key) ?? [])),
      lookUpTokens(keys.filter((key) => anonymousProjectOf(key) === null)),
    ]);
    return new Map([...opened, ...found]);
  }

  async function lookUpProjects(ids: readonly string[]): Promise<[string, Credential][]> {
    if (ids.length === 0) return [];
    const found = await answerOf(
      db
        .select({
          projectId: sql<ProjectId>`${projects.id}`,
          retentionSeconds: projects.retentionSeconds,
          allowedOrigins: projects.allowedOrigins,
        })
        .from(projects)
        .where(and(inArray(projects.id, [...ids]), isNull(projects.deletedAt))),
    );
    return found.map((project) => [anonymousKey(project.projectId), { ...project, kind: 'anonymous' }]);
  }

  async function lookUpTokens(hashes: readonly string[]): Promise<[string, Credential][]> {
    if (hashes.length === 0) return [];
    const found = await answerOf(
      db
        .select({
          tokenHash: apiTokens.tokenHash,
          id: apiTokens.id,
          credential: {
            projectId: sql<ProjectId>`${apiTokens.projectId}`,
            kind: apiTokens.kind,
            retentionSeconds: projects.retentionSeconds,
            allowedOrigins: projects.allowedOrigins,
          },
          isUseUnnoted: sql<boolean>`${lastUseIsOld}`,
        })
        .from(apiTokens)
        .innerJoin(projects, eq(projects.id, apiTokens.projectId))
        .where(and(inArray(apiTokens.tokenHash, [...hashes]), isNull(apiTokens.revokedAt), isNull(projects.deletedAt))),
    );
    const unnoted = found.filter(({ isUseUnnoted }) => isUseUnnoted).map(({ id }) => id);
    // Not awaited: the answer does not depend on it, and a failed update is repeated at the next look-up.
    if (unnoted.length > 0) void noteUse(unnoted).catch(() => {});
    return found.map(({ tokenHash, credential }) => [tokenHash, credential]);
  }

  async function noteUse(ids: readonly string[]): Promise<void> {
    await db
      .update(apiTokens)
      .set({ lastUsedAt: sql`now()` })
      .where(and(inArray(apiTokens.id, [...ids]), lastUseIsOld));
  }
}
