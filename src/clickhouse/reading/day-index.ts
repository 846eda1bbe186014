/**
 * The index of the days of a granule, for which a query's settings may let ClickHouse use indexes: only Weir's
 * filter can name what it is about, and rows of other days never get past that filter. So whether a granule is read for
 * what other projects have stored in it makes no difference to any answer (decision 58).
 */
import { quoted } from '../connection/quoting.ts';
import type { Days } from './asked-days.ts';

export const DAY_INDEX = 'day_set';
/** As ClickHouse writes it. The query guard refuses `mortonEncode`: a condition of a query's own can never be about this. */
export const DAY_EXPRESSION = 'mortonEncode(toDaysSinceYearZero(timestamp))';

/** Of a table: its indexes, as `name expression` up to a space in the expression, and its columns. */
export type FoundIndexes = { readonly indexes: readonly string[]; readonly columns: readonly string[] };

/** What ClickHouse names indexes that a setting of the server adds, which no statement shows. */
const IMPLICIT = 'auto_minmax_index_';
/** It is part of the request's address. */
const MAX_LISTED_BYTES = 2_048;

/**
 * All other indexes, for `ignore_data_skipping_indices`; null when there is no index of days, or the others cannot all
 * be named: then no index may be used.
 */
export function otherIndexes({ indexes, columns }: FoundIndexes): string | null {
  if (!indexes.includes(`${DAY_INDEX} ${DAY_EXPRESSION}`)) return null;
  const names = indexes.map((index) => index.split(' ')[0]!).filter((name) => name !== DAY_INDEX);
  if (!names.every((name) => /^\w+$/.test(name))) return null;
  const list = [...names, ...columns.map((column) => quotedWhereNeeded(IMPLICIT + column))].join(',');
  return encodeURIComponent(list).length <= MAX_LISTED_BYTES ? list : null;
}

const quotedWhereNeeded = (name: string) => (/^\w+$/.test(name) ? name : quoted(name));

/** Conditions on a row of the table of events. */
export function onDays({ from, to }: Days): string[] {
  return [
    ...(from === null ? [] : [`${DAY_EXPRESSION} >= ${from}`]),
    ...(to === null ? [] : [`${DAY_EXPRESSION} <= ${to}`]),
  ];
}
