import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { drizzle } from './drizzle.ts';
import { migrate } from './drizzle.ts';
import { Client, type Pool } from 'pg';
import type { Clock } from '../clock.ts';
import { answerOf } from './errors.ts';

const DIRECTORY = join(import.meta.dirname, '../../drizzle');

/** Any constant will do, as long as every Weir has the same: "weir" in ASCII. */
const LOCK_KEY = 0x77656972;
const LOCK_DEADLINE_MS = 60_000;
const LOCK_POLL_MS = 100;
/** One statement over a full table may take long; without any end, a lost server would block the start for ever. */
const STATEMENT_TIMEOUT_MS = 15 * 60_000;

/** Somebody else has been migrating for too long. */
export class MigrationLocked extends Error {
  override readonly name = 'MigrationLocked';

  constructor(pid: number | null) {
    const holder = pid === null ? 'another process' : `another process (Postgres backend ${pid})`;
    super(`${holder} has held the migration lock for more than ${LOCK_DEADLINE_MS / 1000} s; wait for it, or end it`);
  }
}

/**
 * Runs `work` on a connection of its own while no other Weir migrates. The lock
 * belongs to the connection, so it is free again however this process ends.
 */
export async function withMigrationLock<T>(pool: Pool, clock: Clock, work: (client: Client) => Promise<T>): Promise<T> {
  // The pool's timeouts are for short statements.
  const client = new Client({
    connectionString: pool.options.connectionString,
    application_name: 'weir migrate',
    connectionTimeoutMillis: 3000,
    query_timeout: STATEMENT_TIMEOUT_MS,
    keepAlive: true,
  });
  // The statement under way fails with the same error; without a listener it would end the process.
  client.on('error', () => {});
  await answerOf(client.connect());
  try {
    await takeLock(client, clock);
    return await work(client);
  } finally {
    await client.end().catch(() => {}); // Broken already: the lock went with it.
  }
}

/** Applies what is missing; answers the names of what it applied. Only under `withMigrationLock`. */
export async function migratePostgres(client: Client): Promise<string[]> {
  const before = await lastApplied(client);
  await answerOf(migrate(drizzle(client), { migrationsFolder: DIRECTORY }));
  return readJournal()
    .filter(({ when }) => when > before)
    .map(({ tag }) => tag);
}

/** Every migration of this version, in order. */
export function readJournal(): readonly { readonly tag: string; readonly when: number }[] {
  return (
    JSON.parse(readFileSync(join(DIRECTORY, 'meta/_journal.json'), 'utf8')) as {
      entries: { tag: string; when: number }[];
    }
  ).entries;
}

async function takeLock(client: Client, clock: Clock): Promise<void> {
  const deadline = clock.elapsed() + LOCK_DEADLINE_MS;
  while (!(await tryLock(client))) {
    if (clock.elapsed() > deadline) throw new MigrationLocked(await lockHolder(client));
    await clock.sleep(LOCK_POLL_MS);
  }
}

async function tryLock(client: Client): Promise<boolean> {
  const { rows } = await answerOf(
    client.query<{ locked: boolean }>('SELECT pg_try_advisory_lock($1) AS locked', [LOCK_KEY]),
  );
  return rows[0]?.locked ?? false;
}

async function lockHolder(client: Client): Promise<number | null> {
  const { rows } = await answerOf(
    client.query<{ pid: number }>(
      `SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND classid = 0 AND objid = $1 AND objsubid = 1`,
      [LOCK_KEY],
    ),
  );
  return rows[0]?.pid ?? null;
}

/** Epoch milliseconds by which drizzle orders migrations; 0 when there were none. */
async function lastApplied(client: Client): Promise<number> {
  const { rows } = await answerOf(
    client.query<{ name: string | null }>(`SELECT to_regclass('drizzle.__drizzle_migrations')::text AS name`),
  );
  if (!rows[0]?.name) return 0;
  const last = await answerOf(
    client.query<{ at: string | null }>('SELECT max(created_at) AS at FROM drizzle.__drizzle_migrations'),
  );
  return Number(last.rows[0]?.at ?? 0);
}
