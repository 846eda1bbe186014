/** The events of a dead letter, each beside the columns of the table. */
import { get } from '../parts/api.ts';
import { Problem, Waiting } from '../parts/feedback.tsx';
import { Copyable } from '../parts/form.tsx';
import { useLoaded } from '../parts/load.ts';
import { Pager, usePages } from '../parts/table.tsx';
import type { LetterRow } from '../parts/expected.ts';

const PAGE = 5;

export function LetterRows({ id }: { id: string }) {
  const pages = usePages();
  const { value, error, reload } = useLoaded(`${id} ${pages.after}`, (signal) =>
    get<{ rows: readonly LetterRow[]; next: string | null }>(
      `/letters/${encodeURIComponent(id)}/rows`,
      { limit: PAGE, after: pages.after },
      { signal },
    ),
  );
  return (
    <section aria-label="Events">
      <h2>Its events beside the table’s columns</h2>
      <Problem error={error} retry={reload} />
      {value === null && error === null && <Waiting what="Decoding …" />}
      {value?.rows.map((row) => (
        <Row key={row.row} row={row} />
      ))}
      {value && <Pager pages={pages} next={value.next} what="its events" />}
    </section>
  );
}

function Row({ row: { row, members, refusal, mend } }: { row: LetterRow }) {
  const name = `Event ${row + 1}`;
  return (
    <article class="panel" aria-label={name}>
      <h3>{name}</h3>
      {refusal && (
        <p class="bad-text">
          Refused{refusal.code === null ? '' : ` (${refusal.code})`}: {refusal.message}
        </p>
      )}
      {mend !== null && (
        <>
          <p>This statement would mend the table, so that it is taken:</p>
          <Copyable text={mend} what="statement" />
        </>
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
            {members.map(({ column, type, value, isOffending }) => (
              <tr key={column} class={isOffending ? 'marked' : undefined}>
                <th scope="row">{column}</th>
                <td>{type ?? '–'}</td>
                <td>
                  <code>{value ?? '–'}</code>
                  {isOffending && <b> ← refused because of this</b>}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </article>
  );
}
