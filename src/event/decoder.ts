/**
 * Scanned event → row, by a format. An event becomes a row composed of parts of the body's own bytes, or a rejection.
 * Total: no input makes it throw. Time and randomness are arguments.
 */
import { type Decoder, areHuge, inOrder, MAX_DEPTH, whyNoObject } from './decoding.ts';
import { isFromServer, withSkew } from './clock-skew.ts';
import { readOtherId, uuidOfId } from './event-id.ts';
import { foldExtras } from './extras.ts';
import { createFieldPicker, type Picked } from './fields.ts';
import type { AnyFormat, ChosenFormat, EventFormat, TextField } from './format.ts';
import { lenientDecoder } from './lenient-decoder.ts';
import { onOneLine, rawStringOf, stringOf } from './raw-json.ts';
import { type CheckedField, label, labels, reasonAgainst } from './kinds.ts';
import {
  deepestOf,
  hasUnreadable,
  isNumberAt,
  isObject,
  rawKeyOf,
  rawValueOf,
  valueEndOf,
  valueStartOf,
  type Members,
} from './json-members.ts';
import { withReadable } from './readable.ts';
import { rememberingDecoder } from './remembering-decoder.ts';
import { rowEncoder, type RowParts, MAX_ROW_BYTES } from './row.ts';
import { isRefusal, MAX_TEXT_LENGTH, readId, readText, type Refusal } from './text.ts';
import { readInstant } from './timestamp.ts';
import { isUuid, isUuidIn } from './uuid.ts';

/** The decoder of a format. */
export function decoderOf(format: AnyFormat): Decoder {
  return 'lenient' in format ? lenientDecoder(format) : rememberingDecoder(strictDecoder(format));
}

function strictDecoder(format: EventFormat | ChosenFormat): Decoder {
  if ('by' in format) return choosingDecoder(format);
  const decoder = plainDecoder(format);
  return format.elsewhere ? hintingDecoder(decoder, format.elsewhere) : decoder;
}

/** Says where an event belongs that has come by the wrong door. */
function hintingDecoder(decoder: Decoder, { key, hint }: NonNullable<EventFormat['elsewhere']>): Decoder {
  const pick = createFieldPicker([[key]]);
  return (context) => {
    const decodeEvent = decoder(context);
    return (members) => {
      const row = decodeEvent(members);
      if (typeof row === 'string' || !isObject(members)) return row;
      const { byField } = pick(members);
      return byField[0]! < 0 ? row : { ...row, reason: `${row.reason}; ${hint}` };
    };
  };
}

function choosingDecoder({ by, formats }: ChosenFormat): Decoder {
  const pick = createFieldPicker([[by]]);
  const decoders = new Map(Object.entries(formats).map(([value, format]) => [value, plainDecoder(format, value)]));
  const unknown = refused(`${by} must be one of ${[...decoders.keys()].join(', ')}`);
  const missing = refused(`${by} required`);
  return (context) => {
    const ready = new Map([...decoders].map(([value, decoder]) => [value, decoder(context)]));
    return (members) => {
      if (!isObject(members)) return whyNoObject(members);
      const member = pick(members).byField[0] ?? -1;
      const raw = member < 0 ? 'null' : rawValueOf(members, member);
      if (raw === 'null') return missing;
      const decodeEvent = raw[0] === '"' ? ready.get(stringOf(raw)) : undefined;
      return decodeEvent ? decodeEvent(members) : unknown;
    };
  };
}

/** The fields that every format may have come first, at these places. */
const EVENT = 0;
const TIMESTAMP = 1;
const ANONYMOUS_ID = 2;
const USER_ID = 3;
const SESSION_ID = 4;
const EVENT_ID = 5;
const PROPERTIES = 6;
const EXTRAS = 7;
const PROJECT = 8;
const OTHER_ID = 9;
const FIRST_CHECKED = 10;

type Checked = CheckedField & { readonly name: string; readonly place: number };

