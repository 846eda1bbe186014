/** Changes that take a while: followed to their end, also by a page that was opened meanwhile. */
import { effect, signal } from '@preact/signals';
import type { Job, JobPage, JobStarted, ListedJob } from '../../operator/answers.ts';
import { type ApiError, get, post, remove, session } from './api.ts';
import { after } from './clock.ts';
import { Problem, Status, type Tone, Waiting } from './feedback.tsx';
import { JobResult } from './job-result.tsx';
import { useLoaded } from './load.ts';
import { mayChange } from './session.ts';
import { shownJobs } from './shown-jobs.ts';
import { grouped, moment } from './words.ts';

const BUSY_MS = 500;
const IDLE_MS = 5_000;

/** The console's jobs, newest first; null until they are known. */
const jobs = signal<readonly ListedJob[] | null>(null);
const trouble = signal<ApiError | null>(null);
const dismissed = signal<ReadonlySet<string>>(new Set());
let cancel = () => {};

/** Looks for what runs as long as somebody is signed in, and sees the page. */
effect(() => {
  cancel();
  if (session.value) void look();
  else jobs.value = null;
});

/** Begins a job, and follows it. Throws `ApiError`. */
export async function begin(path: string, body: unknown): Promise<void> {
  await post<JobStarted>(path, body);
  await look();
}

/** Looks again, after something else began a job. */
export const followJobs = (): Promise<void> => look();

/** Which have ended, as a text: another one says that what they changed may be shown as it was. */
export const endedJobs = (): string =>
  (jobs.value ?? []).flatMap(({ id, state }) => (state === 'running' ? [] : [id])).join(' ');

async function look(): Promise<void> {
  cancel();
  try {
    jobs.value = (await get<JobPage>('/jobs', { limit: 20 })).jobs;
    trouble.value = null;
  } catch (error) {
    trouble.value = error as ApiError;
  }
  lookLater();
}

function lookLater(): void {
  if (!session.peek()) return;
  const isBusy = jobs.value?.some(({ state }) => state === 'running') ?? false;
  cancel = after(isBusy ? BUSY_MS : IDLE_MS, () => (document.hidden ? lookLater() : void look()));
}

const TONES: Readonly<Record<ListedJob['state'], Tone>> = {
  running: 'calm',
  done: 'good',
  failed: 'bad',
  stopped: 'warn',
};

/** Those of `kinds` that run, and the last that ended and were not put away. */
export function Jobs({ kinds }: { kinds: readonly ListedJob['kind'][] }) {
  const shown = shownJobs(
    (jobs.value ?? []).filter(({ id, kind }) => kinds.includes(kind) && !dismissed.value.has(id)),
  );
  if (shown.length === 0) return null;
  return (
    <section class="panel" aria-label="Jobs">
      {shown.map((job) => (
        <JobView key={job.id} job={job} />
      ))}
      <Problem error={trouble.value} />
    </section>
  );
}

function putAway(id: string): void {
  dismissed.value = new Set([...dismissed.value, id]);
}

function JobView({ job }: { job: ListedJob }) {
  const { id, kind, by, startedAt, state, progress, error } = job;
  const isRunning = state === 'running';
  const { step, done, total } = progress;
  const deleteAgain = async (projectId: string) => {
    await remove(`/projects/${encodeURIComponent(projectId)}`);
    putAway(id);
    await look();
  };
  return (
    <div class="job">
      <p class="line">
        <b>{NAMES[kind]}</b> <Status tone={TONES[state]}>{state}</Status>
        <span class="quiet">
          by {by}, {moment(startedAt)} UTC
        </span>
        {isRunning && mayChange() && (
          <button type="button" class="small" onClick={() => void post(`/jobs/${id}/stop`, {}).then(look, look)}>
            Stop
          </button>
        )}
        {!isRunning && (
          <button type="button" class="small" onClick={() => putAway(id)}>
            Put away
          </button>
        )}
      </p>
      {isRunning && (
        <>
          <progress aria-label={NAMES[kind]} {...(total === null ? {} : { max: Math.max(1, total), value: done })} />
          <p role="status">
            {step}: {grouped(done)}
            {total !== null && ` of ${grouped(total)}`}
          </p>
        </>
      )}
      {error !== null && <p class="bad-text">{error}</p>}
      {!isRunning && error === null && <Ended id={id} kind={kind} deleteAgain={deleteAgain} />}
    </div>
  );
}

/** What a job that has ended came to, which does not change any more. */
function Ended({ id, ...shown }: Omit<Parameters<typeof JobResult>[0], 'result'> & { id: string }) {
  const { value, error, reload } = useLoaded(id, (signal) =>
    get<Job>(`/jobs/${encodeURIComponent(id)}`, {}, { signal }),
  );
  if (value === null)
    return error === null ? <Waiting what="Its result …" /> : <Problem error={error} retry={reload} />;
  return <JobResult {...shown} result={value.result} />;
}

const NAMES: Readonly<Record<ListedJob['kind'], string>> = {
  try: 'Dry run',
  replay: 'Replay',
  discard: 'Discard',
  'replay rejected': 'Replay of rejected events',
  'delete project': 'Deletion of a project',
  'change retention': 'Change of retention',
};
