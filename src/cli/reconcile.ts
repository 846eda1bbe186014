/**
 * The ledger: checks that every accepted event is where it should be. The counters of a process begin with its start,
 * while the stores keep what all processes ever wrote, so the two are compared by inequalities: what a process handed
 * over must be in the stores, which may hold more.
 */
import type { StoredCounts } from '../pipeline/operator-port.ts';
import type { EventStoreName } from '../pipeline/storage-port.ts';
import { totalOf } from '../operations/selected-dead-letters.ts';
import type { Balance } from '../postgres/dead-letters/audit.ts';
import type { CountByState } from '../postgres/dead-letters/dead-letter-statistics.ts';
import { readRuntime } from '../service/runtime-file.ts';
import { fail, linesOf, ok, warn, type Check } from './checks.ts';
import { CommandFailure, printJson, type Cli } from './cli.ts';
import { withEvents, withPostgres } from './stores.ts';
import { createTable } from './table.ts';
import { counted, grouped } from './format.ts';

/** What a process counted since it started. */
export type ProcessCounts = {
  readonly url: string;
  readonly accepted: number;
  readonly stored: number;
  /** Of one with a topic, else 0: read from it, confirmed by it, left to another reader of it. */
  readonly taken: number;
  readonly replicated: number;
  readonly handedOver: number;
  readonly deadLettered: number;
  readonly pending: number;
  readonly lost: number;
};

/** What the stores hold, of everything or of one project. */
export type StoreCounts = {
  readonly store: EventStoreName;
  readonly events: StoredCounts;
  readonly letters: CountByState;
  readonly balance: Balance;
};

export type ReconcileOptions = { project?: string; url?: readonly string[]; json?: boolean };

const ANSWER_WITHIN_MS = 5_000;
/**
 * Numbers read one after the other differ while events flow; a difference that persists for this many rounds is real.
 */
const ROUNDS = 3;
const BETWEEN_ROUNDS_MS = 700;

export async function reconcile(cli: Cli, options: ReconcileOptions): Promise<void> {
  const projectId = options.project ?? null;
  cli.io.stderr('Counting…\n');
  for (let round = 1; ; round++) {
    const processes = await askProcesses(cli, options);
    // Before the stores: a record that is stored in between then counts twice rather than not at all.
    const topic = await readTopic(cli);
    const stores = await countStores(cli, projectId);
    const checks = [...processes.flatMap(checkProcess), ...checkStores(stores, processes, projectId, topic)];
    const isOff = checks.some(({ outcome }) => outcome === 'fail');
    if (isOff && round < ROUNDS) {
      await cli.clock.sleep(BETWEEN_ROUNDS_MS);
      continue;
    }
    print(cli, { processes, stores, checks }, options);
    if (isOff) cli.exitWith(1);
    return;
  }
}

/** For one process: every event it accepted has reached a known outcome. */
export function checkProcess(counts: ProcessCounts): Check[] {
  const { url, accepted, taken, stored, deadLettered, replicated, handedOver, pending, lost } = counts;
  const name = `ledger of ${url}`;
  const came = accepted + taken;
  const placed = stored + deadLettered + replicated + handedOver + pending;
  const remedy =
    'Keep its log and search it for `batch lost`, `journal damaged` and `saved batch is damaged`; if it has none of them, this is a bug in Weir: report it with these numbers.';
  const hasTopic = taken + replicated + handedOver > 0;
  const sum = [
    `accepted ${grouped(accepted)}`,
    ...(hasTopic ? [` + taken ${grouped(taken)}`] : []),
    ` = stored ${grouped(stored)} + dead-lettered ${grouped(deadLettered)}`,
    ...(hasTopic ? [` + replicated ${grouped(replicated)} + handed over ${grouped(handedOver)}`] : []),
    ` + pending ${grouped(pending)}`,
  ].join('');
  const checks = [
    came === placed
      ? ok(name, sum)
      : fail(name, `${sum} does not hold: off by ${grouped(Math.abs(came - placed))}`, remedy),
  ];
  if (lost > 0) checks.push(fail(name, `${counted(lost, 'event')} lost`, remedy));
  return checks;
}

/** `topic`: where there is one, and how many of its records are not stored yet. */
export function checkStores(
  stores: StoreCounts,
  processes: readonly ProcessCounts[],
  projectId: string | null,
  topic: WaitingTopic | null = null,
): Check[] {
  return [
    checkRollup(stores),
    // The counters of a process are not kept by project.
    ...(projectId === null && processes.length > 0 ? [checkArrival(stores, processes)] : []),
    ...(projectId === null && processes.length > 0 && topic !== null ? [checkTopic(stores, processes, topic)] : []),
    checkQuarantine(stores.letters),
  ];
}

export type WaitingTopic = { readonly name: string; readonly records: number };

