/** The questions of docs/QUERIES.md, which is the only place where they are written. */
import { readFileSync } from 'node:fs';
import type { EventStoreName } from '../../pipeline/storage-port.ts';
import { fileOfRoot } from '../../runtime/own-files.ts';

export type Recipe = {
  /** The heading of the part that it is in. */
  readonly chapter: string;
  readonly title: string;
  /** What stands between heading and SQL; empty where nothing does. */
  readonly description: string;
  readonly sql: string;
};

/** The headings of recipes: those of ClickHouse's SQL have three signs, those of Postgres's four. */
const LEVELS: Readonly<Record<EventStoreName, string>> = { ClickHouse: '###', Postgres: '####' };

/** The recipes in the SQL of the store, in the order of the document. */
export function recipesFor(store: EventStoreName, text: string): Recipe[] {
  const level = LEVELS[store];
  const parts = text.split(new RegExp(`^(?=#{2,${level.length}} )`, 'm'));
  let chapter = '';
  return parts.flatMap((part) => {
    const [, signs, title = ''] = /^(#+) (.+)/.exec(part) ?? [];
    if (signs !== undefined && signs.length < level.length) chapter = title;
    if (signs !== level) return [];
    const [, description = '', sql] = /^[^\n]+\n\n([^]*?)```sql\n([^`]+)```/.exec(part) ?? [];
    return sql === undefined ? [] : [{ chapter, title, description: description.trim(), sql: sql.trim() }];
  });
}

/** None where the document is not there: it is a comfort. */
export function readRecipes(store: EventStoreName): Recipe[] {
  try {
    return recipesFor(store, readFileSync(fileOfRoot('docs/QUERIES.md'), 'utf8'));
  } catch {
    // An installation without documents.
    return [];
  }
}
