/**
 * The single writer. It works in rounds: everything waiting shares one write to disk; what arrives in the
 * meantime is the next round. Between rounds it makes room.
 *
 * It owns the journal's state, and its return to `ok`. On a full disk it frees what is no longer needed, and continues;
 * when that is not enough, records that make room wait and all others are refused, until there is room for both the
 * waiting records and the reserve. After any other failure everything is refused until all unsettled records are
 * rewritten.
 */
import type { Clock } from '../runtime/clock.ts';
import type { Log } from '../log/log.ts';
import { failureOf } from '../pipeline/outcome.ts';
import { JournalUnavailable, type UnavailableReason } from '../pipeline/ports.ts';
import type { Compaction } from './compaction.ts';
import { createRecordQueue, type QueuedRecord, type RecordOutcome } from './record-queue.ts';
import { type JournalRecord, isControl } from './record.ts';
import type { DiskReserve } from './disk-reserve.ts';
import type { Segment, Segments } from './segments.ts';
import { SegmentAbandoned, codeOf, isDiskFull } from './disk-failures.ts';
import type { Unsettled } from './unsettled.ts';

export type JournalState =
  | { readonly kind: 'ok' }
  | {
      readonly kind: 'disk-full' | 'failed';
      /** A system error code where there is one, never a path. */ readonly reason: string;
    };

export type Writer = {
  /** Tells the outcome when the record is on disk, or, possibly at once, that it will not be. `bytes`: its size. */
  enqueue(record: JournalRecord, bytes: number, outcome: RecordOutcome): void;
  /** Rewrites everything, at the start. Failures are retried. */
  restate(): Promise<void>;
  state(): JournalState;
  /** Why no new record is accepted; null when it is. */
  refusalReason(): Exclude<UnavailableReason, 'full'> | null;
  /** The records that wait to be written. */
  queuedBytes(): number;
  /** Ends the round, and refuses the records that wait behind it. */
  close(): Promise<void>;
};

type Deps = {
  readonly segments: Segments;
  readonly compaction: Compaction;
  readonly reserve: DiskReserve;
  readonly unsettled: Unsettled;
  readonly clock: Clock;
  readonly log: Log;
};

/** What is written without waiting for more: for so much, its bytes are most of what a round costs. */
const WORTH_A_ROUND_BYTES = 64 * 1024;
/** Where records never stop coming: a fraction of what each request waits for its turn then. */
const MAX_GATHER_MS = 1;
const FIRST_RETRY_MS = 1_000;
const MAX_RETRY_MS = 30_000;

