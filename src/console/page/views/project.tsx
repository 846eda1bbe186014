/** One project: what it may, how much it sends, and its first event. */
import { useEffect, useState } from 'preact/hooks';
import { get } from '../parts/api.ts';
import { Chart } from '../parts/chart.tsx';
import { daysUntilToday } from '../parts/clock.ts';
import { Nothing, Problem, Waiting } from '../parts/feedback.tsx';
import { Jobs, endedJobs } from '../parts/jobs.tsx';
import { useLoaded } from '../parts/load.ts';
import { linkTo } from '../parts/route.ts';
import { mayChange } from '../parts/session.ts';
import { moment, short } from '../parts/words.ts';
import type { ProjectDetails } from '../../operator/answers.ts';
import { FirstEvent } from './first-event.tsx';
import { Delete, Origins, Retention } from './project-changes.tsx';
import { Tokens } from './tokens.tsx';

const MS = 1000;
const USAGE_DAYS = 30;

export function ProjectView({ id }: { id: string }) {
  const path = `/projects/${encodeURIComponent(id)}`;
  const { value, error, reload } = useLoaded(id, (signal) => get<ProjectDetails>(path, {}, { signal }));
  const [made, setMade] = useState<string | null>(null);
  const ended = endedJobs();
  useEffect(reload, [ended]);
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
