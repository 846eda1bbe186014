/** How people write and read a retention: `24h`, `90d`, or `none` to keep events. */
import { duration } from '../config/kinds.ts';

/**
 * Events with a shorter one would be gone before anybody sees them; a longer one exceeds what ClickHouse can count in
 * seconds.
 */
const KIND = duration('1m', '36500d');
const DAY = 86_400;
const UNITS = [
  ['d', DAY],
  ['h', 3_600],
  ['m', 60],
  ['s', 1],
] as const;

export const RETENTIONS = 'A duration from 1m to 36500d, such as 24h or 90d, or none to keep events.';

/** In seconds; null keeps the events; undefined when the text is no retention. */
export function parseRetention(text: string): number | null | undefined {
  if (text === 'none') return null;
  const ms = KIND.parse(text);
  // A row's expiry is exact to the second.
  return ms === undefined || ms % 1_000 !== 0 ? undefined : ms / 1_000;
}

/** In the largest unit without remainder; in days only from two on, because one day is nearly always written `24h`. */
export function showRetention(seconds: number | null): string {
  if (seconds === null) return 'none';
  const [unit, length] = UNITS.find(([, length]) => seconds % length === 0 && !(length === DAY && seconds === DAY))!;
  return `${seconds / length}${unit}`;
}

/** A project with its retention as people write it, beside the number for programs. */
export function withRetention<P extends { readonly retentionSeconds: number | null }>({
  retentionSeconds,
  ...project
}: P) {
  return { ...project, retention: showRetention(retentionSeconds), retentionSeconds };
}
