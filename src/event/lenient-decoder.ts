/**
 * Scanned event → row, for the formats of clients of others: rejects only what cannot be stored. Whatever is not stored
 * in a column as it was sent stays in the extras, under its own key.
 */
import { CLIENT_PATHS, withClientFacts } from './client-members.ts';
import {
  areHuge,
  type AsSent,
  type DecodeContext,
  type DecodeEvent,
  type Decoder,
  MAX_DEPTH,
  whyNoObject,
} from './decoding.ts';
import { createEventReader, type EventReader, type Found } from './event-reader.ts';
import { deepestOf, hasUnreadable, isNullAt, isObject, type Members } from './json-members.ts';
import {
  formatsOf,
  type LenientChoice,
  type LenientField,
  type LenientFormat,
  type Path,
  pathsOf,
  REWRITTEN,
  unstoredPathsOf,
} from './lenient-format.ts';
import { lenientId, wholeWordsOf } from './lenient-id.ts';
import { NO_SPELLINGS, objectOf, straysOf, textAt } from './lenient-members.ts';
import { type LenientText, wordsOf } from './lenient-text.ts';
import { lenientTime } from './lenient-time.ts';
import { onOneLine, rawStringOf } from './raw-json.ts';
import { withReadable } from './readable.ts';
import { MAX_ROW_BYTES, rowEncoder, type RowParts } from './row.ts';
import type { Refusal } from './text.ts';

/** The decoder of a lenient format, or of a choice of them. */
export function lenientDecoder(format: LenientFormat | LenientChoice): Decoder {
  const formats = formatsOf(format);
  const neverStored = unstoredPathsOf(format);
  const paths = [...formats.flatMap(pathsOf), ...('choose' in format ? format.reads : [])];
  const usual = createEventReader([...new Set(paths)], neverStored);
  // Also looks for what an event says itself of its client, which is seldom needed.
  let curious: EventReader | null = null;
  const decoderOf = new Map(formats.map((one) => [one, formatDecoder(one)]));

  return (context) => {
    const { hint, ip, userAgent, firstIndex = 0 } = asSentIn(context);
    const isUsual = ip === null && userAgent === null;
    if (!isUsual) curious ??= createEventReader([...new Set([...paths, ...CLIENT_PATHS])], neverStored);
    const reader = isUsual ? usual : curious!;
    const ready = new Map<LenientFormat, DecodeRead>();
    let index = firstIndex - 1;
    return (members) => {
      index += 1;
      if (!isObject(members)) return whyNoObject(members);
      reader.open(members);
      const chosen = 'choose' in format ? chosenFormat(format, reader, hint) : format;
      const row = 'reason' in chosen ? chosen : readyFor(chosen)(members, reader, index);
      reader.close();
      return row;
    };

    /** Most requests have events of one format of a choice. */
    function readyFor(chosen: LenientFormat): DecodeRead {
      const known = ready.get(chosen) ?? decoderOf.get(chosen)!(context);
      ready.set(chosen, known);
      return known;
    }
  };
}

function chosenFormat(
  { choose, formats, otherwise }: LenientChoice,
  { read }: EventReader,
  hint: string | null,
): LenientFormat | Refusal {
  const name = choose(read, hint);
  if (typeof name !== 'string') return name;
  return (Object.hasOwn(formats, name) ? formats[name] : otherwise) ?? { reason: 'unknown kind of event' };
}

const NOTHING_SAID: AsSent = { sentAt: null, hint: null, token: null, ip: null, userAgent: null };

function asSentIn({ asSent }: DecodeContext): AsSent {
  return asSent ?? NOTHING_SAID;
}

type DecodeRead = (members: Members, reader: EventReader, index: number) => ReturnType<DecodeEvent>;

