/**
 * Small working stores behind the pipeline's ports. Faults are properties of the fake world, switched on and off, not
 * scripts of calls. The contract suites run the same tests against these and against the real servers.
 */
import { type Clock, systemClock } from '../../src/runtime/clock.ts';
import { idsOf, splitRows } from '../../src/event/rows.ts';
import { type Batch, type BatchId, partIdOf, remainderOf } from '../../src/pipeline/batch.ts';
import type { DeadLetterDepth } from '../../src/pipeline/flags.ts';
import { fingerprintOf } from '../../src/pipeline/outcome.ts';
import {
  type ClaimLimits,
  type DeadLetter,
  type DeadLetterStore,
  type DeadLetterCause,
  type LockedDeadLetters,
  NoRoom,
  type DeadLetterPart,
  type Retry,
} from '../../src/pipeline/dead-letter-port.ts';
import {
  type EventStore,
  type FailureClass,
  InsertFailure,
  type InsertMemory,
  type Insertable,
  type Inspection,
  type RowRefusal,
} from '../../src/pipeline/ports.ts';
import { isForbidden, isUnreadable, numberOf, numbersIn } from './rows.ts';

/** A hanging insert ends by its own deadline after this. */
export const INSERT_TIMEOUT_MS = 60_000;

export type EventStoreFake = EventStore & {
  /** How often each row is in the table, by its number. */
  readonly stored: Map<number, number>;
  /** What it says it remembers. */
  memory: InsertMemory;
  /** The total of the counting view. */
  counted: number;
  /** Row counts of the inserts that landed, in order; repeated ones are not included. */
  readonly landed: number[];
  /** Inserts that were sent, whatever their outcome. */
  sent: number;
  /** Inserts running at this moment, and the most that ever did. */
  running: number;
  mostRunning: number;
  /** Ids that came with two different byte strings: must stay empty (I8). */
  readonly changedIds: Set<string>;

  /** Connections are refused. */
  down: boolean;
  /** Connections open, but get no answer. */
  hangs: boolean;
  /** A hanging insert that was cut short lands this much later nevertheless; null when it does not. */
  landsLateMs: number | null;
  /** The next insert lands and its answer is lost. */
  commitThenCut: boolean;
  /** The next insert reaches the table and not the view; its answer is lost. */
  diesBeforeView: boolean;
  /** The next insert is remembered and reaches neither table nor view; its answer is lost. */
  diesBeforePart: boolean;
  /** For this many of the next inserts the connection breaks before anything landed. */
  resets: number;
  /** Every request fails with this class. */
  failWith: FailureClass | null;
  /** Every insert fails with this class; everything else is answered. */
  failInserts: FailureClass | null;
  /** Whether a request, insert or not, fails by chance, with an unknown code. */
  failsByChance: () => boolean;
  /** Ordinary rows are refused for the same cause as unreadable ones. */
  refusesOrdinary: boolean;
  /** Inserts of fewer rows than this are refused for lack of capacity. */
  minRows: number;
  /** Something in front accepts no insert of more bytes than this. */
  maxBytes: number;
  /** The schema changed: no row can be read. */
  drifted: boolean;
  /** Whether an inspection shows which rows are forbidden; otherwise only an insert does. */
  explains: boolean;
  isUnreadable: (row: Buffer) => boolean;
  isForbidden: (row: Buffer) => boolean;
  /** What the store reports as the first bad row, given the true one. */
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
  /** In the order they landed. */
  const remembered = new Set<string>();
  const bytesOf = new Map<string, Buffer>();
  const landedAt: number[] = [];
  const missedByView = new Set<string>();
  /** Remembered, but in neither table nor view. */
  const vanished = new Set<string>();

  const store: EventStoreFake = {
    insert,
    dryRun,
    inspect,
    findStored,
    countInserts,
    readMemory: async () => store.memory,
    memory: { inserts: 10_000, forMs: Infinity },
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
    diesBeforePart: false,
    resets: 0,
    failWith: null,
    failInserts: null,
    failsByChance: () => false,
    refusesOrdinary: false,
    minRows: 0,
    maxBytes: Infinity,
    drifted: false,
    explains: true,
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
      if (bytes.length > store.maxBytes) throw refused('HTTP 413', { failureClass: 'too_large' });
      if (rows.length < store.minRows) throw refused('too many parts', { failureClass: 'capacity', code: 252 });
      read(rows);
      const forbidden = rows.findIndex(store.isForbidden);
      if (forbidden !== -1) throw refusedRow('violated constraint', 469, forbidden, rows);
      land(batch.id, rows);
      if (batch.mayHaveLanded) putBack(batch.id, rows);
      if (store.commitThenCut || store.diesBeforeView || store.diesBeforePart) {
        store.commitThenCut = store.diesBeforeView = store.diesBeforePart = false;
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

  async function inspect(rows: readonly Buffer[], signal?: AbortSignal): Promise<Inspection> {
    await reach(signal);
    const all = [...rows.keys()];
    const unreadable = all.filter((index) => store.drifted || store.isUnreadable(rows[index]!));
    const forbidden = all.filter(
      (index) => store.explains && !unreadable.includes(index) && store.isForbidden(rows[index]!),
    );
    const refusal = (
      message: string,
      code: number,
      found: readonly number[],
      isOrdinaryRefused: boolean,
    ): RowRefusal[] =>
      found.length === 0
        ? []
        : [
            {
              failure: refused(message, { failureClass: 'data', code }),
              rows: found,
              when: code === 27 ? 'reading' : 'storing',
              isOrdinaryRefused,
            },
          ];
    const refusals = [
      ...refusal('cannot parse', 27, unreadable, store.drifted || store.refusesOrdinary),
      ...refusal('violated constraint', 469, forbidden, false),
    ];
    return { refusals, isComplete: true };
  }

  async function findStored(rows: readonly Buffer[], signal?: AbortSignal): Promise<readonly boolean[]> {
    await reach(signal);
    return rows.map((row) => store.stored.has(numberOf(row)));
  }

  async function countInserts(ageMs: number, signal?: AbortSignal): Promise<number> {
    await reach(signal);
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
    if (store.failsByChance()) throw refused('by chance', { failureClass: 'unknown', code: 9_999 });
    if (land && store.failInserts) throw refused(`fails as ${store.failInserts}`, { failureClass: store.failInserts });
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
    if (store.dedupes && remembered.has(id)) {
      if (missedByView.delete(id)) store.counted += rows.length;
      return;
    }
    landedAt.push(clock.elapsed());
    remembered.add(id);
    if (remembered.size > window) for (const oldest of remembered) if (remembered.delete(oldest)) break;
    if (store.diesBeforePart) return void vanished.add(id);
    // Forgotten, and sent again like any other.
    vanished.delete(id);
    keep(rows);
    if (store.diesBeforeView) missedByView.add(id);
    else store.counted += rows.length;
    store.landed.push(rows.length);
  }

  function keep(rows: readonly Buffer[]) {
    for (const row of rows) store.stored.set(numberOf(row), (store.stored.get(numberOf(row)) ?? 0) + 1);
  }

  /** A batch that is marked as sent before has its rows looked for. */
  function putBack(id: string, rows: readonly Buffer[]) {
    if (!vanished.delete(id)) return;
    keep(rows);
    store.counted += rows.length;
    store.landed.push(rows.length);
  }
}

const TABLE_CLOCK_START = Date.UTC(2026, 0, 1);

export type DeadLetterState = {
  readonly id: BatchId;
  readonly parentId: string | null;
  readonly rows: Buffer;
  readonly eventCount: number;
  readonly failureClass: FailureClass;
  fingerprint: string;
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
  readonly letters: Map<string, DeadLetterState>;
  /** Ids that came with two different byte strings: must stay empty (I8). */
  readonly changedIds: Set<string>;
  /** Letters that left the table, by id: landed, or replaced by their parts. */
  readonly gone: Set<string>;
  down: boolean;
  /** Its disk is full: letters can be locked and removed, but nothing can be written. */
  full: boolean;
  /** Locks letters as one process, which forgets its tries and holds no lock after its life is over. */
  lockedBy(life?: { readonly isOver: boolean }): LockedDeadLetters;
  /** The next change is made and its answer is lost. */
  commitThenCut: boolean;
  latencyMs: () => number;
  /** Moves the table's own clock. */
  jump(ms: number): void;
  /** Whether a change checks the lease; switched off only to see a test fail. */
  fences: boolean;
  alive(): DeadLetterState[];
  quarantined(): DeadLetterState[];
};

export function createDeadLettersFake({ clock = systemClock }: { clock?: Clock } = {}): DeadLettersFake {
  const letters = new Map<string, DeadLetterState>();
  const bytesOf = new Map<string, Buffer>();
  /** A batch whose letter was split lives on in the parts. */
  const splitIds = new Set<string>();
  const takenOut = new Map<string, readonly number[]>();
  const locks = new Map<string, { readonly isOver: boolean }>();
  let clockOffset = 0;
  let claims = 0;
  /** A separate clock: the table is on another machine than its clients. */
  const now = () => TABLE_CLOCK_START + clock.elapsed() + clockOffset;

  const store: DeadLettersFake = {
    add,
    addParts,
    takenOutOf,
    forget,
    claim,
    renew: (letter, leaseMs) => write(letter, (held) => (held.visibleAt = now() + leaseMs)),
    complete: (letter) => change(letter, () => remove(letter.id)),
    retry: (letter, outcome) => write(letter, (held) => wait(held, outcome)),
    release: (letter) => write(letter, (held) => Object.assign(held, { visibleAt: now(), leaseToken: null })),
    clearAmbiguity: (letter) => write(letter, (held) => (held.ambiguous = false)),
    quarantine: (letter, reason) => write(letter, (held) => setAside(held, reason)),
    split,
    measure,
    letters,
    changedIds: new Set(),
    gone: new Set(),
    down: false,
    full: false,
    lockedBy,
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

  async function add(batch: Batch, { failure, ambiguous, askFirst = false }: DeadLetterCause): Promise<void> {
    await reachToWrite();
    const out = takenOut.get(batch.id);
    const kept = out === undefined ? batch : remainderOf(batch, out);
    if (kept !== null) {
      const known = letters.get(kept.id);
      if (known) known.ambiguous ||= ambiguous;
      else if (!splitIds.has(kept.id)) {
        const detail = { ambiguous: ambiguous || kept !== batch, lastAttemptAt: askFirst ? null : now() };
        put(kept.id, Buffer.concat(kept.chunks), kept.eventCount, failure, detail);
      }
    }
    answer();
  }

  async function addParts(batch: Batch, parts: readonly DeadLetterPart[], places: readonly number[]) {
    await reachToWrite();
    const known = takenOut.get(batch.id);
    if (!known) {
      takenOut.set(batch.id, places);
      const made = new Set<string>();
      for (const part of parts) {
        const child = putPart(batch.id, part, made, part.failure!, { lastAttemptAt: now() });
        if (child === null) continue;
        if (part.isQuarantined) setAside(child, 'refused');
        else child.visibleAt = now() + 10_000;
      }
    }
    answer();
    return known ?? places;
  }

  async function takenOutOf(id: BatchId) {
    await reach();
    return takenOut.get(id) ?? null;
  }

  /** `made`: the parts so far, of which one may have the same rows; null where the part is a letter already. */
  function putPart(
    parentId: string,
    { rows }: DeadLetterPart,
    made: Set<string>,
    failure: InsertFailure,
    more: Partial<DeadLetterState>,
  ): DeadLetterState | null {
    const bytes = Buffer.concat(rows);
    let id: string = partIdOf(parentId, bytes);
    while (made.has(id)) id = partIdOf(id, bytes);
    made.add(id);
    return letters.has(id) ? null : put(id, bytes, rows.length, failure, { parentId, ...more });
  }

  async function forget(id: BatchId): Promise<void> {
    await reach();
    if (letters.get(id)?.leaseToken === null) remove(id);
    answer();
  }

  async function claim({ maxRows, maxBytes, leaseMs }: ClaimLimits): Promise<DeadLetter[]> {
    await reachToWrite();
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

  async function write(letter: DeadLetter, apply: (held: DeadLetterState) => void): Promise<boolean> {
    if (store.full) {
      await reach();
      throw new NoRoom();
    }
    return change(letter, apply);
  }

  function lockedBy(life: { readonly isOver: boolean } = { isOver: false }): LockedDeadLetters {
    const tried = new Map<string, { until: number; ambiguous: boolean }>();
    const isLocked = (id: string) => locks.get(id)?.isOver === false;
    const unlock = (id: string) => locks.get(id) === life && locks.delete(id);
    const note = async ({ id }: DeadLetter, ambiguous: boolean, delayMs: number) => {
      tried.set(id, { until: clock.elapsed() + delayMs, ambiguous });
      return true;
    };
    return {
      async take() {
        await reach();
        const next = store
          .alive()
          .filter(({ visibleAt }) => visibleAt <= now())
          .sort((a, b) => Number(b.ambiguous) - Number(a.ambiguous) || a.visibleAt - b.visibleAt)
          .find(({ id, isCorrupt }) => !isCorrupt && !isLocked(id) && (tried.get(id)?.until ?? 0) <= clock.elapsed());
        if (!next) return null;
        locks.set(next.id, life);
        const letter = leased(next, `lock of ${next.id}`);
        return {
          ...letter,
          ambiguous: next.ambiguous || next.leaseToken !== null || (tried.get(next.id)?.ambiguous ?? false),
        };
      },
      async giveBack(letter) {
        const isStillThere = unlock(letter.id);
        if (isStillThere && !tried.has(letter.id)) await note(letter, letter.ambiguous, 60_000);
        return isStillThere;
      },
      store: {
        renew: async ({ id }) => locks.get(id) === life,
        async complete({ id }) {
          await reach();
          const isThere = unlock(id) && letters.has(id);
          if (isThere) remove(id);
          answer();
          return isThere;
        },
        retry: (letter, { ambiguous, delayMs }) => note(letter, ambiguous, Math.max(delayMs, 60_000)),
        release: (letter) => note(letter, letter.ambiguous, 2_000),
        clearAmbiguity: (letter) => note(letter, false, 60_000),
        quarantine: async () => false,
        split: async () => null,
      },
    };
  }

  async function reachToWrite(): Promise<void> {
    await reach();
    if (store.full) throw new NoRoom();
  }

  async function change(letter: DeadLetter, apply: (held: DeadLetterState) => void): Promise<boolean> {
    await reach();
    const held = heldBy(letter);
    if (held) apply(held);
    answer();
    return held !== null;
  }

  async function split(
    letter: DeadLetter,
    parts: readonly DeadLetterPart[],
    leaseMs: number,
  ): Promise<DeadLetter[] | null> {
    await reachToWrite();
    const parent = heldBy(letter);
    if (!parent) {
      answer();
      return null;
    }
    remove(letter.id);
    splitIds.add(letter.id);
    const alive: DeadLetter[] = [];
    const made = new Set<string>();
    for (const part of parts) {
      const { createdAt, lastAttemptAt } = parent;
      const inherited = refused('inherited', { failureClass: parent.failureClass });
      const child = putPart(letter.id, part, made, part.failure ?? inherited, { createdAt, lastAttemptAt });
      if (child === null) continue;
      if (part.isQuarantined) {
        setAside(child, 'refused');
        continue;
      }
      Object.assign(child, { leaseToken: letter.leaseToken, visibleAt: now() + leaseMs });
      alive.push(leased(child, letter.leaseToken));
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
      isEstimate: false,
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
    more: Partial<DeadLetterState>,
  ): DeadLetterState {
    if (bytesOf.get(id)?.equals(rows) === false) store.changedIds.add(id);
    bytesOf.set(id, rows);
    const letter: DeadLetterState = {
      id: id as BatchId,
      parentId: null,
      rows,
      eventCount,
      failureClass: failure.failureClass,
      fingerprint: fingerprintOf(failure),
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

  function heldBy({ id, leaseToken }: DeadLetter): DeadLetterState | null {
    const letter = letters.get(id);
    return letter && (letter.leaseToken === leaseToken || !store.fences) ? letter : null;
  }

  function remove(id: string) {
    letters.delete(id);
    store.gone.add(id);
  }

  function wait(held: DeadLetterState, { failure, ambiguous, wasSent, isCounted, exposedMs, delayMs }: Retry) {
    held.fingerprint = fingerprintOf(failure);
    held.ambiguous = ambiguous;
    held.attemptCount += isCounted ? 1 : 0;
    held.exposedMs += exposedMs;
    if (wasSent) held.lastAttemptAt = now();
    held.visibleAt = now() + delayMs;
    held.leaseToken = null;
  }

  function setAside(letter: DeadLetterState, reason: string) {
    letter.quarantinedFor = reason;
    letter.leaseToken = null;
  }

  function leased(letter: DeadLetterState, leaseToken: string): DeadLetter {
    const { id, rows, eventCount, ambiguous, attemptCount, exposedMs, createdAt, lastAttemptAt, fingerprint } = letter;
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
      fingerprint,
    };
  }
}

const eventsOf = (letters: DeadLetterState[]) => letters.reduce((sum, { eventCount }) => sum + eventCount, 0);

/** The numbers of the rows in the letters. */
export function numbersOf(letters: readonly DeadLetterState[]): number[] {
  return letters.flatMap(({ rows }) => numbersIn([rows]));
}
