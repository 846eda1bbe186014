/** Changes that take a while: followed to their end, also by a page that was opened meanwhile. */
import { effect, signal } from '@preact/signals';
import type { Job } from '../../operator/answers.ts';
import { type ApiError, get, post, session } from './api.ts';
import { after } from './clock.ts';
import { Problem, Status, type Tone } from './feedback.tsx';
import { mayChange } from './session.ts';
import { grouped, moment } from './words.ts';

const BUSY_MS = 500;
const IDLE_MS = 5_000;

/** The console's jobs, newest first; null until they are known. */
export const jobs = signal<readonly Job[] | null>(null);
const trouble = signal<ApiError | null>(null);
const dismissed = signal<ReadonlySet<string>>(new Set());
let cancel = () => {};

/** Looks for what runs as long as somebody is signed in. */
effect(() => {
  cancel();
  if (session.value) void look();
  else jobs.value = null;
});

/** Begins a job, and follows it. Throws `ApiError`. */
export async function begin(path: string, body: unknown): Promise<void> {
  await post<{ job: unknown }>(path, body);
  await look();
}

async function look(): Promise<void> {
  cancel();
  try {
    jobs.value = (await get<{ jobs: readonly Job[] }>('/jobs', { limit: 20 })).jobs;
    trouble.value = null;
  } catch (error) {
    trouble.value = error as ApiError;
  }
  const isBusy = jobs.value?.some(({ state }) => state === 'running') ?? false;
  if (session.peek()) cancel = after(isBusy ? BUSY_MS : IDLE_MS, () => void look());
}

const TONES: Readonly<Record<Job['state'], Tone>> = { running: 'calm', done: 'good', failed: 'bad', stopped: 'warn' };

/** Those of `kinds` that run, and those that ended and were not put away. */
export function Jobs({ kinds }: { kinds: readonly string[] }) {
  const shown = (jobs.value ?? [])
    .filter(({ id, kind }) => kinds.includes(kind) && !dismissed.value.has(id))
    .slice(0, 3);
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

function JobView({ job }: { job: Job }) {
  const { id, kind, by, startedAt, state, progress, error, result } = job;
  const isRunning = state === 'running';
  const { step, done, total } = progress;
  return (
    <div class="job">
      <p class="line">
        <b>{NAMES[kind] ?? kind}</b> <Status tone={TONES[state]}>{state}</Status>
        <span class="quiet">
          by {by}, {moment(startedAt)} UTC
        </span>
        {isRunning && mayChange() && (
          <button type="button" class="small" onClick={() => void post(`/jobs/${id}/stop`, {}).then(look, look)}>
            Stop
          </button>
        )}
        {!isRunning && (
          <button type="button" class="small" onClick={() => (dismissed.value = new Set([...dismissed.value, id]))}>
            Put away
          </button>
        )}
      </p>
      {isRunning && (
        <>
          <progress
            aria-label={NAMES[kind] ?? kind}
            {...(total === null ? {} : { max: Math.max(1, total), value: done })}
          />
          <p role="status">
            {step}: {grouped(done)}
            {total !== null && ` of ${grouped(total)}`}
          </p>
        </>
      )}
      {error !== null && <p class="bad-text">{error}</p>}
      {state === 'done' && <p role="status">{inWords(kind, result)}</p>}
    </div>
  );
}

const NAMES: Readonly<Record<string, string>> = {
  'letters.try': 'Dry run',
  'letters.replay': 'Replay',
  'letters.discard': 'Discard',
  'rejected.replay': 'Replay of rejected events',
  'project.delete': 'Deletion of a project',
};

/** What came of it: every number of the result beside its name. */
function inWords(_kind: string, result: unknown): string {
  if (typeof result !== 'object' || result === null) return 'Done.';
  const numbers = Object.entries(result).filter(([, value]) => typeof value === 'number');
  return numbers.length === 0
    ? 'Done.'
    : numbers.map(([name, value]) => `${name}: ${grouped(value as number)}`).join(', ');
}
