/**
 * The embedded Postgres's data directory: how it is created, and its roles. `weir`, the superuser that initdb creates,
 * may read and run anything as the server's user. Weir itself is `weir_service`, which owns the database `weir` and
 * nothing else.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chownSync, existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '../runtime/clock.ts';
import type { PostgresUser, ServerCommand } from './postgres-user.ts';
import { EmbeddedStoreError, givenUp, whileNotRunning } from './store-process.ts';
import type { StartOptions } from './store-process.ts';

export type Binaries = { readonly postgres: string; readonly initdb: string };

export type Cluster = {
  /** Holds the data directory, and the one under construction. */
  readonly dir: string;
  readonly dataDir: string;
  readonly isDurable: boolean;
  readonly binaries: Binaries;
  readonly user: PostgresUser;
};

type Signal = AbortSignal | undefined;

const NAME = 'embedded Postgres';
/** How much of a program's output a failure repeats. */
const MAX_REASON_CHARS = 4_096;
const DATABASE = 'weir';
const SUPERUSER = 'weir';
const SERVICE = 'weir_service';
/** Both in the data directory, readable by its owner only. */
const SUPERUSER_PASSWORD_FILE = 'weir-password';
const SERVICE_PASSWORD_FILE = 'weir-service-password';
const PASSWORD = /^[\da-f]{48}$/;

/** Says that the role is there which projects read under. */
const READER_FILE = 'weir-reader';

/**
 * Creates the data directory if there is none, and the roles in one of a version without them. Throws
 * `EmbeddedStoreError`.
 */
export async function prepareCluster(at: Cluster, { clock = systemClock, signal }: StartOptions): Promise<void> {
  if (!existsSync(at.dataDir)) return createCluster(at, signal);
  await whileNotRunning({ name: NAME, dir: at.dir }, clock, async () => {
    const hasService = servicePassword(at) !== null;
    if (!hasService) await handOver(at, signal);
    if (hasService && existsSync(join(at.dataDir, READER_FILE))) return;
    await runAlone(at, signal, DATABASE, READER_ROLE);
    writeSecurely(at, join(at.dataDir, READER_FILE), '');
  });
}

/** The URL of Weir's database on a server at `port`. Only people use the superuser's password. */
export const urlOf = (at: Pick<Cluster, 'dataDir'>, port: number) =>
  `postgres://${SERVICE}:${servicePassword(at)}@127.0.0.1:${port}/${DATABASE}`;

/** null when none is usable: a power cut may leave the file's name without its text. */
function servicePassword({ dataDir }: Pick<Cluster, 'dataDir'>): string | null {
  const file = join(dataDir, SERVICE_PASSWORD_FILE);
  const written = existsSync(file) ? readFileSync(file, 'utf8') : '';
  return PASSWORD.test(written) ? written : null;
}

/** Created aside and renamed when complete, so that an interrupted first start leaves nothing half done. */
async function createCluster(at: Cluster, signal: Signal): Promise<void> {
  const newDir = mkdtempSync(join(at.dir, 'init-'));
  // First a sibling directory: initdb wants an empty one.
  const passwordFile = `${newDir}.password`;
  const password = newPassword();
  try {
    own(at, newDir);
    writeSecurely(at, passwordFile, newPassword());
    await run(at, signal, at.binaries.initdb, [
      '-D',
      newDir,
      '-U',
      SUPERUSER,
      '--no-locale',
      '--encoding=UTF8',
      '--auth=scram-sha-256',
      `--pwfile=${passwordFile}`,
      ...(at.isDurable ? [] : ['--no-sync']),
    ]);
    const statements = [...serviceRole(password), ...READER_ROLE, `CREATE DATABASE ${DATABASE} OWNER ${SERVICE}`];
    await runAlone({ ...at, dataDir: newDir }, signal, 'postgres', statements);
    renameSync(passwordFile, join(newDir, SUPERUSER_PASSWORD_FILE));
    writeSecurely(at, join(newDir, SERVICE_PASSWORD_FILE), password);
    writeSecurely(at, join(newDir, READER_FILE), '');
    renameSync(newDir, at.dataDir);
  } catch (error) {
    rmSync(newDir, { recursive: true, force: true });
    rmSync(passwordFile, { force: true });
    // Another process finished first; its cluster serves as well.
    if (!existsSync(at.dataDir)) throw error;
  }
}

/**
 * Transfers to the service role what Weir created as the superuser. The password is written last: until then this is
 * repeated.
 */
async function handOver(at: Cluster, signal: Signal): Promise<void> {
  const password = newPassword();
  await runAlone(at, signal, DATABASE, [
    ...serviceRole(password),
    `ALTER DATABASE ${DATABASE} OWNER TO ${SERVICE}`,
    ...GIVE_EVERYTHING,
  ]);
  writeSecurely(at, join(at.dataDir, SERVICE_PASSWORD_FILE), password);
}

/** Complete or not at all, and never readable by others, whatever rights an earlier file had. */
function writeSecurely(at: Cluster, file: string, text: string): void {
  const draft = `${file}.new`;
  rmSync(draft, { force: true });
  writeFileSync(draft, text, { mode: 0o600, flag: 'wx' });
  own(at, draft);
  renameSync(draft, file);
}

