/** One project: what it may, how much it sends, and its first event. */
import { useState } from 'preact/hooks';
import { get, put, remove } from '../parts/api.ts';
import { Chart } from '../parts/chart.tsx';
import { daysUntilToday } from '../parts/clock.ts';
import { Confirm } from '../parts/dialog.tsx';
import { Nothing, Problem, Waiting } from '../parts/feedback.tsx';
import { Field } from '../parts/form.tsx';
import { Jobs, followJobs } from '../parts/jobs.tsx';
import { useLoaded } from '../parts/load.ts';
import { linkTo } from '../parts/route.ts';
import { mayChange } from '../parts/session.ts';
import { moment, short } from '../parts/words.ts';
import type { ProjectDetails } from '../../operator/answers.ts';
import { FirstEvent } from './first-event.tsx';
import { Tokens } from './tokens.tsx';

const MS = 1000;
const USAGE_DAYS = 30;

export function ProjectView({ id }: { id: string }) {
  const path = `/projects/${encodeURIComponent(id)}`;
  const { value, error, reload } = useLoaded(id, (signal) => get<ProjectDetails>(path, {}, { signal }));
  const [made, setMade] = useState<string | null>(null);
  return (
    <>
      <p>
        <a href={linkTo(['projects'])}>All projects</a>
      </p>
      <h1>{value?.name ?? 'Project'}</h1>
      <Problem error={error} retry={reload} />
      <Jobs kinds={['delete project', 'change retention']} />
      {value === null && error === null && <Waiting what="Opening …" />}
      {value !== null && (
        <>
          <Rules project={value} path={path} changed={reload} />
          <Tokens
            project={value}
            changed={(plaintext) => {
              if (plaintext !== null) setMade(plaintext);
              reload();
            }}
          />
          <FirstEvent project={value} token={made} />
          <UsageChart project={value} />
        </>
      )}
    </>
  );
}

type Changing = 'retention' | 'origins' | 'delete';

function Rules({ project, path, changed }: { project: ProjectDetails; path: string; changed: () => void }) {
  const [changing, setChanging] = useState<Changing | null>(null);
  const close = () => setChanging(null);
  const shared = { project, path, close, changed };
  return (
    <section class="panel" aria-label="Rules">
      <dl class="facts">
        <dt>Id</dt>
        <dd>
          <code>{project.id}</code>
        </dd>
        <dt>Created</dt>
        <dd>{moment(project.createdAt)} UTC</dd>
        <dt>Events are kept</dt>
        <dd>{project.retention === 'none' ? 'forever' : `for ${project.retention} after arrival`}</dd>
        <dt>Browser origins</dt>
        <dd>{project.allowedOrigins.length === 0 ? 'any' : project.allowedOrigins.join(' ')}</dd>
      </dl>
      <div class="buttons">
        {mayChange() && (
          <>
            <button type="button" onClick={() => setChanging('retention')}>
              Change retention …
            </button>
            <button type="button" onClick={() => setChanging('origins')}>
              Change origins …
            </button>
            <button type="button" onClick={() => setChanging('delete')}>
              Delete project …
            </button>
          </>
        )}
        <a class="button" href={linkTo(['letters', 'project', project.id])}>
          Its dead letters
        </a>
        <a class="button" href={linkTo(['rejected'], { project: project.id })}>
          Its rejected events
        </a>
        <a class="button" href={linkTo(['ask', project.id])}>
          Ask its events
        </a>
      </div>
      {changing === 'retention' && <Retention {...shared} />}
      {changing === 'origins' && <Origins {...shared} />}
      {changing === 'delete' && <Delete {...shared} />}
    </section>
  );
}

type Change = { project: ProjectDetails; path: string; close: () => void; changed: () => void };

function Retention({ project, path, close, changed }: Change) {
  const [retention, setRetention] = useState(project.retention);
  return (
    <Confirm
      title="How long are events kept?"
      act="Change retention"
      run={() => put(`${path}/retention`, { retention }).then(changed)}
      close={close}
    >
      <Field
        label="Events expire this long after arrival"
        value={retention}
        change={setRetention}
        hint="24h, 90d or any duration from 1m; none keeps them forever. A shorter one deletes what is older, for good."
        required
      />
    </Confirm>
  );
}

function Origins({ project, path, close, changed }: Change) {
  const [text, setText] = useState(project.allowedOrigins.join(' '));
  const allowedOrigins = text.split(/[\s,]+/).filter(Boolean);
  return (
    <Confirm
      title="Which pages may send events?"
      act="Change origins"
      run={() => put(`${path}/origins`, { allowedOrigins }).then(changed)}
      close={close}
    >
      <Field
        label="Allowed origins"
        value={text}
        change={setText}
        hint="Such as https://shop.example.com, with spaces between them; nothing allows every origin."
      />
    </Confirm>
  );
}

function Delete({ project, path, close }: Change) {
  const [typed, setTyped] = useState('');
  return (
    <Confirm
      title="Delete the project and all of its events?"
      act="Delete for good"
      run={() => remove(path).then(followJobs)}
      close={close}
      isBlocked={typed !== project.name}
      isDangerous
    >
      <p>
        Its tokens stop working, and its events are deleted everywhere: from the event store, the dead letters and the
        rejected events. Nothing brings them back.
      </p>
      <Field label={`Type the project’s name, ${project.name}`} value={typed} change={setTyped} required />
    </Confirm>
  );
}

function UsageChart({ project: { usage, why } }: { project: ProjectDetails }) {
  if (usage === null) return <Nothing>How much it sends cannot be told now: {why}</Nothing>;
  const days = daysUntilToday(USAGE_DAYS);
  const counts = new Map(usage.map(({ day, events }) => [day, events]));
  return (
    <section class="panel" aria-label="Usage">
      <Chart
        title="Events a day, the last 30 days (UTC)"
        times={days.map((day) => Date.parse(day) / MS)}
        curves={[{ name: 'events', values: days.map((day) => counts.get(day) ?? 0) }]}
        show={short}
      />
    </section>
  );
}
