/**
 * Appends rows to one partition until they are there. A record that was refused may be in the log nevertheless, so what
 * follows it says that it may be a repeat.
 */
import type { Clock } from '../runtime/clock.ts';
import type { Log } from '../log/log.ts';
import { type Backoff, backoffMs } from '../pipeline/backoff.ts';
import { type BatchId, partIdOf } from '../pipeline/batch.ts';
import { failureOf } from '../pipeline/outcome.ts';
import { type CutLimits, encodeFrame, tickEntry } from './frame.ts';
import { type Rows, divideRows, joinRows, recordBytesOf } from './frame-division.ts';
import { type TopicEntry, TopicFailure, type TopicWriter } from './topic-port.ts';

export type FrameAppendDeps = {
  readonly writer: Pick<TopicWriter, 'append' | 'maxRecordBytes'>;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  /** Ends the retries. */
  readonly stop: AbortSignal;
};

/** `isRepeat`: they may be in the partition already, under the same id. */
type Doubts = { readonly isRepeat: boolean; readonly mayBeElsewhere: boolean };

/** Rows of a frame. */
type Sending = { readonly rows: Rows; readonly isRepeat: boolean };

export type FrameAppends = {
  /**
   * Resolves when the brokers confirmed all rows but those that are too large for the topic, which it returns; `ended`
   * when retries were stopped first, or the writer was closed.
   */
  append(
    partition: number,
    batch: { readonly id: BatchId; readonly rows: Rows } & Doubts,
  ): Promise<{ readonly tooLarge: Rows | null } | 'ended'>;
  tick(partition: number): Promise<'appended' | 'ended'>;
  /** Why brokers refuse what is appended; null while they do not. */
  refusal(): string | null;
};

/** Rights and settings are mended by people. */
const REFUSED_RETRY: Backoff = { firstMs: 1_000, maxMs: 30_000 };

export function createFrameAppends(
  { writer, clock, random, log, stop }: FrameAppendDeps,
  { cut }: { readonly cut: CutLimits },
): FrameAppends {
  const refusals = new Map<number, string>();

  return {
    append,
    tick: async (partition) => ((await untilAppended(partition, tickEntry)) === null ? 'appended' : 'ended'),
    refusal: () => refusals.values().next().value ?? null,
  };

  async function append(
    partition: number,
    { id, rows, isRepeat: isSentBefore, mayBeElsewhere }: Parameters<FrameAppends['append']>[1],
  ) {
    const whole = divideRows(rows, writer.maxRecordBytes());
    const left: Rows[] = whole.tooLarge === null ? [] : [whole.tooLarge];
    const queue: Sending[] = whole.frames.map((frame) => ({ rows: frame, isRepeat: isSentBefore }));
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      const { rows: part, isRepeat: mayBeThere } = next;
      const isPart = part !== rows;
      const entry = (isAgain: boolean) => {
        const isRepeat = mayBeThere || isAgain;
        // By other limits it would have been divided otherwise, into frames of other ids.
        const doubts = { isRepeat, mayBeElsewhere: mayBeElsewhere || (isPart && mayBeThere) };
        return entryOf(isPart ? partIdOf(id, Buffer.concat(part.chunks)) : id, part, doubts);
      };
      const failure = await untilAppended(partition, entry);
      if (failure === 'ended') return failure;
      if (failure === 'too_large') {
        // The topic takes less than it said.
        const { frames, tooLarge } = divideRows(part, Math.floor(recordBytesOf(part) / 2));
        queue.unshift(...frames.map((frame) => ({ rows: frame, isRepeat: true })));
        if (tooLarge !== null) left.push(tooLarge);
      }
    }
    return { tooLarge: left.length === 0 ? null : joinRows(left) };
  }

  /** Null when it is there. */
  async function untilAppended(
    partition: number,
    entry: (isAgain: boolean) => TopicEntry,
  ): Promise<'too_large' | 'ended' | null> {
    for (let attempt = 1; ; attempt++) {
      if (stop.aborted) return 'ended';
      const error = await failureOf(writer.append(partition, entry(attempt > 1)));
      if (error === null) {
        refusals.delete(partition);
        return null;
      }
      const kind = error instanceof TopicFailure ? error.kind : 'denied';
      if (kind === 'closed') return 'ended';
      if (kind === 'too_large') return kind;
      if (kind === 'unclear') continue;
      if (refusals.get(partition) !== error.message) log.error({ partition, err: error }, 'the topic refuses events');
      refusals.set(partition, error.message);
      await clock.sleep(backoffMs(attempt, REFUSED_RETRY, random), stop);
    }
  }

  function entryOf(id: BatchId, { chunks, eventCount, useByProject }: Rows, doubts: Doubts): TopicEntry {
    const head = encodeFrame({ id, at: clock.now(), eventCount, limits: cut, useByProject, ...doubts });
    return { head, chunks };
  }
}
