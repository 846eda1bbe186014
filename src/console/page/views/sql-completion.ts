/** Which names complete what is being written. */
import type { ProjectSchema } from '../../operator/answers.ts';

export type Completion = { readonly text: string; readonly about: string };

const OFFERED = 8;
/** Words that begin with less would be too many. */
const SHORTEST = 1;

/** The word, or the beginning of a text in quotes, that ends at the caret. */
export function wordBefore(sql: string, caret: number): string {
  return /('[^']*|[\w.]+)$/.exec(sql.slice(0, caret))?.[0] ?? '';
}

/** At most eight, the best first: tables, then columns; names of events within quotes. */
export function completionsOf(schema: ProjectSchema, sql: string, caret: number): Completion[] {
  const word = wordBefore(sql, caret);
  if (word.replace("'", '').length < SHORTEST) return [];
  const all = word.startsWith("'") ? eventsOf(schema) : namesOf(schema);
  const sought = word.toLowerCase();
  const found = all.filter(({ text }) => text.toLowerCase().startsWith(sought) && text !== word);
  const once = found.filter(({ text }, place) => found.findIndex((other) => other.text === text) === place);
  return once.slice(0, OFFERED);
}

const eventsOf = ({ events }: ProjectSchema): Completion[] =>
  events.map((name) => ({ text: `'${name.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`, about: 'event' }));

function namesOf({ tables }: ProjectSchema): Completion[] {
  const columns = tables.flatMap(({ name: table, columns }) =>
    columns.map(({ name, type }) => ({ text: name, about: `${type}, of ${table}` })),
  );
  return [...tables.map(({ name }) => ({ text: name, about: 'table' })), ...columns];
}
