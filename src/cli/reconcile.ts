/**
 * The ledger: whether every event that was accepted is where it should be. The
 * counters of a process begin with its start and the stores keep what all
 * processes ever wrote, so the two meet in inequalities: what a process handed
 * over must be there, other things may be there as well.
 */
import type { StoredCounts } from '../clickhouse/counts.ts';
import type { Balance, CountByState } from '../postgres/letter-lookup.ts';
import { readRuntime } from '../runtime-file.ts';
import { fail, ok, warn, type Check } from './checks.ts';
import { CommandFailure, printJson, type Cli } from './cli.ts';
import { totalOf } from './dlq/selection.ts';
import { withClickHouse, withPostgres } from './stores.ts';
import { createTable } from './table.ts';
import { counted, grouped } from './words.ts';

/** What a process counted since it started. */
export type ProcessCounts = {
  readonly url: string;
  readonly accepted: number;
  readonly stored: number;
  readonly deadLettered: number;
  readonly pending: number;
  readonly lost: number;
};

/** What the stores hold, of everything or of one project. */
export type StoreCounts = {
  readonly clickhouse: StoredCounts;
  readonly letters: CountByState;
  readonly balance: Balance;
};

export type ReconcileOptions = { project?: string; url?: readonly string[]; json?: boolean };

const ANSWER_WITHIN_MS = 5_000;
/** Numbers read one after the other differ while events flow; what still differs after so many looks is a difference. */
const LOOKS = 3;
const BETWEEN_LOOKS_MS = 700;

export async function reconcile(cli: Cli, options: ReconcileOptions): Promise<void> {
  const projectId = options.project ?? null;
  cli.io.stderr('Counting…\n');
  for (let look = 1; ; look++) {
    const processes = await askProcesses(cli, options);
    const stores = await countStores(cli, projectId);
    const checks = [...processes.flatMap(checkProcess), ...checkStores(stores, processes, projectId)];
    const isOff = checks.some(({ outcome }) => outcome === 'fail');
    if (isOff && look < LOOKS) {
      await cli.clock.sleep(BETWEEN_LOOKS_MS);
      continue;
    }
    print(cli, { processes, stores, checks }, options);
    if (isOff) cli.exitWith(1);
    return;
  }
}

/** Of one process: every event it accepted has become something. */
export function checkProcess({ url, accepted, stored, deadLettered, pending, lost }: ProcessCounts): Check[] {
  const name = `ledger of ${url}`;
  const homes = stored + deadLettered + pending;
  const remedy =
    'Keep its log and look for `batch lost`; if there is none, this is a bug of Weir: report it with these numbers.';
  const sum = `accepted ${grouped(accepted)} = stored ${grouped(stored)} + dead-lettered ${grouped(deadLettered)} + pending ${grouped(pending)}`;
  const checks = [
    accepted === homes
      ? ok(name, sum)
      : fail(name, `${sum} does not hold: off by ${grouped(Math.abs(accepted - homes))}`, remedy),
  ];
  if (lost > 0) checks.push(fail(name, `${counted(lost, 'event')} lost`, remedy));
  return checks;
}

export function checkStores(
  { clickhouse, letters, balance }: StoreCounts,
  processes: readonly ProcessCounts[],
  projectId: string | null,
): Check[] {
  return [
    checkRollup(clickhouse),
    // The counters of a process do not know projects.
    ...(projectId === null && processes.length > 0 ? [checkArrival({ clickhouse, letters, balance }, processes)] : []),
    checkQuarantine(letters),
  ];
}

function checkRollup({ rows, distinctRows, landed }: StoredCounts): Check {
  const name = 'hourly counts against events';
  if (landed === distinctRows) return ok(name, `both say ${grouped(landed)}`);
  if (landed < distinctRows) {
    return fail(
      name,
      `event_counts_hourly has ${grouped(distinctRows - landed)} fewer than events_raw_v1`,
      'The view event_counts_hourly_mv was away while events landed, or someone wrote to the table directly: see `weir doctor`.',
    );
  }
  const copies = rows - distinctRows;
  return warn(
    name,
    `event_counts_hourly has ${grouped(landed - distinctRows)} more than events_raw_v1 (${grouped(copies)} copies not merged yet)`,
    'Ordinary where clients sent events twice (each copy is counted by the hour, the table keeps one) or where events expired.',
  );
}

/** What processes handed to the stores must be in the stores, or have been taken out by an operator. */
function checkArrival({ clickhouse, letters, balance }: StoreCounts, processes: readonly ProcessCounts[]): Check {
  const name = 'handed over against kept';
  const handed = processes.reduce((sum, { stored, deadLettered }) => sum + stored + deadLettered, 0);
  const kept = keptOf({ clickhouse, letters, balance });
  const detail = `handed over ${grouped(handed)} since the start of ${counted(processes.length, 'process', 'processes')}, kept or taken out by operators ${grouped(kept)}`;
  if (kept >= handed) return ok(name, detail);
  return fail(
    name,
    `${detail}: ${grouped(handed - kept)} missing`,
    'Someone deleted rows outside of Weir, or a store lost them: look at its log and its backups around that time.',
  );
}

