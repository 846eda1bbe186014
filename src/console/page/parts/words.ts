/** Numbers, times and sizes as people read them. */

const NUMBER = new Intl.NumberFormat('en');
const ROUGH = new Intl.NumberFormat('en', { maximumSignificantDigits: 2 });
const SHORT = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });
const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

export const grouped = (count: number): string => NUMBER.format(count);

/** `about 970,000` of what was estimated. */
export const about = (count: number, isEstimate: boolean): string =>
  isEstimate && count > 0 ? `about ${ROUGH.format(count)}` : grouped(count);

export const short = (count: number): string => SHORT.format(count);

/** `1 event`, `2 events`. */
export const counted = (count: number, one: string, many = `${one}s`): string =>
  `${grouped(count)} ${count === 1 ? one : many}`;

/** A rate per second. */
export function rate(perSecond: number | null): string {
  if (perSecond === null) return '–';
  return perSecond > 0 && perSecond < 10 ? perSecond.toFixed(1) : grouped(Math.round(perSecond));
}

export function bytes(count: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  const place = Math.min(units.length - 1, count < 1 ? 0 : Math.floor(Math.log2(count) / 10));
  const value = count / 1024 ** place;
  return `${place === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[place]}`;
}

/** A length of time, in its largest unit. */
export function span(seconds: number): string {
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < MINUTE) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  if (seconds < HOUR) return `${Math.floor(seconds / MINUTE)} min`;
  if (seconds < 2 * DAY) return `${Math.floor(seconds / HOUR)} h`;
  return `${Math.floor(seconds / DAY)} days`;
}

/** `2026-05-04 10:11:12.345` in UTC: as logs and tables say it. */
export function instant(at: string | number | null): string {
  if (at === null) return '–';
  const date = new Date(at);
  return Number.isNaN(date.getTime()) ? String(at) : date.toISOString().replace('T', ' ').replace(/Z$/, '');
}

/** To the second. */
export const moment = (at: string | number | null): string => instant(at).replace(/\.\d+$/, '');
