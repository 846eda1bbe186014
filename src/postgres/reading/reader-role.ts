/**
 * The role that projects read under: `weir_reader`, which owns nothing, may select from the views, and sees the rows of
 * the project that its transaction was opened for. A user that may not create roles needs an administrator for it, once.
 */
import type { Pool, PoolClient, QueryResult } from 'pg';
import type { QueryFailure } from '../../pipeline/read-ports.ts';
import { asTransaction } from '../connection/connection.ts';
import { READ_LIMITS } from './reader-errors.ts';

export type ReaderRole = {
  /** Null when it is ready, else what keeps it from being so. Throws what the driver throws. */
  problem(): Promise<QueryFailure | null>;
  /** Opens a transaction on the connection that sees the project's rows and can change nothing. */
  begin(client: PoolClient, projectId: string, schemas: readonly string[]): Promise<void>;
  /** Looks again the next time. */
  forget(): void;
};

/** The statements that an administrator has to run; null when none is missing. */
export async function missingReader(pool: Pool): Promise<string | null> {
  // The driver's types do not know that several statements have several answers.
  const answers: unknown = await pool.query(asTransaction('SELECT analytics.prepare_reader() AS missing'));
  const [, { rows }] = answers as [QueryResult, QueryResult<{ missing: string | null }>, QueryResult];
  return rows[0]!.missing;
}

export const readerSentence = (missing: string): string =>
  `SQL queries about projects need the role weir_reader; let an administrator of Postgres run: ${missing}`;

const PROJECT_ID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const IDLE_MS = 10_000;
const LOCK_MS = 4_000;

export function createReaderRole(pool: Pool): ReaderRole {
  let limitsDisk: boolean | null = null;

  return {
    async problem() {
      if (limitsDisk !== null) return null;
      const missing = await missingReader(pool);
      if (missing !== null)
        return { kind: 'unavailable', isForOperator: true, error: null, message: readerSentence(missing) };
      const { rows } = await pool.query<{ may: boolean }>(MAY_LIMIT_DISK);
      limitsDisk = rows[0]!.may;
      return null;
    },
    async begin(client, projectId, schemas) {
      // It becomes part of a statement, so nothing but a UUID may ever come here.
      if (!PROJECT_ID.test(projectId)) throw new Error('a project id is a UUID in lower case');
      const disk = limitsDisk === true ? [`temp_file_limit = ${READ_LIMITS.maxBytesOnDisk / 1024}`] : [];
      const settings = [...SETTINGS, ...disk, `search_path = ${schemas.join(', ')}`];
      await client.query(
        `BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; ${settings.map((setting) => `SET LOCAL ${setting}`).join('; ')};
         SELECT analytics.open_reading('${projectId}'); SET LOCAL ROLE weir_reader`,
      );
    },
    forget: () => (limitsDisk = null),
  };
}

/** Where the limit is lower already, it stays. */
const MAY_LIMIT_DISK = `
  SELECT has_parameter_privilege('temp_file_limit', 'SET')
    AND (SELECT setting::bigint NOT BETWEEN 0 AND ${READ_LIMITS.maxBytesOnDisk / 1024} FROM pg_settings WHERE name = 'temp_file_limit') AS may`;

/** What the text means, and how it is answered, must not depend on how somebody has set up the server. */
const SETTINGS: readonly string[] = [
  `statement_timeout = ${READ_LIMITS.maxExecutionS * 1_000}`,
  `idle_in_transaction_session_timeout = ${IDLE_MS}`,
  `lock_timeout = ${LOCK_MS}`,
  `work_mem = '${READ_LIMITS.workMemMb}MB'`,
  'hash_mem_multiplier = 2',
  `max_parallel_workers_per_gather = ${READ_LIMITS.maxParallelWorkers}`,
  // Compiling takes longer than most queries, and memory that no limit counts.
  'jit = off',
  'row_security = on',
  'standard_conforming_strings = on',
  'transform_null_equals = off',
  "TimeZone = 'UTC'",
  "DateStyle = 'ISO, YMD'",
  "IntervalStyle = 'postgres'",
  'extra_float_digits = 1',
  "bytea_output = 'hex'",
];
