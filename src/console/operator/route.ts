/**
 * One route of the operator API: it checks what it is asked against the schemas that describe it, and answers JSON. A
 * refusal names the field.
 */
import type { Context } from 'hono';
import * as v from 'valibot';
import { isUuid } from '../../event/uuid.ts';
import { OperationRefused } from '../../operations/refused.ts';
import type { ConsoleEnv, Operator } from '../env.ts';
import { type ConsoleRefusalCode, refuse } from '../refusals.ts';
import type { DescribedAnswer, DescribedRoute, Json, Tag } from './described.ts';

export type OperatorRoute = DescribedRoute & {
  /** A POST that changes nothing: viewers may send it. */
  readonly isReading: boolean;
  readonly handler: (c: Context<ConsoleEnv>) => Promise<Response>;
};

const NOTHING = v.strictObject({});
type Nothing = typeof NOTHING;

export type Asked<Query extends v.GenericSchema, Body extends v.GenericSchema> = {
  readonly c: Context<ConsoleEnv>;
  readonly operator: Operator;
  /** The id in the path; empty where there is none. */
  readonly id: string;
  readonly query: v.InferOutput<Query>;
  readonly body: v.InferOutput<Body>;
};

type Described = {
  readonly method: DescribedRoute['method'];
  readonly path: string;
  readonly tag: Tag;
  readonly summary: string;
  readonly description?: string;
  readonly refusals?: readonly ConsoleRefusalCode[];
  readonly isReading?: boolean;
};

type Spec<Query extends v.GenericSchema, Body extends v.GenericSchema, Answer extends v.GenericSchema> = Described & {
  readonly query?: Query;
  readonly body?: Body;
  /** 200 by default. */
  readonly status?: 200 | 201 | 202;
  readonly answer: Answer;
  readonly says: string;
  readonly handle: (asked: Asked<Query, Body>) => Promise<Json<v.InferOutput<Answer>>>;
};

/** A route that answers JSON. */
export function route<
  Answer extends v.GenericSchema,
  Query extends v.GenericSchema = Nothing,
  Body extends v.GenericSchema = Nothing,
>({ answer, says, status = 200, handle, ...spec }: Spec<Query, Body, Answer>): OperatorRoute {
  const answers = { [status]: { description: says, schema: answer } };
  return rawRoute<Query, Body>({
    ...spec,
    answers,
    answer: async (asked) => asked.c.json(await handle(asked), status),
  });
}

type RawSpec<Query extends v.GenericSchema, Body extends v.GenericSchema> = Described & {
  readonly query?: Query;
  readonly body?: Body;
  readonly answers: { readonly [status: number]: DescribedAnswer };
  readonly answer: (asked: Asked<Query, Body>) => Promise<Response>;
};

/** A route that makes its own answer: a stream, a file, or one of several. */
export function rawRoute<Query extends v.GenericSchema = Nothing, Body extends v.GenericSchema = Nothing>({
  answer,
  refusals = [],
  isReading = false,
  ...spec
}: RawSpec<Query, Body>): OperatorRoute {
  const { path, query, body } = spec;
  const hasId = path.includes(':id');
  const own: ConsoleRefusalCode[] = [
    'invalid_request',
    ...(body ? (['invalid_json', 'not_json'] as const) : []),
    ...refusals,
  ];
  return {
    ...spec,
    refusals: own,
    isReading,
    async handler(c) {
      const id = hasId ? idIn(c) : '';
      const asked = checked<Query>(query ?? NOTHING, queryOf(c), 'query');
      const sent = body === undefined ? undefined : await bodyOf(c);
      if (sent instanceof Response) return sent;
      const content = body === undefined ? undefined : checked<Body>(body, sent, 'body');
      return answer({ c, operator: c.get('operator'), id, query: asked, body: content });
    },
  };
}

function idIn(c: Context<ConsoleEnv>): string {
  const id = c.req.param('id') ?? '';
  if (!isUuid(id)) throw new OperationRefused('invalid', 'The id in the path must be a UUID.');
  return id.toLowerCase();
}

/** A parameter given twice is an error: neither is what was meant. */
function queryOf(c: Context<ConsoleEnv>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(c.req.queries()).map(([name, values]) => {
      if (values.length > 1) throw new OperationRefused('invalid', `${name}: give it once.`);
      return [name, values[0]!];
    }),
  );
}

async function bodyOf(c: Context<ConsoleEnv>): Promise<unknown> {
  const type = c.req.header('Content-Type') ?? '';
  if (!/^application\/json\s*(;|$)/i.test(type)) return refuse(c, { refused: 'not_json' });
  try {
    return JSON.parse(await c.req.text()) as unknown;
  } catch {
    return refuse(c, { refused: 'invalid_json' });
  }
}

/** At most so many problems are named. */
const MAX_PROBLEMS = 5;

/** Throws `OperationRefused` that names each wrong field. */
function checked<Schema extends v.GenericSchema>(
  schema: v.GenericSchema,
  value: unknown,
  where: 'query' | 'body',
): v.InferOutput<Schema> {
  const parsed = v.safeParse(schema, value);
  if (parsed.success) return parsed.output;
  const problems = parsed.issues.slice(0, MAX_PROBLEMS).map((issue) => {
    const field = v.getDotPath(issue)?.slice(0, 100) ?? `the ${where}`;
    return issue.type === 'strict_object' && issue.expected === 'never'
      ? `${field}: there is no such ${where === 'query' ? 'parameter' : 'field'}`
      : `${field}: ${issue.message}`;
  });
  throw new OperationRefused('invalid', `${problems.join('; ')}.`);
}