/** What brokers confirmed to these processes must be in the stores, or in records that nobody has stored yet. */
function checkTopic(stores: StoreCounts, processes: readonly ProcessCounts[], { name, records }: WaitingTopic): Check {
  const subject = 'confirmed by brokers against kept';
  const replicated = processes.reduce((sum, counts) => sum + counts.replicated, 0);
  const kept = keptOf(stores);
  const waiting = `${counted(records, 'record')} of ${name} to store`;
  const detail = `confirmed ${grouped(replicated)}, kept or taken out by operators ${grouped(kept)}, ${waiting}`;
  if (kept >= replicated || records > 0) return ok(subject, detail);
  return fail(
    subject,
    `${detail}: ${grouped(replicated - kept)} missing`,
    'Look for `records were removed from the topic unread` in the logs of the flush processes, and whether somebody set offsets: weir channel status.',
  );
}

/** What the tables are called, and why the counts may differ from the rows. */
const WORDS: Readonly<Record<EventStoreName, { table: string; fewer: string; more: string }>> = {
  ClickHouse: {
    table: 'events_raw_v1',
    fewer:
      'The view event_counts_hourly_mv was away while events landed, or someone wrote to the table directly: see `weir doctor`.',
    more: 'Normal if clients sent events twice (the hourly counts include each copy, the table keeps one) or if events expired.',
  },
  Postgres: {
    table: 'analytics.events_raw',
    fewer: 'Someone wrote to the tables directly: Weir adds an event and its count in one transaction.',
    more: 'Normal if events expired: the hourly counts keep them.',
  },
};

function checkRollup({ store, events: { rows, distinctRows, counted } }: StoreCounts): Check {
  const name = 'hourly counts against events';
  const { table, fewer, more } = WORDS[store];
  if (counted === distinctRows) return ok(name, `both say ${grouped(counted)}`);
  if (counted < distinctRows) {
    return fail(name, `event_counts_hourly has ${grouped(distinctRows - counted)} fewer than ${table}`, fewer);
  }
  const copies = rows - distinctRows;
  const waiting = store === 'ClickHouse' ? ` (${grouped(copies)} copies not merged yet)` : '';
  return warn(name, `event_counts_hourly has ${grouped(counted - distinctRows)} more than ${table}${waiting}`, more);
}

/** What processes handed to the stores must be there, unless an operator removed it. */
function checkArrival(stores: StoreCounts, processes: readonly ProcessCounts[]): Check {
  const name = 'handed over against kept';
  const handed = processes.reduce((sum, { stored, deadLettered }) => sum + stored + deadLettered, 0);
  const kept = keptOf(stores);
  const detail = `handed over ${grouped(handed)} since the start of ${counted(processes.length, 'process', 'processes')}, kept or taken out by operators ${grouped(kept)}`;
  if (kept >= handed) return ok(name, detail);
  return fail(
    name,
    `${detail}: ${grouped(handed - kept)} missing`,
    'Rows were deleted outside of Weir, or a store lost them: check the logs and backups of the stores around that time.',
  );
}

function checkQuarantine({ quarantined }: CountByState): Check {
  const name = 'quarantine';
  if (quarantined.letters === 0) return ok(name, 'nothing is quarantined');
  const detail = `${counted(quarantined.events, 'event')} in ${counted(quarantined.letters, 'letter')} wait for an operator`;
  return warn(name, detail, 'See `weir dlq groups`.');
}

function keptOf({ events, letters, balance }: StoreCounts): number {
  return events.landed + totalOf(letters).events + balance.discarded + balance.forgotten - balance.imported;
}

async function readTopic({ config }: Cli): Promise<WaitingTopic | null> {
  const { kafka } = config();
  if (kafka === null) return null;
  const [{ readChannelStatus }, { explainKafka }] = await Promise.all([
    import('../kafka/topic.ts'),
    import('../kafka/errors.ts'),
  ]);
  try {
    const { partitions } = await readChannelStatus(kafka);
    return { name: kafka.topic, records: partitions.reduce((sum, { lag }) => sum + lag, 0) };
  } catch (error) {
    throw new CommandFailure(`The topic ${kafka.topic} cannot be asked: ${explainKafka(error)}`, { cause: error });
  }
}

async function askProcesses({ config }: Cli, { url, project }: ReconcileOptions): Promise<ProcessCounts[]> {
  if (project !== undefined) return [];
  const { dataDir, metricsToken } = config();
  if (url !== undefined && url.length > 0) return Promise.all(url.map((one) => askProcess(one, metricsToken)));
  const runtime = readRuntime(dataDir);
  return runtime.kind === 'running' && runtime.url !== null ? [await askProcess(runtime.url, metricsToken)] : [];
}

async function askProcess(url: string, metricsToken: string | null): Promise<ProcessCounts> {
  const headers: Record<string, string> = metricsToken === null ? {} : { Authorization: `Bearer ${metricsToken}` };
  let page: string;
  try {
    const signal = AbortSignal.timeout(ANSWER_WITHIN_MS);
    const answer = await fetch(new URL('/internal/metrics', url), { headers, signal });
    if (answer.status === 401)
      throw new CommandFailure(`${url} requires its METRICS_TOKEN: set it for this command too.`);
    if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
    page = await answer.text();
  } catch (error) {
    if (error instanceof CommandFailure) throw error;
    throw new CommandFailure(`${url} does not answer /internal/metrics. Name a running Weir with --url.`, {
      cause: error,
    });
  }
  return parseMetrics(url, page);
}

