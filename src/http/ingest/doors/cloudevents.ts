/** CloudEvents 1.0 over HTTP: structured, in batches, and binary, where the attributes are headers. */
import { isUtf8 } from 'node:buffer';
import { type BodyProblem, isBodyProblem } from '../../../event/envelope.ts';
import type { LenientFormat, ReadPath } from '../../../event/lenient-format.ts';
import { wordsOf } from '../../../event/lenient-text.ts';
import { rawStringOf } from '../../../event/raw-json.ts';
import { createEventWalk } from '../../../event/raw-event.ts';
import { isRawJson, rawObjectOf, type RawMembers, rewriteEvents, scanRewritten } from '../../../event/rewriting.ts';
import type { Steps } from '../../../event/steps.ts';
import { answerSchema } from '../../description/answer-schema.ts';
import type { Door, DoorAnswer, EventLimits, Opened, RequestHead } from './door.ts';
import { isNone, REJECTED, rejectedIn, SDK_REFUSALS, sdkRefusals, whyNone } from './sdk-answers.ts';
import { openSdk } from './sdk-opening.ts';
import { apiKeyHeader, basicUser, bearer, inQuery } from './sdk-tokens.ts';

const REQUIRED = ['id', 'source', 'type', 'specversion'] as const;

const format: LenientFormat = {
  lenient: true,
  event: { paths: ['type'] },
  timestamp: [{ at: 'time' }],
  userId: { paths: ['userid'] },
  anonymousId: { paths: ['anonymousid'] },
  sessionId: { paths: ['sessionid'] },
  // An id is unique only within its source.
  eventId: { paths: ['id'], scope: ['source', 'id'] },
  properties: ['weir:properties'],
  refuse: { paths: REQUIRED, reason: whyNone10 },
};

function whyNone10(read: ReadPath): string | null {
  const missing = REQUIRED.find((name) => read(name) === null);
  if (missing !== undefined) return `${missing} required`;
  return wordsOf(read('specversion')) === '1.0' ? null : 'specversion must be 1.0';
}

function flat(event: RawMembers): RawMembers {
  const data = event.get('data') ?? 'null';
  event.delete('data');
  const trace = traceIn(event.get('traceparent'));
  if (trace !== null && !event.has('trace_id')) event.set('trace_id', trace);
  const properties = data[0] === '{' ? data : data === 'null' ? '{}' : rawObjectOf([['value', data]]);
  return event.set('weir:properties', properties);
}

/** The id of the trace that a W3C header names, raw. */
function traceIn(traceparent: string | undefined): string | null {
  const [, id] = /^"[\da-f]{2}-([\da-f]{32})-[\da-f]{16}-/.exec(traceparent ?? '') ?? [];
  return id === undefined ? null : `"${id}"`;
}

const PREFIX = 'ce-';

function* open(body: Buffer, head: RequestHead, limits: EventLimits): Steps<Opened | BodyProblem> {
  return yield* isBinary(head) ? openBinary(body, head) : openJson(body, head, limits);
}

function* openJson(body: Buffer, head: RequestHead, limits: EventLimits): Steps<Opened | BodyProblem> {
  const opened = yield* openSdk(body, head, { lists: [] }, limits);
  if (isBodyProblem(opened)) return opened;
  const { events } = opened;
  return { events, flatten: () => rewriteEvents(events, flat), sent: createEventWalk(events) };
}

function* openBinary(body: Buffer, { headers }: RequestHead): Steps<Opened | BodyProblem> {
  const event: RawMembers = new Map();
  for (const [name, value] of Object.entries(headers)) {
    if (name.startsWith(PREFIX)) event.set(name.slice(PREFIX.length), rawStringOf(attributeOf(String(value))));
  }
  const type = headers['content-type'];
  if (type !== undefined) event.set('datacontenttype', rawStringOf(type));
  const raw = body.toString('latin1').trim();
  if (raw !== '' && isUtf8(body)) event.set('data', isRawJson(raw) ? raw : rawStringOf(body.toString('utf8')));
  else if (raw !== '') event.set('data_base64', rawStringOf(body.toString('base64')));
  const structured = rawObjectOf(event);
  const events = yield* scanRewritten([rawObjectOf(flat(event))]);
  return isBodyProblem(events) ? events : { events, sent: () => structured };
}

function isBinary({ headers }: RequestHead): boolean {
  const isStructured = (headers['content-type'] ?? '').toLowerCase().startsWith('application/cloudevents');
  return headers[`${PREFIX}specversion`] !== undefined && !isStructured;
}

/** The value of an attribute in a header: a quoted string is unescaped, and what was percent-encoded is decoded once. */
function attributeOf(value: string): string {
  const quoted = /^"(.*)"$/s.exec(value.trim())?.[1];
  const text = quoted === undefined ? value.trim() : quoted.replaceAll(/\\(.)/g, '$1');
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

const STATUS = { type: 'string' } as const;

export const cloudEventsDoor: Door = {
  source: 'cloudevents',
  paths: ['/cloudevents'],
  summary: 'Take CloudEvents 1.0: structured, in batches, or binary.',
  tokens: [bearer, basicUser, apiKeyHeader, inQuery('token')],
  format,
  // Whoever sends to a webhook may ask first whether, and how often, he may.
  preflight: ({ 'webhook-request-origin': origin }): Record<string, string> =>
    typeof origin === 'string' ? { 'WebHook-Allowed-Origin': origin, 'WebHook-Allowed-Rate': '*' } : {},
  body: {
    kind: 'whole',
    sniffsGzip: true,
    takesAnyBytes: isBinary,
    open: (body, limits, head) => open(body, head, limits),
    schema: (event) => ({ anyOf: [event, { type: 'array', items: event }] }),
  },
  answer: (decoded): DoorAnswer =>
    isNone(decoded)
      ? { status: 400, body: { status: 'rejected', error: whyNone(decoded), ...rejectedIn(decoded) } }
      : { status: 200, body: { status: 'ok', ...rejectedIn(decoded) } },
  answers: {
    200: answerSchema({ status: STATUS }, REJECTED),
    400: answerSchema({ status: STATUS, error: STATUS }, REJECTED),
  },
  ownRefusals: sdkRefusals(),
  refusals: SDK_REFUSALS,
  example: {
    specversion: '1.0',
    id: '0198c0de-0000-7000-8000-000000000000',
    source: '/shop',
    type: 'com.example.order.placed',
    time: '2026-05-04T12:30:00.000Z',
    userid: 'u1',
    data: { amount: 49.9 },
  },
};
