/**
 * How much something in front of ClickHouse accepts at a time, as far as inserts have shown: a proxy refuses a body
 * that is too large and passes nothing on. The limit is approached by halving the interval between what passed and what
 * was refused; later batches are cut below it, and now and then a larger one is tried again.
 */
import type { Clock } from '../runtime/clock.ts';
import type { Log } from '../log/log.ts';
import type { InsertObservation } from './insert-attempt.ts';

/** A limit this old may have been raised: batches twice as large are tried. */
const GROW_AFTER_MS = 10 * 60_000;

export type SizeLimit = {
  observe(observation: Pick<InsertObservation, 'failure' | 'bytes'>): void;
  /** The most bytes to send at a time; null where no limit was met. */
  bytes(): number | null;
  /** One sentence while there is a limit. */
  notice(): string | null;
};

export function createSizeLimit(
  { clock, log }: { clock: Clock; log: Log },
  onChange: (bytes: number | null) => void,
): SizeLimit {
  let passed = 0;
  let refused: { bytes: number; at: number; message: string } | null = null;
  let told: number | null = null;

  return { observe, bytes, notice };

  function observe({ failure, bytes: sent }: Pick<InsertObservation, 'failure' | 'bytes'>) {
    if (failure?.failureClass === 'too_large') meet(sent, failure.message);
    else if (failure === null) pass(sent);
    const next = bytes();
    if (next === told) return;
    told = next;
    onChange(next);
  }

  function meet(sent: number, message: string) {
    // A size that passed once is refused now: the limit was lowered.
    if (sent <= passed) passed = 0;
    const isNews = refused === null || sent < refused.bytes;
    refused = { bytes: Math.min(sent, refused?.bytes ?? sent), at: clock.elapsed(), message };
    if (isNews) {
      log.warn(
        { bytes: sent, below: bytes(), reason: message },
        'a proxy in front of ClickHouse rejects inserts of this size; sending smaller ones',
      );
    }
  }

  function pass(sent: number) {
    passed = Math.max(passed, sent);
    if (refused === null || sent < refused.bytes) return;
    log.info({ bytes: sent }, 'an insert of a size rejected earlier has landed');
    refused = null;
  }

  function bytes() {
    if (refused === null) return null;
    const half = Math.max(1, Math.floor(refused.bytes / 2));
    const times = 2 ** Math.min(Math.floor((clock.elapsed() - refused.at) / GROW_AFTER_MS), 20);
    return Math.max(half, passed < refused.bytes ? passed : 0) * times;
  }

  function notice() {
    if (refused === null) return null;
    return `a proxy in front of ClickHouse rejects inserts of ${refused.bytes} bytes (${refused.message}): Weir keeps batches below ${bytes()} bytes; raise the limit of the proxy (nginx: client_max_body_size)`;
  }
}

/**
 * Rows in groups of at most `maxBytes` each, in order; a larger row stands alone. At least two groups of several rows.
 */
export function groupsBelow(rows: readonly Buffer[], maxBytes: number): Buffer[][] {
  const total = rows.reduce((sum, row) => sum + row.length, 0);
  const most = Math.min(maxBytes, Math.ceil(total / 2));
  const groups: Buffer[][] = [];
  let room = 0;
  for (const row of rows) {
    if (row.length > room) {
      groups.push([]);
      room = most;
    }
    groups.at(-1)!.push(row);
    room -= row.length;
  }
  return groups;
}
