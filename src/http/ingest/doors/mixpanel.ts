/** What Mixpanel's clients send: events, and what they say of people and groups. */
import type { Decoded } from '../../../event/decode.ts';
import type { JsonSchema } from '../../../event/kinds.ts';
import { readLenientInstant } from '../../../event/lenient-instant.ts';
import type { LenientFormat, Path, People, ReadPath } from '../../../event/lenient-format.ts';
import { type LenientText, wordsOf } from '../../../event/lenient-text.ts';
import { rawStringOf } from '../../../event/raw-json.ts';
import { answerSchema, COUNTS, rejectionsSchema } from '../../description/answer-schema.ts';
import { type Door, type DoorAnswer, listed, type OwnRefusals, type RequestHead } from './door.ts';
import { isNone, PIXEL, SDK_REFUSALS, sdkRefusals, whyNone } from './sdk-answers.ts';
import { openSdk, type SdkOpening } from './sdk-opening.ts';
import { basicUser, bearer, inQuery } from './sdk-tokens.ts';

const DEVICE = '$device:';

/** Who an event is of: a distinct id that names a device is nobody's. `of`: how the members of the kind are called. */
function personIn(read: ReadPath, of: { distinctId: string; deviceId: string; userId: string }): People {
  const id = read(of.distinctId);
  const device = read(of.deviceId);
  if (!isDevice(id, device)) return { userId: read(of.userId) ?? id, anonymousId: device };
  return { userId: read(of.userId), anonymousId: device ?? deviceOf(id) };
}

function isDevice(id: LenientText | null, device: LenientText | null): id is LenientText {
  return id !== null && (wordsOf(id)!.startsWith(DEVICE) || id.raw === device?.raw);
}

/** What a distinct id that names a device says of it. */
function deviceOf(id: LenientText): LenientText | null {
  const words = wordsOf(id)!;
  if (!words.startsWith(DEVICE)) return id;
  const rest = words.slice(DEVICE.length);
  return rest === '' ? null : { raw: rawStringOf(rest), isWhole: false, member: -1 };
}

const EVENT_PEOPLE = {
  distinctId: 'properties.distinct_id',
  deviceId: 'properties.$device_id',
  userId: 'properties.$user_id',
};
const PROFILE_PEOPLE = { distinctId: '$distinct_id', deviceId: '$device_id', userId: '$user_id' };

function peopleOfEvent(read: ReadPath): People {
  if (wordsOf(read('event')) !== '$create_alias') return personIn(read, EVENT_PEOPLE);
  const id = read(EVENT_PEOPLE.distinctId);
  const alias = read('properties.alias');
  // Turned round, where the distinct id is the old one.
  return isDevice(id, read(EVENT_PEOPLE.deviceId))
    ? { userId: alias, anonymousId: deviceOf(id) }
    : { userId: id, anonymousId: alias };
}

const eventFormat: LenientFormat = {
  lenient: true,
  event: { paths: ['event'] },
  timestamp: [{ at: 'properties.time' }],
  people: peopleOfEvent,
  reads: [...Object.values(EVENT_PEOPLE), 'properties.alias'],
  eventId: {
    paths: ['properties.$insert_id'],
    scope: ['properties.$insert_id', 'event', 'properties.distinct_id'],
  },
  properties: ['properties'],
  tokens: ['properties.token'],
};

const profileFormat: LenientFormat = {
  lenient: true,
  event: { constant: '$engage' },
  timestamp: [{ at: '$time' }],
  people: (read) => personIn(read, PROFILE_PEOPLE),
  reads: Object.values(PROFILE_PEOPLE),
  gathered: ['$set', '$set_once', '$add', '$append', '$union', '$remove', '$unset', '$delete'],
  tokens: ['$token'],
};

const groupFormat: LenientFormat = {
  ...profileFormat,
  event: { constant: '$group' },
  people: () => ({ userId: null, anonymousId: null }),
};

/** How a request wants to be answered: the client for Node looks at the body only, the one for browsers at the status. */
type Wish = 'image' | 'strict' | 'verbose' | 'plain';

function wishOf({ path, query }: Pick<RequestHead, 'path' | 'query'>): Wish {
  const parameters = query();
  const isWished = (name: string) => (parameters.get(name) ?? '0') !== '0';
  if (isWished('img')) return 'image';
  if (path === '/import' && isWished('strict')) return 'strict';
  return isWished('verbose') ? 'verbose' : 'plain';
}

function answerTo(decoded: Decoded, head: RequestHead): DoorAnswer {
  const error = decoded.rejected === 0 ? null : `${decoded.rejected} rejected: ${decoded.rejections[0]?.reason}`;
  const status = isNone(decoded) ? 400 : 200;
  switch (wishOf(head)) {
    case 'image':
      return { status, body: PIXEL, contentType: 'image/gif' };
    case 'strict':
      return strictAnswer(decoded);
    case 'verbose':
      return {
        status,
        body: { status: status === 200 ? 1 : 0, error: status === 200 ? error : whyNone(decoded) },
        contentType: JSON_TYPE,
      };
    case 'plain':
      return { status, body: status === 200 ? '1' : '0' };
  }
}

