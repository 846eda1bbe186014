/**
 * The one writer. It works in rounds: everything waiting shares one write and one
 * fdatasync; what arrives meanwhile is the next round. Between rounds it makes
 * room.
 *
 * It owns the journal's state, and the way back to `ok`. On a full disk what
 * makes room waits for it and everything else is refused, until there is room for
 * both that and the reserve. After any other failure everything is refused until
 * all that is unsettled is written anew.
 */
import type { Clock } from '../clock.ts';
import type { Log } from '../log.ts';
import type { Compaction } from './compaction.ts';
import { createQueue, type Waiting } from './queue.ts';
import { type JournalRecord, sizeOf } from './record.ts';
import type { Reserve } from './reserve.ts';
import type { Segment, Segments } from './segments.ts';
import { Abandoned, codeOf, isDiskFull, type JournalTrouble, JournalUnavailable } from './trouble.ts';
import type { Unsettled } from './unsettled.ts';

export type JournalState =
  | { readonly kind: 'ok' }
  | {
      readonly kind: 'disk-full' | 'failed';
      /** A system error code where there is one, never a path. */ readonly reason: string;
    };

export type Writer = {
  /** Calls one of the two: when the record is on disk, with where it is; or with why it will not be, maybe at once. */
  enqueue(
    record: JournalRecord,
    onWritten: (segment: Segment) => void,
    onFailed: (error: JournalUnavailable) => void,
  ): void;
  /** Writes everything anew, to begin with. What fails is tried again. */
  restate(): Promise<void>;
  state(): JournalState;
  /** Why nothing new is taken; null when it is. */
  trouble(): Exclude<JournalTrouble, 'full'> | null;
  /** What waits to be written. */
  queuedBytes(): number;
  /** Ends the round, and refuses what waits behind it. */
  close(): Promise<void>;
};

type Deps = {
  readonly segments: Segments;
  readonly compaction: Compaction;
  readonly reserve: Reserve;
  readonly unsettled: Unsettled;
  readonly clock: Clock;
  readonly log: Log;
};

const FIRST_RETRY_MS = 1_000;
const MAX_RETRY_MS = 30_000;

export function createWriter({ segments, compaction, reserve, unsettled, clock, log }: Deps): Writer {
  const queue = createQueue();
  let state: JournalState = { kind: 'ok' };
  let working: Promise<void> | null = null;
  let healing: Promise<void> | null = null;
  /** Until the state says so, what was written anew is not begun: what changes meanwhile is not in it. */
  let isRestating = false;
  let closed = false;
  const closing = new AbortController();

  return { enqueue, restate, state: () => state, trouble, queuedBytes: queue.bytes, close };

  function trouble() {
    if (closed) return 'closed';
    return state.kind === 'ok' ? null : state.kind;
  }

  function enqueue(
    record: JournalRecord,
    onWritten: (segment: Segment) => void,
    onFailed: (error: JournalUnavailable) => void,
  ) {
    const reason = trouble();
    // Control records wait for room on a full disk; and for a restating, which does not see what changes meanwhile.
    const canWait = isControl(record) && !closed && (state.kind === 'disk-full' || isRestating);
    if (reason !== null && !canWait) return onFailed(new JournalUnavailable(reason));
    queue.add({ record, bytes: sizeOf(record), onWritten, onFailed });
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
    // One turn of the microtask queue, so that what is asked for together is written together.
    await Promise.resolve();
    while (!queue.isEmpty() && state.kind === 'ok') {
      const round = queue.takeRound();
      let segment: Segment;
      try {
        segment = await writeAll(round);
      } catch (error) {
        await roundFailed(round, error);
        continue;
      }
      for (const { onWritten } of round) onWritten(segment);
      await tidy();
    }
  }

  function writeAll(waiting: readonly Waiting[]) {
    return segments.write(waiting.map(({ record }) => record));
  }

  async function roundFailed(round: readonly Waiting[], error: unknown) {
    if (error instanceof Abandoned) {
      refuse(round, 'failed', error.cause);
      fail(error.cause);
      return;
    }
    const control = keepControl(round, error);
    if (control.length > 0 && reserve.bytes() > 0) await reserve.giveUp();
    else diskFull(error);
  }

  /** After a round: room is made, nobody waits for it but the next round. */
  async function tidy() {
    try {
      await compaction.removeSettled();
      if (compaction.isDue()) await restate();
    } catch (error) {
      if (isDiskFull(error)) diskFull(error);
      else fail(error instanceof Abandoned ? error.cause : error);
    }
  }

  async function restate() {
    const error = await compaction.restate();
    if (error !== null) fail(error);
  }

  /** Everybody in line hears of it, not only who was in the round. */
  function diskFull(error: unknown) {
    if (state.kind === 'ok') log.error({ err: error }, 'disk full: the journal takes nothing until there is room');
    state = { kind: 'disk-full', reason: codeOf(error) };
    keepControl(queue.takeAll(), error);
    heal();
  }

  /** Control records stay in line, for they are what makes room; the others are refused. Returns those that stay. */
  function keepControl(waiting: readonly Waiting[], error: unknown): Waiting[] {
    const control = waiting.filter(({ record }) => isControl(record));
    queue.putBack(control);
    refuse(
      waiting.filter(({ record }) => !isControl(record)),
      'disk-full',
      error,
    );
    return control;
  }

  /** What the failed file holds is not to be trusted, whatever a second sync would say: it is written anew elsewhere. */
  function fail(error: unknown) {
    log.error({ err: error }, 'journal failed: it takes nothing until everything is written anew');
    state = { kind: 'failed', reason: codeOf(error) };
    refuse(queue.takeAll(), 'failed', error);
    heal();
  }

  function heal() {
    // Handles every failure of the disk, so that only a bug could reject it.
    healing ??= retry();
  }

  async function retry() {
    for (let waitMs = FIRST_RETRY_MS; ; waitMs = Math.min(waitMs * 2, MAX_RETRY_MS)) {
      await clock.sleep(waitMs, closing.signal);
      await working;
      if (closed || state.kind === 'ok') return;
      if (state.kind === 'disk-full') {
        const error = await tryRoom();
        if (error instanceof Abandoned) fail(error.cause);
        if (error !== null) continue;
      } else {
        isRestating = true;
        const error = await compaction.restate();
        isRestating = false;
        if (error !== null) {
          refuse(queue.takeAll(), 'failed', error);
          log.warn({ err: error }, 'journal still fails');
          continue;
        }
      }
      state = { kind: 'ok' };
      healing = null;
      log.info({ unsettled: unsettled.count() }, 'journal works again');
      work();
      return;
    }
  }

  /** Whether there is room again: for the control records that wait, and for the reserve. */
  async function tryRoom(): Promise<unknown> {
    let waiting = queue.takeAll();
    try {
      const segment = await writeAll(waiting);
      for (const { onWritten } of waiting) onWritten(segment);
      waiting = [];
      await compaction.removeSettled();
      await reserve.refill();
      return reserve.bytes() > 0 ? null : new Error('no room for the reserve');
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
    await healing;
    refuse(queue.takeAll(), 'closed', undefined);
  }
}

function refuse(waiting: readonly Waiting[], reason: JournalTrouble, cause: unknown) {
  for (const { onFailed } of waiting) onFailed(new JournalUnavailable(reason, cause));
}

const isControl = ({ type }: JournalRecord) => type === 'batch' || type === 'settled' || type === 'withdrawn';
