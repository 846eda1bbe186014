/**
 * Requests take turns with everything else that the event loop has to do. A turn of it handles whatever has arrived: with
 * two thousand connections that is two thousand requests, forty milliseconds, and meanwhile no insert is sent on, no
 * journal hears that its write is done, and no page is answered (decision 70).
 */
import { type Clock, yieldToEventLoop } from '../../runtime/clock.ts';

export type RequestTurns = {
  /** Whether a request may begin now. Otherwise `begin` is called in a later turn: first come, first served. */
  take(begin: () => void): boolean;
};

/** Some fifty small requests. Larger bodies have turns of their own (`request/fair-scheduling.ts`). */
const TURN_MS = 1;

export function createRequestTurns({ clock }: { clock: Pick<Clock, 'elapsed'> }): RequestTurns {
  const waiting = new Set<() => void>();
  let isOpen = false;
  let endsAt = 0;

  return { take };

  function take(begin: () => void): boolean {
    if (!isOpen) open();
    if (waiting.size === 0 && clock.elapsed() < endsAt) return true;
    waiting.add(begin);
    return false;
  }

  function open() {
    isOpen = true;
    endsAt = clock.elapsed() + TURN_MS;
    yieldToEventLoop(next);
  }

  function next() {
    isOpen = false;
    if (waiting.size === 0) return;
    open();
    for (const begin of waiting) {
      if (clock.elapsed() >= endsAt) break;
      waiting.delete(begin);
      begin();
    }
  }
}