/** Says 400 as soon as one event was rejected, although the others were taken. */
function strictAnswer(decoded: Decoded): DoorAnswer {
  const num_records_imported = decoded.accepted;
  if (decoded.rejected === 0) {
    return { status: 200, body: { code: 200, status: 'OK', num_records_imported }, contentType: JSON_TYPE };
  }
  const failed_records = listed(decoded, 'index').errors ?? [];
  const error = 'some data points in the request failed validation';
  return {
    status: 400,
    body: { code: 400, status: 'Bad Request', error, num_records_imported, failed_records },
    contentType: JSON_TYPE,
  };
}

const JSON_TYPE = 'application/json';
const TYPES: Record<Wish, string> = {
  image: 'image/gif',
  strict: JSON_TYPE,
  verbose: JSON_TYPE,
  plain: 'text/plain',
};

const IMAGE: JsonSchema = { type: 'string', contentMediaType: 'image/gif' };

const usual = sdkRefusals();
const ownRefusals: OwnRefusals = {
  ...usual,
  contentType: (head) => TYPES[wishOf(head)],
  body({ status, message }, head) {
    switch (wishOf(head)) {
      case 'image':
        return PIXEL;
      case 'strict':
        return { code: status, status: 0, error: message };
      case 'verbose':
        return { status: 0, error: message };
      case 'plain':
        return '0';
    }
  },
  schema: {
    anyOf: [
      { type: 'string', const: '0' },
      IMAGE,
      {
        type: 'object',
        properties: { status: { const: 0 }, error: { type: 'string' } },
        required: ['status', 'error'],
      },
    ],
  },
};

/** Opens any of the bodies, whose query says when they were sent. */
function bodyWith(token: Path): Door['body'] {
  const opening: SdkOpening = { lists: [], mayFollow: true, tokens: { inEvent: [token] } };
  return {
    kind: 'whole',
    sniffsGzip: true,
    *open(body, limits, head) {
      const opened = yield* openSdk(body, head, opening, limits);
      return 'code' in opened ? opened : { ...opened, sentAt: readLenientInstant(head.query().get('_') ?? 'null') };
    },
    schema: (event) => ({ anyOf: [event, { type: 'array', items: event }] }),
  };
}

const TEXT: JsonSchema = { type: 'string' };

/** The answers of a status, one for each wish. */
const answersWith = (
  { plain, error }: { plain: '1' | '0'; error: JsonSchema },
  strict: readonly JsonSchema[],
): JsonSchema => ({
  anyOf: [
    { type: 'string', const: plain },
    IMAGE,
    answerSchema({ status: { type: 'integer', const: Number(plain) }, error }),
    ...strict,
  ],
});
const STRICT = { status: TEXT, num_records_imported: COUNTS.accepted };

const mixpanel = {
  source: 'mixpanel',
  methods: ['POST', 'GET'],
  // OpenPanel's clients write to the same path, and would take this answer for theirs.
  declines: ({ headers }) => headers['openpanel-client-id'] !== undefined,
  tokens: ['body', basicUser, bearer, inQuery('token', 'api_key')],
  answer: (decoded, { head }) => answerTo(decoded, head),
  contentType: 'text/plain',
  answers: {
    200: answersWith({ plain: '1', error: { type: ['string', 'null'] } }, [
      answerSchema({ code: { const: 200 }, ...STRICT }),
    ]),
    400: answersWith({ plain: '0', error: TEXT }, [
      answerSchema({ code: { const: 400 }, ...STRICT, error: TEXT, failed_records: rejectionsSchema('index') }),
    ]),
  },
  ownRefusals,
  refusals: SDK_REFUSALS,
} satisfies Partial<Door>;

const EVENT = {
  event: 'Plan Chosen',
  properties: { time: 1777897800, distinct_id: 'u1', $device_id: 'a1', $insert_id: 'i1', plan: 'pro' },
};

const eventDoors = ['/track', '/import'].map((path): Door => ({
  ...mixpanel,
  paths: [path],
  summary: `Take events of clients of Mixpanel, at its path ${path}.`,
  format: eventFormat,
  body: bodyWith('properties.token'),
  example: [EVENT],
}));

const engageDoor: Door = {
  ...mixpanel,
  paths: ['/engage'],
  summary: 'Take what clients of Mixpanel say of people.',
  format: profileFormat,
  body: bodyWith('$token'),
  example: [{ $distinct_id: 'u1', $set: { plan: 'pro' } }],
};

const groupsDoor: Door = {
  ...mixpanel,
  paths: ['/groups'],
  summary: 'Take what clients of Mixpanel say of groups.',
  format: groupFormat,
  body: bodyWith('$token'),
  example: [{ $group_key: 'company', $group_id: 'g1', $set: { name: 'Acme' } }],
};

export const mixpanelDoors: readonly Door[] = [...eventDoors, engageDoor, groupsDoor];
