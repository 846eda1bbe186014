/** Projects: what they may do, how long their events are kept, and their end. */
import * as v from 'valibot';
import { changeOrigins } from '../../operations/change-origins.ts';
import { changeRetention, changeStoredRetention } from '../../operations/change-retention.ts';
import { createProject } from '../../operations/create-project.ts';
import { type DeletionProgress, closeProject, deleteProject } from '../../operations/delete-project.ts';
import { findProject, findKnownProject } from '../../operations/find-project.ts';
import { OperationRefused } from '../../operations/refused.ts';
import { RETENTIONS, parseRetention, showRetention, withRetention } from '../../operations/retention-text.ts';
import { failureOf } from '../../pipeline/outcome.ts';
import { createProjects } from '../../postgres/accounts/projects.ts';
import { createTokens } from '../../postgres/accounts/tokens.ts';
import { AfterId, Limit, Yes } from './fields.ts';
import type { JobContext } from './jobs.ts';
import { type OperatorDeps, eventsOf } from './operator-deps.ts';
import { type OperatorRoute, rawRoute, route } from './route.ts';
import * as schemas from './schemas.ts';

const Name = v.pipe(v.string('must be a text'), v.maxLength(1_000));
const Retention = v.pipe(v.string(RETENTIONS), v.maxLength(20, RETENTIONS));
const Origins = v.pipe(v.array(v.pipe(v.string('must be a text'), v.maxLength(300))), v.maxLength(1_000));
const USAGE_DAYS = 30;
const DAY_MS = 86_400_000;

