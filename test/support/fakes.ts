/**
 * Small working stores behind the pipeline's ports. Faults are properties of
 * the fake world, switched on and off, not scripts of calls. The contract suites
 * run the same sentences against these and against the real servers.
 */
import { hash } from 'node:crypto';
import { type Clock, systemClock } from '../../src/clock.ts';
import { idsOf, splitRows } from '../../src/event/rows.ts';
import type { Batch, BatchId } from '../../src/pipeline/batch.ts';
import type { DeadLetterDepth } from '../../src/pipeline/flags.ts';
import {
  type ClaimLimits,
  type DeadLetter,
  type DeadLetterStore,
  type EventStore,
  type FailureClass,
  InsertFailure,
  type Insertable,
  type LetterCause,
  type Part,
  type Retry,
} from '../../src/pipeline/ports.ts';
import { isForbidden, isUnreadable, numberOf, numbersIn } from './rows.ts';

/** An insert that hangs ends by its own deadline after this. */
export const INSERT_TIMEOUT_MS = 60_000;

export type EventStoreFake = EventStore & {
  /** How often each row is in the table, by its number. */
  readonly stored: Map<number, number>;
  /** What the counting view says. */
  counted: number;
  /** Row counts of the inserts that landed, in order; repeated ones are not in it. */
  readonly landed: number[];
  /** Inserts that were sent, whatever became of them. */
  sent: number;
  /** Inserts that run at this moment, and the most that ever did. */
  running: number;
  mostRunning: number;
  /** Ids that came with two different byte strings: must stay empty (I8). */
  readonly changedIds: Set<string>;

  /** Nobody listens. */
  down: boolean;
  /** Connections open, nobody answers. */
  hangs: boolean;
  /** What hung when it was cut short lands nevertheless, this much later; null when it does not. */
  landsLateMs: number | null;
  /** The next insert lands and its answer is lost. */
  commitThenCut: boolean;
  /** The next insert reaches the table and not the view; its answer is lost. */
  diesBeforeView: boolean;
  /** So many of the next inserts meet a connection that breaks before anything landed. */
  resets: number;
  /** Every request fails with this class. */
  failWith: FailureClass | null;
  /** Inserts of fewer rows than this are refused for lack of capacity. */
  minRows: number;
  /** The schema changed: no row can be read. */
  drifted: boolean;
  isUnreadable: (row: Buffer) => boolean;
  isForbidden: (row: Buffer) => boolean;
  /** What the store claims to be the first bad row, given the true one. */
  hint: (index: number, rows: readonly Buffer[]) => number | null;
  /** How long a request takes. */
  latencyMs: () => number;
  /** Whether an id that landed is recognised. */
  dedupes: boolean;
  answers(): Promise<void>;
};

type Fault = { readonly failureClass: FailureClass; readonly code?: number; readonly retryAtOnce?: boolean };
const refused = (message: string, { failureClass, code, retryAtOnce }: Fault, rowHint: number | null = null) =>
  new InsertFailure(message, {
    failureClass,
    code: code ?? null,
    retryAtOnce: retryAtOnce ?? false,
    rowHint,
  });

