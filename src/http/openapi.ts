/**
 * The description of the API, OpenAPI 3.1, put together from what the routes say
 * of themselves, the table of refusals, and what every path has in common.
 */
import type { JsonSchema } from '../event/kinds.ts';
import { type RefusalCode, REFUSAL_CODES, rowOf } from './refusals.ts';
import type { Answer, Operation, Parameter, Route, Scheme } from './route.ts';
import { SERVER_REFUSALS } from './server.ts';

type Json = { readonly [name: string]: unknown };

/** What no route answers: these say that there is none. */
const ROUTELESS = { not_found: 'NotFound', method_not_allowed: 'MethodNotAllowed' } as const;

/** The route that serves the description of the others and of itself. The text is made once. */
export function describedRoutes(others: readonly Route[], { version }: { version: string }): readonly Route[] {
  let text: string | null = null;
  const routes: readonly Route[] = [
    ...others,
    {
      method: 'GET',
      path: '/openapi.json',
      handler: (c) => {
        text ??= JSON.stringify(openApiOf(routes, { version }));
        return c.body(text, 200, { 'Content-Type': 'application/json' });
      },
      operation: DESCRIPTION,
    },
  ];
  return routes;
}

const DESCRIPTION: Operation = {
  tag: 'Description',
  summary: 'This description.',
  schemes: ['nobody'],
  answers: {
    200: {
      description: 'An OpenAPI document.',
      schema: { type: 'object', properties: { openapi: { type: 'string', const: '3.1.0' } }, required: ['openapi'] },
    },
  },
  refusals: ['internal'],
};

export function openApiOf(routes: readonly Route[], { version }: { version: string }): Json {
  const paths: Record<string, Record<string, Json>> = {};
  for (const { method, path, operation } of routes) {
    (paths[path.replaceAll(/:(\w+)/g, '{$1}')] ??= {})[method.toLowerCase()] = described(method, path, operation);
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Weir',
      version,
      summary: 'A durable write path for analytics events into ClickHouse.',
      description: GENERAL,
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/' }],
    tags: [
      { name: 'Events', description: 'Front doors: each decodes its own wire format into the same event.' },
      { name: 'Reading', description: 'Questions to a project’s own events.' },
      { name: 'Health', description: 'Answered from memory, without a credential.' },
      { name: 'Description', description: 'The API in words for machines.' },
    ],
    paths,
    components: {
      schemas: Object.assign({}, ...routes.map(({ operation }) => operation.schemas ?? {})) as Json,
      responses: Object.fromEntries(
        Object.entries(ROUTELESS).map(([code, name]) => [
          name,
          refusalAnswer(rowOf(code as RefusalCode).status, [code as RefusalCode]),
        ]),
      ),
      headers: HEADERS,
      securitySchemes: SECURITY_SCHEMES,
    },
  };
}

function described(method: string, path: string, operation: Operation): Json {
  const { tag, summary, description, schemes, parameters = [], body } = operation;
  const codes = new Set<RefusalCode>([...operation.refusals, ...SERVER_REFUSALS]);
  // In the order of the table, so that the document does not depend on who declared what first.
  const byStatus = Map.groupBy(
    REFUSAL_CODES.filter((code) => codes.has(code)),
    (code) => rowOf(code).status,
  );
  return {
    operationId: `${method.toLowerCase()}${path.replaceAll(/[^a-z0-9]+(\w?)/gi, (_, next: string) => next.toUpperCase())}`,
    tags: [tag],
    summary,
    ...(description && { description }),
    security: schemes.map((scheme) => (scheme === 'nobody' ? {} : { [scheme]: [] })),
    parameters: [...parameters, REQUEST_ID].map(asParameter),
    ...(body && {
      requestBody: {
        description: body.description,
        required: body.required,
        content: Object.fromEntries(
          body.mediaTypes.map((type) => [
            type,
            { schema: body.schema, examples: { example: { value: body.example } } },
          ]),
        ),
      },
    }),
    responses: Object.fromEntries([
      ...Object.entries(operation.answers).map(([status, answer]) => [status, servedAnswer(answer)]),
      ...[...byStatus].map(([status, some]) => [
        String(status),
        refusalAnswer(status, some, operation.answers[status]),
      ]),
    ]) as Json,
  };
}

const asParameter = ({ required = false, ...parameter }: Parameter) => ({ ...parameter, required });

function servedAnswer({ description, schema, mediaType = 'application/json', example, headers = {} }: Answer): Json {
  const own = Object.entries(headers).map(([name, header]) => [name, { ...header, required: true }]);
  return {
    description,
    headers: { 'X-Request-Id': ref('headers', 'X-Request-Id'), ...Object.fromEntries(own) },
    content: { [mediaType]: { schema, ...(example !== undefined && { example }) } },
  };
}

