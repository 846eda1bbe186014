/** Rejected events that were kept. */
import * as v from 'valibot';
import { jsonOrText } from '../../operations/hidden-values.ts';
import { countSelectedRejected, replayRejected } from '../../operations/replay-rejected.ts';
import { showRejected } from '../../operations/show-rejected.ts';
import { type RejectedSelection, readRejectedPage } from '../../postgres/rejected-events/rejected-queries.ts';
import { AfterId, Limit, Uuid } from './fields.ts';
import type { OperatorDeps } from './operator-deps.ts';
import { type OperatorRoute, route } from './route.ts';
import * as schemas from './schemas.ts';

export function rejectedRoutes(deps: OperatorDeps): OperatorRoute[] {
  const { db, jobs, decode } = deps;
  const tag = 'Rejected events';
  return [
    route({
      method: 'GET',
      path: '/rejected',
      tag,
      summary: 'List the rejected events that were kept, newest first.',
      description: 'A page may have fewer events than asked for, or none, and still a next one.',
      query: v.strictObject({
        project: v.optional(Uuid),
        door: v.optional(schemas.DoorName),
        kind: v.optional(schemas.RejectionKind),
        limit: Limit,
        after: AfterId,
      }),
      answer: schemas.RejectedPage,
      says: 'Events without what they say, as `weir rejected ls --json`.',
      async handle({ query: { project, limit, after = null, ...filter } }) {
        const selection = selectionOf({ ...filter, projectId: project });
        const { events, next } = await readRejectedPage(db, { selection, after, limit });
        return { events, next };
      },
    }),
    route({
      method: 'GET',
      path: '/rejected/:id',
      tag,
      summary: 'Show one rejected event.',
      answer: schemas.RejectedShown,
      says: 'As `weir rejected show --json`; its values are hidden from whoever may not see them.',
      refusals: ['not_found'],
      async handle({ id, operator }) {
        const { event, ...entry } = await showRejected(db, { id, isUnsafe: operator.showsEvents });
        return { ...entry, event: jsonOrText(event) };
      },
    }),
    route({
      method: 'POST',
      path: '/rejected/replay',
      tag,
      summary: 'Decode rejected events as they would be today, and store those that are accepted.',
      description:
        'As `weir rejected replay`; with `dryRun` nothing is changed. The members of `selection` narrow each other, and an empty one selects all.',
      body: v.strictObject({
        selection: schemas.RejectedSelection,
        dryRun: v.optional(v.boolean('must be true or false'), false),
      }),
      status: 202,
      answer: schemas.JobStarted,
      says: 'The job that was begun.',
      refusals: ['conflict', 'not_found'],
      async handle({ body: { selection: asked, dryRun: isTrial }, operator }) {
        const { name: actor } = operator;
        const selection = selectionOf(asked);
        const total = await countSelectedRejected(db, selection);
        const job = jobs.start({ kind: 'replay rejected', by: actor }, async ({ report }) => {
          const wanted = { selection, actor, isTrial, decode };
          const done = await replayRejected(db, wanted, (count) => report('decoding', count, Math.max(total, count)));
          return { ...done, dryRun: isTrial };
        });
        return { job };
      },
    }),
  ];
}

type Asked = { [Name in keyof RejectedSelection]?: RejectedSelection[Name] | undefined };

/** What is not given does not narrow. */
function selectionOf({ ids, projectId, door, kind }: Asked): RejectedSelection {
  return {
    ...(ids !== undefined && { ids: [...new Set(ids)] }),
    ...(projectId !== undefined && { projectId }),
    ...(door !== undefined && { door }),
    ...(kind !== undefined && { kind }),
  };
}