export function projectRoutes(deps: OperatorDeps): OperatorRoute[] {
  const { db, jobs, clock } = deps;
  const tag = 'Projects';

  return [
    route({
      method: 'GET',
      path: '/projects',
      tag,
      summary: 'List the projects, oldest first.',
      query: v.strictObject({ limit: Limit, after: AfterId }),
      answer: schemas.ProjectPage,
      says: 'As `weir project list --json`.',
      async handle({ query: { limit, after = null } }) {
        const found = await createProjects(db).page(after, limit + 1);
        const projects = found.slice(0, limit);
        return { projects: projects.map(withRetention), next: found.length > limit ? projects.at(-1)!.id : null };
      },
    }),
    route({
      method: 'POST',
      path: '/projects',
      tag,
      summary: 'Create a project.',
      body: v.strictObject({
        name: Name,
        retention: v.optional(Retention, 'none'),
        allowedOrigins: v.optional(Origins, []),
      }),
      status: 201,
      answer: schemas.Project,
      says: 'The project.',
      async handle({ body: { name, retention, allowedOrigins }, operator }) {
        const wanted = { name, retentionSeconds: retentionIn(retention), allowedOrigins };
        return withRetention(await createProject(db, wanted, { actor: operator.name }));
      },
    }),
    route({
      method: 'GET',
      path: '/projects/:id',
      tag,
      summary: 'Show a project: retention, origins, tokens, and its events of the last 30 days.',
      answer: schemas.ProjectDetails,
      says: 'The project; `usage` by the day of the events’ timestamps.',
      refusals: ['not_found'],
      handle: ({ id }) => details(id),
    }),
    route({
      method: 'GET',
      path: '/projects/:id/retention',
      tag,
      summary: 'What a retention would mean for the stored events of a project.',
      query: v.strictObject({ to: v.optional(Retention) }),
      answer: schemas.RetentionEffect,
      says: 'As `weir project retention --existing --dry-run --json`; without `to`, of the retention that it has.',
      refusals: ['not_found', 'store_unavailable'],
      async handle({ id, query: { to } }) {
        const project = await findProject(db, id);
        const retentionSeconds = to === undefined ? project.retentionSeconds : retentionIn(to);
        const { stored, differing, expiring } = await eventsOf(deps).operations.measureRetention(id, retentionSeconds);
        return { ...named(project, retentionSeconds), stored, differing, expiring };
      },
    }),
    retentionRoute(),
    route({
      method: 'PUT',
      path: '/projects/:id/origins',
      tag,
      summary: 'Set which browser origins may use the tokens of a project, within a minute.',
      description: 'An empty list allows every origin.',
      body: v.strictObject({ allowedOrigins: Origins }),
      answer: schemas.OriginsChanged,
      says: 'The origins, and whether they were others.',
      refusals: ['not_found'],
      async handle({ id, body: { allowedOrigins }, operator }) {
        const changed = await changeOrigins(db, { projectId: id, allowedOrigins, actor: operator.name });
        return { id, allowedOrigins: (await findProject(db, id)).allowedOrigins, changed };
      },
    }),
    deletionRoute(),
  ];

  async function details(id: string) {
    const project = await findProject(db, id);
    const found = await createTokens(db).page(id, null, MAX_TOKENS + 1);
    let usage: { day: string; events: number }[] | null = null;
    const failure = await failureOf(
      (async () => {
        const since = new Date(clock.now() - (USAGE_DAYS - 1) * DAY_MS).toISOString().slice(0, 10);
        usage = [...(await eventsOf(deps).operations.countByDay(id, { since }))];
      })(),
    );
    const tokens = found.slice(0, MAX_TOKENS);
    return { ...withRetention(project), tokens, moreTokens: found.length > MAX_TOKENS, usage, why: whyOf(failure) };
  }

  function whyOf(failure: Error | null): string | null {
    if (failure === null) return null;
    return failure instanceof OperationRefused ? failure.message : deps.events!.schema.explain(failure);
  }

  function retentionRoute(): OperatorRoute {
    return rawRoute({
      method: 'PUT',
      path: '/projects/:id/retention',
      tag,
      summary: 'Change how long the events of a project are kept.',
      description:
        'Holds for events that arrive from a minute from now. With `existing` a job gives stored events the expiry that they get under it, and deletes at once those that are older: GET on the same path says how many.',
      body: v.strictObject({ retention: Retention, existing: v.optional(v.boolean('must be true or false'), false) }),
      answers: {
        200: { description: 'The retention, and whether it was another.', schema: schemas.RetentionChanged },
        202: { description: 'The job that changes stored events, too.', schema: schemas.JobStarted },
      },
      refusals: ['not_found', 'conflict', 'store_unavailable'],
      async answer({ c, id, body, operator }) {
        const retentionSeconds = retentionIn(body.retention);
        const project = await findProject(db, id);
        const wanted = { projectId: id, retentionSeconds, actor: operator.name };
        if (!body.existing) {
          const changed = await changeRetention(db, wanted);
          return c.json({ ...named(project, retentionSeconds), changed }, 200);
        }
        const { operations: events } = eventsOf(deps);
        const job = jobs.start({ kind: 'change retention', by: operator.name }, async ({ report }) => {
          let total = 0;
          const {
            isChanged,
            rewritten: stored,
            letters,
          } = await changeStoredRetention({ db, events }, wanted, ({ toDo, unit }) => {
            total = Math.max(total, toDo);
            report(`changing ${unit}s`, total - toDo, total);
          });
          return { ...named(project, retentionSeconds), changed: isChanged, stored, deadLetters: letters };
        });
        return c.json({ job }, 202);
      },
    });
  }

  function deletionRoute(): OperatorRoute {
    return rawRoute({
      method: 'DELETE',
      path: '/projects/:id',
      tag,
      summary: 'Delete a project: its tokens, dead letters, rejected events and events.',
      description:
        'As `weir project delete`; may be repeated, to remove what arrived meanwhile. With `keepEvents=true` only its tokens end.',
      query: v.strictObject({ keepEvents: Yes }),
      answers: {
        200: { description: 'Its tokens are revoked; the rest stays.', schema: schemas.ProjectClosed },
        202: { description: 'The job that deletes it.', schema: schemas.JobStarted },
      },
      refusals: ['not_found', 'conflict', 'store_unavailable'],
      async answer({ c, id, query, operator }) {
        const { name: actor } = operator;
        await findKnownProject(db, id);
        if (query.keepEvents === 'true') {
          await closeProject(db, id, { actor });
          return c.json({ deleted: id, keptEvents: true }, 200);
        }
        const { operations: events } = eventsOf(deps);
        const job = jobs.start({ kind: 'delete project', by: actor }, async (context) => {
          const { letters, rejected, tables } = await deleteProject(
            { db, events, clock },
            { id, actor },
            deletionProgress(context),
          );
          return { deleted: id, deadLetters: { ...letters.removed, left: letters.left }, rejected, tables };
        });
        return c.json({ job }, 202);
      },
    });
  }
}

const MAX_TOKENS = 50;

function deletionProgress({ report }: JobContext): DeletionProgress {
  return {
    tokensRevoked: () => report('tokens revoked', 0),
    deadLettersDiscarded: (letters) => report('discarding dead letters', letters),
    waitingFor: (letters) => report('waiting for dead letters that are being replayed', 0, letters),
    erasing: ({ table, toDo, unit }) => report(`deleting from ${table}, ${unit}s to go`, toDo),
  };
}

const named = ({ id, name }: { id: string; name: string }, retentionSeconds: number | null) => ({
  id,
  name,
  retention: showRetention(retentionSeconds),
  retentionSeconds,
});

function retentionIn(text: string): number | null {
  const seconds = parseRetention(text);
  if (seconds === undefined) throw new OperationRefused('invalid', `retention: ${RETENTIONS}`);
  return seconds;
}
