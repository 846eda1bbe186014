/**
 * Describes work that makes no progress, for a person: a pure function over what is known. Each reason must last for a
 * while before it is reported, and ends with the first success.
 */
import type { DeadLetterDepth } from '../../pipeline/flags.ts';
import type { Moment, Progress } from '../../pipeline/progress.ts';

export type StallFacts = {
  readonly progress: Progress;
  readonly deadLetters: DeadLetterDepth | null;
  /** Whether inserts are sent at all: where they are not, another reason says why. */
  readonly areInsertsSent: boolean;
  /** Whether passes over the dead letters can succeed at all. */
  readonly isPostgresWritable: boolean;
};

/** A single batch with bad rows is tried twice or three times within moments. */
const TRIES = 3;
const REFUSED_FOR_MS = 10_000;
/** A refused batch is tried again within five minutes: a longer pause means that the refusal is out of date. */
const TRIED_WITHIN_MS = 10 * 60_000;
const PASSES = 2;
const FAILING_FOR_MS = 5_000;
/** Twice the longest pause between two tries of one letter. */
const OLDEST_FOR_MS = 10 * 60_000;

/** One sentence for each part that should make progress and does not. */
export function stallReasons({ progress, deadLetters, areInsertsSent, isPostgresWritable }: StallFacts): string[] {
  const { landed, refused, failingPasses, oldestDeadLetterForMs, pause } = progress;
  const reasons: string[] = [];
  if (
    areInsertsSent &&
    refused !== null &&
    refused.tries >= TRIES &&
    refused.first.agoMs >= REFUSED_FOR_MS &&
    refused.last.agoMs < TRIED_WITHIN_MS
  ) {
    const { tries, failureClass, code } = refused;
    const cause = code === null ? failureClass : `${failureClass}, code ${code}`;
    reasons.push(`no batch has landed since ${sinceOf(landed)} though ${tries} were tried (${cause})`);
  }
  if (pause !== null) {
    const by = pause.by === null ? '' : ` by ${pause.by}`;
    reasons.push(
      `the drain has been paused since ${pause.since === null ? 'before the start' : iso(pause.since)}${by}`,
    );
  }
  if (
    isPostgresWritable &&
    failingPasses !== null &&
    failingPasses.passes >= PASSES &&
    failingPasses.first.agoMs >= FAILING_FOR_MS
  ) {
    reasons.push(
      `drain passes have been failing since ${iso(failingPasses.first.at)} (${failingPasses.code ?? 'no code'})`,
    );
  }
  if (deadLetters?.oldestAt != null && oldestDeadLetterForMs !== null && oldestDeadLetterForMs >= OLDEST_FOR_MS) {
    reasons.push(
      `${deadLetters.rows} dead letters have been waiting since ${iso(deadLetters.oldestAt)} and the oldest one is stuck`,
    );
  }
  return reasons;
}

const sinceOf = (moment: Moment | null) => (moment === null ? 'the start' : iso(moment.at));

const iso = (at: number) => new Date(at).toISOString();
