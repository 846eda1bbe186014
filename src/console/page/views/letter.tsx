/** One dead letter: why it was not taken, its events beside the table's columns, what would mend it. */
import { get } from '../parts/api.ts';
import { Nothing, Problem, Status, Waiting } from '../parts/feedback.tsx';
import { Jobs } from '../parts/jobs.tsx';
import { useLoaded } from '../parts/load.ts';
import { linkTo } from '../parts/route.ts';
import { bytes, grouped, moment } from '../parts/words.ts';
import type { Letter } from '../../operator/answers.ts';
import { LETTER_JOBS, LetterActions } from './letter-actions.tsx';
import { LetterAudit } from './letter-audit.tsx';
import { LETTER_TONES } from './letter-list.tsx';
import { LetterRows } from './letter-rows.tsx';

const EVERY_MS = 3_000;
const GONE = 404;

export function LetterView({ id }: { id: string }) {
  const { value, error, reload } = useLoaded(
    id,
    (signal) => get<Letter>(`/letters/${encodeURIComponent(id)}`, {}, { signal }),
    { everyMs: EVERY_MS },
  );
  const isGone = error?.status === GONE;
  return (
    <>
      <p>
        <a href={linkTo(['letters'])}>All dead letters</a>
        {value && (
          <>
            {' · '}
            <a href={linkTo(['letters', 'group', value.group])}>All with this cause</a>
          </>
        )}
      </p>
      <h1>
        Dead letter <span class="mono">{id}</span>
      </h1>
      <Jobs kinds={LETTER_JOBS} />
      {isGone ? (
        <Nothing>It is no dead letter any more. What happened to it stands below.</Nothing>
      ) : (
        <Problem error={error} retry={reload} />
      )}
      {value === null && error === null && <Waiting what="Opening …" />}
      {value !== null && !isGone && <Opened letter={value} />}
      <h2>What was done to it</h2>
      <LetterAudit key={isGone ? 'gone' : value?.attemptCount} letter={id} />
    </>
  );
}

function Opened({ letter }: { letter: Letter }) {
  return (
    <>
      <section class="panel" aria-label="Why it was not taken">
        <p>
          <Status tone={LETTER_TONES[letter.state]}>{letter.state}</Status> <b>{letter.lastError}</b>
        </p>
        <dl class="facts">
          <dt>Events</dt>
          <dd>
            {grouped(letter.eventCount)} ({bytes(letter.rawBytes)})
          </dd>
          <dt>Kind</dt>
          <dd>{[letter.errorClass, letter.errorCode].filter(Boolean).join(' ')}</dd>
          <dt>Projects</dt>
          <dd>
            {letter.projectIds.map((project) => (
              <a key={project} class="mono" href={linkTo(['projects', project])}>
                {project}{' '}
              </a>
            ))}
          </dd>
          <dt>Created</dt>
          <dd>{moment(letter.createdAt)} UTC</dd>
          <dt>Tries</dt>
          <dd>
            {grouped(letter.attemptCount)}
            {letter.lastAttemptAt !== null && `, the last ${moment(letter.lastAttemptAt)} UTC`}
          </dd>
          <dt>Next try</dt>
          <dd>
            {letter.state === 'quarantined'
              ? `never: ${letter.quarantineReason ?? ''}`
              : `${moment(letter.visibleAt)} UTC`}
          </dd>
        </dl>
      </section>
      <LetterActions selection={{ by: 'ids', ids: [letter.id] }} />
      <LetterRows key={letter.id} id={letter.id} total={letter.eventCount} />
    </>
  );
}
