/** What Umami's clients send. They have no token, no id and no retry; the id of the site is the token. */
import type { LenientFormat } from '../../../event/lenient-format.ts';
import { rawStringOf } from '../../../event/raw-json.ts';
import { isObjectValue, type RawMembers, rawMembersIn, takeFirst, withMembers } from '../../../event/rewriting.ts';
import { answerSchema } from '../../description/answer-schema.ts';
import type { Door, DoorAnswer } from './door.ts';
import { isNone, REJECTED, rejectedIn, SDK_REFUSALS, sdkRefusals, whyNone } from './sdk-answers.ts';
import { openRewritten, type Rewriting } from './sdk-opening.ts';

const format: LenientFormat = {
  lenient: true,
  event: { paths: ['weir:name'], constant: 'pageview' },
  timestamp: [{ at: 'timestamp' }],
  userId: { paths: ['id'] },
  properties: ['weir:properties'],
  tokens: ['website'],
};

/** What a page says of itself, which becomes properties beside those of the event. */
const OF_PAGE = ['url', 'title', 'referrer', 'hostname', 'language', 'screen', 'tag'] as const;

function flat(event: RawMembers): RawMembers {
  const payload = rawMembersIn(event.get('payload'));
  if (isObjectValue(event.get('payload'))) event.delete('payload');
  const isIdentify = event.get('type') === '"identify"';
  const name = isIdentify ? rawStringOf('$identify') : takeFirst(payload, 'name');
  const data = payload.get('data');
  const properties = isObjectValue(data) ? data : '{}';
  if (properties === data) payload.delete('data');
  const has = rawMembersIn(properties);
  const page = OF_PAGE.filter((member) => !has.has(member)).map(
    (member) => [member, takeFirst(payload, member)] as const,
  );
  return new Map([
    ...event,
    ...payload,
    ['weir:name', name ?? 'null'],
    ['weir:properties', withMembers(properties, page)],
  ]);
}

const CACHE = { cache: '', sessionId: '', visitId: '' } as const;
const TEXT = { type: 'string' } as const;

const REWRITING: Rewriting = { rewrite: flat, tokens: ['payload.website', 'website'] };

export const umamiDoor: Door = {
  source: 'umami',
  paths: ['/api/send'],
  summary: 'Take what clients of Umami send.',
  tokens: ['body'],
  isForPages: true,
  format,
  sentTokens: REWRITING.tokens,
  body: {
    kind: 'whole',
    sniffsGzip: true,
    open: (body, limits, head) => openRewritten(body, head, REWRITING, limits),
    schema: (event) => event,
  },
  answer: (decoded): DoorAnswer =>
    isNone(decoded)
      ? { status: 400, body: { error: whyNone(decoded), ...rejectedIn(decoded) } }
      : { status: 200, body: { ...CACHE, ...rejectedIn(decoded) } },
  answers: {
    200: answerSchema({ cache: TEXT, sessionId: TEXT, visitId: TEXT }, REJECTED),
    400: answerSchema({ error: TEXT }, REJECTED),
  },
  ownRefusals: sdkRefusals(),
  refusals: SDK_REFUSALS,
  example: {
    type: 'event',
    payload: { website: 'site', name: 'plan_chosen', url: '/plans', id: 'u1', data: { plan: 'pro' } },
  },
};
