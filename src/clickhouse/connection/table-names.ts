/** Names of tables and views as ClickHouse writes them, and where its messages name a view. */

import { quoted } from './quoting.ts';

export type TableName = { readonly database: string; readonly table: string };

/** A name, quoted with backticks where necessary; other quotes hold values of rows. */
const NAME = '(?:`(?:[^`\'"\\\\\\n]|\\\\[`\\\\]){1,200}`|[\\w.-]){1,400}';
const PUSHING = `: while pushing to view ${NAME}(?: \\([0-9a-f-]{36}\\))?`;
const ENDING = '\\. \\([A-Z0-9_]+\\)(?: \\(version [^\\n()]*(?:\\([^\\n()]*\\))?\\))?\\s*$';

/**
 * Views at the end of a message, behind everything that may quote a row: the one that failed, then those that feed it.
 */
const VIEWS_AT_END = new RegExp(`((?:${PUSHING})+)${ENDING}`);
const FIRST_VIEW = new RegExp(`^: while pushing to view (${NAME})`);
/** ClickHouse raises this before it reads any row. It names the missing table where a view would be named. */
const TARGET_GONE = new RegExp(`^Code: 60\\. DB::Exception: Target table '(${NAME})' of view '`);

/** The view that an insert failed in, as ClickHouse writes it. */
export function failedView(text: string): string | null {
  const views = VIEWS_AT_END.exec(text)?.[1];
  return views === undefined ? null : (FIRST_VIEW.exec(views)?.[1] ?? null);
}

/** The missing table that a view should write to, as ClickHouse writes it. */
export const missingTarget = (text: string): string | null => TARGET_GONE.exec(text)?.[1] ?? null;

/** Splits a written name; null when it is not `database.table`. */
export function parseName(written: string): TableName | null {
  const parts = [...written.matchAll(/`((?:[^`\\]|\\.)*)`|([\w-]+)/g)];
  const [database, table] = parts.map(([, quoted, plain]) => plain ?? quoted!.replaceAll(/\\(.)/g, '$1'));
  return database === undefined || table === undefined || parts.length > 2 ? null : { database, table };
}

/** For display and as a key: quoted only where necessary. */
export const formatName = ({ database, table }: TableName): string =>
  [database, table].map((name) => (/^\w+$/.test(name) ? name : quoted(name))).join('.');