function checkQuarantine({ quarantined }: CountByState): Check {
  const name = 'quarantine';
  if (quarantined.letters === 0) return ok(name, 'nothing waits for a person');
  const detail = `${counted(quarantined.events, 'event')} in ${counted(quarantined.letters, 'letter')} wait for a person`;
  return warn(name, detail, 'See `weir dlq groups`.');
}

function keptOf({ clickhouse, letters, balance }: StoreCounts): number {
  return clickhouse.landed + totalOf(letters).events + balance.discarded + balance.forgotten - balance.imported;
}

async function askProcesses({ config }: Cli, { url, project }: ReconcileOptions): Promise<ProcessCounts[]> {
  if (project !== undefined) return [];
  if (url !== undefined && url.length > 0) return Promise.all(url.map(askProcess));
  const runtime = readRuntime(config().dataDir);
  return runtime.kind === 'running' && runtime.url !== null ? [await askProcess(runtime.url)] : [];
}

async function askProcess(url: string): Promise<ProcessCounts> {
  let page: string;
  try {
    const answer = await fetch(new URL('/internal/metrics', url), { signal: AbortSignal.timeout(ANSWER_WITHIN_MS) });
    if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
    page = await answer.text();
  } catch (error) {
    throw new CommandFailure(`${url} does not answer /internal/metrics. Name a running Weir with --url.`, {
      cause: error,
    });
  }
  return parseMetrics(url, page);
}

/** The counters on a metrics page. */
export function parseMetrics(url: string, page: string): ProcessCounts {
  const read = (name: string) => {
    const line = page.split('\n').find((line) => line.startsWith(`${name} `));
    if (line === undefined) throw new CommandFailure(`${url} has no ${name} on its metrics page: is it a Weir?`);
    return Number(line.slice(name.length + 1).split(' ', 1)[0]);
  };
  const eventsOf = (result: string) => read(`weir_events_total{result="${result}"}`);
  return {
    url,
    accepted: eventsOf('accepted'),
    stored: eventsOf('stored'),
    deadLettered: eventsOf('dead_lettered'),
    pending: read('weir_pending_events'),
    lost: read('weir_events_lost_total'),
  };
}

async function countStores(cli: Cli, projectId: string | null): Promise<StoreCounts> {
  return withPostgres(cli, async (db) => {
    const { createLetterLookup } = await import('../postgres/letter-lookup.ts');
    const { countStored } = await import('../clickhouse/counts.ts');
    const lookup = createLetterLookup(db);
    // Letters before events: what lands in between is counted twice rather than not at all.
    const letters = await lookup.count(projectId === null ? { by: 'all' } : { by: 'project', projectId });
    const balance = await lookup.balance(projectId);
    return { letters, balance, clickhouse: await withClickHouse(cli, (client) => countStored(client, projectId)) };
  });
}

function print(
  { io }: Cli,
  { processes, stores, checks }: { processes: ProcessCounts[]; stores: StoreCounts; checks: Check[] },
  { json, project }: ReconcileOptions,
): void {
  if (json) return printJson(io, { processes, stores, checks });
  const lines = [...processes.flatMap(explainProcess), ...explainStores(stores, project !== undefined)];
  const table = createTable(
    ['WHERE', 'EVENTS', 'WHAT IT IS'].map((name, index) => ({ name, isNumeric: index === 1 })),
    lines,
  );
  io.stdout([table.header(), ...lines.map(table.line), '\n'].join(''));
  const marks = { ok: 'ok  ', warn: 'WARN', fail: 'FAIL' } as const;
  for (const { name, outcome, detail, remedy } of checks) {
    io.stdout(`${marks[outcome]}  ${name}: ${detail}\n${remedy === null ? '' : `      ${remedy}\n`}`);
  }
  if (processes.length === 0) {
    io.stderr(
      project === undefined
        ? 'No running Weir was asked: name one with --url to compare its counters.\n'
        : 'The counters of a process do not know projects, so none was asked.\n',
    );
  }
}

function explainProcess({ url, accepted, stored, deadLettered, pending }: ProcessCounts): string[][] {
  return [
    [url, grouped(accepted), 'accepted: answered 2xx since it started'],
    ['', grouped(stored), 'stored: fresh events that ClickHouse confirmed'],
    ['', grouped(deadLettered), 'dead-lettered: fresh events that Postgres confirmed'],
    ['', grouped(pending), 'pending: in memory, on their way'],
  ];
}

function explainStores({ clickhouse, letters, balance }: StoreCounts, isOneProject: boolean): string[][] {
  const shared = isOneProject ? '; letters shared with other projects count whole' : '';
  return [
    ['ClickHouse', grouped(clickhouse.rows), 'rows of events_raw_v1, copies not merged yet among them'],
    ['', grouped(clickhouse.distinctRows), 'without copies (FINAL)'],
    ['', grouped(clickhouse.landed), 'sum(events) of event_counts_hourly: everything that ever landed, copies too'],
    ['Postgres', grouped(letters.waiting.events), `waiting to be replayed${shared}`],
    ['', grouped(letters.replaying.events), `being replayed at this moment${shared}`],
    ['', grouped(letters.quarantined.events), `quarantined: waiting for a person${shared}`],
    ['audit', grouped(balance.discarded), 'discarded by operators'],
    ['', grouped(balance.imported), 'put back by operators'],
    ['', grouped(balance.forgotten), 'deleted from ClickHouse with their project'],
  ];
}
