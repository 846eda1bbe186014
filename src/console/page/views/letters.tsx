/** Dead letters: their causes, then those of one cause, then one of them. */
import type { ComponentChildren } from 'preact';
import { get } from '../parts/api.ts';
import { Nothing, Problem, Waiting } from '../parts/feedback.tsx';
import { Choice } from '../parts/form.tsx';
import { Jobs, endedJobs } from '../parts/jobs.tsx';
import { useLoaded } from '../parts/load.ts';
import { goTo, linkTo, route } from '../parts/route.ts';
import { Table } from '../parts/table.tsx';
import { about, bytes, moment } from '../parts/words.ts';
import type { LetterGroups, LetterSelection, LetterStats } from '../../operator/answers.ts';
import { LetterActions, LETTER_JOBS } from './letter-actions.tsx';
import { LetterAudit } from './letter-audit.tsx';
import { LetterList, type LetterFilter } from './letter-list.tsx';
import { LetterView } from './letter.tsx';

/** Counting many letters is work. */
const EVERY_MS = 15_000;

export function Letters({ path: [kind, id] }: { path: readonly string[] }) {
  if (kind === 'group' && id !== undefined) return <Group id={id} />;
  if (kind === 'letter' && id !== undefined) return <LetterView id={id} />;
  if (kind === 'project' && id !== undefined) return <OfProject id={id} />;
  if (kind === 'quarantined') return <Quarantined />;
  if (kind === 'audit') return <LetterAudit letter={null} />;
  return <Overview />;
}

function Overview() {
  const stats = useLoaded(`stats ${endedJobs()}`, (signal) => get<LetterStats>('/letters/stats', {}, { signal }), {
    everyMs: EVERY_MS,
  });
  return (
    <>
      <h1>Dead letters</h1>
      <p class="quiet">
        Batches that the event store did not take. Weir replays those that wait by itself; what is in quarantine waits
        for a decision. <a href={linkTo(['letters', 'audit'])}>What was done to dead letters, and by whom</a>
      </p>
      <Jobs kinds={LETTER_JOBS} />
      <Problem error={stats.error} />
      {stats.value && <Totals stats={stats.value} />}
      <Groups />
      <h2>Letters, oldest first</h2>
      <Filtered />
    </>
  );
}

function Totals({ stats: { byState, oldestAt, isEstimate } }: { stats: LetterStats }) {
  return (
    <dl class="grid">
      {(['waiting', 'replaying', 'quarantined'] as const).map((state) => (
        <div class="figure" key={state}>
          <dt>{state}</dt>
          <dd>
            {about(byState[state].letters, isEstimate)} <small>letters</small>
            <br />
            <small>
              {about(byState[state].events, isEstimate)} events, {bytes(byState[state].bytes)}
            </small>
          </dd>
        </div>
      ))}
      <div class="figure">
        <dt>oldest that is still replayed</dt>
        <dd>
          <small>{oldestAt === null ? 'none' : `${moment(oldestAt)} UTC`}</small>
        </dd>
      </div>
    </dl>
  );
}

function Groups() {
  const { value, error, reload } = useLoaded(
    `groups ${endedJobs()}`,
    (signal) => get<LetterGroups>('/letters/groups', {}, { signal }),
    { everyMs: EVERY_MS },
  );
  return (
    <section aria-label="Causes">
      <h2>Why they were not taken</h2>
      <Problem error={error} retry={reload} />
      {value === null && error === null && <Waiting what="Looking for the causes …" />}
      {value?.groups.length === 0 && <Nothing>There are no dead letters: every event was taken.</Nothing>}
      {value !== null && value.groups.length > 0 && (
        <Table
          caption="Causes of dead letters, largest first"
          rows={value.groups}
          keyOf={({ group }) => group}
          columns={[
            {
              title: 'Cause',
              cell: ({ group, lastError }) => <a href={linkTo(['letters', 'group', group])}>{lastError}</a>,
            },
            { title: 'Kind', cell: ({ errorClass, errorCode }) => [errorClass, errorCode].filter(Boolean).join(' ') },
            { title: 'Letters', cell: ({ letters, isEstimate }) => about(letters, isEstimate), isNumber: true },
            { title: 'Events', cell: ({ events, isEstimate }) => about(events, isEstimate), isNumber: true },
            { title: 'Waiting', cell: ({ waiting, isEstimate }) => about(waiting, isEstimate), isNumber: true },
            {
              title: 'Quarantined',
              cell: ({ quarantined, isEstimate }) => about(quarantined, isEstimate),
              isNumber: true,
            },
            { title: 'First (UTC)', cell: ({ firstSeen }) => moment(firstSeen) },
            { title: 'Last (UTC)', cell: ({ lastSeen }) => moment(lastSeen) },
          ]}
        />
      )}
    </section>
  );
}

const STATES = [
  { value: '', text: 'every state' },
  { value: 'waiting', text: 'waiting' },
  { value: 'quarantined', text: 'quarantined' },
];

function Filtered() {
  const { query } = route.value;
  const state = query.get('state') ?? '';
  return (
    <>
      <div class="line">
        <Choice
          label="State"
          value={state}
          options={STATES}
          change={(value) => goTo(['letters'], value === '' ? {} : { state: value })}
        />
        <a class="button" href={linkTo(['letters', 'quarantined'])}>
          Everything in quarantine
        </a>
      </div>
      <LetterList key={state} filter={state === '' ? {} : { state }} />
    </>
  );
}

function Group({ id }: { id: string }) {
  const { value } = useLoaded(id, (signal) => get<LetterGroups>('/letters/groups', {}, { signal }), {
    everyMs: EVERY_MS,
  });
  const group = value?.groups.find(({ group }) => group === id);
  return (
    <Selected title="Dead letters with one cause" selection={{ by: 'group', group: id }} filter={{ group: id }}>
      {value !== null && group === undefined && (
        <Nothing>No dead letter has this cause any more: they landed, or were discarded.</Nothing>
      )}
      {group && (
        <section class="panel" aria-label="Cause">
          <p>
            <b>{group.lastError}</b>
          </p>
          <dl class="facts">
            <dt>Kind</dt>
            <dd>{[group.errorClass, group.errorCode].filter(Boolean).join(' ')}</dd>
            <dt>Letters</dt>
            <dd>
              {about(group.letters, group.isEstimate)} with {about(group.events, group.isEstimate)} events:{' '}
              {about(group.waiting, group.isEstimate)} waiting, {about(group.quarantined, group.isEstimate)} quarantined
            </dd>
            <dt>First, last</dt>
            <dd>
              {moment(group.firstSeen)}, {moment(group.lastSeen)} UTC
            </dd>
          </dl>
        </section>
      )}
    </Selected>
  );
}

const OfProject = ({ id }: { id: string }) => (
  <Selected title="Dead letters of a project" selection={{ by: 'project', projectId: id }} filter={{ project: id }} />
);

const Quarantined = () => (
  <Selected title="In quarantine" selection={{ by: 'quarantined' }} filter={{ state: 'quarantined' }} />
);

function Selected({
  title,
  selection,
  filter,
  children,
}: {
  title: string;
  selection: LetterSelection;
  filter: LetterFilter;
  children?: ComponentChildren;
}) {
  return (
    <>
      <p>
        <a href={linkTo(['letters'])}>All dead letters</a>
      </p>
      <h1>{title}</h1>
      {children}
      <LetterActions selection={selection} />
      <Jobs kinds={LETTER_JOBS} />
      <LetterList filter={filter} />
    </>
  );
}
