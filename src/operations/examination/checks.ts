/** Turns what `weir doctor` measured into a verdict and a remedy. */
import { statfsSync } from 'node:fs';
import type { SeenTwice } from '../../clickhouse/operations/seen-twice.ts';
import type { RebuildState } from '../../pipeline/storage-port.ts';
import { shellWord } from '../../clickhouse/migrations/promoted-properties.ts';
import type { DescribedProperties } from '../../clickhouse/operations/property-columns.ts';
import { counted, grouped } from '../wording.ts';

export type Check = {
  readonly name: string;
  readonly outcome: 'ok' | 'warn' | 'fail';
  readonly detail: string;
  /** The remedy; null when none is needed. */
  readonly remedy: string | null;
};

const GIB = 1024 ** 3;
// Merges need room for a second copy of the largest parts, so a disk is in trouble well before it is full.
const LOW_DISK_BYTES = 5 * GIB;
const FULL_DISK_BYTES = 1 * GIB;
// NTP keeps machines within milliseconds of each other; a difference of a second means that it is not running.
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

/** The disk that holds a directory, or would hold it once it is created. */
export function checkDirectory(name: string, path: string): Check {
  try {
    const { bavail, blocks, bsize } = statfsSync(path);
    return checkDisk(name, { freeBytes: bavail * bsize, totalBytes: blocks * bsize });
  } catch (error) {
    const code = error instanceof Error ? (error as { code?: unknown }).code : null;
    if (code === 'ENOENT') return ok(name, `${path} does not exist yet; the first start makes it`);
    return fail(name, `${path} cannot be read (${String(code)})`, 'Make it readable and writable for this user.');
  }
}

/** Whether the volume has room for all that journals may use. `ownBytes`: what they use already. */
export function checkJournalVolume(
  name: string,
  { totalBytes, freeBytes }: { totalBytes: number; freeBytes: number },
  { maxBytes, workers, ownBytes }: { maxBytes: number; workers: number; ownBytes: number },
): Check {
  const wanted = maxBytes * workers;
  const each = workers > 1 ? ` for each of ${workers} workers` : '';
  const asked = `INGEST_JOURNAL_MAX_BYTES is ${gigabytes(maxBytes)}${each}`;
  const remedy =
    'Give WEIR_DATA_DIR a larger volume, or lower INGEST_JOURNAL_MAX_BYTES: in an outage the journal may fill the volume.';
  if (totalBytes < wanted)
    return warn(name, `${asked}, and the volume holds ${gigabytes(totalBytes)}: the journal uses less`, remedy);
  if (freeBytes + ownBytes >= wanted) return ok(name, `${asked}, and there is room for it`);
  return warn(name, `${asked}, but only ${gigabytes(freeBytes + ownBytes)} are free or used by the journal`, remedy);
}

/** `askedMs` and `answeredMs` are local times before and after the query; `theirMs` is the store's clock in between. */
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
    `Upgrade to ${oldestYear}.${oldestRelease} or later: Weir is not tested with older versions.`,
  );
}

export function checkMigrations(name: string, { applied, known }: { applied: number; known: number }): Check {
  if (applied === known) return ok(name, `all ${known} migrations applied`);
  if (applied < known) return fail(name, `${applied} of ${known} migrations applied`, 'Run `weir migrate`.');
  return warn(
    name,
    `${applied} migrations applied, but this version knows only ${known}`,
    'A newer version of Weir applied the others: run that version.',
  );
}

/**
 * Columns and deduplication windows that differ from what Weir created. Events still land, but a guarantee may not
 * hold.
 */
export function checkDrift(
  name: string,
  drift: readonly { readonly table: string; readonly problem: string; readonly remedy: string }[],
): Check[] {
  if (drift.length === 0) return [ok(name, 'as expected')];
  return drift.map(({ table, problem, remedy }) => warn(name, `${table}: ${problem}`, `Run: ${remedy}`));
}

/** How the events table is sorted: under the key of earlier versions, copies with different timestamps count twice. */
export function checkRebuild(name: string, state: RebuildState, describe: (state: RebuildState) => string): Check {
  if (state.kind === 'blocked') {
    return warn(
      name,
      describe(state),
      'Everything else works. Weir starts the rebuild once nothing is in the way; or run: weir migrate --rebuild',
    );
  }
  return ok(name, describe(state));
}

/** Copies of events that count more than once; null if the search took too long. */
export function checkSeenTwice(name: string, seen: SeenTwice | null): Check {
  if (seen === null) {
    return ok(name, 'too many events to search for copies; docs/OPERATIONS.md has the query');
  }
  const { events, oneIn, example } = seen;
  const sampled = oneIn === 1 ? '' : ` (one of ${oneIn} ids was looked at, so about ${grouped(events * oneIn)} in all)`;
  if (example === null) return ok(name, `none with timestamps in different hours${sampled && ' in a sample'}`);
  return warn(
    name,
    `${counted(events, 'event')} with copies whose timestamps lie in different hours${sampled}: each counts more than once`,
    `Look at event_id ${example.eventId} ("${example.event}") of project ${example.projectId}: its sender gives a retry another time. Until that is corrected, count with uniqExact(event_id).`,
  );
}