export function createWriter({ segments, compaction, reserve, unsettled, clock, log }: Deps): Writer {
  const queue = createRecordQueue();
  let state: JournalState = { kind: 'ok' };
  let working: Promise<void> | null = null;
  let recovering: Promise<void> | null = null;
  /** Everything is being rewritten; changes made in the meantime are not part of it. */
  let isRestating = false;
  let closed = false;
  const closing = new AbortController();

  return { enqueue, restate, state: () => state, refusalReason, queuedBytes: queue.bytes, close };

  function refusalReason() {
    if (closed) return 'closed';
    return state.kind === 'ok' ? null : state.kind;
  }

  function enqueue(record: JournalRecord, bytes: number, outcome: RecordOutcome) {
    const reason = refusalReason();
    // Control records wait for room on a full disk, and for a restatement, which does not see concurrent changes.
    const canWait = isControl(record) && !closed && (state.kind === 'disk-full' || isRestating);
    if (reason !== null && !canWait) return outcome.onFailed(new JournalUnavailable(reason));
    queue.add({ record, bytes, outcome });
    work();
  }

  function work() {
    if (working !== null || state.kind !== 'ok') return;
    // Rounds handle every failure of the disk, so that only a bug could reject this.
    working = rounds().finally(() => {
      working = null;
      if (!queue.isEmpty()) work();
    });
  }

  async function rounds() {
    while (!queue.isEmpty() && state.kind === 'ok') {
      await gather();
      if (state.kind !== 'ok' || queue.isEmpty()) return;
      const round = queue.takeRound();
      let segment: Segment;
      try {
        segment = await writeRound(round);
      } catch (error) {
        handleRoundFailure(round, error);
        continue;
      }
      for (const { outcome } of round) outcome.onWritten(segment);
      await makeRoom();
    }
  }

  /**
   * Waits for the records of requests that have arrived already: a round costs as much as the way of several small ones
   * to it. Without others it waits for one turn of the event loop, which takes microseconds.
   */
  async function gather() {
    const startedAt = clock.elapsed();
    for (let before = 0; queue.bytes() > before && queue.bytes() < WORTH_A_ROUND_BYTES;) {
      before = queue.bytes();
      await clock.turn();
      if (clock.elapsed() - startedAt >= MAX_GATHER_MS) return;
    }
  }

  /**
   * On a full disk, frees what is no longer needed and writes once more. Without a reserve left, that room belongs to
   * settling.
   */
  async function writeRound(round: readonly QueuedRecord[]) {
    try {
      return await writeAll(round);
    } catch (error) {
      if (!isDiskFull(error)) throw error;
      const inVain = await failureOf(compaction.giveBack());
      if (inVain instanceof SegmentAbandoned) throw inVain;
      if (reserve.bytes() === 0) throw error;
      return writeAll(round);
    }
  }

  function writeAll(waiting: readonly QueuedRecord[]) {
    return segments.write(waiting.map(recordOf));
  }

  function handleRoundFailure(round: readonly QueuedRecord[], error: unknown) {
    if (error instanceof SegmentAbandoned) {
      refuse(round, 'failed', error.cause);
      enterFailed(error.cause);
      return;
    }
    keepControl(round, error);
    // The reserve is not released before everything else is refused: envelopes would take its place.
    enterDiskFull(error);
  }

  /** Makes room after a round; only the next round waits for it. */
  async function makeRoom() {
    try {
      await compaction.removeSettled();
      const error = compaction.isDue() ? await compaction.restate() : null;
      // A failed restatement has changed nothing: what is on disk still counts.
      if (isDiskFull(error)) enterDiskFull(error);
      else if (error !== null) enterFailed(error);
    } catch (error) {
      if (isDiskFull(error)) enterDiskFull(error);
      else enterFailed(error instanceof SegmentAbandoned ? error.cause : error);
    }
  }

  async function restate() {
    const error = await compaction.restate();
    if (error !== null) enterFailed(error);
  }

  /** Refuses all queued records, not only the round that failed. */
  function enterDiskFull(error: unknown) {
    if (state.kind === 'ok') log.error({ err: error }, 'disk full: the journal accepts nothing until there is room');
    state = { kind: 'disk-full', reason: codeOf(error) };
    keepControl(queue.takeAll(), error);
    recover();
  }

  /** Control records stay queued, because settling makes room; the others are refused. */
  function keepControl(waiting: readonly QueuedRecord[], error: unknown) {
    queue.putBack(waiting.filter(({ record }) => isControl(record)));
    refuse(
      waiting.filter(({ record }) => !isControl(record)),
      'disk-full',
      error,
    );
  }

  /** The content of the failed file cannot be trusted, whatever a second sync reports: it is rewritten elsewhere. */
  function enterFailed(error: unknown) {
    log.error({ err: error }, 'journal failed: it accepts nothing until its contents are rewritten to a new file');
    state = { kind: 'failed', reason: codeOf(error) };
    refuse(queue.takeAll(), 'failed', error);
    recover();
  }

  function recover() {
    // Handles every failure of the disk, so that only a bug could reject it.
    recovering ??= untilRecovered();
  }

  async function untilRecovered() {
    for (let waitMs = FIRST_RETRY_MS; ; waitMs = Math.min(waitMs * 2, MAX_RETRY_MS)) {
      await clock.sleep(waitMs, closing.signal);
      await working;
      if (closed) return;
      if (state.kind === 'disk-full') {
        const inVain = await failureOf(compaction.giveBack());
        const error = inVain instanceof SegmentAbandoned ? inVain : await tryRoom();
        // Where it is not the room that is missing, more room would not help.
        if (error !== null && !isDiskFull(error)) enterFailed(error instanceof SegmentAbandoned ? error.cause : error);
        if (error !== null) continue;
      } else {
        isRestating = true;
        const error = await compaction.restate();
        isRestating = false;
        if (error !== null) {
          refuse(queue.takeAll(), 'failed', error);
          log.warn({ err: error }, 'journal is still failing');
          continue;
        }
      }
      state = { kind: 'ok' };
      recovering = null;
      log.info({ unsettled: unsettled.count() }, 'journal works again');
      work();
      return;
    }
  }

  /** Whether there is room again: for the waiting control records, and for the reserve. */
  async function tryRoom(): Promise<unknown> {
    let waiting = queue.takeAll();
    try {
      const segment = await writeAll(waiting);
      for (const { outcome } of waiting) outcome.onWritten(segment);
      waiting = [];
      await compaction.removeSettled();
      await reserve.refill();
      return reserve.bytes() > 0 ? null : Object.assign(new Error('no room for the reserve'), { code: 'ENOSPC' });
    } catch (error) {
      queue.putBack(waiting);
      if (!isDiskFull(error) || reserve.bytes() === 0) return error;
      await reserve.giveUp();
      return tryRoom();
    }
  }

  async function close() {
    closed = true;
    closing.abort();
    await working;
    await recovering;
    refuse(queue.takeAll(), 'closed', undefined);
  }
}

const recordOf = ({ record }: QueuedRecord) => record;

function refuse(waiting: readonly QueuedRecord[], reason: UnavailableReason, cause: unknown) {
  for (const { outcome } of waiting) outcome.onFailed(new JournalUnavailable(reason, cause));
}
