/** A page of dead letters. */
import { get } from '../parts/api.ts';
import { Nothing, Problem, Status, type Tone, Waiting } from '../parts/feedback.tsx';
import { endedJobs } from '../parts/jobs.tsx';
import { useLoaded } from '../parts/load.ts';
import { linkTo } from '../parts/route.ts';
import { Pager, Table, usePages } from '../parts/table.tsx';
import { grouped, moment } from '../parts/words.ts';
import type { LetterPage } from '../../operator/answers.ts';

/** Which letters are listed; nothing means all. */
export type LetterFilter = { readonly state?: string; readonly group?: string; readonly project?: string };

const PAGE = 50;
const EVERY_MS = 5_000;

export const LETTER_TONES: Readonly<Record<LetterPage['letters'][number]['state'], Tone>> = {
  waiting: 'calm',
  replaying: 'good',
  quarantined: 'warn',
};

export function LetterList({ filter }: { filter: LetterFilter }) {
  const pages = usePages();
  // What a job has done shows at once.
  const { value, error, reload } = useLoaded(
    JSON.stringify([filter, pages.after, endedJobs()]),
    (signal) => get<LetterPage>('/letters', { ...filter, limit: PAGE, after: pages.after }, { signal }),
    { everyMs: EVERY_MS },
  );
  if (value === null) return error === null ? <Waiting what="Listing …" /> : <Problem error={error} retry={reload} />;
  if (value.letters.length === 0 && pages.after === null && value.next === null)
    return <Nothing>There are no such dead letters.</Nothing>;
  return (
    <>
      <Problem error={error} />
      <Table
        caption="Dead letters, oldest first"
        rows={value.letters}
        keyOf={({ id }) => id}
        columns={[
          {
            title: 'Letter',
            cell: ({ id }) => (
              <a class="mono" href={linkTo(['letters', 'letter', id])}>
                {id}
              </a>
            ),
          },
          { title: 'State', cell: ({ state }) => <Status tone={LETTER_TONES[state]}>{state}</Status> },
          { title: 'Events', cell: ({ eventCount }) => grouped(eventCount), isNumber: true },
          { title: 'Tries', cell: ({ attemptCount }) => grouped(attemptCount), isNumber: true },
          { title: 'Cause', cell: ({ lastError }) => lastError },
          { title: 'Created (UTC)', cell: ({ createdAt }) => moment(createdAt) },
          {
            title: 'Next try (UTC)',
            cell: ({ state, visibleAt }) => (state === 'quarantined' ? 'never' : moment(visibleAt)),
          },
        ]}
      />
      <Pager pages={pages} next={value.next} what="dead letters" />
    </>
  );
}
