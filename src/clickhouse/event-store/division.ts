/**
 * Questions that send much along, where something in front of ClickHouse takes
 * less at a time: they are asked in parts, halved until each one passes. What
 * was too large is not tried again for a while, so that the next question does
 * not find it out anew.
 */
import type { Clock } from '../../runtime/clock.ts';
import { InsertFailure } from '../../pipeline/ports.ts';

/** A limit that was met so long ago may have been raised. */
const REMEMBERED_MS = 10 * 60_000;
/** Parts are not begun smaller, only halved further: one large item must not make thousands of questions of all others. */
const LEAST_BYTES = 16 * 1024;

export type Division = {
  /**
   * Asks about the items, in their order and as few at a time as pass, and answers what was found for each part.
   * Rejects as `ask` does, with `too_large` when a single item is.
   */
  ask<Item, Found>(
    items: readonly Item[],
    sizeOf: (item: Item) => number,
    ask: (part: readonly Item[]) => Promise<Found>,
  ): Promise<Found[]>;
};

export function createDivision({ clock }: { clock: Pick<Clock, 'elapsed'> }): Division {
  let limit: { readonly bytes: number; readonly until: number } | null = null;

  return {
    async ask(items, sizeOf, ask) {
      const sizeOfAll = (some: typeof items) => some.reduce((sum, item) => sum + sizeOf(item), 0);
      const found: Awaited<ReturnType<typeof ask>>[] = [];
      const parts = partsBelow(items, sizeOf, mostBytes());
      for (let part = parts.shift(); part !== undefined; part = parts.shift()) {
        try {
          found.push(await ask(part));
        } catch (error) {
          if (!isTooLarge(error) || part.length === 1) throw error;
          const half = Math.ceil(sizeOfAll(part) / 2);
          limit = { bytes: Math.max(LEAST_BYTES, half), until: clock.elapsed() + REMEMBERED_MS };
          parts.unshift(...partsBelow(part, sizeOf, half));
        }
      }
      return found;
    },
  };

  function mostBytes() {
    if (limit !== null && clock.elapsed() > limit.until) limit = null;
    return limit?.bytes ?? Infinity;
  }
}

export const isTooLarge = (error: unknown): boolean =>
  error instanceof InsertFailure && error.failureClass === 'too_large';

/** An item that is larger stands alone. */
function partsBelow<Item>(items: readonly Item[], sizeOf: (item: Item) => number, most: number): Item[][] {
  const parts: Item[][] = [];
  let room = 0;
  for (const item of items) {
    const size = sizeOf(item);
    if (parts.length === 0 || size > room) {
      parts.push([]);
      room = most;
    }
    parts.at(-1)!.push(item);
    room -= size;
  }
  return parts;
}
