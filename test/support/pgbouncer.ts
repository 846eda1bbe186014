/**
 * The real PgBouncer in front of a Postgres, as the Debian package of that name installs it. It logs in to the server
 * by itself and accepts every client.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, chmodSync, constants, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { findPostgresUser } from '../../src/embedded/postgres-user.ts';
import { freePort, isListening } from './ports.ts';

export type PoolMode = 'session' | 'transaction';
export type PgBouncer = { readonly url: string; readonly port: number; stop(): Promise<void> };

const START_MS = 20_000;

/** The path of the program; null when it is not installed. */
export function findPgBouncer(): string | null {
  const directories = [...(process.env['PATH'] ?? '').split(':'), '/usr/sbin'];
  return directories.map((directory) => join(directory, 'pgbouncer')).find(isExecutable) ?? null;
}

/** `maxServers`: connections to Postgres at most, so that clients have to share them. */
export async function startPgBouncer({
  file,
  databaseUrl,
  poolMode,
  maxServers = 3,
  patienceS = 0,
  port: wanted,
}: {
  file: string;
  databaseUrl: string;
  poolMode: PoolMode;
  maxServers?: number;
  /** Ends transactions that are idle for this long; 0 never does. */
  patienceS?: number;
  /** Any free one when left out. */
  port?: number;
}): Promise<PgBouncer> {
  const server = new URL(databaseUrl);
  const name = server.pathname.slice(1);
  const port = wanted ?? freePort();
  const dir = mkdtempSync(join(tmpdir(), 'weir-pgbouncer-'));
  const settings = {
    listen_addr: '127.0.0.1',
    listen_port: port,
    unix_socket_dir: '',
    auth_type: 'any',
    pool_mode: poolMode,
    default_pool_size: maxServers,
    max_client_conn: 200,
    idle_transaction_timeout: patienceS,
  };
  const lines = Object.entries(settings).map(([setting, value]) => `${setting} = ${value}`);
  const at = `host=${server.hostname} port=${server.port} dbname=${name} user=${server.username} password=${server.password}`;
  const config = join(dir, 'pgbouncer.ini');
  writeFileSync(config, `[databases]\n${name} = ${at}\n[pgbouncer]\n${lines.join('\n')}\n`);
  // It refuses to run as root, so that another user has to read the file.
  const { identity } = findPostgresUser();
  chmodSync(dir, 0o755);
  const child = spawn(file, [config], { cwd: dir, stdio: ['ignore', 'ignore', 'pipe'], ...identity });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said += text));
  const exited = once(child, 'exit');
  const stop = async () => {
    child.kill('SIGKILL');
    await exited;
    rmSync(dir, { recursive: true, force: true });
  };
  for (const deadline = Date.now() + START_MS; !(await isListening(port)); await delay(50)) {
    if (child.exitCode === null && Date.now() < deadline) continue;
    await stop();
    throw new Error(`PgBouncer does not start: ${said}`);
  }
  return { url: `postgres://${server.username}@127.0.0.1:${port}/${name}`, port, stop };
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false; // Not here; there are other directories.
  }
}
