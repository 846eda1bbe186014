import { idsOf } from '../event/rows.ts';
import { isUuid } from '../event/uuid.ts';

/** Whether a row is chosen, by its place from 0. */
export type RowChoice = (row: Buffer, place: number) => boolean;

/** Reads `1,4-6`: rows and ranges of rows, counted from 1, and event ids. Null for any other text. */
export function parseRowChoice(text: string): RowChoice | null {
  const choices = text.split(',').map((part) => parseItem(part.trim()));
  return choices.every((choice) => choice !== null)
    ? (row, place) => choices.some((isMeant) => isMeant(row, place))
    : null;
}

function parseItem(item: string): RowChoice | null {
  if (isUuid(item)) return (row) => idsOf(row)?.eventId === item.toLowerCase();
  const [, first, last = first] = /^([1-9]\d{0,8})(?:-([1-9]\d{0,8}))?$/.exec(item) ?? [];
  if (first === undefined) return null;
  return (_, place) => place + 1 >= Number(first) && place + 1 <= Number(last);
}
