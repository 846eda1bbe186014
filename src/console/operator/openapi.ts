/** The description of the console's API, OpenAPI 3.1, made of what the routes say of themselves. */
import { toJsonSchema } from '@valibot/to-json-schema';
import type { GenericSchema } from 'valibot';
import { type ConsoleRefusalCode, OF_EVERY_ROUTE, statusOf } from '../refusals.ts';
import type { DescribedRoute } from './described.ts';

type Json = { readonly [name: string]: unknown };

const BASE = '/api/v1/operator';
const JSON_TYPE = 'application/json';
const NO_CONTENT = '204';

/** The whole document. */
export function describeConsole(routes: readonly DescribedRoute[], { version }: { version: string }): Json {
  const paths: Record<string, Record<string, Json>> = {};
  for (const route of routes) {
    const path = `${BASE}${route.path.replaceAll(/:(\w+)/g, '{$1}')}`;
    (paths[path] ??= {})[route.method.toLowerCase()] = described(route);
  }
  return {
    openapi: '3.1.0',
    info: { title: 'Weir console', version, summary: 'What operators see and do, over HTTP.', description: GENERAL },
    servers: [{ url: '/' }],
    paths,
    components: {
      schemas: {},
      responses: {},
      headers: {},
      securitySchemes: { session: { type: 'apiKey', in: 'cookie', name: 'weir_console' } },
    },
  };
}

function described({ method, path, tag, summary, description, query, body, answers, refusals }: DescribedRoute): Json {
  const codes = [...new Set([...OF_EVERY_ROUTE, ...refusals])];
  const byStatus = Map.groupBy(codes, statusOf);
  const isChange = method !== 'GET';
  return {
    operationId: `${method.toLowerCase()}${path.replaceAll(/[^a-z0-9]+(\w?)/gi, (_, next: string) => next.toUpperCase())}`,
    tags: [tag],
    summary,
    ...(description && { description }),
    security: [{ session: [] }],
    parameters: [
      ...(path.includes(':id') ? [ID] : []),
      ...(isChange ? [CSRF] : []),
      ...(query ? parametersOf(query) : []),
    ],
    ...(body && { requestBody: { required: true, content: { [JSON_TYPE]: { schema: schemaOf(body, 'input') } } } }),
    responses: Object.fromEntries([
      ...Object.entries(answers).map(([status, { description: says, schema, mediaType = JSON_TYPE }]) => [
        status,
        {
          description: says,
          ...(status !== NO_CONTENT && {
            content: { [mediaType]: { schema: schema ? schemaOf(schema, 'output') : { type: 'string' } } },
          }),
        },
      ]),
      ...[...byStatus].map(([status, some]) => [String(status), refusalAnswer(some)]),
    ]) as Json,
  };
}

const ID = { in: 'path', name: 'id', required: true, schema: { type: 'string', format: 'uuid' } };
const CSRF = {
  in: 'header',
  name: 'X-Weir-Csrf',
  required: true,
  description: 'The `csrf` that `GET /session` answers.',
  schema: { type: 'string' },
};

/** Parameters are texts; their schemas turn them into what they mean. */
function parametersOf(query: GenericSchema): Json[] {
  const { properties = {}, required = [] } = schemaOf(query, 'input') as {
    properties?: Record<string, Json>;
    required?: readonly string[];
  };
  return Object.entries(properties).map(([name, schema]) => ({
    in: 'query',
    name,
    required: required.includes(name),
    schema,
  }));
}

function schemaOf(schema: GenericSchema, typeMode: 'input' | 'output'): Json {
  // What JSON Schema cannot say, such as a transformation, is checked all the same.
  const { $schema: _, ...document } = toJsonSchema(schema, { typeMode, errorMode: 'ignore' });
  return document;
}

const refusalAnswer = (codes: readonly ConsoleRefusalCode[]): Json => ({
  description: codes.map((code) => `\`${code}\``).join(', '),
  content: {
    [JSON_TYPE]: {
      schema: {
        type: 'object',
        properties: {
          error: { type: 'string', minLength: 1, description: 'A sentence for people.' },
          code: { type: 'string', enum: codes },
          details: { type: 'array', items: { type: 'object' } },
        },
        required: ['error', 'code'],
        additionalProperties: false,
      },
    },
  },
});

const GENERAL = `For people who are signed in to the console, and only through its own page: changes need the header
\`X-Weir-Csrf\` and the console's \`Origin\`. Whoever is a \`viewer\` changes nothing.

**Errors** have the shape of the public API: \`{"error": "<a sentence>", "code": "<stable_code>"}\`.

**Lists** have pages: \`limit\` (50, at most 500) and \`after\`, which is the \`next\` of the page before; \`next\` is null at the end.

**Jobs.** What takes longer runs on: the answer is 202 with the job, and \`GET /jobs/{id}\` says how far it is.

**Contents of events** are hidden from whoever may not see them (\`CONSOLE_SHOW_EVENTS\`). No answer may be kept (\`Cache-Control: no-store\`).`;
