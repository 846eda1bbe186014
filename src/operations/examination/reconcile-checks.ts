/**
 * What the ledger must say, as verdicts over counts: of one process everything that came has gone somewhere; in the
 * stores there is what was handed over, or more.
 */
import { totalOf } from '../selected-dead-letters.ts';
import type { StoredCounts } from '../../pipeline/operator-port.ts';
import type { EventStoreName } from '../../pipeline/storage-port.ts';
import type { Balance } from '../../postgres/dead-letters/audit.ts';
import type { CountByState } from '../../postgres/dead-letters/dead-letter-statistics.ts';
import { fail, ok, warn, type Check } from './checks.ts';
import { counted, grouped } from '../wording.ts';

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
