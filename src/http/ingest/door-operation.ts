/** A front door's description for the API: from the same descriptors that decode. */
import { schemaOf } from '../../event/format.ts';
import { MAX_KEY_LENGTH } from './acceptance.ts';
import { ACKS, LEVELS } from './acknowledgement.ts';
import { INGEST_REFUSALS } from './ingest-refusals.ts';
import {
  type Answer,
  type DoorRoute,
  type Operation,
  type Parameter,
  type RequestBody,
  TOKEN_IN_HEADER,
} from '../description/route.ts';
import { queryReader } from '../request/request-target.ts';
import { refuserOf } from './door-refusals.ts';
import type { Door, OwnRefusals } from './doors/door.ts';
import { type IngestDeps, type IngestOptions, ingest } from './ingest.ts';

/** A route for each path of a front door. */
export function doorRoutes(door: Door, deps: IngestDeps, options: IngestOptions): readonly DoorRoute[] {
  const take = ingest(door, deps, options);
  const { paths, methods = ['POST'], needsAllHeaders = false } = door;
  const isFoldable = door.tokens !== undefined;
  const refuseWith = refuserOf(door);
  return methods.flatMap((method) =>
    paths.map((path) => ({
      method,
      path,
      route: paths[0],
      operation: operationOf(door, method),
      needsAllHeaders: needsAllHeaders || isFoldable,
      isFoldable,
      ...(door.preflight && { preflight: door.preflight }),
      receive: (request, requestId) => take(request, path, requestId),
      refuse: (refusal, { target, headers }) =>
        refuseWith(refusal, { method, path, target, headers, query: queryReader(target) }),
    })),
  );
}

export function operationOf(door: Door, method: 'POST' | 'GET' = 'POST'): Operation {
  const { tokens, withoutHeader = 'nobody', ownRefusals } = door;
  const name = `${door.source.charAt(0).toUpperCase()}${door.source.slice(1)}Event`;
  return {
    tag: tokens ? 'Clients' : 'Events',
    summary: door.summary,
    description: tokens ? FOR_CLIENTS_OF_OTHERS : WITHOUT_HEADER[withoutHeader],
    schemes: !tokens && withoutHeader === 'nobody' ? TOKEN_IN_HEADER : [...TOKEN_IN_HEADER, 'none'],
    parameters: method === 'GET' ? [DATA] : tokens ? [CONTENT_ENCODING] : PARAMETERS,
    ...(method === 'POST' && { body: bodyOf(door, { $ref: `#/components/schemas/${name}` }) }),
    answers: answersOf(door),
    refusals: [...door.refusals, ...INGEST_REFUSALS],
    ...(ownRefusals && { ownRefusals: describedRefusals(ownRefusals) }),
    schemas: { [name]: { description: EVENT, ...schemaOf(door.format) } },
  };
}

const EVENT =
  'One event: at most 256 KiB as stored (1 MiB and 10 000 fields as sent), and 64 levels deep. A timestamp may lie up to INGEST_MAX_FUTURE ahead of ' +
  'the server’s clock. Fields that are not listed are kept in the extras.';

/** A type that depends on the request is only described where it is JSON. */
function describedRefusals({ contentType, ...own }: OwnRefusals): NonNullable<Operation['ownRefusals']> {
  return typeof contentType === 'string' ? { ...own, contentType } : own;
}

const FOR_CLIENTS_OF_OTHERS =
  'For clients that exist already, with their token where they have it: `docs/coming-from/`. A slash at the end and empty ' +
  'segments of the path mean nothing, neither does the Content-Type; a body may be gzip without a header that says so. ' +
  '`Weir-Rejected` says how many events were not taken.';

const WITHOUT_HEADER: Record<NonNullable<Door['withoutHeader']>, string> = {
  nobody: 'Needs a token in a header.',
  'token in body':
    'Without a token in a header, the body must have one, before or after its events, and is at most 256 KiB, ' +
    'uncompressed. This path accepts only tokens that Weir issued.',
  'any token in body': 'Without a token in a header, the body must have one, and is at most 256 KiB, uncompressed.',
  anonymous: 'Needs no token where INGEST_ANONYMOUS_PROJECT names the project that such events belong to.',
};

const CONTENT_ENCODING: Parameter = {
  in: 'header',
  name: 'Content-Encoding',
  description: 'How the body is compressed; two codings may be stacked, as in `gzip, gzip`.',
  schema: { type: 'string', enum: ['identity', 'gzip', 'x-gzip', 'deflate', 'br', 'zstd'] },
};

const DATA: Parameter = {
  in: 'query',
  name: 'data',
  description: 'The event or the list of events: JSON, or base64 of it.',
  schema: { type: 'string' },
};

const PARAMETERS: readonly Parameter[] = [
  {
    in: 'query',
    name: 'ack',
    description: 'How safe the events must be before the answer; INGEST_ACK by default. `stored` waits at most 30 s.',
    schema: { type: 'string', enum: ACKS },
  },
  {
    in: 'query',
    name: 'wait',
    description: '`true` is another spelling of `ack=stored`.',
    schema: { type: 'string', enum: ['true', 'false'] },
  },
  {
    in: 'header',
    name: 'Idempotency-Key',
    description: 'The same key with the same body gets the first answer again for 24 h, and nothing is queued.',
    schema: { type: 'string', minLength: 1, maxLength: MAX_KEY_LENGTH },
  },
  {
    ...CONTENT_ENCODING,
    description: `${CONTENT_ENCODING.description} Needs the token in a header.`,
  },
];

function bodyOf({ body, example }: Door, event: { readonly $ref: string }): RequestBody {
  if (body.kind === 'whole') {
    return {
      description: 'At most INGEST_MAX_BODY_BYTES, as sent and as decompressed. Its Content-Type does not matter.',
      required: true,
      // Beacons can send only the second without a preflight.
      mediaTypes: ['application/json', 'text/plain'],
      schema: body.schema(event),
      example,
    };
  }
  return {
    description:
      'One event a line, each at most 1 MiB; blank lines mean nothing. At most INGEST_MAX_BODY_BYTES in all. ' +
      'Its Content-Type does not matter.',
    required: false,
    mediaTypes: ['application/x-ndjson'],
    // JSON Schema cannot describe a text of several values; each line is one of these.
    schema: { type: 'string', contentMediaType: 'application/x-ndjson', 'x-line-schema': event },
    example: (example as object[]).map((line) => `${JSON.stringify(line)}\n`).join(''),
  };
}

const ACK = {
  'Weir-Ack': {
    description: 'How safe the accepted events are at this moment.',
    schema: { type: 'string', enum: LEVELS },
  },
} as const;

function answersOf({ answers, contentType }: Door): Record<number, Answer> {
  const several = Object.keys(answers).length > 1;
  const described = Object.entries(answers).map(([status, schema]): [string, Answer] => {
    const description =
      status === '202'
        ? 'Weir accepted at least one event.'
        : several
          ? 'Weir accepted no event.'
          : 'The request was read.';
    const isJson = contentType === undefined || schema['type'] === 'object';
    return [status, { description, schema, headers: ACK, ...(!isJson && { mediaType: contentType }) }];
  });
  return Object.fromEntries(described);
}
