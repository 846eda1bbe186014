/** A disk of a few megabytes that holds a Postgres database and can be filled. Only root can mount one. */
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { getuid } from 'node:process';
import { Client } from 'pg';
import type { Stores } from './stores.ts';

const canMount = process.platform === 'linux' && getuid?.() === 0;

/** Whether to do without one. In CI its tests run and fail where none can be mounted: left out, nobody would notice. */
export const isSkipped = !canMount && !process.env['CI'];

/** For the tests that are skipped with it. */
export function warnOf(what: string): void {
  if (isSkipped) console.warn(`NOT RUN: ${what}. They mount small file systems, which needs Linux and root.`);
}

export type SmallDisk = {
  /** Fills it to the last page, with rows that do not compress. */
  fill(): Promise<void>;
  /** Removes what `fill` has added. */
  clear(): Promise<void>;
  freeMiB(): number;
  /** Resolves when the server has ended. */
  stop(): void;
};

/** Moves the whole database except the WAL to a disk of its own, as on a server with a volume for each. */
export async function moveToSmallDisk(
  stores: Pick<Stores, 'databaseUrl' | 'postgres' | 'postgresServer'>,
  mib: number,
): Promise<SmallDisk> {
  const disk = mkdtempSync(join(tmpdir(), 'weir-small-disk-'));
  chmodSync(disk, 0o777);
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${mib}m,mode=777`, 'tmpfs', disk]);
  const space = join(disk, 'tables');
  mkdirSync(space);
  const owner = execFileSync('stat', ['-c', '%u:%g', `/proc/${stores.postgresServer.pid()}`], {
    encoding: 'utf8',
  }).trim();
  execFileSync('chown', [owner, space]);
  const query = (text: string) => stores.postgres.pool.query(text);
  await query(`CREATE TABLESPACE small LOCATION '${space}'`);
  const other = new Client({ connectionString: stores.databaseUrl.replace(/\/weir$/, '/postgres') });
  await other.connect();
  await other.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'weir'");
  await other.query('ALTER DATABASE weir SET TABLESPACE small');
  await other.end();

  return {
    async fill() {
      await query('CREATE TABLE IF NOT EXISTS filler (x bytea); ALTER TABLE filler ALTER x SET STORAGE EXTERNAL');
      for (const rows of [16_384, 1_024, 64, 1]) while (await fits(rows));
    },
    clear: async () => void (await query('DROP TABLE IF EXISTS filler')),
    freeMiB: () => (statfsSync(disk).bavail * statfsSync(disk).bsize) / 1024 ** 2,
    stop() {
      execFileSync('umount', ['--lazy', disk]);
      rmSync(disk, { recursive: true, force: true });
    },
  };

  async function fits(rows: number): Promise<boolean> {
    try {
      await query(
        `INSERT INTO filler SELECT string_agg(sha512(random()::text::bytea), '') FROM generate_series(1, ${rows})`,
      );
      return true;
    } catch {
      return false;
    }
  }
}
