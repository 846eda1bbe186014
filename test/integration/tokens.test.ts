import { hash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { createLog } from '../../src/log/log.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { createPostgres } from '../../src/postgres/connection/pool.ts';
import { createProjects } from '../../src/postgres/accounts/projects.ts';
import { createTokens, TokenExists } from '../../src/postgres/accounts/tokens.ts';
import { startMigratedPostgres } from '../support/stores.ts';

/** However busy the machine is. */
const SOON = { timeout: 20_000 };

let started: Awaited<ReturnType<typeof startMigratedPostgres>>;
let postgres: typeof started.postgres;
let server: typeof started.server;

beforeAll(async () => {
  started = await startMigratedPostgres();
  ({ postgres, server } = started);
});
afterAll(() => started?.stop());

const NOBODY = '00000000-0000-0000-0000-000000000000';
const newProject = (name = 'shop') =>
  createProjects(postgres.db).create({
    name,
    retentionSeconds: 90 * 86_400,
    allowedOrigins: ['https://shop.example.com'],
  });
const newToken = async (projectId: string, imported: string | null = null) =>
  (await createTokens(postgres.db).create({ projectId, kind: 'public', name: 'page', imported }))!;

describe('projects', () => {
  test('are kept as they were made, and leave the list when deleted', async () => {
    const projects = createProjects(postgres.db);
    const made = await newProject('kept');
    expect(await projects.get(made.id)).toEqual(made);
    expect(await projects.list()).toContainEqual(made);
    expect(await projects.delete(made.id)).toBe(true);
    expect(await projects.delete(made.id)).toBe(true);
    expect(await projects.get(made.id)).toBeNull();
    expect(await projects.list()).not.toContainEqual(made);
  });

  test.each([NOBODY, 'no uuid'])('%s was never one', async (id) => {
    expect(await createProjects(postgres.db).get(id)).toBeNull();
    expect(await createProjects(postgres.db).delete(id)).toBe(false);
  });
});

describe('tokens', () => {
  test('have the promised shape, and only their hash is stored', async () => {
    const { id } = await newProject();
    const { plaintext } = await newToken(id);
    const secret = await createTokens(postgres.db).create({
      projectId: id,
      kind: 'secret',
      name: null,
      imported: null,
    });
    expect(plaintext).toMatch(/^mere_pub_[0-9a-f]{64}$/);
    expect(secret?.plaintext).toMatch(/^mere_sec_[0-9a-f]{64}$/);
    const { rows } = await postgres.pool.query<{ t: string }>('SELECT api_tokens::text AS t FROM api_tokens');
    expect(rows.some(({ t }) => t.includes(hash('sha256', plaintext)))).toBe(true);
    expect(rows.some(({ t }) => t.includes(plaintext))).toBe(false);
  });

  test('belong to a project that exists', async () => {
    const tokens = createTokens(postgres.db);
    const { id } = await newProject();
    await createProjects(postgres.db).delete(id);
    for (const projectId of [id, NOBODY, 'no uuid']) {
      expect(await tokens.create({ projectId, kind: 'public', name: null, imported: null })).toBeNull();
    }
  });

  test('take over a key of another service once', async () => {
    const { id } = await newProject();
    const key = `old-${id}`;
    expect((await newToken(id, key)).plaintext).toBe(key);
    await expect(newToken(id, key)).rejects.toThrow(TokenExists);
    const found = await createTokens(postgres.db).lookUp([hash('sha256', key)]);
    expect(found.get(hash('sha256', key))?.projectId).toBe(id);
  });

  test('are listed by project, and revoked once', async () => {
    const tokens = createTokens(postgres.db);
    const { id } = await newProject();
    const { plaintext: _plaintext, ...made } = await newToken(id);
    expect(await tokens.list(id)).toEqual([made]);
    expect((await tokens.list(null)).length).toBeGreaterThan(1);
    expect(await tokens.revoke(made.id)).toBe(true);
    expect(await tokens.revoke(made.id)).toBe(false);
    expect((await tokens.list(id))[0]?.revokedAt).toBeInstanceOf(Date);
  });
});

describe('looking up tokens', () => {
  test('finds the live ones of many in one query, with what they stand for', async () => {
    const tokens = createTokens(postgres.db);
    const [project, deleted] = await Promise.all([newProject(), newProject()]);
    const [live, revoked, orphan] = await Promise.all([
      newToken(project.id),
      newToken(project.id),
      newToken(deleted.id),
    ]);
    await tokens.revoke(revoked.id);
    await createProjects(postgres.db).delete(deleted.id);
    const hashes = [live, revoked, orphan, { plaintext: 'unknown' }].map(({ plaintext }) => hash('sha256', plaintext));
    const credential = {
      projectId: project.id,
      kind: 'public',
      retentionSeconds: 90 * 86_400,
      allowedOrigins: ['https://shop.example.com'],
    };
    expect([...(await tokens.lookUp(hashes))]).toEqual([[hashes[0], credential]]);
    expect(await tokens.lookUp([])).toEqual(new Map());
  });

  test('notes the use, and not again within five minutes', async () => {
    const tokens = createTokens(postgres.db);
    const { id } = await newProject();
    const token = await newToken(id);
    const lookUp = () => tokens.lookUp([hash('sha256', token.plaintext)]);
    const lastUse = async () => (await tokens.list(id))[0]?.lastUsedAt ?? null;
    const setLastUse = (age: string) =>
      postgres.pool.query(
        `UPDATE api_tokens SET last_used_at = date_trunc('second', now()) - $2::interval WHERE id = $1`,
        [token.id, age],
      );

    await lookUp();
    await vi.waitFor(async () => expect(await lastUse()).not.toBeNull(), SOON);
    await setLastUse('4 minutes');
    const recent = await lastUse();
    const version = () => postgres.pool.query('SELECT xmin::text FROM api_tokens WHERE id = $1', [token.id]);
    const { rows: before } = await version();
    await lookUp();
    await lookUp();
    expect((await version()).rows).toEqual(before);
    expect(await lastUse()).toEqual(recent);
    await setLastUse('6 minutes');
    await lookUp();
    await vi.waitFor(async () => expect((await lastUse())!.getTime()).toBeGreaterThan(recent!.getTime()), SOON);
  });
});

describe('a Postgres in trouble', () => {
  test('that hangs fails queries within five seconds, on old and on new connections', async () => {
    const other = createPostgres({ url: server.url, maxConnections: 2 }, createLog('silent'));
    await other.pool.query('SELECT 1');
    server.pause();
    const startedAt = systemClock.elapsed();
    const outcomes = await Promise.allSettled([
      createTokens(other.db).lookUp(['a']),
      createTokens(other.db).list(null),
    ]);
    const elapsedMs = systemClock.elapsed() - startedAt;
    server.resume();
    expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    for (const outcome of outcomes)
      expect(outcome).toMatchObject({ reason: { name: 'PostgresFailure', isUnavailable: true } });
    expect(elapsedMs).toBeLessThan(5500);
    await vi.waitFor(() => other.pool.query('SELECT 1'), { timeout: 10_000 });
    await other.pool.end();
  });

  test('that was killed is used again as soon as it is back', async () => {
    await server.kill();
    await expect(createTokens(postgres.db).list(null)).rejects.toMatchObject({
      name: 'PostgresFailure',
      isUnavailable: true,
    });
    await server.start();
    await vi.waitFor(async () => expect(await createTokens(postgres.db).list(null)).not.toEqual([]), SOON);
  });
});
