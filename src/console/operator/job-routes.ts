/** Jobs: what is under way, and what became of it. */
import * as v from 'valibot';
import { OperationRefused } from '../../operations/refused.ts';
import { AfterId, Limit } from './fields.ts';
import type { Job, ListedJob } from './answers.ts';
import type { OperatorDeps } from './operator-deps.ts';
import { type OperatorRoute, route } from './route.ts';
import * as schemas from './schemas.ts';

export function jobRoutes({ jobs }: OperatorDeps): OperatorRoute[] {
  const tag = 'Jobs';
  return [
    route({
      method: 'GET',
      path: '/jobs',
      tag,
      summary: 'List what runs, and the last hundred that ran, newest first.',
      description:
        'Jobs are remembered until the console ends. What they did stays, and is in the audit. Their results are those of `GET /jobs/{id}`.',
      query: v.strictObject({ limit: Limit, after: AfterId }),
      answer: schemas.JobPage,
      says: 'Jobs of everybody.',
      async handle({ query: { limit, after } }) {
        const all = jobs.list();
        const from = after === undefined ? 0 : all.findIndex(({ id }) => id === after) + 1;
        const page = all.slice(from, from + limit);
        return { jobs: page.map(listed), next: from + limit < all.length ? page.at(-1)!.id : null };
      },
    }),
    route({
      method: 'GET',
      path: '/jobs/:id',
      tag,
      summary: 'Show one job.',
      answer: schemas.Job,
      says: 'How far it is, and its result, in the words of the command.',
      refusals: ['not_found'],
      handle: async ({ id }) => found(id, jobs.get(id)),
    }),
    route({
      method: 'POST',
      path: '/jobs/:id/stop',
      tag,
      summary: 'Stop a job after the step that it is in.',
      description: 'What it has done stays done. One that has ended stays as it ended.',
      answer: schemas.Job,
      says: 'The job as it is at this moment; `state` is `stopped` once its step is over.',
      refusals: ['not_found'],
      handle: async ({ id }) => found(id, jobs.stop(id)),
    }),
  ];
}

function listed(job: Job): ListedJob {
  const { result: _, ...withoutResult } = job;
  return withoutResult;
}

function found(id: string, job: Job | null): Job {
  if (job !== null) return job;
  throw new OperationRefused(
    'not-found',
    `There is no job ${id}: jobs are remembered until the console ends, the last hundred of them.`,
  );
}
