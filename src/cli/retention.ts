/** How people write and read a retention: `24h`, `90d`, or `none` for events that are kept. */
import { InvalidArgumentError } from 'commander';
import { duration } from '../config/kinds.ts';

/** Shorter would be gone before anybody looks, longer outlives what ClickHouse can count in seconds. */
const KIND = duration('1m', '36500d');
const DAY = 86_400;
const UNITS = [
  ['d', DAY],
  ['h', 3_600],
  ['m', 60],
  ['s', 1],
] as const;

/** In seconds; null keeps the events. Throws `InvalidArgumentError`. */
export function parseRetention(text: string): number | null {
  if (text === 'none') return null;
  const ms = KIND.parse(text);
  // A row says to the second when it expires.
  if (ms === undefined || ms % 1_000 !== 0) {
    throw new InvalidArgumentError('A duration from 1m to 36500d, such as 24h or 90d, or none to keep events.');
  }
  return ms / 1_000;
}

/** In the largest unit that leaves no rest; in days from two on, because one day is nearly always written `24h`. */
export function showRetention(seconds: number | null): string {
  if (seconds === null) return 'none';
  const [unit, length] = UNITS.find(([, length]) => seconds % length === 0 && !(length === DAY && seconds === DAY))!;
  return `${seconds / length}${unit}`;
}
