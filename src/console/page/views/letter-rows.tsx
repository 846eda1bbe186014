/** The events of a dead letter, each beside the columns of the table, and why the store refuses it. */
import { useState } from 'preact/hooks';
import type { LetterRows as Rows } from '../../operator/answers.ts';
import { get } from '../parts/api.ts';
import { Nothing, Problem, Status, Waiting } from '../parts/feedback.tsx';
import { Choice, Copyable } from '../parts/form.tsx';
import { useLoaded } from '../parts/load.ts';
import { mayChange } from '../parts/session.ts';
import { Pager, type Pages, usePages } from '../parts/table.tsx';
import { counted, grouped } from '../parts/words.ts';
import { type Chosen, toggled } from './chosen-rows.ts';
import { ReplayChosen } from './row-choice.tsx';
import { linesOf } from './row-lines.ts';

const PAGE = 5;
const WHICH = [
  { value: 'true', text: 'the refused ones' },
  { value: 'false', text: 'all of them' },
];

export function LetterRows({ id, total }: { id: string; total: number }) {
  const [refused, setRefused] = useState('true');
  const [chosen, setChosen] = useState<Chosen>(new Set());
  const toggle = (place: number) => setChosen((before) => toggled(before, place));
  return (
    <section aria-label="Events">
      <h2>Its events beside the table’s columns</h2>
      <Choice label="Events shown" value={refused} options={WHICH} change={setRefused} />
      <PageOfRows key={refused} id={id} refused={refused} choice={{ chosen, toggle }} />
      {mayChange() && total > 1 && <ReplayChosen id={id} total={total} chosen={chosen} />}
    </section>
  );
}

type RowChoice = { readonly chosen: Chosen; readonly toggle: (place: number) => void };

function PageOfRows({ id, refused, choice }: { id: string; refused: string; choice: RowChoice }) {
  const pages = usePages();
  const { value, error, reload } = useLoaded(`${id} ${pages.after}`, (signal) =>
    get<Rows>(`/letters/${encodeURIComponent(id)}/rows`, { limit: PAGE, after: pages.after, refused }, { signal }),
  );
  if (value === null) {
    return error === null ? <Waiting what="Asking the event store …" /> : <Problem error={error} retry={reload} />;
  }
  return <Explained found={value} pages={pages} again={reload} choice={choice} />;
}

function Explained({
  found,
  pages,
  again,
  choice,
}: {
  found: Rows;
  pages: Pages;
  again: () => void;
  choice: RowChoice;
}) {
  return (
    <>
      <div class="line">
        <span role="status">
          {found.isComplete === null
            ? `The event store could not be asked: ${found.why ?? ''}`
            : `Today the event store refuses ${grouped(found.refused)} of ${counted(found.total, 'event')}.`}
          {found.isComplete === false && ' Not every event could be looked at.'}
        </span>
        <button type="button" onClick={again}>
          Ask again
        </button>
      </div>
      {found.refusals.map((refusal) => (
        <Refusal key={refusal.message} refusal={refusal} />
      ))}
      {found.drift.map(({ table, problem, remedy }) => (
        <section class="panel" key={table + problem} aria-label={`Difference of ${table}`}>
          <p>
            {table}: {problem}
          </p>
          <Copyable text={remedy} what="remedy" />
        </section>
      ))}
      {found.rows.length === 0 && (
        <Nothing>
          {found.isComplete && found.refused === 0
            ? 'No event of it is refused: replay it, and they are stored.'
            : 'Which of its events are refused is not known now: choose “all of them” to see them.'}
        </Nothing>
      )}
      {found.rows.map((row) => (
        <Row key={row.place} row={row} found={found} choice={choice} />
      ))}
      <Pager pages={pages} next={found.next} what="its events" />
    </>
  );
}

type RefusalOf = Rows['refusals'][number];

function Refusal({ refusal: { message, isOrdinaryRefused, statement } }: { refusal: RefusalOf }) {
  return (
    <section class="panel" aria-label="Why it is refused">
      <p>
        <Status tone="bad">refused</Status> {message}
      </p>
      {isOrdinaryRefused && (
        <p>An ordinary event is refused as well: it is the table that has to change, not the events.</p>
      )}
      {statement !== null && (
        <>
          <p>This statement makes the table take it. Run it with the event store’s own client:</p>
          <Copyable text={statement} what="statement" />
        </>
      )}
    </section>
  );
}

function Row({
  row,
  found,
  choice: { chosen, toggle },
}: {
  row: Rows['rows'][number];
  found: Rows;
  choice: RowChoice;
}) {
  const name = `Event ${row.place + 1}`;
  const refusal = row.refusal === null ? null : (found.refusals[row.refusal] ?? null);
  return (
    <article class="panel" aria-label={name}>
      <h3>
        {name} <code>{row.eventId}</code> {refusal && <Status tone="bad">refused</Status>}
      </h3>
      {refusal && <p class="bad-text">{refusal.message}</p>}
      {mayChange() && found.total > 1 && (
        <label>
          <input type="checkbox" checked={chosen.has(row.place)} onChange={() => toggle(row.place)} /> Choose{' '}
          <span class="unseen">{name} </span>to replay it
        </label>
      )}
      <div class="scroll" role="region" aria-label={`${name}, member by member`} tabIndex={0}>
        <table>
          <thead>
            <tr>
              <th scope="col">Column</th>
              <th scope="col">Type</th>
              <th scope="col">In the event</th>
            </tr>
          </thead>
          <tbody>
            {linesOf(row.row, found.columns, refusal).map(({ name: column, type, value, isMarked }) => (
              <tr key={column} class={isMarked ? 'marked' : undefined}>
                <th scope="row">{column}</th>
                <td>{type ?? '–'}</td>
                <td>
                  <code>{value ?? '–'}</code>
                  {isMarked && <b> ← refused because of this</b>}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </article>
  );
}
