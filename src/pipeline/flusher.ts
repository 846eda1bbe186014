/**
 * Takes batches from the channel and brings each one home: ClickHouse first,
 * `failed_events` second, and while neither takes it the batch stays here,
 * counted and retried. A batch leaves the channel's count only after its next
 * home confirmed it.
 */
import type { Clock } from '../clock.ts';
import type { Log } from '../log.ts';
import { type Backoff, backoffMs } from './backoff.ts';
import type { Batch, BatchId } from './batch.ts';
import type { Breaker } from './breaker.ts';
import type { Channel, Home } from './channel.ts';
import { isRemembered } from './doubt.ts';
import type { Flags } from './flags.ts';
import type { Heartbeat } from './heartbeat.ts';
import type { Ledger } from './ledger.ts';
import { asInsertFailure, failureOf } from './outcome.ts';
import { type DeadLetterStore, type EventStore, InsertFailure, type UsageSink } from './ports.ts';

export type InsertObservation = {
  readonly failure: InsertFailure | null;
  readonly events: number;
  readonly bytes: number;
  readonly elapsedMs: number;
};

export type FlusherDeps = {
  readonly channel: Channel;
  readonly events: EventStore;
  readonly deadLetters: Pick<DeadLetterStore, 'add' | 'forget'>;
  readonly breaker: Breaker;
  readonly heartbeat: Pick<Heartbeat, 'downSignal'>;
  readonly flags: Flags;
  readonly ledger: Ledger;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  readonly usage: UsageSink;
  readonly onInsert: (observation: InsertObservation) => void;
};

export type Flusher = {
  /** Works until the channel is closed and empty and every batch has a home, or `giveUp` was called. */
  run(): Promise<void>;
  /** Whether fresh batches use every insert slot, so that the drain must step back. */
  isBusy(): boolean;
  /** Cuts running inserts and starts no more; batches go to the dead letters. Used by the shutdown. */
  stopInserting(): void;
  /** Ends the retries of batches that no store takes. */
  giveUp(): void;
  /** The batches that were taken and have no home yet, whole and in memory. */
  held(): readonly Batch[];
};

/** What is remembered over all tries of one batch. */
type Tries = { ambiguous: boolean; isUnhomed: boolean; mayBeLetter: boolean };

/** Short, so that either store coming back is noticed within two seconds; a failed try costs next to nothing. */
const UNHOMED_RETRY: Backoff = { firstMs: 250, maxMs: 2_000 };
/** A batch without a home waits for no answer longer than this: the other store may be back meanwhile. */
const UNHOMED_TRY_MS = 4_000;
/** How much larger batches may get while ClickHouse has too many parts to merge. */
const MAX_BATCH_SCALE = 8;

