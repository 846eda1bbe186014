/** Tables, which scroll by themselves where the page is narrow, and the pages of long lists. */
import type { ComponentChildren } from 'preact';
import { useState } from 'preact/hooks';

export type Column<Row> = {
  readonly title: string;
  readonly cell: (row: Row) => ComponentChildren;
  /** Numbers stand to the right. */
  readonly isNumber?: boolean;
};

/** `caption` says what the table holds to those who cannot see it. */
export function Table<Row>({
  caption,
  columns,
  rows,
  keyOf,
}: {
  caption: string;
  columns: readonly Column<Row>[];
  rows: readonly Row[];
  keyOf: (row: Row, place: number) => string;
}) {
  return (
    <div class="scroll" role="region" aria-label={caption} tabIndex={0}>
      <table>
        <caption class="unseen">{caption}</caption>
        <thead>
          <tr>
            {columns.map(({ title, isNumber }) => (
              <th key={title} scope="col" class={isNumber ? 'number' : undefined}>
                {title}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row, place) => (
            <tr key={keyOf(row, place)}>
              {columns.map(({ title, cell, isNumber }) => (
                <td key={title} class={isNumber ? 'number' : undefined}>
                  {cell(row)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

export type Pages = {
  /** Where this page begins; null for the first. */
  readonly after: string | null;
  readonly number: number;
  forward(next: string): void;
  back(): void;
  first(): void;
};

/** The pages of a list that continues after a key. */
export function usePages(): Pages {
  const [path, setPath] = useState<readonly string[]>([]);
  return {
    after: path.at(-1) ?? null,
    number: path.length + 1,
    forward: (next) => setPath([...path, next]),
    back: () => setPath(path.slice(0, -1)),
    first: () => setPath([]),
  };
}

/** Nothing where one page holds the list. */
export function Pager({ pages, next, what }: { pages: Pages; next: string | null; what: string }) {
  if (pages.after === null && next === null) return null;
  return (
    <nav class="pager" aria-label={`Pages of ${what}`}>
      <button type="button" disabled={pages.after === null} onClick={pages.back}>
        Previous page
      </button>
      <span aria-live="polite">Page {pages.number}</span>
      <button type="button" disabled={next === null} onClick={() => next !== null && pages.forward(next)}>
        Next page
      </button>
    </nav>
  );
}