/** `chosenBy`: the name of an event that has no field for it. */
function plainDecoder(format: EventFormat, chosenBy = ''): Decoder {
  const { event, timestamp, anonymousId, userId, sessionId, eventId, properties, extras, project, otherId } = format;
  const kept = Object.entries(format.kept ?? {});
  const gathered = Object.entries(format.gathered ?? {});
  const checked = [...kept, ...gathered].map(([name, field], index): Checked => ({
    name,
    place: FIRST_CHECKED + index,
    ...field,
  }));
  const judged = checked.filter(({ kind }) => kind !== label && kind !== labels);
  const digits = checked.filter(({ kind }) => kind.digitsAreText);
  const gatheredFrom = FIRST_CHECKED + kept.length;
  const pickFields = createFieldPicker([
    ...[event, timestamp, anonymousId, userId, sessionId, eventId, properties, extras, project, otherId].map(
      (field) => field?.keys ?? [],
    ),
    ...checked.map(({ name }) => [name]),
  ]);
  const constantName = rawStringOf(chosenBy);
  const readEvent = event ? textReader({ ...event, required: true }, readText) : () => constantName;
  const readAnonymousId = textReader(anonymousId, readId);
  const readUserId = textReader(userId, readId);
  const readSessionId = textReader(sessionId, readId);
  const readEventId = textReader(eventId, readId);
  const timestampName = timestamp.keys[0];
  const timestampRequired = refused(`${timestampName} required`);
  const propertiesName = properties?.keys[0] ?? '';
  const notAnObject = refused(`${propertiesName} must be an object`);
  const keepsMore = kept.length > 0 || project !== undefined;

  return (context) => {
    const encodeRow = rowEncoder(context);
    const latestMs = context.receivedAt + context.maxFutureMs;
    const { skewMs: clockSkewMs = 0 } = context;

    return function decodeEvent(members) {
      if (!isObject(members)) return whyNoObject(members);
      const picked = pickFields(members);
      const { byField } = picked;

      const name = readEvent(rawOf(members, byField[EVENT]));
      if (isRefusal(name)) return name;
      const rawTimestamp = rawOf(members, byField[TIMESTAMP]);
      if (rawTimestamp === 'null') return timestampRequired;
      const skewMs = clockSkewMs !== 0 && !isServers(members, picked) ? clockSkewMs : 0;
      const at = readInstant(rawTimestamp, latestMs, skewMs);
      if (typeof at === 'string') return refused(`${timestampName} ${at}`);
      const anonymous = readAnonymousId(rawOf(members, byField[ANONYMOUS_ID]));
      if (isRefusal(anonymous)) return anonymous;
      const user = readUserId(rawOf(members, byField[USER_ID]));
      if (isRefusal(user)) return user;
      const session = readSessionId(rawOf(members, byField[SESSION_ID]));
      if (isRefusal(session)) return session;
      const sentId = readEventId(rawOf(members, byField[EVENT_ID]));
      if (isRefusal(sentId)) return sentId;
      if (project && !isOurs(rawOf(members, byField[PROJECT]))) return refused('tenant mismatch');
      for (const field of judged) {
        const reason = reasonAgainst(field, rawOf(members, byField[field.place]), field.name);
        if (reason !== null) return refused(reason);
      }

      const sentProperties = rawOf(members, byField[PROPERTIES]);
      if (sentProperties === 'null' && properties?.required) return refused(`${propertiesName} required`);
      if (sentProperties !== 'null' && sentProperties[0] !== '{') return notAnObject;
      const against = sentProperties === 'null' ? null : properties?.kind?.refuse(sentProperties, propertiesName);
      if (against) return refused(against);
      const base = rawOf(members, byField[EXTRAS]);
      if (base !== 'null' && base[0] !== '{') return refused(`${extras?.keys[0]} must be an object`);

      const other = byField[OTHER_ID] ?? -1;
      const rawId = sentId ?? (other < 0 ? null : readOtherId(rawOf(members, other)));
      const bareId = rawId === null ? null : rawId.slice(1, -1);
      const isAsSent =
        bareId === null || isUuidAt(members, sentId === null ? other : byField[EVENT_ID]!) || isUuid(bareId);
      const isOtherKept = other >= 0 && (rawId === null || rawId === sentId || !isAsSent);
      const strays = straysOf(picked, sentId !== null && !isAsSent, isOtherKept, skewMs !== 0);
      const ours = gathered.length === 0 ? null : gatheredOf(picked);
      // A part that is too large for a row on its own is neither examined nor taken apart.
      const isHuge = sentProperties.length > MAX_ROW_BYTES || base.length > MAX_ROW_BYTES;
      if (isHuge || areHuge(members, strays) || (ours !== null && areHuge(members, ours))) {
        return refused('event too large');
      }
      // Clients that send many events send them without line ends: one check of the whole body is enough.
      const inRow = members.tape.hasLineEnds ? onOneLine : asItIs;
      const folded = foldExtras(base === 'null' ? null : base, members, strays, numbersOf(members, picked));
      const parts: RowParts = {
        eventId:
          (isAsSent
            ? bareId?.toLowerCase()
            : uuidOfId(rawId!, () => (sentId === null ? scopeOf(members, picked, name!) : ''))) ?? context.newEventId(),
        event: name!,
        anonymousId: anonymous,
        userId: user,
        timestamp: at,
        sessionId: session,
        properties: inRow(ours ? foldExtras(null, members, ours) : sentProperties === 'null' ? '{}' : sentProperties),
        extras: inRow(skewMs === 0 ? folded : withSkew(folded, skewMs)),
      };
      const row = encodeRow(parts);
      if (row.length - 1 > MAX_ROW_BYTES) return refused('event too large');
      if (deepestOf(members) > MAX_DEPTH) return refused('nesting too deep');
      return hasUnreadable(members) ? encodeRow(withReadable(parts)) : row;
    };

    function isOurs(raw: string): boolean {
      return raw === 'null' || (raw[0] === '"' && stringOf(raw).toLowerCase() === context.projectId);
    }
  };

  /** The members that go to the extras besides the sent ones, in the order in which they were sent. */
  function straysOf(
    { strays, byField }: Picked,
    isIdKept: boolean,
    isOtherKept: boolean,
    isTimeKept: boolean,
  ): readonly number[] {
    if (!isIdKept && !isOtherKept && !isTimeKept && !keepsMore) return strays;
    const all = strays.slice();
    addPresent(all, byField[PROJECT]);
    for (let field = FIRST_CHECKED; field < gatheredFrom; field += 1) addPresent(all, byField[field]);
    if (isIdKept) addPresent(all, byField[EVENT_ID]);
    if (isOtherKept) addPresent(all, byField[OTHER_ID]);
    if (isTimeKept) addPresent(all, byField[TIMESTAMP]);
    return inOrder(all);
  }

  /** The fields whose number is kept as a text. */
  function numbersOf(members: Members, { byField }: Picked): readonly number[] {
    let numbers = NO_PLACES;
    for (const { place } of digits) {
      const member = byField[place] ?? -1;
      if (member >= 0 && isNumberAt(members, member)) numbers = [...numbers, member];
    }
    return numbers;
  }

  function gatheredOf({ byField }: Picked): readonly number[] {
    const all: number[] = [];
    for (let field = gatheredFrom; field < byField.length; field += 1) addPresent(all, byField[field]);
    return inOrder(all);
  }
}

