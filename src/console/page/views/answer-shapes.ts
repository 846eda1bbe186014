/** The same answer as a file and as curves. */
import type { Curve } from '../parts/curve.ts';
import type { QueryAnswer } from '../../operator/answers.ts';

/** A value of a row. */
export type Cell = string | number | boolean | null | object;

const MS = 1000;
const MAX_CURVES = 4;
const IS_TIME = /^(Nullable\(|LowCardinality\()*(Date|timestamp)/i;
const IS_NUMBER = /^(Nullable\(|LowCardinality\()*(U?Int|Float|Decimal|bigint|integer|smallint|numeric|double|real)/i;

/** As RFC 4180 says. A text that a spreadsheet would run as a formula is kept from it by an apostrophe. */
export function csvOf({ columns, rows }: QueryAnswer): string {
  const lines = [columns.map(({ name }): Cell => name), ...(rows as Cell[][])];
  return lines.map((line) => line.map(fieldOf).join(',')).join('\r\n') + '\r\n';
}

function fieldOf(value: Cell): string {
  if (value === null) return '';
  const text = typeof value === 'object' ? JSON.stringify(value) : String(value);
  const safe = typeof value === 'string' && /^[=+\-@\t\r]/.test(text) && !isNumeric(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

const isNumeric = (text: string) => text.trim() !== '' && Number.isFinite(Number(text));

/** The first column's times, and the first four columns of numbers over them; null where there are none. */
export function curvesOf({ columns, rows }: QueryAnswer): { title: string; times: number[]; curves: Curve[] } | null {
  const [first] = columns;
  if (first === undefined || !IS_TIME.test(first.type) || rows.length < 2) return null;
  const numbers = columns.flatMap(({ name, type }, place) => (IS_NUMBER.test(type) ? [{ name, place }] : []));
  if (numbers.length === 0) return null;
  const points = (rows as Cell[][])
    .map((row) => ({ at: Date.parse(timeOf(row[0] ?? null)) / MS, row }))
    .filter(({ at }) => Number.isFinite(at))
    .sort((one, other) => one.at - other.at);
  const curves = numbers.slice(0, MAX_CURVES).map(({ name, place }) => ({
    name,
    values: points.map(({ row }) => (row[place] === null ? null : Number(row[place]))),
  }));
  return { title: `By ${first.name}`, times: points.map(({ at }) => at), curves };
}

/** Stores answer in UTC without saying so. */
function timeOf(cell: Cell): string {
  const text = typeof cell === 'string' ? cell : '';
  return /^\d{4}-\d\d-\d\d[ T][\d:.]+$/.test(text) ? `${text.replace(' ', 'T')}Z` : text;
}