/** `window`: how many inserts the table remembers, as `non_replicated_deduplication_window`. */
export function createEventStoreFake({
  clock = systemClock,
  window = 10_000,
}: { clock?: Clock; window?: number } = {}): EventStoreFake {
  const remembered: string[] = [];
  const bytesOf = new Map<string, Buffer>();
  const landedAt: number[] = [];
  const missedByView = new Set<string>();

  const store: EventStoreFake = {
    insert,
    dryRun,
    findStored,
    countInserts,
    answers,
    stored: new Map(),
    counted: 0,
    landed: [],
    sent: 0,
    running: 0,
    mostRunning: 0,
    changedIds: new Set(),
    down: false,
    hangs: false,
    landsLateMs: null,
    commitThenCut: false,
    diesBeforeView: false,
    resets: 0,
    failWith: null,
    minRows: 0,
    drifted: false,
    isUnreadable,
    isForbidden,
    hint: (index) => index,
    latencyMs: () => 0,
    dedupes: true,
  };
  return store;

  async function insert(batch: Insertable, signal?: AbortSignal): Promise<void> {
    const bytes = Buffer.concat(batch.chunks);
    const rows = splitRows(bytes);
    if (bytesOf.get(batch.id)?.equals(bytes) === false) store.changedIds.add(batch.id);
    bytesOf.set(batch.id, bytes);
    store.sent++;
    store.mostRunning = Math.max(store.mostRunning, ++store.running);
    try {
      await reach(signal, () => land(batch.id, rows));
      if (rows.length < store.minRows) throw refused('too many parts', { failureClass: 'capacity', code: 252 });
      read(rows);
      const forbidden = rows.findIndex(store.isForbidden);
      if (forbidden !== -1) throw refusedRow('violated constraint', 469, forbidden, rows);
      land(batch.id, rows);
      if (store.commitThenCut || store.diesBeforeView) {
        store.commitThenCut = store.diesBeforeView = false;
        throw refused('cut after the commit', { failureClass: 'ambiguous', retryAtOnce: true });
      }
    } finally {
      store.running--;
    }
  }

  async function dryRun(rows: readonly Buffer[], signal?: AbortSignal): Promise<void> {
    await reach(signal);
    read(rows);
  }

  async function findStored(rows: readonly Buffer[], signal?: AbortSignal): Promise<readonly boolean[]> {
    await reach(signal);
    return rows.map((row) => store.stored.has(numberOf(row)));
  }

  async function countInserts(ageMs: number): Promise<number> {
    await reach(undefined);
    const since = clock.elapsed() - ageMs;
    return landedAt.length - landedAt.findLastIndex((at) => at < since) - 1;
  }

  async function answers(): Promise<void> {
    if (store.down || store.hangs) throw new Error('no answer');
  }

  /** Everything that can go wrong before the store looks at the rows. */
  async function reach(signal: AbortSignal | undefined, land?: () => void): Promise<void> {
    if (signal?.aborted) throw refused('not sent', { failureClass: 'unavailable' });
    const latencyMs = store.latencyMs();
    if (latencyMs > 0) await clock.sleep(latencyMs, signal);
    if (store.down) throw refused('connection refused', { failureClass: 'unavailable' });
    if (land && store.resets > 0) {
      store.resets--;
      throw refused('connection reset', { failureClass: 'ambiguous', retryAtOnce: true });
    }
    if (store.hangs || signal?.aborted) {
      if (!signal?.aborted) await clock.sleep(INSERT_TIMEOUT_MS, signal);
      const lateMs = store.landsLateMs;
      if (land && lateMs !== null) void clock.sleep(lateMs).then(land);
      throw refused('no answer', { failureClass: 'ambiguous' });
    }
    if (store.failWith) throw refused(`fails as ${store.failWith}`, { failureClass: store.failWith });
  }

  function read(rows: readonly Buffer[]) {
    const unreadable = store.drifted ? 0 : rows.findIndex(store.isUnreadable);
    if (unreadable !== -1 && rows.length > 0) throw refusedRow('cannot parse', 27, unreadable, rows);
  }

  function refusedRow(message: string, code: number, index: number, rows: readonly Buffer[]) {
    return refused(message, { failureClass: 'data', code }, store.hint(index, rows));
  }

  function land(id: string, rows: readonly Buffer[]) {
    if (rows.some((row) => store.drifted || store.isUnreadable(row) || store.isForbidden(row))) return;
    if (store.dedupes && remembered.includes(id)) {
      if (missedByView.delete(id)) store.counted += rows.length;
      return;
    }
    landedAt.push(clock.elapsed());
    remembered.push(id);
    if (remembered.length > window) remembered.shift();
    for (const row of rows) store.stored.set(numberOf(row), (store.stored.get(numberOf(row)) ?? 0) + 1);
    if (store.diesBeforeView) missedByView.add(id);
    else store.counted += rows.length;
    store.landed.push(rows.length);
  }
}

const TABLE_CLOCK_START = Date.UTC(2026, 0, 1);

export type LetterState = {
  readonly id: BatchId;
  readonly parentId: string | null;
  readonly rows: Buffer;
  readonly eventCount: number;
  readonly failureClass: FailureClass;
  readonly createdAt: number;
  ambiguous: boolean;
  attemptCount: number;
  exposedMs: number;
  lastAttemptAt: number | null;
  visibleAt: number;
  leaseToken: string | null;
  quarantinedFor: string | null;
  isCorrupt: boolean;
};

