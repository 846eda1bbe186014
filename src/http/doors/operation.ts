/** What a front door says of itself in the description of the API: from the same descriptors that decode. */
import { schemaOf } from '../../event/format.ts';
import { ACKS, INGEST_REFUSALS, LEVELS, MAX_KEY_LENGTH } from '../ingest.ts';
import { type Answer, type Operation, type Parameter, type RequestBody, TOKEN_IN_HEADER } from '../route.ts';
import type { Door } from './door.ts';

export function operationOf(door: Door): Operation {
  const name = `${door.source.charAt(0).toUpperCase()}${door.source.slice(1)}Event`;
  return {
    tag: 'Events',
    summary: door.summary,
    description: WITHOUT_HEADER[door.withoutHeader],
    schemes: door.withoutHeader === 'nobody' ? TOKEN_IN_HEADER : [...TOKEN_IN_HEADER, 'nobody'],
    parameters: PARAMETERS,
    body: bodyOf(door, { $ref: `#/components/schemas/${name}` }),
    answers: answersOf(door),
    refusals: [...door.refusals, ...INGEST_REFUSALS],
    schemas: { [name]: { description: EVENT, ...schemaOf(door.format) } },
  };
}

const EVENT =
  'One event: at most 256 KiB as stored, and 64 levels deep. A timestamp may lie up to INGEST_MAX_FUTURE ahead of ' +
  'the server’s clock. Fields that are not listed are kept in the extras.';

const WITHOUT_HEADER: Record<Door['withoutHeader'], string> = {
  nobody: 'Needs a token in a header.',
  'token in body':
    'Without a token in a header, the body must have one. Only tokens that Weir made are looked up here.',
  anonymous: 'Needs no token where INGEST_ANONYMOUS_PROJECT names the project that such events belong to.',
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
    in: 'header',
    name: 'Content-Encoding',
    description: 'How the body is compressed.',
    schema: { type: 'string', enum: ['identity', 'gzip', 'x-gzip', 'deflate', 'br', 'zstd'] },
  },
];

function bodyOf({ body, example }: Door, event: { readonly $ref: string }): RequestBody {
  if (body.kind === 'whole') {
    return {
      description: 'At most INGEST_MAX_BODY_BYTES, as sent and as decompressed. Its Content-Type does not matter.',
      required: true,
      // Beacons can only send the second without asking first.
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
    // JSON Schema has no word for a text of several values; each line is one of these.
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

function answersOf({ answers }: Door): Record<number, Answer> {
  const several = Object.keys(answers).length > 1;
  const described = Object.entries(answers).map(([status, schema]): [string, Answer] => {
    const description =
      status === '202' ? 'At least one event was taken.' : several ? 'No event was taken.' : 'The request was read.';
    return [status, { description, schema, headers: ACK }];
  });
  return Object.fromEntries(described);
}
