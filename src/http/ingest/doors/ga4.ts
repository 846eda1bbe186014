/** The Measurement Protocol of Google Analytics 4, as servers send it. */
import { decodeEvents } from '../../../event/decode.ts';
import type { DecodeContext } from '../../../event/decoding.ts';
import { decoderOf } from '../../../event/decoder.ts';
import { type BodyProblem, isBodyProblem } from '../../../event/envelope.ts';
import type { LenientFormat } from '../../../event/lenient-format.ts';
import { rawStringOf } from '../../../event/raw-json.ts';
import { rawObjectOf, type RawMembers, rewriteEvents } from '../../../event/rewriting.ts';
import { createEventWalk } from '../../../event/raw-event.ts';
import { finish, type Steps } from '../../../event/steps.ts';
import { asItIs, type Door, flatEvents, type EventLimits, type Opened, type RequestHead } from './door.ts';
import { isNone, rejectedIn, SDK_REFUSALS, sdkRefusals, whyNone } from './sdk-answers.ts';
import { openSdk } from './sdk-opening.ts';
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

function* open(body: Buffer, head: RequestHead, limits: EventLimits): Steps<Opened | BodyProblem> {
  const opened = yield* openSdk(body, head, { lists: ['events'] }, limits);
  if (isBodyProblem(opened)) return opened;
  const query = head.query();
  const common: RawMembers = new Map(opened.envelope);
  for (const name of STREAM) if (query.get(name)) common.set(name, rawStringOf(query.get(name)!));
  const { events } = opened;
  const rewrite = (event: RawMembers) => {
    const flat: RawMembers = new Map(common);
    for (const [name, raw] of event) if (raw !== 'null' || !flat.has(name)) flat.set(name, raw);
    return flat;
  };
  const sentEvent = createEventWalk(events);
  // What the query says may stand in the body as well.
  const sent = (index: number) => {
    const event = sentEvent(index);
    return event && rawObjectOf([...common, ['events', `[${event}]`]]);
  };
  return { events, flatten: () => rewriteEvents(events, rewrite), sent };
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

/** What is wrong with a body, as the debugging path says it; nothing is stored. */
export function ga4Messages(
  body: Buffer,
  head: RequestHead,
  { receivedAt, maxFutureMs }: Pick<DecodeContext, 'receivedAt' | 'maxFutureMs'>,
): readonly object[] {
  const opened = finish(open(body, head, {}));
  if (isBodyProblem(opened)) return [messageOf(opened.message)];
  const events = finish(flatEvents(opened));
  if (isBodyProblem(events)) return [messageOf(events.message)];
  const { rejections } = finish(decodeEvents(events, decoderOf(format)({ ...ANYBODY, receivedAt, maxFutureMs })));
  return rejections.map(({ index, reason }) => messageOf(reason, `events[${index}]`));
}

function messageOf(description: string, fieldPath: string = ''): object {
  return { fieldPath, description, validationCode: 'VALUE_INVALID' };
}
