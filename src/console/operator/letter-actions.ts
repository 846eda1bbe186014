/** Changing dead letters: each action is counted first, tried first, and then runs as a job. */
import * as v from 'valibot';
import { discardDeadLetters } from '../../operations/discard-dead-letters.ts';
import { followReplay } from '../../operations/follow-replay.ts';
import { OperationRefused } from '../../operations/refused.ts';
import { replayDeadLetters } from '../../operations/replay-dead-letters.ts';
import { replayRows } from '../../operations/replay-rows.ts';
import { parseRowChoice } from '../../operations/row-choice.ts';
import { countSelected, totalOf } from '../../operations/selected-dead-letters.ts';
import { tryDeadLetters } from '../../operations/try-dead-letters.ts';
import type { Progress } from '../../operations/progress.ts';
import { readNow } from '../../postgres/connection/now.ts';
import type { Selection } from '../../postgres/dead-letters/selection.ts';
import { createDeadLetterQueries } from '../../postgres/dead-letters/dead-letter-queries.ts';
import { Uuid } from './fields.ts';
import type { JobContext } from './jobs.ts';
import { type OperatorDeps, eventsOf } from './operator-deps.ts';
import { type OperatorRoute, route } from './route.ts';
import * as schemas from './schemas.ts';

/** Letters that a replay is watched for after they are due, until they have been tried. */
const MAX_FOLLOWED = 100_000;
const MAX_SAMPLE = 10_000;
/** Of a dry run in all: somebody reads them. */
const MAX_REASONS = 100;

const Rate = v.pipe(
  v.number('must be letters a second, such as 5 or 0.5'),
  v.minValue(0.001, 'must be letters a second, such as 5 or 0.5'),
  v.maxValue(99_999, 'must be letters a second, such as 5 or 0.5'),
);
const Sample = v.pipe(v.number(), v.integer('must be a whole number'), v.minValue(1), v.maxValue(MAX_SAMPLE));
const Reason = v.pipe(v.string('say why: the audit keeps it'), v.maxLength(1_000, 'at most 1000 characters'));
const AsOf = v.pipe(
  v.string('must be the instant that POST /letters/count answers'),
  v.regex(
    /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{1,6})?[+-]\d\d(:\d\d){0,2}$/,
    'must be the instant that POST /letters/count answers',
  ),
);
const Only = v.pipe(v.string(), v.maxLength(10_000));

const STARTED = { status: 202, answer: schemas.JobStarted, says: 'The job that was begun.' } as const;

