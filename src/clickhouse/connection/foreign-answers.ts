/** Remembers for a while that something other than ClickHouse has answered, and logs it once. */
import type { Clock } from '../../runtime/clock.ts';
import type { Log } from '../../log/log.ts';
import type { NotClickHouse, OnForeignAnswer } from './verified-answers.ts';

/** The heartbeat asks every second, so a foreign server that stays is never forgotten in between. */
const REMEMBERED_MS = 30_000;
/** How many different answers are distinguished. */
const MAX_KINDS = 16;
/** A 413 is not reported where smaller requests reach ClickHouse: it is handled as a size limit. */
const CONTENT_TOO_LARGE = 413;

export type ForeignAnswers = {
  readonly saw: OnForeignAnswer;
  /** One sentence about the last foreign answer; null when only ClickHouse has answered for a while. */
  notice(): string | null;
};

export function createForeignAnswers({ clock, log }: { clock: Clock; log: Log }): ForeignAnswers {
  /** When each kind of answer was last seen, most recent last. */
  const lastSeen = new Map<string, number>();

  return { saw, notice };

  function saw({ message, status }: NotClickHouse) {
    if (status === CONTENT_TOO_LARGE) return;
    const isNews = !isFresh(lastSeen.get(message));
    lastSeen.delete(message);
    lastSeen.set(message, clock.elapsed());
    const [oldest] = lastSeen.keys();
    if (lastSeen.size > MAX_KINDS) lastSeen.delete(oldest!);
    if (isNews) log.error({ status }, message);
  }

  function notice() {
    const latest = [...lastSeen].at(-1);
    return latest !== undefined && isFresh(latest[1]) ? latest[0] : null;
  }

  function isFresh(at: number | undefined) {
    return at !== undefined && clock.elapsed() - at < REMEMBERED_MS;
  }
}
