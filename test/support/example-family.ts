import { readList, readOne } from '../../src/event/event-lists.ts';
import { type BodyProblem, isBodyProblem } from '../../src/event/envelope.ts';
import type { ChosenFormat, EventFormat } from '../../src/event/format.ts';
import {
  firstMember,
  firstValue,
  endOfMembers,
  nextMember,
  rawKeyOf,
  rawValueOf,
} from '../../src/event/json-members.ts';
import type { Steps } from '../../src/event/steps.ts';
import type { Door, Opened, OwnRefusals, RequestHead } from '../../src/http/ingest/doors/door.ts';

const common = {
  timestamp: { keys: ['ts'] },
  eventId: { keys: ['messageId'] },
  userId: { keys: ['userId'] },
} satisfies EventFormat;

const trackerFormat: ChosenFormat = {
  by: 'type',
  formats: {
    track: { ...common, event: { keys: ['event'] }, properties: { keys: ['properties'] } },
    identify: { ...common, properties: { keys: ['traits'] } },
  },
};

/** This client gives up on 503, and trusts only the number in the body. */
const ownRefusals: OwnRefusals = {
  status: (code) => STATUSES[code] ?? 400,
  body: ({ status, message }) => ({ success: false, code: status, why: message }),
  schema: {
    type: 'object',
    properties: { success: { const: false }, code: { type: 'integer' }, why: { type: 'string' } },
    required: ['success', 'code', 'why'],
    additionalProperties: false,
  },
};
const STATUSES: Partial<Record<string, number>> = {
  unauthorized: 401,
  body_too_large: 413,
  channel_full: 429,
  shutting_down: 429,
  internal: 500,
};

const tracker = {
  source: 'tracker',
  withoutHeader: 'any token in body',
  needsAllHeaders: true,
  tokenIn: ({ headers, query }: RequestHead) => (headers['x-write-key'] as string | undefined) ?? query().get('key'),
  format: trackerFormat,
  answer: () => ({ status: 200, body: 'ok' }),
  contentType: 'text/plain',
  answers: { 200: { type: 'string', const: 'ok' } },
  ownRefusals,
  refusals: ['invalid_json', 'invalid_envelope', 'too_many_events', 'invalid_events'],
} as const satisfies Partial<Door>;

const EXAMPLE = { type: 'track', event: 'plan_chosen', ts: 1777897800, userId: 'u1', properties: { plan: 'pro' } };

/** One event per request; the path may give its type. */
const trackDoor: Door = {
  ...tracker,
  paths: ['/v9/track', '/v9/t', '/v9/track/'],
  summary: 'Send one event of a tracker.',
  body: {
    kind: 'whole',
    sniffsGzip: true,
    open: (body) => withTokenOfEvent(readOne(body)),
    schema: (event) => event,
  },
  example: EXAMPLE,
};

const batchDoor: Door = {
  ...tracker,
  paths: ['/v9/batch'],
  summary: 'Send events of a tracker.',
  body: {
    kind: 'whole',
    sniffsGzip: true,
    // A form has its list in one field.
    open: (body, _limits, { query }) =>
      withTokenOfEvent(
        readList(query().has('form') ? Buffer.from(new URLSearchParams(body.toString()).get('data') ?? '') : body, {
          mayBeBare: true,
          maxEvents: 100,
        }),
      ),
    schema: (event) => ({ type: 'array', items: event, minItems: 1, maxItems: 100 }),
  },
  example: [EXAMPLE],
};

/** The first event decides for the request. */
function* withTokenOfEvent(opening: Steps<Opened | BodyProblem>): Steps<Opened | BodyProblem> {
  const opened = yield* opening;
  if (isBodyProblem(opened)) return opened;
  const event = firstValue(opened.events);
  for (let member = firstMember(event); member < endOfMembers(event); member = nextMember(member)) {
    if (rawKeyOf(event, member) !== '"writeKey"') continue;
    return { ...opened, token: JSON.parse(rawValueOf(event, member)) as string };
  }
  return opened;
}

/**
 * A family as clients of other services need it: several paths, tokens anywhere, undeclared gzip, answers of its own.
 */
export const trackerDoors: readonly Door[] = [trackDoor, batchDoor];