/** Properties with a column of their own, and columns that look like one. */
export function checkProperties(name: string, { properties, foreign, hidden }: DescribedProperties): Check[] {
  const problems = properties.flatMap(({ name: property, column, rows, stored, isAltered }) => {
    const word = shellWord(property);
    if (isAltered) {
      const remedy = `What it holds is not known. Run: weir property demote ${word}, then weir property promote ${word}`;
      return [warn(name, `somebody has changed how the column ${column} is computed`, remedy)];
    }
    if (stored >= rows) return [];
    const detail = `${column} is stored for ${grouped(stored)} of ${counted(rows, 'event')}; for the others it is computed when asked for`;
    return [warn(name, detail, `To store it for all, run: weir property promote ${word}`)];
  });
  const others = foreign.map((column) =>
    warn(
      name,
      `the column ${column} of events_raw_v1 is not Weir's: the views do not show it`,
      `Drop it, and let Weir make it: weir property promote`,
    ),
  );
  const views = hidden.map(({ view, hidden: columns }) =>
    warn(name, `the view ${view} does not show ${columns.join(', ')}`, 'Run: weir migrate'),
  );
  const found = [...problems, ...others, ...views];
  if (found.length > 0) return found;
  return [ok(name, properties.length === 0 ? 'none' : `${properties.length}, stored for all events`)];
}

/**
 * Materialized views on Weir's tables that Weir did not create. They are common; when one fails, that view misses rows.
 */
export function checkForeignViews(
  name: string,
  views: readonly { readonly view: string; readonly source: string; readonly missingTarget: string | null }[],
): Check[] {
  return views.map(({ view, source, missingTarget }) =>
    missingTarget === null
      ? warn(
          name,
          `${view} on ${source} is not Weir's: when it fails, events land without it`,
          'Nothing to do while it works. Make sure that it cannot throw (toUInt8OrZero instead of toUInt8), and keep its target table.',
        )
      : warn(
          name,
          `${view} on ${source} is not Weir's and fails for every event: its table ${missingTarget} is missing`,
          `Create ${missingTarget} again, or run: DROP VIEW ${view}`,
        ),
  );
}

/**
 * Other views in Weir's databases that Weir did not create. Projects see nothing in them, but their presence is a risk.
 */
export function checkAddedViews(name: string, views: readonly string[]): Check[] {
  const remedy =
    'Keep your own views in another database: the filters that separate projects do not apply to what they read.';
  return views.map((view) => warn(name, `${view} was not made by Weir`, remedy));
}

/** The space reserved for the day on which the disk of Postgres is full. */
export function checkBallast(name: string, { wanted, exists }: { wanted: boolean; exists: boolean }): Check {
  if (exists) return ok(name, 'set aside');
  if (!wanted) return ok(name, 'turned off (DLQ_BALLAST_BYTES is 0)');
  return warn(
    name,
    'not set aside',
    'Normal before the first start. Otherwise the disk of Postgres is full and Weir dropped the ballast (make room), or the user may not create tables (GRANT CREATE ON SCHEMA).',
  );
}

/** `grants`: the statements that give Weir's user what it lacks. */
export function checkRights(name: string, grants: readonly string[]): Check {
  if (grants.length === 0) return ok(name, 'all that Weir needs');
  return fail(name, `the user lacks ${grants.length} of them`, `Run as the owner of the tables: ${grants.join(' ')}`);
}

/** `missing`: the statement that lets Weir's user look after the tables of events in Postgres. */
export function checkOwnership(name: string, missing: string): Check {
  return fail(
    name,
    'the user is not the owner of the tables of events, and may not make partitions: after the next two months events wait as dead letters',
    `Run as an administrator: ${missing}`,
  );
}

/** Whether projects can be queried in Postgres; `missing`: the statement that is missing for it. */
export function checkReader(name: string, missing: string | null): Check {
  if (missing === null) return ok(name, 'the role weir_reader is ready');
  return warn(
    name,
    'the role weir_reader is missing: projects cannot be queried in SQL, and everything else works',
    `Run as an administrator: ${missing}`,
  );
}

/**
 * Identity links of placeholder ids, made by versions that did not recognise them; null when counting took too long.
 */
export function checkLinks(name: string, wrongLinks: number | null): Check {
  if (wrongLinks === 0) return ok(name, 'none of placeholder ids');
  if (wrongLinks === null) {
    return warn(name, 'too many to check here', '`weir identities clean` checks all of them and changes nothing.');
  }
  const detail = `${wrongLinks} of placeholder ids (undefined, null, …)`;
  return warn(
    name,
    detail,
    'The views leave them out. `weir identities clean` lists them and, with --apply, removes them.',
  );
}

function gigabytes(bytes: number): string {
  return `${(bytes / GIB).toFixed(1)} GiB`;
}
