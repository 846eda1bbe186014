import type { Admission } from './breaker.ts';

/** One dead letter in one pass of the drain, with everything it is split into. */
export type ReplayPass = {
  /** Statements that may still be sent. */
  readonly budget: { left: number };
  /** Aborts when the process ends. */
  readonly stop: AbortSignal;
  /** The letter holds the breaker's one try, and has not used it yet. */
  isProbe: boolean;
  /** An insert of refused rows that is reported to the breaker once the cause is known. */
  unreported: Admission | null;
  /** Some part of the letter was stored in this pass, after the whole had been refused. */
  hasLanded: boolean;
  /** ClickHouse was asked in this pass: the remaining rows are not stored. */
  isAsked: boolean;
};

/** Statements one letter may cost in a pass. */
const STATEMENTS_PER_DEAD_LETTER = 64;

export const beginPass = ({ isProbe, stop }: Pick<ReplayPass, 'isProbe' | 'stop'>): ReplayPass => ({
  budget: { left: STATEMENTS_PER_DEAD_LETTER },
  stop,
  isProbe,
  unreported: null,
  hasLanded: false,
  isAsked: false,
});
