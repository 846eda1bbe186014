/**
 * Tells the operator of events that were rejected: a client of another service never shows its answers to anybody. One
 * line a minute for each family, with counts and reasons and nothing that was sent.
 */
import type { Decoded } from '../../event/decode.ts';
import type { Log } from '../../log/log.ts';
import type { Clock } from '../../runtime/clock.ts';

export type RejectionLog = {
  note(source: string, rejected: Pick<Decoded, 'rejected' | 'rejections'>): void;
  /** Writes each line when it is due, and what is left when `stop` aborts. Never rejects. */
  run(stop: AbortSignal): Promise<void>;
  /** Writes what is left, at once. */
  sayAll(): void;
};

const PERIOD_MS = 60_000;
/** How late a line may be. */
const TICK_MS = 5_000;
/** Reasons that a line lists; there are fewer, but for what a damaged event is refused for. */
const MAX_REASONS = 10;
const OTHERS = 'others';

type Family = { saidAt: number; rejected: number; requests: number; reasons: Map<string, number> };

/** The first rejection is told at once, what follows within a minute at the end of that. */
export function createRejectionLog({
  clock,
  log,
}: {
  clock: Pick<Clock, 'elapsed' | 'sleep'>;
  log: Log;
}): RejectionLog {
  const families = new Map<string, Family>();

  return { note, run, sayAll: () => sayIf(() => true) };

  function note(source: string, { rejected, rejections }: Pick<Decoded, 'rejected' | 'rejections'>): void {
    if (rejected === 0) return;
    const family = families.get(source) ?? { ...nothing(), saidAt: -Infinity };
    family.rejected += rejected;
    family.requests += 1;
    for (const { reason } of rejections) count(family.reasons, reason, 1);
    if (rejected > rejections.length) count(family.reasons, OTHERS, rejected - rejections.length);
    if (isDue(family)) say(source, family);
  }

  async function run(stop: AbortSignal): Promise<void> {
    while (!stop.aborted) {
      await clock.sleep(TICK_MS, stop);
      sayIf(isDue);
    }
    sayIf(() => true);
  }

  function sayIf(isWanted: (family: Family) => boolean): void {
    for (const [source, family] of families) if (family.rejected > 0 && isWanted(family)) say(source, family);
  }

  function isDue({ saidAt }: Family): boolean {
    return clock.elapsed() - saidAt >= PERIOD_MS;
  }

  function say(source: string, { rejected, requests, reasons }: Family): void {
    log.warn({ source, rejected, requests, reasons: Object.fromEntries(reasons) }, 'events of a client were rejected');
    families.set(source, { ...nothing(), saidAt: clock.elapsed() });
  }
}

const nothing = () => ({ rejected: 0, requests: 0, reasons: new Map<string, number>() });

function count(reasons: Map<string, number>, reason: string, times: number): void {
  const kind = reasons.has(reason) || reasons.size < MAX_REASONS ? reason : OTHERS;
  reasons.set(kind, (reasons.get(kind) ?? 0) + times);
}
