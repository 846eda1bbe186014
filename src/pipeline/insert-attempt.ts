/**
 * One attempt to bring a fresh batch into ClickHouse: whether it may be sent at all, the insert, and the isolation of
 * refused rows. It changes only the state of the delivery, and the dead letters that hold refused rows.
 */
import type { Clock } from '../runtime/clock.ts';
import type { Log } from '../log/log.ts';
import { type RowLocation, countSparingly, isRemembered, locateRows } from './ambiguous-delivery.ts';
import type { Batch } from './batch.ts';
import type { Breaker } from './breaker.ts';
import { type DeliveryState, isFresh, takeOut } from './delivery-state.ts';
import type { Heartbeat } from './heartbeat.ts';
import { type Isolate, type Isolation, partsOf, type RefusedRows } from './isolate.ts';
import type { Ledger } from './ledger.ts';
import { asInsertFailure, failureOf } from './outcome.ts';
import type { DeadLetterStore } from './dead-letter-port.ts';
import { type EventStore, InsertFailure } from './ports.ts';

/** One insert that was sent, as reported to metrics and limits. */
export type InsertObservation = {
  readonly failure: InsertFailure | null;
  readonly events: number;
  readonly bytes: number;
  readonly elapsedMs: number;
};

export type InsertAttemptDeps = {
  readonly events: Pick<EventStore, 'insert' | 'countInserts' | 'readMemory' | 'findStored'>;
  readonly deadLetters: Pick<DeadLetterStore, 'addParts'>;
  readonly isolate: Isolate;
  readonly breaker: Breaker;
  readonly heartbeat: Pick<Heartbeat, 'downSignal'>;
  readonly ledger: Pick<Ledger, 'quarantined'>;
  readonly clock: Clock;
  readonly log: Log;
  /** Called for every insert that was sent. */
  readonly onInsert: (observation: InsertObservation) => void;
  /** Called with the outcome of the attempt, unless it was not admitted or was cut short. */
  readonly onVerdict: (failure: InsertFailure | null) => void;
};

type Verdict = 'stored' | 'to be sent' | InsertFailure;

export type InsertAttempts = {
  /** Null when the remaining rows of the batch landed, or nothing remains. */
  attempt(state: DeliveryState): Promise<InsertFailure | null>;
  /** Cuts everything in progress; every later attempt fails without being sent. */
  stop(): void;
};

/** A batch that no store has taken waits for no answer longer than this: the other store may return in the meantime. */
const UNHOMED_TRY_MS = 4_000;