/** The counters from a metrics page. */
export function parseMetrics(url: string, page: string): ProcessCounts {
  const read = (name: string) => {
    const line = page.split('\n').find((line) => line.startsWith(`${name} `));
    if (line === undefined) throw new CommandFailure(`${url} has no ${name} on its metrics page: is that a Weir?`);
    return Number(line.slice(name.length + 1).split(' ', 1)[0]);
  };
  const eventsOf = (result: string) => read(`weir_events_total{result="${result}"}`);
  // Only where there is a topic.
  const ofTopic = (result: string) => (page.includes(`{result="${result}"}`) ? eventsOf(result) : 0);
  return {
    url,
    accepted: eventsOf('accepted'),
    stored: eventsOf('stored'),
    taken: ofTopic('taken'),
    replicated: ofTopic('replicated'),
    handedOver: ofTopic('handed_over'),
    deadLettered: eventsOf('dead_lettered'),
    pending: read('weir_pending_events'),
    lost: read('weir_events_lost_total'),
  };
}

async function countStores(cli: Cli, projectId: string | null): Promise<StoreCounts> {
  return withPostgres(cli, async (db) => {
    const { createDeadLetterQueries } = await import('../postgres/dead-letters/dead-letter-queries.ts');
    const queries = createDeadLetterQueries(db);
    // Dead letters are read before events: an event that lands in between is counted twice rather than missed.
    const letters = await queries.count(projectId === null ? { by: 'all' } : { by: 'project', projectId });
    const balance = await queries.balance(projectId);
    return withEvents(cli, async ({ name: store, countStored }) => {
      return { letters, balance, store, events: await countStored(projectId) };
    });
  });
}

function print(
  { io }: Cli,
  { processes, stores, checks }: { processes: ProcessCounts[]; stores: StoreCounts; checks: Check[] },
  { json, project }: ReconcileOptions,
): void {
  if (json) return printJson(io, { processes, stores, checks });
  const lines = [
    ...processes.flatMap((counts) => explainProcess(counts, stores.store)),
    ...explainStores(stores, project !== undefined),
  ];
  const table = createTable(
    ['WHERE', 'EVENTS', 'MEANING'].map((name, index) => ({ name, isNumeric: index === 1 })),
    lines,
  );
  io.stdout([table.header(), ...lines.map(table.line), '\n'].join(''));
  for (const check of checks) io.stdout(linesOf(check));
  if (processes.length === 0) {
    io.stderr(
      project === undefined
        ? 'No running Weir was asked: name one with --url to compare its counters.\n'
        : 'Processes do not count by project, so no running Weir was asked.\n',
    );
  }
}

function explainProcess(
  { url, accepted, taken, stored, deadLettered, replicated, handedOver, pending }: ProcessCounts,
  store: EventStoreName,
): string[][] {
  const hasTopic = taken + replicated + handedOver > 0;
  return [
    [url, grouped(accepted), 'accepted: answered 2xx since it started'],
    ...(hasTopic
      ? [
          ['', grouped(replicated), 'replicated: confirmed by the brokers, in the topic'],
          ['', grouped(taken), 'taken: read from the topic'],
          ['', grouped(handedOver), 'handed over: taken, and left to another reader of its partition'],
        ]
      : []),
    ['', grouped(stored), `stored: fresh events that ${store} confirmed`],
    ['', grouped(deadLettered), 'dead-lettered: fresh events kept in failed_events'],
    ['', grouped(pending), 'pending: in memory, on their way'],
  ];
}

function explainStores({ store, events, letters, balance }: StoreCounts, isOneProject: boolean): string[][] {
  const shared = isOneProject ? '; letters shared with other projects count in full' : '';
  return [
    ...(store === 'ClickHouse' ? inClickHouse(events) : inPostgres(events, isOneProject)),
    ['Postgres', grouped(letters.waiting.events), `waiting to be replayed${shared}`],
    ['', grouped(letters.replaying.events), `being replayed at this moment${shared}`],
    ['', grouped(letters.quarantined.events), `quarantined: waiting for an operator${shared}`],
    ['audit', grouped(balance.discarded), 'discarded by operators'],
    ['', grouped(balance.imported), 'put back by operators'],
    ['', grouped(balance.forgotten), 'deleted with their project'],
  ];
}

const inClickHouse = ({ rows, distinctRows, counted }: StoredCounts): string[][] => [
  ['ClickHouse', grouped(rows), 'rows of events_raw_v1, including copies not merged yet'],
  ['', grouped(distinctRows), 'without copies (FINAL)'],
  ['', grouped(counted), 'sum(events) of event_counts_hourly: everything that ever landed, including copies'],
];

const inPostgres = ({ rows, counted, landed }: StoredCounts, isOneProject: boolean): string[][] => [
  ['Postgres', grouped(rows), 'rows of analytics.events_raw'],
  ['', grouped(counted), 'sum(events) of event_counts_hourly: every event that ever landed, once'],
  ...(isOneProject ? [] : [['', grouped(landed), 'the same with copies that were sent again and not added']]),
];