export function createFlusher(deps: FlusherDeps, { maxInFlight }: { maxInFlight: number }): Flusher {
  const { channel, events, deadLetters, breaker, heartbeat, flags, ledger, clock, random, log, usage, onInsert } = deps;
  const held = new Set<Batch>();
  const inFlight = new Set<Promise<void>>();
  const stopInserts = new AbortController();
  const giveUp = new AbortController();
  let slots = maxInFlight;
  let batchScale = 1;

  return {
    run,
    isBusy: () => inFlight.size >= slots,
    stopInserting: () => stopInserts.abort(),
    giveUp: () => giveUp.abort(),
    held: () => [...held],
  };

  async function run() {
    for (;;) {
      while (inFlight.size >= slots) await Promise.race(inFlight);
      if (giveUp.signal.aborted) break;
      const batch = await channel.take();
      if (batch === null) break;
      const work = hold(batch).finally(() => inFlight.delete(work));
      inFlight.add(work);
    }
    await Promise.all(inFlight);
  }

  async function hold(batch: Batch) {
    held.add(batch);
    const home = await bringHome(batch);
    if (home === null) return;
    held.delete(batch);
    if (home === 'stored') {
      ledger.stored += batch.eventCount;
      for (const [projectId, use] of batch.useByProject) usage(projectId, use.events);
    } else ledger.deadLettered += batch.eventCount;
    // Settling comes last: until then the batch counts against the channel.
    channel.settle(batch, home);
  }

  /** The batch's next home, or null when it was given up on while it had none. */
  async function bringHome(batch: Batch): Promise<Home | null> {
    const tries: Tries = { ambiguous: batch.mayHaveLanded ?? false, isUnhomed: false, mayBeLetter: false };
    try {
      for (let attempt = 1; ; attempt++) {
        const failure = await tryInsert(batch, tries);
        if (failure === null) {
          if (tries.mayBeLetter) forgetLetter(batch.id);
          return 'stored';
        }
        const spillError = await failureOf(deadLetters.add(batch, { failure, ambiguous: tries.ambiguous }));
        if (spillError === null) {
          log.debug(
            { batchId: batch.id, events: batch.eventCount, class: failure.failureClass },
            'batch dead-lettered',
          );
          return 'dead-lettered';
        }
        tries.mayBeLetter = true;
        if (giveUp.signal.aborted) return null;
        if (!tries.isUnhomed) {
          tries.isUnhomed = true;
          flags.unhomed(1);
          log.error({ batchId: batch.id, events: batch.eventCount, err: spillError }, 'batch has no home');
        }
        await clock.sleep(backoffMs(attempt, UNHOMED_RETRY, random), giveUp.signal);
        // With nowhere else to go, ClickHouse is tried at every step, not only when the breaker has cooled down.
        breaker.allowProbe();
      }
    } finally {
      if (tries.isUnhomed) flags.unhomed(-1);
    }
  }

  /**
   * An `add` whose answer was lost may have kept the batch that has landed now.
   * In the background and for as long as this process lives: nothing waits for
   * it, and until then the id keeps a replay from doubling the rows.
   */
  function forgetLetter(id: BatchId) {
    const untilDone = async () => {
      while (!giveUp.signal.aborted && (await failureOf(deadLetters.forget(id))) !== null) {
        await clock.sleep(UNHOMED_RETRY.maxMs, giveUp.signal);
      }
    };
    // It ends by itself, and its failures are what it repeats itself for.
    void untilDone();
  }

  async function tryInsert(batch: Batch, tries: Tries): Promise<InsertFailure | null> {
    const isPointless = stopInserts.signal.aborted || heartbeat.downSignal().aborted;
    const admission = isPointless ? 'no' : breaker.admit();
    if (admission === 'no') {
      return new InsertFailure('not tried: inserts are suspended', {
        failureClass: breaker.state().reason ?? 'unavailable',
      });
    }
    let failure = (await outOfMemory(batch, tries)) ?? (await insertOnce(batch, tries));
    if (failure?.retryAtOnce && !stopInserts.signal.aborted) failure = await insertOnce(batch, tries);
    if (failure !== null && stopInserts.signal.aborted) {
      // We cut it short ourselves: that says nothing about the store.
      if (admission === 'probe') breaker.returnProbe();
      return failure;
    }
    breaker.report(admission, failure?.failureClass ?? null);
    adaptTo(failure);
    if (failure) logFailure(batch, failure);
    return failure;
  }

  /** After a long pause, in which others went on, ClickHouse may not recognise the batch: the drain then asks for its rows. */
  async function outOfMemory(batch: Batch, { ambiguous }: Tries): Promise<InsertFailure | null> {
    if (!ambiguous) return null;
    let isKnown = false;
    const doubt = { id: batch.id, lastSentMsAgo: 0, now: clock.now() };
    const error = await failureOf(isRemembered(events, doubt).then((answer) => (isKnown = answer)));
    if (error !== null) return asInsertFailure(error);
    if (isKnown) return null;
    return new InsertFailure('not sent: it may have landed too long ago to be recognised', {
      failureClass: 'ambiguous',
    });
  }

  async function insertOnce(batch: Batch, tries: Tries): Promise<InsertFailure | null> {
    const startedAt = clock.elapsed();
    const answered = new AbortController();
    const cuts = [stopInserts.signal, heartbeat.downSignal()];
    if (tries.isUnhomed) cuts.push(after(UNHOMED_TRY_MS, answered.signal));
    const thrown = await failureOf(events.insert(batch, AbortSignal.any(cuts)));
    answered.abort('answered');
    const failure = asInsertFailure(thrown);
    if (failure?.mayHaveLanded) tries.ambiguous = true;
    onInsert({ failure, events: batch.eventCount, bytes: batch.byteCount, elapsedMs: clock.elapsed() - startedAt });
    return failure;
  }

  /** Aborts when the time has passed, unless `cancel` did before. */
  function after(ms: number, cancel: AbortSignal): AbortSignal {
    const cut = new AbortController();
    // sleep never rejects; a cut after the answer hits nothing.
    void clock.sleep(ms, cancel).then(() => cut.abort('too late'));
    return cut.signal;
  }

  /** A store with too many parts gets one insert at a time, and larger ones, until it accepts them again. */
  function adaptTo(failure: InsertFailure | null) {
    if (failure?.failureClass === 'capacity') {
      slots = 1;
      batchScale = Math.min(batchScale * 2, MAX_BATCH_SCALE);
    } else if (failure === null && (slots < maxInFlight || batchScale > 1)) {
      slots = Math.min(slots + 1, maxInFlight);
      batchScale = Math.max(batchScale / 2, 1);
    } else return;
    channel.setBatchScale(batchScale);
  }

  function logFailure(batch: Batch, failure: InsertFailure) {
    const { failureClass, code } = failure;
    log.warn({ batchId: batch.id, events: batch.eventCount, class: failureClass, code, err: failure }, 'insert failed');
  }
}
