/** An operator: the commands against stores of their own, without a drain, and the contents of the tables. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { zstdDecompress } from 'node:zlib';
import { expect } from 'vitest';
import { createProjects } from '../../src/postgres/accounts/projects.ts';
import { createTokens } from '../../src/postgres/accounts/tokens.ts';
import { type LetterOptions, writeLetter } from './dead-letters.ts';
import { startStores } from './stores.ts';
import { commandWeir } from './weir.ts';

const decompress = promisify(zstdDecompress);

export type Operator = Awaited<ReturnType<typeof startOperator>>;

export async function startOperator() {
  const cwd = mkdtempSync(join(tmpdir(), 'weir-dlq-'));
  const stores = await startStores();
  const env = { DATABASE_URL: stores.databaseUrl, CLICKHOUSE_URL: stores.clickhouseUrl };
  const weir = (...args: string[]) => commandWeir(args, { env, cwd });
  const dlq = (...args: string[]) => weir('dlq', ...args);

  return {
    stores,
    cwd,
    env,
    weir,
    dlq,
    succeed,
    json,
    put,
    query,
    createProject,
    createToken,
    writeLetter: (options: LetterOptions) => writeLetter(stores, options),
    hourly,
    lettersNow,
    idsNow,
    auditNow,
    lease,
    clear,
    stop,
  };

  async function succeed(...args: string[]) {
    const { code, stdout, stderr } = await dlq(...args);
    expect({ code, stderr }).toMatchObject({ code: 0 });
    return { stdout, stderr };
  }

  async function json<T = Record<string, unknown>>(...args: string[]): Promise<T> {
    return JSON.parse((await succeed(...args, '--json')).stdout) as T;
  }

  /** Imports from stdin. */
  function put(stdin: string, ...args: string[]) {
    return commandWeir(['dlq', 'import', '-', ...args], { env, cwd, stdin });
  }

  async function query(text: string, values: unknown[] = []): Promise<Record<string, unknown>[]> {
    return (await stores.postgres.pool.query<Record<string, unknown>>(text, values)).rows;
  }

  /** Without a process of its own: the test is about what follows. */
  async function createProject(name: string): Promise<string> {
    const { db } = stores.postgres;
    return (await createProjects(db).create({ name, retentionSeconds: null, allowedOrigins: [] })).id;
  }

  async function createToken(projectId: string): Promise<string> {
    const token = { projectId, kind: 'public', name: null, imported: null } as const;
    return (await createTokens(stores.postgres.db).create(token))!.plaintext;
  }

  /** Events of the project that landed, including copies. */
  async function hourly(projectId: string): Promise<number> {
    const [sum] = await stores.select<{ n: string }>(
      `SELECT sum(events) AS n FROM event_counts_hourly WHERE project_id = '${projectId}'`,
    );
    return Number(sum!.n);
  }

  /** Everything about a letter, with its rows uncompressed. */
  async function lettersNow() {
    const found = await query('select *, visible_at > now() as later from failed_events order by id');
    return Promise.all(
      found.map(async (row): Promise<Record<string, unknown> & { rows: Buffer }> => ({
        ...row,
        rows: await decompress(row['payload'] as Buffer),
      })),
    );
  }

  async function idsNow() {
    return (await query('select id from failed_events order by id')).map(({ id }) => id as string);
  }

  function auditNow() {
    return query(
      'select failed_event_id as letter, action, actor, event_count as events, detail from failed_events_audit order by id',
    );
  }

  /** Holds the letter as a drain would, for this long. */
  function lease(id: string, seconds: number) {
    return query(
      `update failed_events set lease_token = gen_random_uuid(), visible_at = now() + $2 * interval '1 second' where id = $1`,
      [id, seconds],
    );
  }

  function clear() {
    return query('truncate failed_events, failed_events_audit, failed_events_audit_letters, settings');
  }

  async function stop() {
    await stores.stop();
    rmSync(cwd, { recursive: true, force: true });
  }
}
