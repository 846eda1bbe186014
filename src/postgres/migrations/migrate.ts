import { Client, type Pool } from 'pg';
import type { Clock } from '../../runtime/clock.ts';
import { BEGIN, BoundedClient, connectionConfig, transactionLimits } from '../connection/connection.ts';
import { escapeIdentifier } from 'pg';
import { plainAnswerOf } from '../connection/errors.ts';
import {
  CONTROL_MIGRATIONS,
  findMigrationsTable,
  type Migration,
  type MigrationSet,
  type MigrationsTable,
  readMigrations,
} from './migrations.ts';

/** Any constant will do, as long as every Weir uses the same: "weir" in ASCII. */
const LOCK_KEY = 0x77656972;
/** Further locks: no start waits for these. */
const LOCK_KEYS = { tables: LOCK_KEY, rows: LOCK_KEY + 1, copying: LOCK_KEY + 2 } as const;
const LOCK_DEADLINE_MS = 60_000;
const LOCK_POLL_MS = 100;
/** A process that froze or vanished with the lock loses it after this long. */
const LOCK_IDLE_MS = 30_000;
/** How often the holder sends a statement in the meantime: poolers may have less patience than Postgres. */
const KEEP_MS = 2_000;
/** One statement over a full table may take long; without any limit, a lost server would block the start forever. */
const STATEMENT_MS = 15 * 60_000;
const MIGRATION_LIMITS = transactionLimits({ statementMs: STATEMENT_MS, idleMs: LOCK_IDLE_MS });

/** Another process has been migrating for too long. */
export class MigrationLocked extends Error {
  override readonly name = 'MigrationLocked';

  constructor(pid: number | null) {
    const holder = pid === null ? 'another process' : `another process (Postgres backend ${pid})`;
    super(`${holder} has held the migration lock for more than ${LOCK_DEADLINE_MS / 1000} s; wait for it, or end it`);
  }
}

/**
 * Runs `work` in a transaction on a separate connection while no other Weir migrates. The lock belongs to the
 * transaction: it holds behind a pooler, which reassigns connections after each, and is released however this process
 * ends. Rejects when the transaction did not last until the end of `work`.
 */
export async function withMigrationLock<T>(pool: Pool, clock: Clock, work: (client: Client) => Promise<T>): Promise<T> {
  return onConnection(pool, async (client) => {
    await takeLock(client, clock);
    const result = await work(client);
    await plainAnswerOf(client.query('COMMIT'));
    return result;
  });
}

/**
 * Runs `work` under the migration lock (`tables`), that of a rebuild (`rows`), or that of bringing events to another
 * store (`copying`), as above; null, without having run it, while another process has the lock.
 */
export async function ifUnlocked<T>(
  pool: Pool,
  clock: Clock,
  what: keyof typeof LOCK_KEYS,
  work: () => Promise<T>,
): Promise<T | null> {
  return onConnection(pool, async (client) => {
    if (!(await tryLock(client, LOCK_KEYS[what]))) return null;
    const result = await keepingLock(client, clock, work);
    await plainAnswerOf(client.query('COMMIT'));
    return result;
  });
}

async function onConnection<T>(pool: Pool, work: (client: Client) => Promise<T>): Promise<T> {
  const url = pool.options.connectionString!;
  // The pool's limits are for short statements.
  const client = new BoundedClient(connectionConfig({ url, statementMs: STATEMENT_MS, name: 'weir migrate' }));
  // The running statement fails with the same error; without a listener it would end the process.
  client.on('error', () => {});
  await plainAnswerOf(client.connect());
  try {
    return await work(client);
  } finally {
    // What is left of a transaction ends with the connection.
    await client.end().catch(() => {});
  }
}

