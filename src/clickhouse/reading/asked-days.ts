/**
 * Recognises the days that a query is about, so that only granules with events of these need be read: the primary
 * key alone does not pass over a granule at the border between two names (decision 58).
 */
import { DAY_MS, constantTime, floorOf } from './constant-times.ts';
import { conjunctsOf, onlyTable } from './one-person.ts';
import { type Node, nodesOf } from './query-tree.ts';

/** Days since the year 0, as ClickHouse's `toDaysSinceYearZero` counts them, both included; null is open. */
export type Days = { readonly from: number | null; readonly to: number | null };

/** Views and tables by what they may be called in a query. */
export type EventNames = {
  /** Those with the column `timestamp` of events. */
  readonly timed: ReadonlySet<string>;
  /** Others that read the table of events. */
  readonly untimed: ReadonlySet<string>;
};

const DAYS_BEFORE_1970 = 719_528;
const COLUMN = 'timestamp';

/** In epoch milliseconds. */
type Span = { readonly lo: number; readonly hi: number };

const OPEN: Span = { lo: -Infinity, hi: Infinity };

/**
 * Days outside of which no event can be in the answer, or have a part in it; null unless the query plainly says so: each
 * SELECT that reads events reads nothing beside, and its WHERE has conditions on `timestamp` that all have to hold.
 * `nowMs`: what now() is about, by ClickHouse's clock.
 */
export function askedDays(root: Node, sql: string, names: EventNames, nowMs: number): Days | null {
  const nodes = nodesOf(root);
  const mentions = nodes.filter(
    ({ kind, name }) =>
      (kind === 'TableIdentifier' || kind === 'Identifier') && (names.timed.has(name) || names.untimed.has(name)),
  );
  // Where it is the name of something else, a condition is about that.
  if (mentions.length === 0 || nodes.some(({ alias }) => alias === COLUMN) || isAboutMore(sql)) return null;
  const spans = nodes
    .filter(({ kind }) => kind === 'SelectQuery')
    .map((select) => spanOf(select, { names, nowMs, nodes }))
    .filter((span) => span !== null);
  // Something reads events in another way.
  if (spans.length < mentions.length) return null;
  const lo = Math.min(...spans.map((span) => span.lo));
  const hi = Math.max(...spans.map((span) => span.hi));
  if (lo === -Infinity && hi === Infinity) return null;
  return { from: lo === -Infinity ? null : dayOf(lo), to: hi === Infinity ? null : dayOf(hi) };
}

/**
 * The tree does not tell the conditions after WHERE from it. HAVING without GROUP BY, or on what is grouped by, leaves the
 * same rows as WHERE would, but for groups of groups; QUALIFY is applied to what windows have seen.
 */
const isAboutMore = (sql: string) =>
  /qualify/i.test(sql) || (/having/i.test(sql) && /totals|rollup|cube|sets/i.test(sql));

const dayOf = (ms: number) => Math.floor(ms / DAY_MS) + DAYS_BEFORE_1970;

type Around = { readonly names: EventNames; readonly nowMs: number; readonly nodes: readonly Node[] };

/** Of a SELECT from one table or view of events and nothing beside; null for any other. */
function spanOf(select: Node, { names, nowMs, nodes }: Around): Span | null {
  const place = select.children.findIndex(({ kind }) => kind === 'TablesInSelectQuery');
  const [tables, where] = select.children.slice(Math.max(place, 0));
  const table = onlyTable(tables);
  if (place < 0 || table === null || !names.timed.has(table.name)) return null;
  if (where?.kind !== 'Function') return null;
  const prefix = table.alias ?? table.name;
  const isPrefixed = !nodes.some(({ kind, alias }) => kind !== 'TableIdentifier' && alias === prefix);
  const columns = new Set(isPrefixed ? [COLUMN, `${prefix}.${COLUMN}`] : [COLUMN]);
  return conjunctsOf(where)
    .map((condition) => conditionSpan(condition, columns, nowMs))
    .reduce((all, { lo, hi }) => ({ lo: Math.max(all.lo, lo), hi: Math.min(all.hi, hi) }), OPEN);
}

const TURNED: Readonly<Record<string, string>> = {
  greater: 'less',
  greaterOrEquals: 'lessOrEquals',
  less: 'greater',
  lessOrEquals: 'greaterOrEquals',
  equals: 'equals',
};

/** Instants outside of which the condition does not hold. */
function conditionSpan({ kind, name, children }: Node, columns: ReadonlySet<string>, nowMs: number): Span {
  const [left, right, ...more] = children[0]?.children ?? [];
  if (kind !== 'Function' || !Object.hasOwn(TURNED, name) || left === undefined || right === undefined) return OPEN;
  const isTurned = slackOf(left, columns) === null;
  const [column, constant] = isTurned ? [right, left] : [left, right];
  const slack = slackOf(column, columns);
  const value = slack === null || more.length > 0 ? null : constantTime(constant, nowMs);
  if (slack === null || value === null) return OPEN;
  const is = isTurned ? TURNED[name]! : name;
  return {
    lo: is.startsWith('less') ? -Infinity : value.lo - slack.before,
    hi: is.startsWith('greater') ? Infinity : value.hi + slack.after - (is === 'less' ? 1 : 0),
  };
}

/** By how much an event's time may differ from what is compared; null when it is not the time that is. */
function slackOf(
  { kind, name, children }: Node,
  columns: ReadonlySet<string>,
): { before: number; after: number } | null {
  if (kind === 'Identifier') return columns.has(name) ? { before: 0, after: 0 } : null;
  const floor = kind === 'Function' ? floorOf(name) : null;
  const [first, ...others] = children[0]?.children ?? [];
  if (floor === null || first?.kind !== 'Identifier' || !columns.has(first.name)) return null;
  // Another time zone, or another day that a week begins with.
  const zone = others.length === 0 && name !== 'toDateTime' ? 0 : DAY_MS;
  return { before: zone, after: floor + zone };
}
