/** What `weir doctor` makes of what it measured: a verdict and a remedy. */
import { statfsSync } from 'node:fs';

export type Check = {
  readonly name: string;
  readonly outcome: 'ok' | 'warn' | 'fail';
  readonly detail: string;
  /** What to do; null when there is nothing to do. */
  readonly remedy: string | null;
};

const GIB = 1024 ** 3;
// Merges need room for a second copy of the largest parts, so a disk is in trouble well before it is full.
const LOW_DISK_BYTES = 5 * GIB;
const FULL_DISK_BYTES = 1 * GIB;
// NTP keeps machines within milliseconds; a second says that it is not running.
const NOTICEABLE_SKEW_MS = 1_000;
const HARMFUL_SKEW_MS = 300_000;
/** The oldest ClickHouse whose insert settings Weir relies on. */
const OLDEST_CLICKHOUSE: readonly [year: number, release: number] = [25, 8];

export function ok(name: string, detail: string): Check {
  return { name, outcome: 'ok', detail, remedy: null };
}

export function warn(name: string, detail: string, remedy: string): Check {
  return { name, outcome: 'warn', detail, remedy };
}

export function fail(name: string, detail: string, remedy: string): Check {
  return { name, outcome: 'fail', detail, remedy };
}

export function checkDisk(name: string, { freeBytes, totalBytes }: { freeBytes: number; totalBytes: number }): Check {
  const detail = `${gigabytes(freeBytes)} of ${gigabytes(totalBytes)} free`;
  const remedy = 'Make room, or move it to a larger disk, before inserts fail.';
  if (freeBytes < FULL_DISK_BYTES) return fail(name, detail, remedy);
  return freeBytes < LOW_DISK_BYTES ? warn(name, detail, remedy) : ok(name, detail);
}

/** The disk a directory is on, or would be on once it is made. */
export function checkDirectory(name: string, path: string): Check {
  try {
    const { bavail, blocks, bsize } = statfsSync(path);
    return checkDisk(name, { freeBytes: bavail * bsize, totalBytes: blocks * bsize });
  } catch (error) {
    const code = error instanceof Error ? (error as { code?: unknown }).code : null;
    if (code === 'ENOENT') return ok(name, `${path} does not exist yet; it is made at the first start`);
    return fail(name, `${path} cannot be looked at (${String(code)})`, 'Make it readable and writable for this user.');
  }
}

/** `askedMs` and `answeredMs` are our clock around the question, `theirMs` is what the store's clock said in between. */
export function checkClock(name: string, clocks: { askedMs: number; answeredMs: number; theirMs: number }): Check {
  const { askedMs, answeredMs, theirMs } = clocks;
  const uncertaintyMs = (answeredMs - askedMs) / 2;
  const skewMs = theirMs - (askedMs + uncertaintyMs);
  const detail = `${Math.round(skewMs)} ms from this machine (± ${Math.ceil(uncertaintyMs)} ms)`;
  const remedy = 'Run an NTP client on both machines: late clocks shift received_at and the age of dead letters.';
  const certainSkewMs = Math.abs(skewMs) - uncertaintyMs;
  if (certainSkewMs > HARMFUL_SKEW_MS) return fail(name, detail, remedy);
  return certainSkewMs > NOTICEABLE_SKEW_MS ? warn(name, detail, remedy) : ok(name, detail);
}

export function checkClickHouseVersion(name: string, version: string): Check {
  const [year = 0, release = 0] = version.split('.').map(Number);
  const [oldestYear, oldestRelease] = OLDEST_CLICKHOUSE;
  const isTooOld = year < oldestYear || (year === oldestYear && release < oldestRelease);
  if (!isTooOld) return ok(name, `version ${version}`);
  return warn(
    name,
    `version ${version}`,
    `Upgrade to ${oldestYear}.${oldestRelease} or later: older ones are not tried.`,
  );
}

export function checkMigrations(name: string, { applied, known }: { applied: number; known: number }): Check {
  if (applied === known) return ok(name, `all ${known} migrations applied`);
  if (applied < known) return fail(name, `${applied} of ${known} migrations applied`, 'Run `weir migrate`.');
  return warn(
    name,
    `${applied} migrations applied, this version knows ${known}`,
    'A newer Weir was here: run that version.',
  );
}

/** Columns and deduplication windows that are not as Weir made them. Events still land; some promise may not hold. */
export function checkDrift(
  name: string,
  drift: readonly { readonly table: string; readonly problem: string; readonly remedy: string }[],
): Check[] {
  if (drift.length === 0) return [ok(name, 'as expected')];
  return drift.map(({ table, problem, remedy }) => warn(name, `${table}: ${problem}`, `Run: ${remedy}`));
}

function gigabytes(bytes: number): string {
  return `${(bytes / GIB).toFixed(1)} GiB`;
}