/** Lets `work` do what does not use the client, without losing the lock of `withMigrationLock`. */
export async function keepingLock<T>(client: Client, clock: Clock, work: () => Promise<T>): Promise<T> {
  const done = new AbortController();
  const keeping = keepAlive();
  try {
    return await work();
  } finally {
    done.abort();
    await keeping;
  }

  async function keepAlive() {
    await clock.sleep(KEEP_MS, done.signal);
    while (!done.signal.aborted) {
      // When the lock is lost, the COMMIT fails.
      await client.query('SELECT 1').catch(() => done.abort());
      await clock.sleep(KEEP_MS, done.signal);
    }
  }
}

/** Applies missing migrations, all or nothing; returns their names. Only under `withMigrationLock`. */
export const migratePostgres = (client: Client): Promise<string[]> => applyMissing(client, CONTROL_MIGRATIONS);

/**
 * The same for other migrations, in a transaction of its own; only one process at a time may. Throws `PostgresFailure`
 * and `SchemaMissing`.
 */
export async function migrateInTransaction(pool: Pool, set: MigrationSet): Promise<string[]> {
  return onConnection(pool, async (client) => {
    await plainAnswerOf(client.query(`${BEGIN}; ${MIGRATION_LIMITS}`));
    const applied = await applyMissing(client, set);
    await plainAnswerOf(client.query('COMMIT'));
    return applied;
  });
}

async function applyMissing(client: Client, set: MigrationSet): Promise<string[]> {
  const table = await findMigrationsTable(client, set);
  const before = await lastApplied(client, table);
  const missing = readMigrations(set).filter(({ when }) => when > before);
  // A user without rights to change tables needs none when there is nothing to change.
  if (missing.length === 0) return [];
  if (!table.exists) await createTable(client, table);
  for (const migration of missing) await apply(client, table, migration);
  return missing.map(({ name }) => name);
}

async function apply(client: Client, { table }: MigrationsTable, { statements, hash, when }: Migration): Promise<void> {
  for (const statement of statements) await plainAnswerOf(client.query(statement));
  await plainAnswerOf(client.query(`INSERT INTO ${table} (hash, created_at) VALUES ($1, $2)`, [hash, when]));
}

/** As drizzle creates it. */
async function createTable(client: Client, { schema, table }: MigrationsTable): Promise<void> {
  await plainAnswerOf(client.query(`CREATE SCHEMA IF NOT EXISTS ${escapeIdentifier(schema)}`));
  await plainAnswerOf(
    client.query(`CREATE TABLE ${table} (id serial PRIMARY KEY, hash text NOT NULL, created_at bigint)`),
  );
}

/** Epoch milliseconds by which drizzle orders migrations; 0 when there were none. */
async function lastApplied(client: Client, { table, exists }: MigrationsTable): Promise<number> {
  if (!exists) return 0;
  const { rows } = await plainAnswerOf(
    client.query<{ at: string | null }>(`SELECT max(created_at) AS at FROM ${table}`),
  );
  return Number(rows[0]?.at ?? 0);
}

/** Begins the transaction that holds it. Processes wait outside of one: a pooler has few connections. */
async function takeLock(client: Client, clock: Clock): Promise<void> {
  const deadline = clock.elapsed() + LOCK_DEADLINE_MS;
  while (!(await tryLock(client, LOCK_KEY))) {
    if (clock.elapsed() > deadline) throw new MigrationLocked(await lockHolder(client));
    await clock.sleep(LOCK_POLL_MS);
  }
}

async function tryLock(client: Client, key: number): Promise<boolean> {
  await plainAnswerOf(client.query(`${BEGIN}; ${MIGRATION_LIMITS}`));
  const { rows } = await plainAnswerOf(
    client.query<{ locked: boolean }>('SELECT pg_try_advisory_xact_lock($1) AS locked', [key]),
  );
  if (rows[0]?.locked) return true;
  await plainAnswerOf(client.query('ROLLBACK'));
  return false;
}

async function lockHolder(client: Client): Promise<number | null> {
  const { rows } = await plainAnswerOf(
    client.query<{ pid: number }>(
      `SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND classid = 0 AND objid = $1 AND objsubid = 1`,
      [LOCK_KEY],
    ),
  );
  return rows[0]?.pid ?? null;
}
