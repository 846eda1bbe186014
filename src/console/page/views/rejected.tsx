/** Rejected events: what clients sent that is no event, as far as it was kept. */
import { useState } from 'preact/hooks';
import { get } from '../parts/api.ts';
import { Confirm } from '../parts/dialog.tsx';
import { Nothing, Problem, Waiting } from '../parts/feedback.tsx';
import { Field } from '../parts/form.tsx';
import { Jobs, begin, endedJobs } from '../parts/jobs.tsx';
import { useLoaded } from '../parts/load.ts';
import { goTo, linkTo, route } from '../parts/route.ts';
import { mayChange } from '../parts/session.ts';
import { Pager, Table, usePages } from '../parts/table.tsx';
import { bytes, moment } from '../parts/words.ts';
import type { RejectedEvent, RejectedPage } from '../../operator/answers.ts';

const PAGE = 50;
const EVERY_MS = 5_000;
const JOBS = ['replay rejected'] as const;

type Filter = { readonly project?: string; readonly door?: string; readonly kind?: string };

export function Rejected({ path: [id] }: { path: readonly string[] }) {
  if (id !== undefined) return <One id={id} />;
  const { query } = route.value;
  const filter: Filter = Object.fromEntries(
    ['project', 'door', 'kind'].flatMap((name) => (query.get(name) ? [[name, query.get(name)!]] : [])),
  );
  return (
    <>
      <h1>Rejected events</h1>
      <p class="quiet">
        What clients sent and were told is no event. Of it the newest is kept, so that it can be looked at, and replayed
        once its client or a rule has changed.
      </p>
      <FilterForm filter={filter} />
      <Replay filter={filter} />
      <Jobs kinds={JOBS} />
      <List key={JSON.stringify(filter)} filter={filter} />
    </>
  );
}

function FilterForm({ filter }: { filter: Filter }) {
  const [asked, setAsked] = useState<Filter>(filter);
  const field = (name: keyof Filter, label: string) => (
    <Field label={label} value={asked[name] ?? ''} change={(value) => setAsked({ ...asked, [name]: value.trim() })} />
  );
  const submit = (event: Event) => {
    event.preventDefault();
    goTo(['rejected'], Object.fromEntries(Object.entries(asked).filter(([, value]) => value !== '')));
  };
  return (
    <form class="line" onSubmit={submit}>
      {field('project', 'Project id')}
      {field('door', 'Door')}
      {field('kind', 'Kind of reason')}
      <button type="submit">Filter</button>
    </form>
  );
}

function Replay({ filter }: { filter: Filter }) {
  const [isAsking, setAsking] = useState(false);
  const isDefined = Object.keys(filter).length > 0;
  if (!mayChange()) return null;
  return (
    <div class="buttons">
      <button type="button" onClick={() => setAsking(true)}>
        Replay {isDefined ? 'these' : 'all'} …
      </button>
      {isAsking && (
        <Confirm
          title={`Replay ${isDefined ? 'these' : 'all'} rejected events?`}
          act="Replay"
          run={() => begin('/rejected/replay', { selection: selectionOf(filter) })}
          close={() => setAsking(false)}
        >
          <p>
            Each is read again as its door reads events today. What is accepted is stored, once; the rest stays here,
            with its reason.
          </p>
        </Confirm>
      )}
    </div>
  );
}

const selectionOf = ({ project, ...rest }: Filter) => ({ ...(project && { projectId: project }), ...rest });

function List({ filter }: { filter: Filter }) {
  const pages = usePages();
  const { value, error, reload } = useLoaded(
    JSON.stringify([filter, pages.after, endedJobs()]),
    (signal) => get<RejectedPage>('/rejected', { ...filter, limit: PAGE, after: pages.after }, { signal }),
    { everyMs: EVERY_MS },
  );
  if (value === null) return error === null ? <Waiting what="Listing …" /> : <Problem error={error} retry={reload} />;
  // A page may hold none of those that are asked for while others still follow.
  if (value.events.length === 0 && pages.after === null && value.next === null)
    return <Nothing>No such rejected events are kept. How many Weir keeps, INGEST_KEEP_REJECTED says.</Nothing>;
  return (
    <>
      <Problem error={error} />
      <Table
        caption="Rejected events, newest first"
        rows={value.events}
        keyOf={({ id }) => id}
        columns={[
          {
            title: 'Rejected event',
            cell: ({ id }) => (
              <a class="mono" href={linkTo(['rejected', id])}>
                {id}
              </a>
            ),
          },
          { title: 'Received (UTC)', cell: ({ receivedAt }) => moment(receivedAt) },
          { title: 'Door', cell: ({ door }) => door },
          { title: 'Kind', cell: ({ kind }) => kind },
          { title: 'Reason', cell: ({ reason }) => reason },
          { title: 'Size', cell: ({ size }) => bytes(size), isNumber: true },
        ]}
      />
      <Pager pages={pages} next={value.next} what="rejected events" />
    </>
  );
}

function One({ id }: { id: string }) {
  const { value, error, reload } = useLoaded(id, (signal) =>
    get<RejectedEvent>(`/rejected/${encodeURIComponent(id)}`, {}, { signal }),
  );
  const [isAsking, setAsking] = useState(false);
  return (
    <>
      <p>
        <a href={linkTo(['rejected'])}>All rejected events</a>
      </p>
      <h1>
        Rejected event <span class="mono">{id}</span>
      </h1>
      <Problem error={error} retry={reload} />
      <Jobs kinds={JOBS} />
      {value && (
        <section class="panel" aria-label="Why it was rejected">
          <p>
            <b>{value.reason}</b>
          </p>
          <dl class="facts">
            <dt>Kind</dt>
            <dd>{value.kind}</dd>
            <dt>Door</dt>
            <dd>{value.door}</dd>
            <dt>Received</dt>
            <dd>{moment(value.receivedAt)} UTC</dd>
            <dt>Project</dt>
            <dd>
              <a class="mono" href={linkTo(['projects', value.projectId])}>
                {value.projectId}
              </a>
            </dd>
          </dl>
          <h2>What was sent</h2>
          <pre tabIndex={0}>{typeof value.event === 'string' ? value.event : JSON.stringify(value.event, null, 2)}</pre>
          {mayChange() && (
            <div class="buttons">
              <button type="button" onClick={() => setAsking(true)}>
                Replay …
              </button>
            </div>
          )}
        </section>
      )}
      {isAsking && (
        <Confirm
          title="Replay this event?"
          act="Replay"
          run={() => begin('/rejected/replay', { selection: { ids: [id] } })}
          close={() => setAsking(false)}
        >
          <p>It is read again as its door reads events today: stored if that accepts it, kept here if not.</p>
        </Confirm>
      )}
    </>
  );
}
