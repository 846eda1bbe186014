/**
 * The ledger: checks that every accepted event is where it should be. The counters of a process begin with its start,
 * while the stores keep what all processes ever wrote, so the two are compared by inequalities: what a process handed
 * over must be in the stores, which may hold more.
 */
import type { StoredCounts } from '../pipeline/operator-port.ts';
import type { EventStoreName } from '../pipeline/storage-port.ts';
import { readRuntime } from '../service/runtime-file.ts';
import { linesOf, type Check } from './checks.ts';
import { CommandFailure, printJson, type Cli } from './cli.ts';
import { withEvents, withPostgres } from './stores.ts';
import { createTable } from './table.ts';
import { grouped } from './format.ts';
import {
  type ProcessCounts,
  type StoreCounts,
  type WaitingTopic,
  checkProcess,
  checkStores,
} from './reconcile-checks.ts';

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
