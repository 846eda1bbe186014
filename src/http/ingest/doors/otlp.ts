/** What OpenTelemetry's exporters of logs send: OTLP over HTTP, as JSON and as protobuf. */
import type { Decoded } from '../../../event/decode.ts';
import { isBodyProblem } from '../../../event/envelope.ts';
import type { LenientFormat } from '../../../event/lenient-format.ts';
import type { RefusalCode } from '../../answers/refusals.ts';
import { asItIs, type Door, type OwnRefusals, type RequestHead } from './door.ts';
import { exportResponse, rpcStatus } from './otlp/answers.ts';
import { readOtlpJson } from './otlp/json.ts';
import { readOtlpProtobuf } from './otlp/protobuf.ts';
import { recordsOf } from './otlp/single.ts';
import { SDK_REFUSALS, sdkStatus } from './sdk-answers.ts';
import { apiKeyHeader, basicUser, bearer } from './sdk-tokens.ts';

const format: LenientFormat = {
  lenient: true,
  // Never the message: names have few values.
  event: { paths: ['weir:event'], constant: 'log' },
  timestamp: [{ at: 'weir:timeUnixNano', unit: 'ns' }],
  userId: { paths: ['weir:user_id'] },
  anonymousId: { paths: ['weir:anonymous_id'] },
  sessionId: { paths: ['weir:session_id'] },
  // An exporter that tries again sends the same bytes.
  eventId: { paths: ['weir:event_id'], otherwise: 'record' },
  properties: ['weir:properties'],
  // They stand among the attributes as well.
  without: ['weir:user_id', 'weir:anonymous_id', 'weir:session_id', 'weir:event_id'],
};

/** The exporters try again after these, and not after 500. */
const table = sdkStatus();
const status = (code: RefusalCode): number => (code === 'internal' ? 503 : table(code));

const INVALID_ARGUMENT = 3;
const RPC_CODES: Partial<Record<RefusalCode, number>> = {
  unauthorized: 16,
  forbidden: 7,
  rate_limited: 8,
  body_too_large: 8,
  channel_full: 14,
  shutting_down: 14,
  ingest_disabled: 14,
  ingest_elsewhere: 14,
  ingest_down: 14,
  not_replicated: 14,
  internal: 13,
};

const JSON_TYPE = 'application/json';
const PROTOBUF_TYPE = 'application/x-protobuf';
const OPEN_BRACE = '{';

type IsProtobuf = (head: RequestHead) => boolean;

const mediaTypeOf = ({ headers }: RequestHead): string =>
  (headers['content-type'] ?? '').split(';', 1)[0]!.trim().toLowerCase();

/** As far as the headers tell. */
const isSaidProtobuf: IsProtobuf = (head) => mediaTypeOf(head) === PROTOBUF_TYPE;

/** Answers in the request's own format. */
function answersIn(isProtobuf: IsProtobuf) {
  const typeFor = (head: RequestHead) => (isProtobuf(head) ? PROTOBUF_TYPE : JSON_TYPE);
  const ownRefusals: OwnRefusals = {
    status,
    contentType: typeFor,
    body({ code, message }, head) {
      const rpcCode = RPC_CODES[code] ?? INVALID_ARGUMENT;
      return isProtobuf(head) ? rpcStatus(rpcCode, message) : { code: rpcCode, message };
    },
    schema: {
      type: 'object',
      properties: { code: { type: 'integer' }, message: { type: 'string' } },
      required: ['code', 'message'],
    },
  };
  return {
    answer: (decoded, { head }) => ({
      status: 200,
      body: isProtobuf(head) ? exportResponse(decoded.rejected, messageFor(decoded)) : jsonResponse(decoded),
      contentType: typeFor(head),
    }),
    ownRefusals,
  } satisfies Partial<Door>;
}

/** Also when all were rejected: to send them again would not help. */
function jsonResponse(decoded: Decoded): object {
  if (decoded.rejected === 0) return {};
  return { partialSuccess: { rejectedLogRecords: String(decoded.rejected), errorMessage: messageFor(decoded) } };
}

function messageFor({ rejected, rejections: [first] }: Decoded): string {
  return rejected === 0 ? '' : `${first?.reason} (record ${first?.index}); ${rejected} records were rejected`;
}

const otlp = {
  source: 'otlp',
  paths: ['/v1/logs'],
  summary: 'Take logs of OpenTelemetry’s exporters: OTLP as JSON or as protobuf.',
  tokens: [bearer, basicUser, apiKeyHeader],
  format,
  bodyAround: asItIs,
  answers: { 200: { type: 'object' } },
  refusals: SDK_REFUSALS,
  example: {
    resourceLogs: [
      {
        resource: { attributes: [{ key: 'service.name', value: { stringValue: 'shop' } }] },
        scopeLogs: [
          {
            logRecords: [
              {
                timeUnixNano: '1777897800000000000',
                severityNumber: 9,
                eventName: 'order.placed',
                attributes: [{ key: 'amount', value: { doubleValue: 49.9 } }],
              },
            ],
          },
        ],
      },
    ],
  },
} satisfies Partial<Door>;

const body: Door['body'] = {
  kind: 'whole',
  sniffsGzip: true,
  *open(bytes, { maxEvents }, head) {
    const isProtobuf = isProtobufBody(bytes, head);
    const events = yield* isProtobuf ? readOtlpProtobuf(bytes, maxEvents) : readOtlpJson(bytes, maxEvents);
    if (isBodyProblem(events)) return events;
    return { events, sent: recordsOf(bytes, isProtobuf), speaksAs: isProtobuf ? protobufDoor : jsonDoor };
  },
  schema: () => ({ type: 'object', properties: { resourceLogs: { type: 'array' } } }),
};

/** What says neither is known by its first byte. */
function isProtobufBody(bytes: Buffer, head: RequestHead): boolean {
  const type = mediaTypeOf(head);
  if (type === PROTOBUF_TYPE || type === JSON_TYPE) return type === PROTOBUF_TYPE;
  const start = bytes
    .toString('latin1', 0, 64)
    .replace(/^\u00ef\u00bb\u00bf/, '')
    .trimStart();
  return start !== '' && !start.startsWith(OPEN_BRACE);
}

const protobufDoor: Door = { ...otlp, body, ...answersIn(() => true) };
const jsonDoor: Door = { ...otlp, body, ...answersIn(() => false) };

export const otlpDoor: Door = { ...otlp, body, ...answersIn(isSaidProtobuf) };
