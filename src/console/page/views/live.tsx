/** Events as they are accepted: a sample of them when they are many. */
import { useState } from 'preact/hooks';
import type { LiveEvent } from '../../watch/answers.ts';
import { session } from '../parts/api.ts';
import { Nothing, Status } from '../parts/feedback.tsx';
import { Field } from '../parts/form.tsx';
import { linkTo } from '../parts/route.ts';
import { type Column, Table } from '../parts/table.tsx';
import { counted, grouped, instant, rate } from '../parts/words.ts';
import { type LiveFilter, type LiveView, NO_FILTER, useLive } from './live-events.ts';

export function Live() {
  const [filter, setFilter] = useState(NO_FILTER);
  const [isPaused, setPaused] = useState(false);
  const view = useLive(filter, isPaused);
  const { events, ended, isOpen } = view;
  return (
    <>
      <h1>Live</h1>
      <Filter apply={setFilter} />
      <div class="line">
        <button type="button" onClick={() => setPaused(!isPaused)}>
          {isPaused ? 'Go on' : 'Pause'}
        </button>
        <span role="status">
          <Status tone={isPaused ? 'calm' : isOpen ? 'good' : 'warn'}>
            {isPaused ? 'paused' : isOpen ? 'listening' : (ended ?? 'connecting')}
          </Status>
        </span>
        <Counts view={view} />
      </div>
      {events.length === 0 ? (
        <Nothing>Nothing has come since this page was opened.</Nothing>
      ) : (
        <Table
          caption="Events, newest first"
          rows={events}
          keyOf={({ id, at }, place) => `${id} ${at} ${place}`}
          columns={columnsOf(view)}
        />
      )}
    </>
  );
}

/** How much of everything is seen here. */
function Counts({ view: { shown, matched, unexamined, rates } }: { view: LiveView }) {
  return (
    <span class="quiet">
      {grouped(shown)} of {counted(matched, 'event')} shown
      {unexamined > 0 && `; ${grouped(unexamined)} more passed too fast to be looked at`}
      {rates && `; ${rate(rates.rates.accepted)} accepted a second`}
    </span>
  );
}

function columnsOf({ steps }: LiveView): Column<LiveEvent>[] {
  const columns: Column<LiveEvent>[] = [
    { title: 'Accepted (UTC)', cell: ({ at }) => instant(at) },
    { title: 'Event', cell: ({ event }) => event ?? <span class="quiet">hidden</span> },
    { title: 'User', cell: ({ distinctId }) => distinctId ?? '–' },
    {
      title: 'Id',
      cell: ({ id, projectId }) => (
        <a class="mono" href={linkTo(['find'], { id, project: projectId })}>
          {id}
        </a>
      ),
    },
    { title: 'Now', cell: ({ id }) => steps.get(id) ?? 'accepted' },
  ];
  if (session.value?.showsEvents) {
    columns.push({ title: 'Properties', cell: ({ properties }) => <code>{asText(properties)}</code> });
  }
  return columns;
}

const asText = (properties: unknown) =>
  properties === undefined ? '–' : typeof properties === 'string' ? properties : JSON.stringify(properties);

function Filter({ apply }: { apply: (filter: LiveFilter) => void }) {
  const [filter, setFilter] = useState(NO_FILTER);
  const field = (name: keyof LiveFilter, label: string) => (
    <Field label={label} value={filter[name]} change={(value) => setFilter({ ...filter, [name]: value.trim() })} />
  );
  return (
    <form
      class="line"
      onSubmit={(event) => {
        event.preventDefault();
        apply(filter);
      }}
    >
      {field('event', 'Event name')}
      {field('user', 'User')}
      {field('id', 'Event id')}
      {field('project', 'Project id')}
      <button type="submit">Filter</button>
    </form>
  );
}
