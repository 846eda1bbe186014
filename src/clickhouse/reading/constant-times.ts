/**
 * The constant expressions of a query that mean an instant, worked out from the tree: texts, now() and today(), and what
 * is added to them or taken off. An expression that is not understood is none.
 */
import type { Node } from './query-tree.ts';

/**
 * Between which two instants, in epoch milliseconds, the value lies. `counts`: what a number that is added to it
 * counts; null when that is not known.
 */
export type TimeRange = { readonly lo: number; readonly hi: number; readonly counts: 'days' | 'seconds' | null };

const SECOND = 1_000;
const HOUR = 3_600 * SECOND;
export const DAY_MS = 24 * HOUR;

/** How much earlier than its argument the value may lie. */
const FLOORS: Readonly<Record<string, number>> = {
  toDate: DAY_MS,
  toDateTime: SECOND,
  toStartOfMinute: 60 * SECOND,
  toStartOfHour: HOUR,
  toStartOfDay: DAY_MS,
  toStartOfWeek: 7 * DAY_MS,
  toMonday: 7 * DAY_MS,
  toStartOfMonth: 31 * DAY_MS,
  toStartOfQuarter: 92 * DAY_MS,
  toStartOfYear: 366 * DAY_MS,
};
const GIVES_DATE = new Set([
  'toDate',
  'toStartOfWeek',
  'toMonday',
  'toStartOfMonth',
  'toStartOfQuarter',
  'toStartOfYear',
]);

export const floorOf = (name: string): number | null => (Object.hasOwn(FLOORS, name) ? FLOORS[name]! : null);

/** The shortest and the longest of each. */
const INTERVALS: Readonly<Record<string, readonly [number, number]>> = {
  toIntervalSecond: [SECOND, SECOND],
  toIntervalMinute: [60 * SECOND, 60 * SECOND],
  toIntervalHour: [HOUR, HOUR],
  toIntervalDay: [DAY_MS, DAY_MS],
  toIntervalWeek: [7 * DAY_MS, 7 * DAY_MS],
  toIntervalMonth: [28 * DAY_MS, 31 * DAY_MS],
  toIntervalQuarter: [89 * DAY_MS, 92 * DAY_MS],
  toIntervalYear: [365 * DAY_MS, 366 * DAY_MS],
};
/** An interval may cross a change of the clocks. */
const CLOCK_CHANGE = DAY_MS;

const MAX_DEPTH = 8;
/** Beyond, ClickHouse's times wrap around. */
const YEARS = { from: Date.UTC(1971, 0), to: Date.UTC(2105, 0) } as const;

/** The instants that a constant may mean, with whatever time zone it is read in; null when it is not understood. */
export function constantTime(node: Node, nowMs: number, depth = 0): TimeRange | null {
  const range = depth > MAX_DEPTH ? null : evaluated(node, nowMs, depth);
  return range !== null && range.lo >= YEARS.from && range.hi <= YEARS.to ? range : null;
}

function evaluated(node: Node, nowMs: number, depth: number): TimeRange | null {
  if (node.kind === 'Literal') return textTime(node.name);
  if (node.kind !== 'Function') return null;
  const args = node.children[0]?.children ?? [];
  if (args.length === 0 || node.name === 'now64') return presentTime(node.name.toLowerCase(), nowMs);
  const [first, second] = args as [Node, Node?];
  const of = constantTime(first, nowMs, depth + 1);
  if (of === null) return null;
  const floor = node.name === 'toDateTime64' ? 0 : floorOf(node.name);
  if (floor !== null) return inAnyZone(of.lo - floor, of.hi, GIVES_DATE.has(node.name) ? 'days' : 'seconds');
  return second === undefined ? null : moved(node.name, of, second);
}

/** A text may be read, and a day may begin, in another time zone than that of the column. */
const inAnyZone = (lo: number, hi: number, counts: TimeRange['counts']): TimeRange => ({
  lo: lo - DAY_MS,
  hi: hi + DAY_MS,
  counts,
});

function presentTime(name: string, nowMs: number): TimeRange | null {
  // What was asked of ClickHouse before the query runs may be some seconds old.
  if (name === 'now' || name === 'now64') return { lo: nowMs - HOUR, hi: nowMs + HOUR, counts: 'seconds' };
  if (name === 'today') return inAnyZone(nowMs - DAY_MS, nowMs + HOUR, 'days');
  return name === 'yesterday' ? inAnyZone(nowMs - 2 * DAY_MS, nowMs, 'days') : null;
}

function moved(name: string, { lo, hi, counts }: TimeRange, by: Node): TimeRange | null {
  if (name !== 'plus' && name !== 'minus') return null;
  const number = numberOf(by);
  if (number === null) {
    const interval = intervalOf(by);
    // A date becomes a time by some intervals.
    return interval && shifted(name, { lo, hi, counts: counts === 'days' ? null : counts }, interval);
  }
  if (counts === null) return null;
  const length = number * (counts === 'days' ? DAY_MS : SECOND);
  return shifted(name, { lo, hi, counts }, [length, length]);
}

/** By so much at least and at most. */
const shifted = (
  name: 'plus' | 'minus',
  { lo, hi, counts }: TimeRange,
  [least, most]: readonly [number, number],
): TimeRange =>
  name === 'plus' ? { lo: lo + least, hi: hi + most, counts } : { lo: lo - most, hi: hi - least, counts };

function intervalOf({ kind, name, children }: Node): readonly [number, number] | null {
  const count = numberOf(children[0]?.children[0]);
  if (kind !== 'Function' || !Object.hasOwn(INTERVALS, name) || count === null) return null;
  const [least, most] = INTERVALS[name]!;
  return [count * least - CLOCK_CHANGE, count * most + CLOCK_CHANGE];
}

function numberOf(node: Node | undefined): number | null {
  const digits = node?.kind === 'Literal' ? /^UInt64_(\d{1,9})$/.exec(node.name)?.[1] : undefined;
  return digits === undefined ? null : Number(digits);
}

const TEXT = /^'(\d{4}-\d\d-\d\d)(?: (\d\d:\d\d:\d\d)(\.\d{1,9})?)?'$/;

/** A text as the column reads it: in UTC. */
function textTime(literal: string): TimeRange | null {
  const [, date, time = '00:00:00', fraction] = TEXT.exec(literal) ?? [];
  if (date === undefined) return null;
  const at = Date.parse(`${date}T${time}Z`);
  // What is no date, like the 31st of February, is ClickHouse's to judge.
  if (Number.isNaN(at) || !new Date(at).toISOString().startsWith(`${date}T${time}`)) return null;
  return { lo: at, hi: fraction === undefined ? at : at + SECOND, counts: null };
}