function own({ user: { identity } }: Cluster, path: string): void {
  if (identity) chownSync(path, identity.uid, identity.gid);
}

const serviceRole = (password: string) => [
  `DO $$ BEGIN IF to_regrole('${SERVICE}') IS NULL THEN CREATE ROLE ${SERVICE}; END IF; END $$`,
  `ALTER ROLE ${SERVICE} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD '${password}'`,
];

/**
 * What projects read under where events are in Postgres: Weir prepares it and becomes it, and may limit what it puts
 * on the disk, but may not create roles.
 */
const READER_ROLE = [
  `DO $$ BEGIN IF to_regrole('weir_reader') IS NULL THEN CREATE ROLE weir_reader; END IF; END $$`,
  `GRANT weir_reader TO ${SERVICE}`,
  `GRANT SET ON PARAMETER temp_file_limit TO ${SERVICE}`,
];

/**
 * `REASSIGN OWNED` refuses for the role that initdb created, so each object is altered: schemas, their content, and
 * what is not a table.
 */
const GIVE_EVERYTHING = [
  giveEach(
    'SCHEMA',
    `SELECT quote_ident(nspname) FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname NOT IN ('information_schema', 'public')`,
  ),
  // Indexes, row types and the sequences of columns follow their table.
  giveEach(
    'TABLE',
    `SELECT oid::regclass::text FROM pg_class WHERE relkind IN ('r', 'p', 'v', 'm', 'f') AND ${isOurs('relnamespace')}`,
  ),
  giveEach(
    'SEQUENCE',
    `SELECT oid::regclass::text FROM pg_class c WHERE relkind = 'S' AND ${isOurs('relnamespace')}
     AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = c.oid AND classid = 'pg_class'::regclass AND deptype IN ('a', 'i'))`,
  ),
  giveEach('ROUTINE', `SELECT oid::regprocedure::text FROM pg_proc WHERE ${isOurs('pronamespace')}`),
  giveEach(
    'TYPE',
    `SELECT oid::regtype::text FROM pg_type t WHERE ${isOurs('typnamespace')} AND (typtype IN ('e', 'd', 'r')
     OR EXISTS (SELECT FROM pg_class WHERE oid = t.typrelid AND relkind = 'c'))`,
  ),
];

function giveEach(kind: string, names: string): string {
  const statement = `format('ALTER ${kind} %s OWNER TO ${SERVICE}', name)`;
  return `DO $$ DECLARE name text; BEGIN FOR name IN ${names} LOOP EXECUTE ${statement}; END LOOP; END $$`;
}

function isOurs(namespace: string): string {
  return `${namespace}::regnamespace::text !~ '^(pg_|information_schema$)'`;
}

const newPassword = () => randomBytes(24).toString('hex');

/** As the superuser, without a server: each statement on its own; the first failure ends it. */
async function runAlone(at: Cluster, signal: Signal, database: string, statements: readonly string[]): Promise<void> {
  const settings = {
    exit_on_error: 'on',
    // The text of a failing statement may hold a password.
    log_min_error_statement: 'panic',
    ...(at.isDurable ? {} : { fsync: 'off' }),
  };
  const given = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  // It takes the end of a line for the end of a statement.
  const lines = statements.map((statement) => `${statement.replaceAll(/\s*\n\s*/g, ' ')}\n`);
  await run(at, signal, at.binaries.postgres, ['--single', '-D', at.dataDir, ...given, database], lines.join(''));
}

async function run({ dir, user }: Cluster, signal: Signal, file: string, args: readonly string[], input = '') {
  const reason = await whyFailed(user.command(file, args, dir), { input, signal });
  if (signal?.aborted) throw givenUp(NAME);
  if (reason === null) return;
  throw new EmbeddedStoreError(
    `${NAME}: ${file} failed in ${dir}: ${reason}; set DATABASE_URL to use another Postgres`,
  );
}

/**
 * Runs a program to its end; null on success. It has a process group of its own, so that Ctrl-C reaches only Weir,
 * which ends the program when the start is abandoned.
 */
async function whyFailed(
  { file, args, cwd, identity }: ServerCommand,
  { input, signal }: { input: string; signal: AbortSignal | undefined },
): Promise<string | null> {
  if (signal?.aborted) return 'given up';
  const child: ChildProcess = spawn(file, args, {
    cwd,
    stdio: ['pipe', 'ignore', 'pipe'],
    detached: true,
    ...identity,
  });
  const end = () => {
    try {
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
    } catch {
      // It has already ended by itself.
    }
  };
  signal?.addEventListener('abort', end);
  let said = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (said = (said + text).slice(-MAX_REASON_CHARS)));
  child.stdin?.on('error', () => {}).end(input);
  try {
    const [code] = (await once(child, 'close')) as [number | null];
    return code === 0 ? null : said.trim();
  } catch (error) {
    return (error as Error).message;
  } finally {
    signal?.removeEventListener('abort', end);
  }
}
