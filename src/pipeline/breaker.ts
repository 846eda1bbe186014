/**
 * The circuit breaker on ClickHouse. While it is open nothing waits for a store that is known to be down: fresh batches
 * go straight to the dead letters and the drain rests. It closes only on a real batch that landed: an answered ping
 * does not prove that INSERT works.
 */
import type { Clock } from '../runtime/clock.ts';
import { type Backoff, backoffMs } from './backoff.ts';
import type { FailureClass } from './ports.ts';

/** `go`: insert freely. `probe`: you hold the one try that decides. `no`: do not insert now. */
export type Admission = 'go' | 'probe' | 'no';

export type BreakerState = {
  readonly kind: 'closed' | 'open' | 'half-open';
  /** The class of the failure that opened it; null while closed. */
  readonly reason: FailureClass | null;
  /** Wall-clock epoch ms since when the state has been other than closed; null while closed. */
  readonly openSince: number | null;
};

export type Breaker = {
  admit(): Admission;
  /** Report every `go` or `probe` exactly once: with the failure's class, or null when the batch landed. */
  report(admission: Admission, failureClass: FailureClass | null): void;
  /** The holder of a probe returns it without an outcome, as when a shutdown cuts it short. */
  returnProbe(): void;
  /** The store is known to be down, or its schema wrong, without a failed insert to prove it. */
  trip(reason: FailureClass): void;
  /** The store was seen alive: the next caller may probe at once. */
  allowProbe(): void;
  state(): BreakerState;
  /** When a batch last landed, on the monotonic clock; null when none has. */
  lastLandedAt(): number | null;
};

export type BreakerEvents = { onChange: (state: BreakerState) => void };

/** Consecutive failures that open the breaker. */
const FAILURES_TO_OPEN = 3;
const COOLDOWN: Backoff = { firstMs: 1_000, maxMs: 10_000 };

export function createBreaker({
  clock,
  random,
  onChange,
}: { clock: Clock; random: () => number } & BreakerEvents): Breaker {
  let state: BreakerState = { kind: 'closed', reason: null, openSince: null };
  let failuresInARow = 0;
  let openings = 0;
  let probeAt = 0;
  let landedAt: number | null = null;

  return {
    admit() {
      if (state.kind === 'closed') return 'go';
      if (state.kind === 'half-open' || clock.elapsed() < probeAt) return 'no';
      become('half-open', state.reason);
      return 'probe';
    },
    report(admission, failureClass) {
      if (failureClass === null) {
        landedAt = clock.elapsed();
        return close();
      }
      if (isAlive(failureClass)) {
        // The store answered about the rows themselves: it works.
        if (admission === 'probe') close();
        else if (state.kind === 'closed') failuresInARow = 0;
        return;
      }
      failuresInARow++;
      if (admission === 'probe' || (state.kind === 'closed' && failuresInARow >= FAILURES_TO_OPEN)) open(failureClass);
    },
    returnProbe() {
      if (state.kind === 'half-open') become('open', state.reason);
    },
    trip: (reason) => {
      if (state.kind === 'closed') open(reason);
    },
    allowProbe: () => {
      probeAt = clock.elapsed();
    },
    state: () => state,
    lastLandedAt: () => landedAt,
  };

  function open(reason: FailureClass) {
    openings++;
    probeAt = clock.elapsed() + backoffMs(openings, COOLDOWN, random);
    become('open', reason);
  }

  function close() {
    failuresInARow = 0;
    openings = 0;
    if (state.kind !== 'closed') become('closed', null);
  }

  function become(kind: BreakerState['kind'], reason: FailureClass | null) {
    state = { kind, reason, openSince: kind === 'closed' ? null : (state.openSince ?? clock.now()) };
    onChange(state);
  }
}

/** Whether the failure shows a store that accepts inserts; `unknown` neither opens nor keeps it open. */
function isAlive(failureClass: FailureClass): boolean {
  switch (failureClass) {
    case 'data':
    case 'too_large':
    case 'capacity':
    case 'unknown':
      return true;
    case 'unavailable':
    case 'ambiguous':
    case 'operator':
      return false;
  }
}
