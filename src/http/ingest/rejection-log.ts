/**
 * Tells the operator of events that were rejected: a client of another service never shows its answers to anybody. One
 * line a minute for each family, with counts and reasons and nothing that was sent.
 */
import type { Decoded } from '../../event/decode.ts';
import type { Log } from '../../log/log.ts';
import type { Clock } from '../../runtime/clock.ts';

export type RejectionLog = { note(source: string, decoded: Decoded): void };

const PERIOD_MS = 60_000;
/** Reasons that a line lists; there are fewer, but for what a damaged event is refused for. */
const MAX_REASONS = 10;
const OTHERS = 'others';

type Family = { saidAt: number; rejected: number; requests: number; reasons: Map<string, number> };

/** The first rejection is told at once, what follows within a minute with the next one after that. */
export function createRejectionLog({ clock, log }: { clock: Pick<Clock, 'elapsed'>; log: Log }): RejectionLog {
  const families = new Map<string, Family>();

  return {
    note(source, { rejected, rejections }) {
      if (rejected === 0) return;
      const family = families.get(source) ?? { ...nothing(), saidAt: -Infinity };
      families.set(source, family);
      family.rejected += rejected;
      family.requests += 1;
      for (const { reason } of rejections) count(family.reasons, reason);
      const now = clock.elapsed();
      if (now - family.saidAt < PERIOD_MS) return;
      const { requests, reasons } = family;
      log.warn(
        { source, rejected: family.rejected, requests, reasons: Object.fromEntries(reasons) },
        'events of a client were rejected',
      );
      families.set(source, { ...nothing(), saidAt: now });
    },
  };
}

const nothing = () => ({ rejected: 0, requests: 0, reasons: new Map<string, number>() });

function count(reasons: Map<string, number>, reason: string): void {
  const kind = reasons.has(reason) || reasons.size < MAX_REASONS ? reason : OTHERS;
  reasons.set(kind, (reasons.get(kind) ?? 0) + 1);
}