const NO_PLACES: readonly number[] = [];

/** Whether the member's value is a UUID as it was written. */
function isUuidAt(members: Members, member: number): boolean {
  return isUuidIn(members.tape.bytes, valueStartOf(members, member) + 1, valueEndOf(members, member) - 1);
}

/** Whether a server sent the event; its clock is not corrected. */
function isServers(members: Members, { strays, byField }: Picked): boolean {
  const fields = [PROPERTIES, EXTRAS].map((field) => rawOf(members, byField[field]));
  const [properties = '', extras = ''] = fields.map((raw) =>
    raw[0] === '{' && raw.length <= MAX_ROW_BYTES ? raw : '{}',
  );
  if (areHuge(members, strays)) return false;
  return isFromServer([foldExtras(null, members, strays), extras], properties);
}

/** The fields that a bare `id` counts together with, because it may be the id of an order: a retry repeats both. */
function scopeOf(members: Members, { byField }: Picked, name: string): string {
  const isBare = stringOf(rawKeyOf(members, byField[OTHER_ID]!)) === 'id';
  return isBare ? `\n${stringOf(name)}\n${rawOf(members, byField[TIMESTAMP])}` : '';
}

const asItIs = (raw: string) => raw;

/** The raw value of a field's member; a missing field is null. */
function rawOf(members: Members, member = -1): string {
  return member < 0 ? 'null' : rawValueOf(members, member);
}

function addPresent(places: number[], member = -1): void {
  if (member >= 0) places.push(member);
}

/** Reads a text field: the raw string to store, null, or the reason against it. */
function textReader(field: TextField | undefined, readRaw: typeof readText): (raw: string) => string | null | Refusal {
  if (!field) return () => null;
  const { keys, required = false, maxLength = MAX_TEXT_LENGTH, kind } = field;
  const [name] = keys;
  const missing = refused(`${name} required`);
  return (raw) => {
    const read = readRaw(raw, maxLength);
    if (read === null) return required ? missing : null;
    if (isRefusal(read)) return refused(`${name} ${read.reason}`);
    const reason = kind?.refuse(read, name) ?? null;
    return reason === null ? read : refused(reason);
  };
}

function refused(reason: string): Refusal {
  return { reason };
}