export function letterActions(deps: OperatorDeps): OperatorRoute[] {
  const { db, jobs, clock } = deps;
  const tag = 'Dead letters';

  return [
    route({
      method: 'POST',
      path: '/letters/count',
      tag,
      summary: 'Count what an action would touch.',
      isReading: true,
      body: v.strictObject({ selection: schemas.LetterSelection }),
      answer: schemas.LetterCount,
      says: 'Letters, events and bytes by state, and in all.',
      refusals: ['not_found'],
      async handle({ body: { selection } }) {
        const asOf = await readNow(db);
        const count = await countSelected(db, selection);
        return { ...count, ...totalOf(count), asOf };
      },
    }),
    route({
      method: 'POST',
      path: '/letters/try',
      tag,
      summary: 'Find out which rows would be taken, without changing anything.',
      description: `As \`weir dlq replay --dry-run\`, with the first ${MAX_REASONS} reasons of all letters together.`,
      isReading: true,
      body: v.strictObject({ selection: schemas.LetterSelection, sample: v.optional(Sample) }),
      ...STARTED,
      refusals: ['conflict', 'store_unavailable'],
      async handle({ body: { selection, sample = null }, operator }) {
        const { operations } = eventsOf(deps);
        const events = { name: operations.name, store: operations.inspection(deps.inspectWithinMs) };
        const job = jobs.start({ kind: 'try', by: operator.name }, (context) =>
          tryDeadLetters(
            { db, events },
            { selection, sample, maxReasons: MAX_REASONS },
            progressOf(context, 'trying', null),
          ),
        );
        return { job };
      },
    }),
    route({
      method: 'POST',
      path: '/letters/replay',
      tag,
      summary: 'Make dead letters due, and watch what becomes of them.',
      description:
        'As `weir dlq replay`: the running Weir replays them. The job goes on until each of them has been tried or is gone; `result.after` says what became of them: `stored`, `refused` again (with `refusedEvents`), `waiting` to be tried again, `untried`; and of those that somebody took away meanwhile, `discarded` (also with their project) and `divided` into others.',
      body: v.strictObject({ selection: schemas.LetterSelection, perSecond: v.optional(Rate) }),
      ...STARTED,
      refusals: ['conflict'],
      async handle({ body: { selection, perSecond = null }, operator }) {
        const { name: actor } = operator;
        return {
          job: jobs.start({ kind: 'replay', by: actor }, (context) => replay({ selection, perSecond, actor }, context)),
        };
      },
    }),
    route({
      method: 'POST',
      path: '/letters/:id/replay-rows',
      tag,
      summary: 'Make some events of one dead letter due, in a letter of their own.',
      description: 'As `weir dlq replay --only`: `only` are rows such as `1,4-6`, counted from 1, or event ids.',
      body: v.strictObject({ only: Only }),
      answer: v.strictObject({ letterId: Uuid, events: v.number(), left: v.number() }),
      says: 'The letter that is due, its events, and how many stay behind.',
      refusals: ['not_found', 'conflict', 'damaged'],
      async handle({ id, body: { only }, operator }) {
        const isMeant = parseRowChoice(only);
        if (isMeant === null) throw new OperationRefused('invalid', 'only: must be rows such as 1,4-6, or event ids.');
        const { deadLetterId: letterId, events, left } = await replayRows(db, { id, isMeant, actor: operator.name });
        return { letterId, events, left };
      },
    }),
    route({
      method: 'POST',
      path: '/letters/discard',
      tag,
      summary: 'Delete dead letters for good.',
      description:
        'As `weir dlq discard`; of a project exactly its events. The audit keeps how many events, who and why. `asOf` of `POST /letters/count`: letters that came after they were counted are left; by default those that come after this request.',
      body: v.strictObject({ selection: schemas.LetterSelection, reason: Reason, asOf: v.optional(AsOf) }),
      ...STARTED,
      refusals: ['conflict'],
      async handle({ body: { selection, reason, asOf }, operator }) {
        if (selection.by === 'all') {
          throw new OperationRefused(
            'invalid',
            'selection: all letters cannot be discarded at once; choose ids, a group, a project or the quarantined ones.',
          );
        }
        if (reason.trim() === '') throw new OperationRefused('invalid', 'reason: say why; the audit keeps it.');
        const wanted = { selection, reason, asOf: asOf ?? (await readNow(db)), actor: operator.name };
        return { job: jobs.start({ kind: 'discard', by: operator.name }, (context) => discard(wanted, context)) };
      },
    }),
  ];

  async function replay(
    wanted: { selection: Selection; perSecond: number | null; actor: string },
    context: JobContext,
  ) {
    const since = await readNow(db);
    const total = await totalFor(wanted.selection);
    const ids: string[] = [];
    let isFollowed = true;
    const progress = progressOf(context, 'making due', total);
    const done = await replayDeadLetters(db, wanted, {
      ...progress,
      done(sum, some = []) {
        isFollowed &&= ids.length + some.length <= MAX_FOLLOWED;
        if (isFollowed) ids.push(...some);
        progress.done(sum);
      },
    });
    if (!isFollowed || ids.length === 0) return { ...done, after: null };
    const report = (tried: number) => context.report('replaying', tried, ids.length);
    report(0);
    return { ...done, after: await followReplay({ db, clock }, { ids, since }, report) };
  }

  async function discard(
    wanted: { selection: Selection; reason: string; asOf: string; actor: string },
    context: JobContext,
  ) {
    const total = await totalFor({ ...wanted.selection, asOf: wanted.asOf });
    const { removed, left } = await discardDeadLetters(db, wanted, progressOf(context, 'discarding', total));
    return { ...removed, left };
  }

  async function totalFor(selection: Selection): Promise<number> {
    return totalOf(await createDeadLetterQueries(db).count(selection)).letters;
  }
}

/** The progress of an action as that of a job; `total` letters, where that is known. */
function progressOf({ report }: JobContext, step: string, total: number | null): Progress {
  return {
    async during(what, work) {
      // It runs already, and may fail when nobody waits for it any more.
      void work.catch(() => {});
      report(what.toLowerCase(), 0, total);
      return work;
    },
    done: ({ letters }) => report(step, letters, total === null ? null : Math.max(total, letters)),
  };
}
