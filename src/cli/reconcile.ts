/** `weir doctor --reconcile`: the ledger, printed. */
import type { Check } from '../operations/examination/checks.ts';
import type { ProcessCounts, StoreCounts } from '../operations/examination/reconcile-checks.ts';
import { grouped } from '../operations/wording.ts';
import type { StoredCounts } from '../pipeline/operator-port.ts';
import type { EventStoreName } from '../pipeline/storage-port.ts';
import { readRuntime } from '../service/runtime-file.ts';
import { linesOf } from './check-lines.ts';
import { printJson, type Cli } from './cli.ts';
import { withEvents, withPostgres } from './stores.ts';
import { createTable } from './table.ts';

export type ReconcileOptions = { project?: string; url?: readonly string[]; json?: boolean };

export async function reconcile(cli: Cli, options: ReconcileOptions): Promise<void> {
  cli.io.stderr('Counting…\n');
  const { clock } = cli;
  const { kafka, metricsToken } = cli.config();
  const { readLedger, isBalanced } = await import('../operations/examination/ledger.ts');
  const ledger = await withPostgres(cli, (db) =>
    withEvents(cli, (events) =>
      readLedger(
        { db, events, clock, kafka },
        { projectId: options.project ?? null, urls: urlsOf(cli, options), metricsToken },
      ),
    ),
  );
  print(cli, ledger, options);
  if (!isBalanced(ledger.checks)) cli.exitWith(1);
}

/** Those that were named, else the one that runs here. */
function urlsOf({ config }: Cli, { url }: ReconcileOptions): readonly string[] {
  if (url !== undefined && url.length > 0) return url;
  const runtime = readRuntime(config().dataDir);
  return runtime.kind === 'running' && runtime.url !== null ? [runtime.url] : [];
}

function print(
  { io }: Cli,
  { processes, stores, checks }: { processes: readonly ProcessCounts[]; stores: StoreCounts; checks: readonly Check[] },
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
