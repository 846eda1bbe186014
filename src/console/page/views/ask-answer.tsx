/** What a question was answered: a table, a curve where there is one in it, and a file. */
import { useMemo, useState } from 'preact/hooks';
import { Chart } from '../parts/chart.tsx';
import { Nothing } from '../parts/feedback.tsx';
import { Table } from '../parts/table.tsx';
import { counted, grouped, short, span } from '../parts/words.ts';
import type { QueryAnswer } from '../../operator/answers.ts';
import { type Cell, csvOf, curvesOf } from './answer-shapes.ts';

const SHOWN = 100;
const MS = 1000;

export function Answered({ answer }: { answer: QueryAnswer }) {
  const { columns, stats } = answer;
  const rows = answer.rows as readonly Cell[][];
  const [page, setPage] = useState(0);
  const curves = useMemo(() => curvesOf(answer), [answer]);
  const pages = Math.ceil(rows.length / SHOWN);
  return (
    <section aria-label="Answer">
      <div class="line">
        <span role="status">
          {counted(rows.length, 'row')} in {span(stats.elapsed_ms / MS)}
          {stats.truncated && '. There were more: the answer ends at its limit.'}
        </span>
        <button type="button" onClick={() => download(csvOf(answer))}>
          Download CSV
        </button>
      </div>
      {curves && (
        <div class="panel">
          <Chart title={curves.title} times={curves.times} curves={curves.curves} show={short} />
        </div>
      )}
      {rows.length === 0 ? (
        <Nothing>No row answers this question.</Nothing>
      ) : (
        <Table
          caption="Answer"
          rows={rows.slice(page * SHOWN, (page + 1) * SHOWN)}
          keyOf={(_, place) => String(place)}
          columns={columns.map(({ name }, place) => ({
            title: name,
            cell: (row: readonly Cell[]) => cellOf(row[place] ?? null),
            isNumber: typeof rows[0]?.[place] === 'number',
          }))}
        />
      )}
      {pages > 1 && (
        <nav class="pager" aria-label="Pages of the answer">
          <button type="button" disabled={page === 0} onClick={() => setPage(page - 1)}>
            Previous rows
          </button>
          <span aria-live="polite">
            Rows {grouped(page * SHOWN + 1)} to {grouped(Math.min(rows.length, (page + 1) * SHOWN))}
          </span>
          <button type="button" disabled={page === pages - 1} onClick={() => setPage(page + 1)}>
            Next rows
          </button>
        </nav>
      )}
    </section>
  );
}

const cellOf = (value: Cell) =>
  value === null ? <span class="quiet">NULL</span> : typeof value === 'object' ? JSON.stringify(value) : String(value);

function download(csv: string): void {
  const address = URL.createObjectURL(new Blob([csv], { type: 'text/csv' }));
  const link = Object.assign(document.createElement('a'), { href: address, download: 'answer.csv' });
  link.click();
  URL.revokeObjectURL(address);
}
