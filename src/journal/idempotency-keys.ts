/**
 * The answers to idempotency keys that the journal keeps: the latest for every key, within bounds, and the segment that
 * holds each. A key outlives the events it came with, and therefore the segment.
 */
import type { Clock } from '../runtime/clock.ts';
import type { KeptAnswer } from '../pipeline/ports.ts';
import { sizeOf } from './segment-format.ts';
import { KEY_LIFETIME_MS, nameOf } from './recover.ts';
import type { Segment } from './segments.ts';

/** `segment`: where it is on disk; null while it waits to be written. */
export type KeptKey = { readonly key: KeptAnswer; readonly bytes: number; segment: Segment | null };

export type IdempotencyKeys = {
  /** Replaces the key's earlier answer. The oldest keys are dropped when there are too many. */
  keep(key: KeptAnswer, segment: Segment | null): KeptKey;
  /** Does nothing when a later answer has replaced it. */
  forget(kept: KeptKey): void;
  /** The keys that would go with that segment; expired ones are dropped. */
  heldBy(segment: Segment): KeptKey[];
  /** The keys on disk that have not expired. */
  written(): KeptKey[];
  count(): number;
  bytes(): number;
};

export function createIdempotencyKeys(
  { clock }: { clock: Clock },
  { maxKeys, maxKeyBytes }: { maxKeys: number; maxKeyBytes: number },
): IdempotencyKeys {
  /** In the order in which they were kept. */
  const keys = new Map<string, KeptKey>();
  let bytes = 0;

  return {
    keep,
    forget,
    heldBy,
    written: () => [...keys.values()].filter(({ key, segment }) => segment !== null && !isExpired(key)),
    count: () => keys.size,
    bytes: () => bytes,
  };

  function keep(key: KeptAnswer, segment: Segment | null) {
    const earlier = keys.get(nameOf(key));
    if (earlier) forget(earlier);
    const kept: KeptKey = { key, bytes: sizeOf({ type: 'key', key }), segment };
    keys.set(nameOf(key), kept);
    bytes += kept.bytes;
    // The oldest: an old key's client has long had its answer.
    for (const oldest of keys.values()) {
      if ((keys.size <= maxKeys && bytes <= maxKeyBytes) || oldest === kept) break;
      forget(oldest);
    }
    return kept;
  }

  function forget(kept: KeptKey) {
    const name = nameOf(kept.key);
    if (keys.get(name) !== kept) return;
    keys.delete(name);
    bytes -= kept.bytes;
  }

  function heldBy(segment: Segment) {
    const held: KeptKey[] = [];
    for (const kept of keys.values()) {
      if (kept.segment !== segment) continue;
      if (isExpired(kept.key)) forget(kept);
      else held.push(kept);
    }
    return held;
  }

  function isExpired({ at }: KeptAnswer) {
    return at + KEY_LIFETIME_MS <= clock.now();
  }
}