function formatDecoder(format: LenientFormat): (context: DecodeContext) => DecodeRead {
  const { event, tokens = [], without = [], properties: objects = [], people, eventId: idField } = format;
  const required: Refusal = { reason: `${(event.paths?.[0] ?? 'event').replace(REWRITTEN, '')} required` };
  const constantName = event.constant === undefined ? null : rawStringOf(event.constant);
  const { gathered = [], restButFor, spelt = NO_SPELLINGS } = format;
  const unstored = [...tokens, ...without].filter(isDirect);
  const direct = [...new Set(pathsOf(format).filter(isDirect))];
  const fieldsBy = new Map<EventReader, Fields>();

  return (context) => {
    const { token, ip, userAgent } = asSentIn(context);
    const encodeRow = rowEncoder(context);
    const timeOf = lenientTime(format, context);
    const idOf = lenientId(format.eventId, context);

    return function decodeEvent(members, reader, index) {
      const against = whyRejected(reader);
      if (against !== null) return named(reader, against);
      const name = firstOf(reader, event.paths);
      const rawName = name?.raw ?? constantName;
      if (rawName === null) return named(reader, required);

      const time = timeOf(members, reader);
      const who = people?.(reader.read) ?? {
        userId: textOf(reader, format.userId),
        anonymousId: textOf(reader, format.anonymousId),
      };
      const session = textOf(reader, format.sessionId);
      const id = idOf(members, reader, index, time.isKnown);
      const object = firstObject(reader);

      const stored: number[] = [];
      addMember(stored, time.member);
      addMember(stored, id.member);
      addMember(stored, object?.member ?? -1);
      addWhole(stored, name);
      addWhole(stored, who.userId);
      addWhole(stored, who.anonymousId);
      addWhole(stored, session);
      const { byField } = reader.picked();
      const { unstored, direct } = fieldsOf(reader);
      for (const field of unstored) addMember(stored, byField[field]!);
      for (const field of direct) addIfNull(stored, members, byField[field]!);
      const left = straysOf(reader, stored);
      const [together, strays] = parted(reader, left, object !== undefined);
      // What alone is too large for a row is not looked into, nor taken apart.
      if ((object?.raw.length ?? 0) > MAX_ROW_BYTES || areHuge(members, left)) return named(reader, TOO_LARGE);
      const inRow = members.tape.hasLineEnds ? onOneLine : asItIs;
      const parts: RowParts = {
        eventId: id.uuid ?? context.newEventId(),
        event: rawName,
        anonymousId: who.anonymousId?.raw ?? null,
        userId: who.userId?.raw ?? null,
        timestamp: time.at,
        sessionId: session?.raw ?? null,
        properties: inRow(object === undefined ? objectOf(members, reader, together) : textAt(reader, object)),
        extras: inRow(withClient(objectOf(members, reader, strays, { skewMs: time.skewMs, spelt }), reader)),
      };
      const row = encodeRow(parts);
      if (row.length - 1 > MAX_ROW_BYTES) return named(reader, TOO_LARGE);
      if (deepestOf(members) > MAX_DEPTH) return named(reader, TOO_DEEP);
      return hasUnreadable(members) ? encodeRow(withReadable(parts)) : row;
    };

    /** The extras with what is known of the client and the event does not say itself. */
    function withClient(extras: string, reader: EventReader): string {
      return ip === null && userAgent === null ? extras : withClientFacts(extras, reader, { ip, userAgent });
    }

    function whyRejected(reader: EventReader): Refusal | null {
      if (token !== null) {
        const own = tokenIn(reader, tokens);
        if (own !== null && own !== token) return OTHER_TOKEN;
      }
      const reason = format.refuse?.reason(reader.read) ?? null;
      return reason === null ? null : { reason };
    }
  };

  function fieldsOf(reader: EventReader): Fields {
    const known = fieldsBy.get(reader);
    if (known !== undefined) return known;
    const fields = { unstored: unstored.map(reader.fieldOf), direct: direct.map(reader.fieldOf) };
    fieldsBy.set(reader, fields);
    return fields;
  }

  function firstObject({ find }: EventReader): Found | undefined {
    for (const path of objects) {
      const found = find(path);
      if (found.raw[0] === '{') return found;
    }
    return undefined;
  }

  /** What becomes the properties together, and what stays for the extras. */
  function parted({ memberOf }: EventReader, left: readonly number[], hasObject: boolean) {
    const isRest = !hasObject && restButFor !== undefined;
    if (!isRest && gathered.length === 0) return [NO_MEMBERS, left] as const;
    const chosen = new Set(gathered.map(memberOf));
    const kept = isRest ? new Set(direct.map(memberOf)) : new Set(left);
    const isTogether = (member: number) => chosen.has(member) || !kept.has(member);
    return [left.filter(isTogether), left.filter((member) => !isTogether(member))] as const;
  }

  /** With the id of the event, where it has one, for answers that say by it which ones were rejected. */
  function named({ read }: EventReader, refusal: Refusal): Refusal {
    for (const path of idField?.paths ?? []) {
      const id = wordsOf(read(path));
      if (id !== null) return { ...refusal, id };
    }
    return refusal;
  }
}

/** Where a reader has the members that are not stored, and those that a path is. */
type Fields = { readonly unstored: readonly number[]; readonly direct: readonly number[] };

/** The token that an event has, however long; null for none. */
export function tokenIn({ find }: Pick<EventReader, 'find'>, paths: readonly Path[]): string | null {
  for (const path of paths) {
    const words = wholeWordsOf(find(path).raw);
    if (words !== null) return words;
  }
  return null;
}

const TOO_LARGE: Refusal = { reason: 'event too large' };
const TOO_DEEP: Refusal = { reason: 'nesting too deep' };
const OTHER_TOKEN: Refusal = { reason: 'token differs from the request’s' };

const NO_MEMBERS: readonly number[] = [];

const isDirect = (path: Path) => !path.includes('.');

const asItIs = (raw: string) => raw;

/** The first of the paths that has a text. */
function firstOf({ read }: EventReader, paths: readonly string[] = [], absent: readonly string[] = []) {
  for (const path of paths) {
    const text = read(path);
    if (text !== null && (absent.length === 0 || !absent.includes(wordsOf(text)!))) return text;
  }
  return null;
}

function textOf(reader: EventReader, field: LenientField | undefined): LenientText | null {
  return field === undefined ? null : firstOf(reader, field.paths, field.absent);
}

function addMember(stored: number[], member: number): void {
  if (member >= 0) stored.push(member);
}

function addWhole(stored: number[], text: LenientText | null): void {
  if (text?.isWhole) stored.push(text.member);
}

/** A known member that is null counts as absent. */
function addIfNull(stored: number[], members: Members, member: number): void {
  if (member >= 0 && isNullAt(members, member)) stored.push(member);
}
