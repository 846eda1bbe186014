/** What Plausible's scripts send. They have no token, no id and no retry; the id of the site is the token. */
import type { LenientFormat } from '../../../event/lenient-format.ts';
import { rawStringOf, stringOf } from '../../../event/raw-json.ts';
import {
  isObjectValue,
  isRawObject,
  type RawMembers,
  rawMembersIn,
  takeFirst,
  withMembers,
} from '../../../event/rewriting.ts';
import { answerSchema } from '../../description/answer-schema.ts';
import type { Door } from './door.ts';
import { isNone, REJECTED, rejectedIn, SDK_REFUSALS, sdkRefusals, whyNone } from './sdk-answers.ts';
import { openRewritten, type Rewriting } from './sdk-opening.ts';

const format: LenientFormat = {
  lenient: true,
  event: { paths: ['weir:name'] },
  timestamp: [],
  properties: ['weir:properties'],
  tokens: ['weir:token'],
};

/** Members have a long and a short name. */
function flat(event: RawMembers): RawMembers {
  const name = takeFirst(event, 'n', 'name');
  const domain = takeFirst(event, 'd', 'domain');
  const properties = takeObject(event, 'p', 'props', 'm', 'meta');
  const url = ['u', 'url'].find((key) => (event.get(key) ?? 'null') !== 'null');
  const referrer = ['r', 'referrer'].find((key) => (event.get(key) ?? 'null') !== 'null');
  const has = rawMembersIn(properties);
  const page: [string, string | undefined][] = [];
  for (const [member, key] of [['url', url] as const, ['referrer', referrer] as const]) {
    if (key === undefined || has.has(member)) continue;
    page.push([member, event.get(key)]);
    event.delete(key);
  }
  for (const key of ['r', 'referrer', 'u', 'url']) if (event.get(key) === 'null') event.delete(key);
  return new Map([
    ...event,
    ['weir:name', name ?? 'null'],
    ['weir:token', domain === undefined ? 'null' : firstOf(domain)],
    ['weir:properties', withMembers(properties, page)],
  ]);
}

/** The first object under these names, which older scripts send as a text; what is none stays. */
function takeObject(event: RawMembers, ...names: readonly string[]): string {
  for (const name of names) {
    const raw = event.get(name);
    if (raw === undefined) continue;
    const object = raw[0] === '"' ? objectIn(stringOf(raw)) : raw;
    if (!isObjectValue(object)) continue;
    event.delete(name);
    return object;
  }
  return '{}';
}

/** The object that a text is, raw. */
function objectIn(text: string): string | undefined {
  const raw = Buffer.from(text, 'utf8').toString('latin1').trim();
  return isRawObject(raw) ? raw : undefined;
}

/** A script of several sites names all of them. */
const firstSite = (sites: string): string => sites.split(',', 1)[0]!.trim();

const firstOf = (domain: string): string => (domain[0] === '"' ? rawStringOf(firstSite(stringOf(domain))) : domain);

const REWRITING: Rewriting = { rewrite: flat, tokens: ['d', 'domain'], tokenOf: firstSite };

export const plausibleDoor: Door = {
  source: 'plausible',
  paths: ['/api/event'],
  summary: 'Take what scripts of Plausible send.',
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
  answer: (decoded) =>
    isNone(decoded)
      ? {
          status: 400,
          body: { error: whyNone(decoded), ...rejectedIn(decoded) },
          contentType: 'application/json',
        }
      : { status: 202, body: 'ok' },
  contentType: 'text/plain',
  answers: { 202: { type: 'string', const: 'ok' }, 400: answerSchema({ error: { type: 'string' } }, REJECTED) },
  ownRefusals: sdkRefusals(),
  refusals: SDK_REFUSALS,
  example: { n: 'pageview', u: 'https://shop.example/', d: 'shop.example', p: { plan: 'pro' } },
};
