/**
 * The description of the API, OpenAPI 3.1, composed of the routes' own descriptions, the table of refusals, and what
 * every path has in common.
 */
import type { JsonSchema } from '../../event/kinds.ts';
import { type RefusalCode, REFUSAL_CODES, rowOf } from '../answers/refusals.ts';
import type { Answer, Operation, Parameter, Route, Scheme } from './route.ts';
import { SERVER_REFUSALS } from '../answers/refusals.ts';

const JSON_TYPE = 'application/json';

type Json = { readonly [name: string]: unknown };

/** Refusals that no route answers: they say that no route exists. */
const ROUTELESS = { not_found: 'NotFound', method_not_allowed: 'MethodNotAllowed' } as const;

/**
 * The route that serves the description of all routes, itself included. It is generated once; all answers are the same
 * bytes.
 */
export function describedRoutes(others: readonly Route[], { version }: { version: string }): readonly Route[] {
  let bytes: Uint8Array<ArrayBuffer> | null = null;
  const routes: readonly Route[] = [
    ...others,
    {
      method: 'GET',
      path: '/openapi.json',
      handler: (c) => {
        bytes ??= new TextEncoder().encode(JSON.stringify(openApiOf(routes, { version })));
        return c.body(bytes, 200, { 'Content-Type': 'application/json' });
      },
      operation: DESCRIPTION,
    },
  ];
  return routes;
}

const DESCRIPTION: Operation = {
  tag: 'Description',
  summary: 'This description.',
  schemes: ['none'],
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
      summary: 'A durable write path for analytics events into ClickHouse or Postgres.',
      description: GENERAL,
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/' }],
    tags: [
      { name: 'Events', description: 'Front doors: each decodes its own wire format into the same event.' },
      {
        name: 'Clients',
        description:
          'For clients of other services: front doors at the paths that they know, and what they ask for before they send anything.',
      },
      { name: 'Reading', description: 'Queries over a project’s own events.' },
      { name: 'Health', description: 'Answered from memory, without a credential.' },
      { name: 'Description', description: 'The API, described for machines.' },
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
  const { ownRefusals } = operation;
  const statusesOf = (code: RefusalCode): readonly number[] => {
    const usual = SERVER_REFUSALS.some((one) => one === code) ? [rowOf(code).status] : [];
    if (!operation.refusals.includes(code)) return usual;
    return [...new Set([...usual, ownRefusals?.status?.(code) ?? rowOf(code).status])];
  };
  // In the order of the table, so that the document does not depend on the order of declarations.
  const byStatus = Map.groupBy(
    REFUSAL_CODES.flatMap((code) => statusesOf(code).map((status) => ({ code, status }))),
    ({ status }) => status,
  );
  return {
    operationId: `${method.toLowerCase()}${path.replaceAll(/[^a-z0-9]+(\w?)/gi, (_, next: string) => next.toUpperCase())}`,
    tags: [tag],
    summary,
    ...(description && { description }),
    security: schemes.map((scheme) => (scheme === 'none' ? {} : { [scheme]: [] })),
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
      ...Object.entries(operation.answers).map(([status, answer]) => [status, servedAnswer(status, answer)]),
      ...[...byStatus].map(([status, some]) => [
        String(status),
        refusalAnswer(
          status,
          some.map(({ code }) => code),
          operation.answers[status],
          ownRefusals,
        ),
      ]),
    ]) as Json,
  };
}

const asParameter = ({ required = false, ...parameter }: Parameter) => ({ ...parameter, required });

const NO_CONTENT = '204';

function servedAnswer(
  status: string,
  { description, schema, mediaType = JSON_TYPE, example, headers = {} }: Answer,
): Json {
  const own = Object.entries(headers).map(([name, header]) => [name, { ...header, required: true }]);
  return {
    description,
    headers: { 'X-Request-Id': ref('headers', 'X-Request-Id'), ...Object.fromEntries(own) },
    ...(status !== NO_CONTENT && { content: { [mediaType]: { schema, ...(example !== undefined && { example }) } } }),
  };
}

/**
 * `beside`: what the route answers with the same status without refusing anything. `own`: its own shape of refusals.
 */
function refusalAnswer(
  status: number,
  codes: readonly RefusalCode[],
  beside?: Answer,
  own?: Operation['ownRefusals'],
): Json {
  const rows = codes.map((code) => ({ code, ...rowOf(code) }));
  const schema = {
    type: 'object',
    properties: {
      error: { type: 'string', minLength: 1, description: 'A sentence for people.' },
      code: { type: 'string', enum: codes },
      ...(status === 400 && { details: DETAILS }),
    },
    required: ['error', 'code'],
    additionalProperties: false,
  };
  const isOwnJson = own !== undefined && (own.contentType ?? JSON_TYPE) === JSON_TYPE;
  const others = [...(beside ? [beside.schema] : []), ...(isOwnJson ? [own.schema] : [])];
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
      [JSON_TYPE]: {
        schema: others.length > 0 ? { anyOf: [...others, schema] } : schema,
        examples: Object.fromEntries(rows.map(({ code, message }) => [code, { value: { error: message, code } }])),
      },
      ...(own?.contentType && !isOwnJson && { [own.contentType]: { schema: own.schema } }),
    },
  };
}

const ref = (kind: 'headers', name: string) => ({ $ref: `#/components/${kind}/${name}` });

const DETAILS: JsonSchema = {
  type: 'array',
  items: { type: 'object' },
  description: 'Each problem, where there may be several: for events, the position and the reason.',
};

/** Also the pattern of every answer's `X-Request-Id`. */
const REQUEST_ID: Parameter = {
  in: 'header',
  name: 'X-Request-Id',
  description: 'Kept, echoed and logged if it is well-formed; otherwise Weir makes one.',
  schema: { type: 'string', pattern: '^[\\w.:@/+=-]{1,128}$' },
};

const HEADERS = {
  'X-Request-Id': { description: 'Identifies this request in the log.', schema: REQUEST_ID.schema },
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
  Allow: { description: 'The methods that the path supports.', required: true, schema: { type: 'string' } },
} as const;

const SECURITY_SCHEMES: Record<Exclude<Scheme, 'none'>, Json> = {
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
Weir answers an unknown path as \`#/components/responses/NotFound\`, and a known one with another method as
\`#/components/responses/MethodNotAllowed\`. \`HEAD\` works wherever \`GET\` does, but at front doors. \`OPTIONS\` gets 204 at every path.

**Origins.** If \`ALLOWED_ORIGINS\` is empty, every origin may call, otherwise only those listed. The answer to a page names its
origin and carries \`Access-Control-Allow-Credentials: true\` (there are no cookies); the page may send any headers that its
browser asks for. \`Retry-After\`, \`X-Request-Id\`, \`Weir-Ack\` and \`Weir-Rejected\` are exposed. No page may read
\`/internal/*\` and the health paths. Answers to requests that needed a credential carry \`Cache-Control: no-store\`.

**Order of checks.** Intake (503), credential (401, 403), body (413, 415, 400), rate (429), each event, capacity (503).
After an error, Weir has accepted none of the events.

**Sending again.** After a timeout, a reset, 429 or 5xx, send the same events again with the same ids.

**Tokens** are public (they may only send events) or secret (they may also read their own project).`;