export function createInsertAttempts({
  events,
  deadLetters,
  isolate,
  breaker,
  heartbeat,
  ledger,
  clock,
  log,
  onInsert,
  onVerdict,
}: InsertAttemptDeps): InsertAttempts {
  const stopped = new AbortController();
  const insertCounts = countSparingly(events, clock);

  return { attempt, stop: () => stopped.abort() };

  async function attempt(state: DeliveryState): Promise<InsertFailure | null> {
    const batch = state.remainder;
    if (batch === null) return null;
    const isPointless = stopped.signal.aborted || heartbeat.downSignal().aborted;
    const admission = isPointless ? 'no' : breaker.admit();
    if (admission === 'no') {
      return new InsertFailure('not tried: inserts are suspended', {
        failureClass: breaker.state().reason ?? 'unavailable',
      });
    }
    const verdict = await lookFirst(batch, state);
    if (verdict !== 'to be sent') {
      if (admission === 'probe') breaker.returnProbe();
      return verdict === 'stored' ? null : verdict;
    }
    let failure = (await forgottenFailure(state)) ?? (await insertOnce(batch, state));
    if (failure?.retryAtOnce && !stopped.signal.aborted) failure = await insertOnce(batch, state);
    // Refused no longer: whatever a try before this one found is over.
    if (failure?.failureClass !== 'data') state.isDrift = false;
    if (failure?.failureClass === 'data' && isFresh(state)) failure = await isolateRefused(state, failure);
    if (failure !== null && stopped.signal.aborted) {
      // This process cut it short itself: that says nothing about the store.
      if (admission === 'probe') breaker.returnProbe();
      return failure;
    }
    // Where every row is refused nothing has landed. With ordinary events refused alike, the schema is the cause.
    breaker.report(
      admission,
      state.isDrift ? 'operator' : state.remainder === null ? 'data' : (failure?.failureClass ?? null),
    );
    onVerdict(failure);
    if (failure) logFailure(batch, failure);
    return failure;
  }

  /** Asks about rows that may be stored so that sending them could double them. */
  async function lookFirst(batch: Batch, state: DeliveryState): Promise<Verdict> {
    const { inLog } = state.batch;
    if (inLog?.isInDoubt()) state.ambiguous = true;
    if (state.mayBeElsewhere) return findUnderOtherIds(batch, state);
    if (inLog === undefined) return 'to be sent';
    // Others wait for it, and as a letter it would only be asked about as well.
    const forgotten = await isForgotten(state);
    return forgotten === true ? findUnderOtherIds(batch, state) : forgotten || 'to be sent';
  }

  /**
   * Asks which rows are stored under other ids. A batch that is stored in part is left to the drain, which sends the
   * rest.
   */
  async function findUnderOtherIds(batch: Batch, state: DeliveryState): Promise<Verdict> {
    let location: RowLocation = 'partly';
    const error = await failureOf(
      untilCut(state, (cut) => locateRows(events, batch, cut).then((answer) => (location = answer))),
    );
    if (error !== null) return asInsertFailure(error)!;
    state.mayBeElsewhere = state.isForDrain = location === 'partly';
    if (location === 'partly') {
      return new InsertFailure('not sent: a part of it is stored', { failureClass: 'ambiguous' });
    }
    return location === 'everywhere' ? 'stored' : 'to be sent';
  }

  /**
   * A failure instead of an insert when ClickHouse may have forgotten that the batch landed: after a long pause, in
   * which other inserts went on. The drain then asks for its rows.
   */
  async function forgottenFailure(state: DeliveryState): Promise<InsertFailure | null> {
    // Asked about already.
    if (state.batch.inLog) return null;
    const forgotten = await isForgotten(state);
    if (forgotten !== true) return forgotten || null;
    return new InsertFailure('not sent: it may have landed too long ago to be recognised', {
      failureClass: 'ambiguous',
    });
  }

  /** Whether ClickHouse may have forgotten that the batch landed; a failure when it cannot be asked. */
  async function isForgotten(state: DeliveryState): Promise<boolean | InsertFailure> {
    if (!state.ambiguous) return false;
    let isKnown = false;
    const insert = { id: state.batch.id, lastSentMsAgo: 0, now: clock.now() };
    const error = await failureOf(
      untilCut(state, (cut) => isRemembered(insertCounts, insert, cut).then((answer) => (isKnown = answer))),
    );
    return error === null ? !isKnown : asInsertFailure(error)!;
  }

  async function insertOnce(batch: Batch, state: DeliveryState): Promise<InsertFailure | null> {
    if (state.batch.inLog?.isInDoubt() && !state.ambiguous) {
      return new InsertFailure('not sent: this process stood still meanwhile', { failureClass: 'unavailable' });
    }
    const startedAt = clock.elapsed();
    const thrown = await failureOf(
      untilCut(state, (cut) => events.insert({ ...batch, mayHaveLanded: state.ambiguous }, cut)),
    );
    const failure = asInsertFailure(thrown);
    if (failure?.mayHaveLanded) state.ambiguous = true;
    onInsert({ failure, events: batch.eventCount, bytes: batch.byteCount, elapsedMs: clock.elapsed() - startedAt });
    return failure;
  }

  /**
   * Makes the refused rows of a fresh batch dead letters of their own and inserts the others. Returns the outcome of
   * the insert: the given failure when nothing could be taken out, null when the others landed or there are none.
   */
  async function isolateRefused(state: DeliveryState, refusal: InsertFailure): Promise<InsertFailure | null> {
    const { batch } = state;
    let isolation: Isolation;
    try {
      isolation = await untilCut(state, (cut) => isolate(batch.chunks, cut));
    } catch (error) {
      log.warn({ batchId: batch.id, err: error }, 'refused batch could not be inspected');
      return refusal;
    }
    const { good, blamed, held } = isolation;
    state.isDrift = good.length === 0 && held.length > 0;
    for (const refused of held) logDrift(batch, refused);
    // Nothing can be taken out, or all of it waits together.
    if (blamed.length === 0 && (held.length === 0 || good.length === 0)) return refusal;
    state.mayHaveParts = true;
    try {
      takeOut(state, await deadLetters.addParts(batch, partsOf(isolation), isolation.takenOut));
    } catch (error) {
      log.warn({ batchId: batch.id, err: error }, 'refused rows could not be isolated');
      return refusal;
    }
    for (const refused of blamed) noteQuarantined(batch, refused);
    return state.remainder === null ? null : insertOnce(state.remainder, state);
  }

  function noteQuarantined({ id, eventCount }: Batch, { rows, failure }: RefusedRows) {
    ledger.quarantined += rows.length;
    log.warn(
      { batchId: id, events: rows.length, of: eventCount, code: failure.code, err: failure },
      'events quarantined',
    );
  }

  function logDrift({ id, eventCount }: Batch, { rows, failure }: RefusedRows) {
    log.error(
      { batchId: id, events: rows.length, of: eventCount, code: failure.code, err: failure },
      'schema drift: the store refuses these events and ordinary ones alike; they wait as dead letters',
    );
  }

  function logFailure({ id, eventCount }: Batch, failure: InsertFailure) {
    const { failureClass, code } = failure;
    log.warn({ batchId: id, events: eventCount, class: failureClass, code, err: failure }, 'insert failed');
  }

  /**
   * Queries ClickHouse until `stop`, until it is known to be down, or until an unhomed batch must try the other store.
   */
  async function untilCut<T>({ isUnhomed }: DeliveryState, ask: (cut: AbortSignal) => Promise<T>): Promise<T> {
    const answered = new AbortController();
    const cuts = [stopped.signal, heartbeat.downSignal()];
    if (isUnhomed) cuts.push(after(UNHOMED_TRY_MS, answered.signal));
    try {
      return await ask(AbortSignal.any(cuts));
    } finally {
      answered.abort('answered');
    }
  }

  /** Aborts when the time has passed, unless `cancel` did before. */
  function after(ms: number, cancel: AbortSignal): AbortSignal {
    const cut = new AbortController();
    // sleep never rejects; a cut after the answer hits nothing.
    void clock.sleep(ms, cancel).then(() => cut.abort('too late'));
    return cut.signal;
  }
}
