/** Asking SQL about a project: what its clients may ask with a secret token, in the same limits. */
import type { Context } from 'hono';
import * as v from 'valibot';
import { isRefusal } from '../../http/answers/refusals.ts';
import { type QuerySummary, jsonAnswer } from '../../http/read/query-answer.ts';
import { MAX_BODY_BYTES, type OpenAnswer, STALL_MS, type Visitor } from '../../http/read/visits.ts';
import { findProject } from '../../operations/find-project.ts';
import type { ConsoleEnv } from '../env.ts';
import { refuse } from '../refusals.ts';
import { csvLine } from './csv.ts';
import { cutOff } from './cut-off.ts';
import { type OperatorDeps, eventsOf } from './operator-deps.ts';
import { type OperatorRoute, rawRoute, route } from './route.ts';
import * as schemas from './schemas.ts';

const CSV = 'text/csv';
/** A file is written when all of it is there, so that half of one is never taken for a whole. */
const MAX_CSV_BYTES = 16 * 1024 * 1024;
/** Whether there were more rows than the file has. */
const TRUNCATED = 'Weir-Truncated';

const Question = v.strictObject({
  sql: v.pipe(v.string('must be a text'), v.maxBytes(MAX_BODY_BYTES, `must have at most ${MAX_BODY_BYTES} bytes`)),
});

export function askRoutes(deps: OperatorDeps): OperatorRoute[] {
  const { db, clock, recipes } = deps;
  const tag = 'Ask';
  return [
    route({
      method: 'GET',
      path: '/cookbook',
      tag,
      summary: 'Questions of product people, each with its SQL.',
      answer: schemas.Cookbook,
      says: 'Those of docs/QUERIES.md, in the SQL of this store.',
      handle: async () => ({ recipes: [...recipes] }),
    }),
    rawRoute({
      method: 'GET',
      path: '/projects/:id/schema',
      tag,
      summary: 'List what can be queried in SQL.',
      answers: { 200: { description: 'Tables, names of events, limits.', schema: schemas.ProjectSchema } },
      refusals: ['not_found', 'too_many_queries', 'store_unavailable', 'query_refused'],
      async answer({ c, id }) {
        const { visits } = eventsOf(deps);
        await findProject(db, id);
        const found = await visits.schema(visitorOf(c, id));
        return isRefusal(found) ? refuse(c, asOwn(found)) : c.json(found);
      },
    }),
    rawRoute({
      method: 'POST',
      path: '/projects/:id/query',
      tag,
      summary: 'Query a project’s events in SQL.',
      description: `Body, limits and answer are those of the project endpoint. With \`Accept: text/csv\` the answer is a file of at most ${MAX_CSV_BYTES / 1024 ** 2} MiB; its header \`${TRUNCATED}\` says whether there were more rows. Needs the right to see contents of events.`,
      isReading: true,
      body: Question,
      answers: {
        200: {
          description: 'The rows, streamed as they are found; one without `stats` was cut off.',
          schema: schemas.QueryAnswer,
        },
      },
      refusals: ['forbidden', 'not_found', 'query_refused', 'too_many_queries', 'store_unavailable'],
      async answer({ c, id, body: { sql }, operator }) {
        const { visits, limits } = eventsOf(deps);
        if (!operator.showsEvents) {
          return refuse(c, {
            refused: 'forbidden',
            message: 'answers hold the values of events, which are hidden from you (CONSOLE_SHOW_EVENTS)',
          });
        }
        await findProject(db, id);
        const visitor = visitorOf(c, id);
        const answer = await visits.query(visitor, sql);
        if (isRefusal(answer)) return refuse(c, asOwn(answer));
        if (wantsCsv(c)) return csvFile(c, answer, limits.maxRows);
        const stream = jsonAnswer(answer, {
          maxRows: limits.maxRows,
          maxBytes: limits.maxResultBytes,
          elapsedMs: answer.elapsedMs,
          stalled: (taken) => clock.sleep(STALL_MS, taken),
          cut: visitor.cut,
          onEnd: answer.end,
        });
        return c.body(stream, 200, { 'Content-Type': 'application/json' });
      },
    }),
  ];
}

/** Refusals of reading, by the names that they have here. */
type Read = { readonly refused: string; readonly message?: string; readonly details?: readonly object[] };

function asOwn({ refused, message, details }: Read): Parameters<typeof refuse>[1] {
  const more = { ...(message !== undefined && { message }), ...(details !== undefined && { details }) };
  if (refused === 'too_many_queries') return { refused, ...more, retryAfterS: 1 };
  if (refused === 'store_unavailable') return { refused, ...more, retryAfterS: 5 };
  return { refused: 'query_refused', ...more };
}

function visitorOf(c: Context<ConsoleEnv>, projectId: string): Visitor {
  return { requestId: c.get('requestId'), projectId, left: c.req.raw.signal, cut: () => cutOff(c) };
}

const wantsCsv = (c: Context<ConsoleEnv>) => /^\s*text\/csv\b/i.test(c.req.header('Accept') ?? '');

async function csvFile(c: Context<ConsoleEnv>, answer: OpenAnswer, maxRows: number): Promise<Response> {
  let summary: QuerySummary = { rows: 0, isWhole: false, isTruncated: false };
  const lines = [csvLine(answer.columns.map(({ name }) => name))];
  let bytes = 0;
  try {
    rows: for await (const group of answer.rows) {
      for (const row of group) {
        const line = csvLine(JSON.parse(row) as unknown[]);
        bytes += Buffer.byteLength(line);
        if (summary.rows >= maxRows || bytes > MAX_CSV_BYTES) {
          summary = { ...summary, isTruncated: true };
          break rows;
        }
        lines.push(line);
        summary = { ...summary, rows: summary.rows + 1 };
      }
    }
    summary = { ...summary, isWhole: true };
  } catch {
    // The store's message quotes rows.
    return refuse(c, {
      refused: 'store_unavailable',
      message: 'the store of the events did not answer to the end',
      retryAfterS: 5,
    });
  } finally {
    answer.end(summary);
  }
  c.header(TRUNCATED, String(summary.isTruncated));
  c.header('Content-Disposition', 'attachment; filename="answer.csv"');
  return c.body(lines.join(''), 200, { 'Content-Type': `${CSV}; charset=utf-8` });
}
