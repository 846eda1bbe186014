/**
 * Takes tokens out of an event that is to be kept as it was sent. Total: what is no JSON, or has an unexpected shape, is
 * masked by the look of it.
 */
import { enter, isAtObject, nextKey, scannerOf, scanValue } from './json.ts';
import type { Path } from './lenient-format.ts';
import { isRawObject } from './rewriting.ts';
import { rawStringOf, stringOf } from './raw-json.ts';
import { wholeWordsOf } from './lenient-id.ts';

/** Stands for the token of the request. */
export const MASK = '***';
/** Stands for any other. */
export const OTHER_MASK = '*** (another)';

export type TokensToMask = {
  /** Where an event may have its token. */
  readonly paths: readonly Path[];
  /** The one that admitted the request; null for none. */
  readonly token: string | null;
  /** Whether it may stand in addresses of pages as well: the id of a site that everybody knows. */
  readonly isSiteId: boolean;
};

/** Weir's own tokens, whoever they belong to. */
const OWN_TOKEN = /mere_(?:pub|sec)_[\w-]+/g;
/** Shorter ones may be words; they are no secrets. */
const MIN_SECRET_CHARACTERS = 16;
/** Members that have tokens, in what cannot be read. */
const NAMES = ['writeKey', 'write_key', 'api_key', 'apiKey', 'api_secret', 'token', '$token', 'website', 'domain', 'd'];
const LOOSE = new RegExp(
  String.raw`((?:^|[{,\s])\\?["']?(?:${NAMES.map((name) => name.replace('$', String.raw`\$`)).join('|')})\\?["']?\s*[:=]\s*)` +
    String.raw`(\\?"(?:[^"\\]|\\.)*\\?"?|'[^']*'?|[^\s,}\]"']+)`,
  'g',
);

/** The event without tokens; both as byte text. */
export function withoutTokens(raw: string, { paths, token, isSiteId }: TokensToMask): string {
  const isReadable = isRawObject(raw.trim());
  const masked = isReadable
    ? spliced(raw, [...placesOf(raw, paths.map(segmentsOf), token)])
    : raw.replaceAll(LOOSE, (_, name: string) => `${name}"${MASK}"`);
  const isHidden = token !== null && !isSiteId && token.length >= MIN_SECRET_CHARACTERS;
  const hidden = isHidden ? masked.replaceAll(rawStringOf(token).slice(1, -1), MASK).replaceAll(token, MASK) : masked;
  return hidden.replaceAll(OWN_TOKEN, MASK);
}

type Segments = readonly string[];
type Place = { readonly from: number; readonly to: number; readonly mask: string };

const segmentsOf = (path: Path): Segments => path.split('.');

/** The values at the paths; a member that is sent twice has two. */
function* placesOf(raw: string, paths: readonly Segments[], token: string | null, offset = 0): Generator<Place> {
  const scanner = scannerOf(raw);
  if (!isAtObject(scanner)) return;
  enter(scanner);
  while (nextKey(scanner)) {
    const { keyStart, keyEnd, at } = scanner;
    const name = stringOf(raw.slice(keyStart, keyEnd));
    if (!scanValue(scanner)) return;
    const within = paths.filter(([head]) => head === name).map((path) => path.slice(1));
    const value = raw.slice(at, scanner.at);
    if (value === 'null' || within.length === 0) continue;
    if (within.some((rest) => rest.length === 0)) {
      const isOwn = token === null || ownsToken(value, token);
      yield { from: offset + at, to: offset + scanner.at, mask: isOwn ? MASK : OTHER_MASK };
    } else yield* placesOf(value, within, token, offset + at);
  }
}

/** Also one that is written as a list of sites, of which the first is meant. */
function ownsToken(value: string, token: string): boolean {
  const words = wholeWordsOf(value);
  return words === null || words === token || words.split(',', 1)[0]!.trim() === token;
}

function spliced(raw: string, places: readonly Place[]): string {
  let text = '';
  let at = 0;
  for (const { from, to, mask } of places) {
    text += `${raw.slice(at, from)}"${mask}"`;
    at = to;
  }
  return text + raw.slice(at);
}