/** `beside`: what the route answers with the same status without refusing anything. */
function refusalAnswer(status: number, codes: readonly RefusalCode[], beside?: Answer): Json {
  const rows = codes.map((code) => ({ code, ...rowOf(code) }));
  const schema = {
    type: 'object',
    properties: {
      error: { type: 'string', minLength: 1, description: 'A sentence for a person.' },
      code: { type: 'string', enum: codes },
      ...(status === 400 && { details: DETAILS }),
    },
    required: ['error', 'code'],
    additionalProperties: false,
  };
  const headers = {
    'X-Request-Id': ref('headers', 'X-Request-Id'),
    ...(status === 401 && { 'WWW-Authenticate': ref('headers', 'WWW-Authenticate') }),
    ...(status === 405 && { Allow: ref('headers', 'Allow') }),
    ...(rows.every(({ retryAfterS }) => retryAfterS !== null) && { 'Retry-After': ref('headers', 'Retry-After') }),
  };
  const sentences = rows.map(
    ({ code, message, retryAfterS }) =>
      `\`${code}\`: ${message}${retryAfterS === null ? '' : ` (Retry-After: ${retryAfterS})`}.`,
  );
  return {
    description: [...(beside ? [beside.description] : []), ...sentences].join('\n\n'),
    headers,
    content: {
      'application/json': {
        schema: beside ? { anyOf: [beside.schema, schema] } : schema,
        examples: Object.fromEntries(rows.map(({ code, message }) => [code, { value: { error: message, code } }])),
      },
    },
  };
}

const ref = (kind: 'headers', name: string) => ({ $ref: `#/components/${kind}/${name}` });

const DETAILS: JsonSchema = {
  type: 'array',
  items: { type: 'object' },
  description: 'What is wrong one by one, where there is more than one thing: for events, their place and the reason.',
};

/** Also what every answer's `X-Request-Id` looks like. */
const REQUEST_ID: Parameter = {
  in: 'header',
  name: 'X-Request-Id',
  description: 'Kept, answered and logged when it is well-formed; otherwise one is made.',
  schema: { type: 'string', pattern: '^[\\w.:@/+=-]{1,128}$' },
};

const HEADERS = {
  'X-Request-Id': { description: 'Names this request in the log.', schema: REQUEST_ID.schema },
  'Retry-After': {
    description: 'Seconds to wait before the request is sent again.',
    required: true,
    schema: { type: 'integer', minimum: 1 },
  },
  'WWW-Authenticate': {
    description: 'Whether the token was missing or malformed (`invalid_request`), or not good (`invalid_token`).',
    required: true,
    schema: {
      type: 'string',
      enum: ['invalid_request', 'invalid_token'].map((error) => `Bearer realm="weir", error="${error}"`),
    },
  },
  Allow: { description: 'The methods that the path takes.', required: true, schema: { type: 'string' } },
} as const;

const SECURITY_SCHEMES: Record<Exclude<Scheme, 'nobody'>, Json> = {
  bearer: { type: 'http', scheme: 'bearer', description: '`Authorization: Bearer <token>`' },
  apiKey: { type: 'apiKey', in: 'header', name: 'X-Api-Key', description: '`X-Api-Key: <token>`' },
  projectBearer: {
    type: 'http',
    scheme: 'bearer',
    bearerFormat: '<project id>:<token>',
    description: '`Authorization: Bearer <project id>:<token>`; the token must belong to that project.',
  },
};

const GENERAL = `JSON, UTF-8. Paths are exact.

**Errors.** \`{"error": "<a sentence>", "code": "<stable_code>"}\`; the answers of every path list their codes.
An unknown path is answered as \`#/components/responses/NotFound\`, a known one with another method as
\`#/components/responses/MethodNotAllowed\`. \`HEAD\` works wherever \`GET\` does. \`OPTIONS\` is answered with 204 at every path.

**Origins.** With \`ALLOWED_ORIGINS\` empty every origin may call (\`Access-Control-Allow-Origin: *\`), otherwise those
listed. \`Retry-After\`, \`X-Request-Id\` and \`Weir-Ack\` are exposed to pages.

**Order of checks.** Is intake open (503), who asks (401, 403), the body (413, 415, 400), the rate (429), the events one
by one, is there room (503). What was answered with an error was not taken.

**Sending again.** After a timeout, a reset, 429 or 5xx send the same events with the same ids again.

**Tokens** are public (they may only send events) or secret (they may also read their own project).`;
