/** The Measurement Protocol of Google Analytics 4, as servers send it. */
import type { DecodeContext } from '../../../event/decoding.ts';
import { decoderOf } from '../../../event/decoder.ts';
import { type BodyProblem, isBodyProblem } from '../../../event/envelope.ts';
import { aloneOn, firstValue, moveToNextValue } from '../../../event/json-members.ts';
import type { LenientFormat } from '../../../event/lenient-format.ts';
import { rawStringOf } from '../../../event/raw-json.ts';
import { rawObjectOf, type RawMembers, rewriteEvents } from '../../../event/rewriting.ts';
import { createEventWalk } from '../../../event/raw-event.ts';
import { BYTES_A_STEP, type Steps } from '../../../event/steps.ts';
import { asItIs, type Door, type EventLimits, type Opened, type RequestHead } from './door.ts';
import { isNone, rejectedIn, SDK_REFUSALS, sdkRefusals, whyNone } from './sdk-answers.ts';
import { openSdk, type OpenedSdk, type SdkOpening } from './sdk-opening.ts';
import { inQuery } from './sdk-tokens.ts';

const format: LenientFormat = {
  lenient: true,
  event: { paths: ['name'] },
  timestamp: [{ at: 'timestamp_micros', unit: 'µs' }],
  userId: { paths: ['user_id'] },
  anonymousId: { paths: ['client_id', 'app_instance_id'] },
  sessionId: { paths: ['params.session_id'] },
  properties: ['params'],
};

/** What the query says of the stream, besides its secret. */
const STREAM = ['measurement_id', 'firebase_app_id'] as const;

const OPENING: SdkOpening = { lists: ['events'] };

function* open(body: Buffer, head: RequestHead, limits: EventLimits): Steps<Opened | BodyProblem> {
  const opened = yield* openSdk(body, head, OPENING, limits);
  if (isBodyProblem(opened)) return opened;
  const { events } = opened;
  const common = commonIn(opened, head);
  const sentEvent = createEventWalk(events);
  // What the query says may stand in the body as well.
  const sent = (index: number) => {
    const event = sentEvent(index);
    return event && rawObjectOf([...common, ['events', `[${event}]`]]);
  };
  return { events, flatten: () => rewriteEvents(events, flatWith(common)), sent };
}

/** What a request says of all its events. */
function commonIn({ envelope }: OpenedSdk, head: RequestHead): ReadonlyMap<string, string> {
  const query = head.query();
  const common: RawMembers = new Map(envelope);
  for (const name of STREAM) if (query.get(name)) common.set(name, rawStringOf(query.get(name)!));
  return common;
}

/** What an event says itself wins. */
function flatWith(common: ReadonlyMap<string, string>) {
  return (event: RawMembers): RawMembers => {
    const flat: RawMembers = new Map(common);
    for (const [name, raw] of event) if (raw !== 'null' || !flat.has(name)) flat.set(name, raw);
    return flat;
  };
}

export const ga4Door: Door = {
  source: 'ga4',
  paths: ['/mp/collect'],
  summary: 'Take what servers send by the Measurement Protocol of Google Analytics 4.',
  tokens: [inQuery('api_secret')],
  format,
  bodyAround: asItIs,
  body: {
    kind: 'whole',
    sniffsGzip: true,
    open: (body, limits, head) => open(body, head, limits),
    schema: (event) => ({ type: 'object', properties: { events: { type: 'array', items: event } } }),
  },
  answer: (decoded) =>
    isNone(decoded)
      ? { status: 400, body: { error: whyNone(decoded), ...rejectedIn(decoded) } }
      : { status: 204, body: '' },
  answers: { 204: {}, 400: { type: 'object' } },
  ownRefusals: sdkRefusals(),
  refusals: SDK_REFUSALS,
  example: {
    client_id: 'a1',
    user_id: 'u1',
    timestamp_micros: 1777897800000000,
    events: [{ name: 'plan_chosen', params: { plan: 'pro', session_id: 's1' } }],
  },
};

const ANYBODY = {
  projectId: '00000000-0000-0000-0000-000000000000' as DecodeContext['projectId'],
  source: 'ga4',
  newEventId: () => '00000000-0000-7000-8000-000000000000',
  retentionSeconds: null,
};

/** As many as Google takes in one request. */
const MAX_CHECKED = 25;

/**
 * What is wrong with a body, as the debugging path says it; nothing is stored. Anybody may ask: events are checked one
 * after the other, so that what is said of all of them is never there more than once.
 */
export function* ga4Messages(
  body: Buffer,
  head: RequestHead,
  { receivedAt, maxFutureMs }: Pick<DecodeContext, 'receivedAt' | 'maxFutureMs'>,
): Steps<readonly object[]> {
  const opened = yield* openSdk(body, head, OPENING);
  if (isBodyProblem(opened)) return [messageOf(opened.message)];
  const { events } = opened;
  const rewrite = flatWith(commonIn(opened, head));
  const decodeEvent = decoderOf(format)({ ...ANYBODY, receivedAt, maxFutureMs });
  const messages: object[] = [];
  const event = firstValue(events);
  let byteCount = 0;
  let stepEnd = BYTES_A_STEP;
  for (let index = 0; index < Math.min(events.count, MAX_CHECKED); index += 1) {
    const flat = yield* rewriteEvents(aloneOn(event), rewrite);
    if (isBodyProblem(flat)) return [...messages, messageOf(flat.message)];
    const row = decodeEvent(firstValue(flat));
    if (typeof row !== 'string') messages.push(messageOf(row.reason, `events[${index}]`));
    moveToNextValue(event);
    byteCount += flat.bytes.length;
    if (byteCount < stepEnd) continue;
    stepEnd = byteCount + BYTES_A_STEP;
    yield;
  }
  return events.count > MAX_CHECKED ? [...messages, TOO_MANY_TO_CHECK] : messages;
}

function messageOf(description: string, fieldPath: string = ''): object {
  return { fieldPath, description, validationCode: 'VALUE_INVALID' };
}

const TOO_MANY_TO_CHECK = messageOf(
  `more than ${MAX_CHECKED} events, which Google does not take in one request: only the first ${MAX_CHECKED} were checked`,
  'events',
);
