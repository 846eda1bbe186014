import { hash, randomBytes } from 'node:crypto';
import { and, asc, eq, inArray, isNull, lt, or, sql } from '../connection/drizzle.ts';
import type { ProjectId } from '../../event/event.ts';
import { anonymousKey, anonymousProjectOf, type Credential, type LookUpCredentials } from '../../pipeline/ports.ts';
import { answerOf, PostgresFailure } from '../connection/errors.ts';
import type { Database } from '../connection/pool.ts';
import { isUuid } from '../../event/uuid.ts';
import { apiTokens, projects } from '../connection/schema.ts';

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

export function createTokens(db: Database): Tokens {
  return { create, list, revoke, lookUp };

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

  async function revoke(id: string) {
    if (!isUuid(id)) return false;
    const revoked = await answerOf(
      db
        .update(apiTokens)
        .set({ revokedAt: sql`now()` })
        .where(and(eq(apiTokens.id, id), isNull(apiTokens.revokedAt)))
        .returning({ id: apiTokens.id }),
    );
    return revoked.length > 0;
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
