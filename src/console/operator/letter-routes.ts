/** Looking at dead letters. */
import * as v from 'valibot';
import { explainDeadLetter } from '../../operations/explain-dead-letter.ts';
import { overviewDeadLetters } from '../../operations/group-dead-letters.ts';
import { readDrain } from '../../operations/drain-switch.ts';
import { OperationRefused } from '../../operations/refused.ts';
import { numbered, showDeadLetter } from '../../operations/show-dead-letter.ts';
import { jsonOrText, unquoted } from '../../operations/hidden-values.ts';
import type { Selection } from '../../postgres/dead-letters/selection.ts';
import { readAuditPage } from '../../postgres/dead-letters/audit.ts';
import type { DeadLetterPlace } from '../../postgres/dead-letters/dead-letter-pages.ts';
import { createDeadLetterQueries } from '../../postgres/dead-letters/dead-letter-queries.ts';
import { After, AfterNumber, Group, Limit, Uuid, Yes } from './fields.ts';
import { exportRoute } from './letter-export.ts';
import type { OperatorDeps } from './operator-deps.ts';
import { remembered } from './remembered.ts';
import { type OperatorRoute, route } from './route.ts';
import * as schemas from './schemas.ts';

const MAX_GROUPS = 500;
/** Rows of a letter that `GET /letters/:id` shows, as the command does. */
const ROWS_SHOWN = 10;

const ESTIMATED =
  'Where there are many letters the answer does not wait until all are counted: `isEstimate` is true for what a sample of them says. Causes and letters in quarantine are counted where there are few.';

const Filter = {
  state: v.optional(v.picklist(['waiting', 'replaying', 'quarantined'], 'must be waiting, replaying or quarantined')),
  group: v.optional(Group),
  project: v.optional(Uuid),
};

export function letterRoutes(deps: OperatorDeps): OperatorRoute[] {
  const { db, clock } = deps;
  const queries = createDeadLetterQueries(db);
  // A page asks for both.
  const overview = remembered(clock, () => overviewDeadLetters(db));
  const tag = 'Dead letters';

  return [
    route({
      method: 'GET',
      path: '/letters/stats',
      tag,
      summary: 'Count the dead letters, by state and class.',
      answer: schemas.LetterStats,
      description: ESTIMATED,
      says: 'Letters, events and bytes, as `weir dlq stats --json`, which counts all.',
      handle: async () => ({ ...(await overview()).stats, drain: await readDrain(db) }),
    }),
    route({
      method: 'GET',
      path: '/letters/groups',
      tag,
      summary: 'List the causes of dead letters, largest first.',
      answer: schemas.LetterGroups,
      description: ESTIMATED,
      says: `The ${MAX_GROUPS} largest, as \`weir dlq groups --json\`, which counts all; \`more\`: those beyond.`,
      async handle() {
        const { groups } = await overview();
        const largest = groups.slice(0, MAX_GROUPS);
        return { groups: largest, more: groups.length - largest.length };
      },
    }),
    route({
      method: 'GET',
      path: '/letters/audit',
      tag,
      summary: 'List what was done to dead letters, projects and switches, and by whom, newest first.',
      query: v.strictObject({ letter: v.optional(Uuid), limit: Limit, after: AfterNumber }),
      answer: schemas.AuditPage,
      says: 'Entries of the audit.',
      async handle({ query: { letter = null, limit, after = null } }) {
        const found = await readAuditPage(db, { deadLetterId: letter, before: after, limit: limit + 1 });
        const entries = found.slice(0, limit);
        return {
          entries: entries.map(({ deadLetterId: letterId, ...entry }) => ({ ...entry, letterId })),
          next: found.length > limit ? String(entries.at(-1)!.id) : null,
        };
      },
    }),
    exportRoute(deps),
    route({
      method: 'GET',
      path: '/letters',
      tag,
      summary: 'List dead letters, oldest first.',
      description: 'A page may have fewer letters than asked for, or none, and still a next one.',
      query: v.strictObject({ ...Filter, limit: Limit, after: After }),
      answer: schemas.LetterPage,
      says: 'Letters, as `weir dlq ls --json`.',
      async handle({ query: { state: only = null, limit, after, ...filter }, operator }) {
        const page = await queries.page({ selection: selectionOf(filter), only, limit, after: placeIn(after) });
        const isUnsafe = operator.showsEvents;
        const letters = page.letters.map((letter) => ({
          ...letter,
          lastError: isUnsafe ? letter.lastError : unquoted(letter.lastError),
        }));
        return { letters, next: page.next === null ? null : `${page.next.createdAt.getTime()}_${page.next.id}` };
      },
    }),
    ...oneLetter(deps),
  ];
}

function oneLetter(deps: OperatorDeps): OperatorRoute[] {
  const { db, events } = deps;
  const tag = 'Dead letters';

  return [
    route({
      method: 'GET',
      path: '/letters/:id',
      tag,
      summary: 'Show one dead letter and its first rows.',
      answer: schemas.Letter,
      says: 'As `weir dlq show --json`; values of events are hidden from whoever may not see them.',
      refusals: ['not_found'],
      async handle({ id, operator }) {
        const { letter, rows, ...shown } = await showDeadLetter(db, {
          id,
          maxRows: ROWS_SHOWN,
          isUnsafe: operator.showsEvents,
        });
        return { ...letter, ...shown, rows: rows.map(numbered) };
      },
    }),
    route({
      method: 'GET',
      path: '/letters/:id/rows',
      tag,
      summary: 'Show rows of a dead letter beside the table, and why it does not take them.',
      description:
        'The store looks at all rows of the letter and stores none. `members` are what to look at in the event; `statement` makes the table take it, where one can be told.',
      query: v.strictObject({ limit: Limit, after: AfterNumber, refused: Yes }),
      answer: schemas.LetterRows,
      says: 'Rows from the place `after` on; with `refused=true` only those that the store refuses.',
      refusals: ['not_found', 'damaged'],
      async handle({ id, query: { limit, after = 0, refused }, operator }) {
        const store = events && {
          operations: events.operations,
          inspector: events.operations.inspection(deps.inspectWithinMs),
          schema: events.schema,
        };
        const question = { id, from: after, limit, isRefusedOnly: refused === 'true', isUnsafe: operator.showsEvents };
        const { table, rows, next, ...found } = await explainDeadLetter({ db, events: store }, question);
        return {
          ...found,
          table: table?.name ?? null,
          columns: table?.columns ?? [],
          constraints: table?.constraints ?? [],
          rows: rows.map(({ row, ...one }) => ({ ...one, row: jsonOrText(row) })),
          next: next === null ? null : String(next),
        };
      },
    }),
  ];
}

function selectionOf({ group, project }: { group?: string | undefined; project?: string | undefined }): Selection {
  if (group !== undefined && project !== undefined) {
    throw new OperationRefused('invalid', 'group and project exclude each other.');
  }
  if (group !== undefined) return { by: 'group', group };
  return project === undefined ? { by: 'all' } : { by: 'project', projectId: project };
}

/** `next` of a page. */
function placeIn(after: string | undefined): DeadLetterPlace | null {
  if (after === undefined) return null;
  const [, ms, id] = /^(\d{1,15})_([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$/.exec(after) ?? [];
  if (id === undefined) throw new OperationRefused('invalid', 'after: must be the next of the page before.');
  return { createdAt: new Date(Number(ms)), id };
}
