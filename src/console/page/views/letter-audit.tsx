/** What was done to dead letters, and by whom. */
import { get } from '../parts/api.ts';
import { Nothing, Problem, Waiting } from '../parts/feedback.tsx';
import { useLoaded } from '../parts/load.ts';
import { linkTo } from '../parts/route.ts';
import { Pager, Table, usePages } from '../parts/table.tsx';
import { grouped, moment } from '../parts/words.ts';
import type { AuditPage } from '../../operator/answers.ts';

const PAGE = 50;

/** Of one letter, or of all: then as a page of its own. */
export function LetterAudit({ letter }: { letter: string | null }) {
  const pages = usePages();
  const { value, error, reload } = useLoaded(`${letter} ${pages.after}`, (signal) =>
    get<AuditPage>('/letters/audit', { letter, limit: PAGE, after: pages.after }, { signal }),
  );
  return (
    <>
      {letter === null && (
        <>
          <p>
            <a href={linkTo(['letters'])}>All dead letters</a>
          </p>
          <h1>What was done to dead letters</h1>
        </>
      )}
      <Problem error={error} retry={reload} />
      {value === null && error === null && <Waiting what="Reading the audit …" />}
      {value?.entries.length === 0 && <Nothing>Nobody did anything to it.</Nothing>}
      {value !== null && value.entries.length > 0 && (
        <Table
          caption="Audit of dead letters, newest first"
          rows={value.entries}
          keyOf={({ id }) => String(id)}
          columns={[
            { title: 'At (UTC)', cell: ({ at }) => moment(at) },
            { title: 'By', cell: ({ actor }) => actor },
            { title: 'Did', cell: ({ action }) => action },
            { title: 'Events', cell: ({ eventCount }) => grouped(eventCount), isNumber: true },
            { title: 'Detail', cell: ({ detail }) => <code>{JSON.stringify(detail)}</code> },
          ]}
        />
      )}
      {value && <Pager pages={pages} next={value.next} what="the audit" />}
    </>
  );
}