export type DeadLettersFake = DeadLetterStore & {
  readonly letters: Map<string, LetterState>;
  /** Ids that came with two different byte strings: must stay empty (I8). */
  readonly changedIds: Set<string>;
  /** Letters that left the table, by id: landed, or replaced by their parts. */
  readonly gone: Set<string>;
  down: boolean;
  /** The next change is made and its answer is lost. */
  commitThenCut: boolean;
  latencyMs: () => number;
  /** Moves the table's own clock. */
  jump(ms: number): void;
  /** Whether a change asks for the lease; switched off only to see a test fail. */
  fences: boolean;
  alive(): LetterState[];
  quarantined(): LetterState[];
};

export function createDeadLettersFake({ clock = systemClock }: { clock?: Clock } = {}): DeadLettersFake {
  const letters = new Map<string, LetterState>();
  const bytesOf = new Map<string, Buffer>();
  /** A batch whose letter was split lives on in the parts. */
  const splitIds = new Set<string>();
  let clockOffset = 0;
  let claims = 0;
  /** A clock of its own: the table lives on another machine than its clients. */
  const now = () => TABLE_CLOCK_START + clock.elapsed() + clockOffset;

  const store: DeadLettersFake = {
    add,
    forget,
    claim,
    renew: (letter, leaseMs) => change(letter, (held) => (held.visibleAt = now() + leaseMs)),
    complete: (letter) => change(letter, () => remove(letter.id)),
    retry: (letter, outcome) => change(letter, (held) => wait(held, outcome)),
    release: (letter) => change(letter, (held) => Object.assign(held, { visibleAt: now(), leaseToken: null })),
    settleDoubt: (letter) => change(letter, (held) => (held.ambiguous = false)),
    quarantine: (letter, reason) => change(letter, (held) => setAside(held, reason)),
    split,
    measure,
    letters,
    changedIds: new Set(),
    gone: new Set(),
    down: false,
    commitThenCut: false,
    latencyMs: () => 0,
    jump: (ms) => {
      clockOffset += ms;
    },
    fences: true,
    alive: () => [...letters.values()].filter(({ quarantinedFor }) => quarantinedFor === null),
    quarantined: () => [...letters.values()].filter(({ quarantinedFor }) => quarantinedFor !== null),
  };
  return store;

  async function add(batch: Batch, { failure, ambiguous }: LetterCause): Promise<void> {
    await reach();
    const known = letters.get(batch.id);
    if (known) known.ambiguous ||= ambiguous;
    else if (!splitIds.has(batch.id))
      put(batch.id, Buffer.concat(batch.chunks), batch.eventCount, failure, { ambiguous, lastAttemptAt: now() });
    answer();
  }

  async function forget(id: BatchId): Promise<void> {
    await reach();
    if (letters.get(id)?.leaseToken === null) remove(id);
    answer();
  }

  async function claim({ maxRows, maxBytes, leaseMs }: ClaimLimits): Promise<DeadLetter[]> {
    await reach();
    const due = store
      .alive()
      .filter(({ visibleAt }) => visibleAt <= now())
      .sort((a, b) => Number(b.ambiguous) - Number(a.ambiguous) || a.visibleAt - b.visibleAt || (a.id < b.id ? -1 : 1))
      .slice(0, maxRows);
    const leaseToken = `lease-${++claims}`;
    const claimed: DeadLetter[] = [];
    let bytes = 0;
    for (const [place, letter] of due.entries()) {
      bytes += letter.rows.length;
      if (place > 0 && bytes > maxBytes) break;
      letter.ambiguous ||= letter.leaseToken !== null;
      letter.leaseToken = leaseToken;
      letter.visibleAt = now() + leaseMs;
      if (letter.isCorrupt) setAside(letter, 'unreadable payload');
      else claimed.push(leased(letter, leaseToken));
    }
    answer();
    return claimed;
  }

  async function change(letter: DeadLetter, apply: (held: LetterState) => void): Promise<boolean> {
    await reach();
    const held = heldBy(letter);
    if (held) apply(held);
    answer();
    return held !== null;
  }

  async function split(letter: DeadLetter, parts: readonly Part[], leaseMs: number): Promise<DeadLetter[] | null> {
    await reach();
    const parent = heldBy(letter);
    if (!parent) {
      answer();
      return null;
    }
    remove(letter.id);
    splitIds.add(letter.id);
    const alive: DeadLetter[] = [];
    for (const part of parts) {
      const rows = Buffer.concat(part.rows);
      let id = childId(letter.id, rows);
      while (letters.has(id)) id = childId(id, rows);
      const { createdAt, lastAttemptAt } = parent;
      const failure = part.bad ?? refused('inherited', { failureClass: parent.failureClass });
      const child = put(id, rows, part.rows.length, failure, { createdAt, lastAttemptAt, parentId: letter.id });
      if (part.bad) setAside(child, 'refused');
      else Object.assign(child, { leaseToken: letter.leaseToken, visibleAt: now() + leaseMs });
      if (!part.bad) alive.push(leased(child, letter.leaseToken));
    }
    answer();
    return alive;
  }

  async function measure(): Promise<DeadLetterDepth> {
    await reach();
    const alive = store.alive();
    const apart = store.quarantined();
    return {
      rows: alive.length,
      events: eventsOf(alive),
      bytes: alive.reduce((sum, { rows }) => sum + rows.length, 0),
      oldestAt: alive.length === 0 ? null : Math.min(...alive.map(({ createdAt }) => createdAt)),
      quarantinedRows: apart.length,
      quarantinedEvents: eventsOf(apart),
    };
  }

  async function reach(): Promise<void> {
    const latencyMs = store.latencyMs();
    if (latencyMs > 0) await clock.sleep(latencyMs);
    if (store.down) throw new Error('postgres is down');
  }

  function answer() {
    if (!store.commitThenCut) return;
    store.commitThenCut = false;
    throw new Error('cut after the commit');
  }

  function put(
    id: string,
    rows: Buffer,
    eventCount: number,
    failure: InsertFailure,
    more: Partial<LetterState>,
  ): LetterState {
    if (bytesOf.get(id)?.equals(rows) === false) store.changedIds.add(id);
    bytesOf.set(id, rows);
    const letter: LetterState = {
      id: id as BatchId,
      parentId: null,
      rows,
      eventCount,
      failureClass: failure.failureClass,
      createdAt: now(),
      ambiguous: false,
      attemptCount: 0,
      exposedMs: 0,
      lastAttemptAt: null,
      visibleAt: now(),
      leaseToken: null,
      quarantinedFor: null,
      isCorrupt: false,
      ...more,
    };
    letters.set(id, letter);
    return letter;
  }

  function heldBy({ id, leaseToken }: DeadLetter): LetterState | null {
    const letter = letters.get(id);
    return letter && (letter.leaseToken === leaseToken || !store.fences) ? letter : null;
  }

  function remove(id: string) {
    letters.delete(id);
    store.gone.add(id);
  }

  function wait(held: LetterState, { ambiguous, wasSent, isCounted, exposedMs, delayMs }: Retry) {
    held.ambiguous = ambiguous;
    held.attemptCount += isCounted ? 1 : 0;
    held.exposedMs += exposedMs;
    if (wasSent) held.lastAttemptAt = now();
    held.visibleAt = now() + delayMs;
    held.leaseToken = null;
  }

  function setAside(letter: LetterState, reason: string) {
    letter.quarantinedFor = reason;
    letter.leaseToken = null;
  }

  function leased(letter: LetterState, leaseToken: string): DeadLetter {
    const { id, rows, eventCount, ambiguous, attemptCount, exposedMs, createdAt, lastAttemptAt } = letter;
    const sinceLastAttemptMs = lastAttemptAt === null ? null : now() - lastAttemptAt;
    return {
      id,
      chunks: [rows],
      leaseToken,
      eventCount,
      projectIds: [...new Set(splitRows(rows).flatMap((row) => idsOf(row)?.projectId ?? []))],
      ambiguous,
      attemptCount,
      exposedMs,
      createdAt,
      sinceLastAttemptMs,
    };
  }
}

const eventsOf = (letters: LetterState[]) => letters.reduce((sum, { eventCount }) => sum + eventCount, 0);

const childId = (parentId: string, rows: Buffer) =>
  hash('sha256', Buffer.concat([Buffer.from(parentId), rows])).replace(
    /^(.{8})(.{4}).(.{3}).(.{3})(.{12}).*$/,
    '$1-$2-8$3-8$4-$5',
  );

/** The numbers of the rows that lie in the letters. */
export function numbersOf(letters: readonly LetterState[]): number[] {
  return letters.flatMap(({ rows }) => numbersIn([rows]));
}
