/**
 * Scanned event → row. An event becomes a row made of pieces of the body's own
 * bytes, or a rejection. Total: whatever a client sent, nothing throws, and
 * every event is counted once. Time and randomness come in as arguments.
 */
import type { ProjectId, Rejection } from './event.ts';
import { MAX_LISTED_REJECTIONS } from './event.ts';
import type { ScannedEvents } from './envelope.ts';
import { foldExtras } from './extras.ts';
import { createFieldPicker, type Picked } from './fields.ts';
import { type ChosenFormat, type EventFormat, MAX_TEXT_LENGTH, type TextField } from './format.ts';
import { onOneLine, rawStringOf, stringOf } from './json.ts';
import { type CheckedField, reasonAgainst } from './kinds.ts';
import {
  deepestOf,
  discardTape,
  firstValue,
  isObject,
  moveToNextValue,
  rawValueOf,
  sizeOf,
  type Members,
} from './members.ts';
import { rowEncoder, createRowWriter, MAX_ROW_BYTES } from './row.ts';
import { isRefusal, readText, type Refusal } from './text.ts';
import { readInstant } from './timestamp.ts';
import { isUuid, uuidOf } from './uuid.ts';

export type DecodeContext = {
  readonly projectId: ProjectId;
  /** The front door the events came through. */
  readonly source: string;
  /** When the request arrived, in epoch milliseconds. */
  readonly receivedAt: number;
  /** How far ahead of `receivedAt` a timestamp may lie. */
  readonly maxFutureMs: number;
  /** Makes the id of an event that came without one: a UUID (v7) in lower case. */
  readonly newEventId: () => string;
  /** Seconds until the project's events expire; null keeps them. */
  readonly retentionSeconds: number | null;
};

export type Decoded = {
  /** The accepted events, NDJSON, in the order they were sent. */
  readonly rows: Buffer;
  readonly accepted: number;
  readonly rejected: number;
  /** The first rejections; the count is in `rejected`. */
  readonly rejections: readonly Rejection[];
  /** Whether there are more rejections than are listed. */
  readonly truncated: boolean;
};

/** One event's row, or the first reason against it. */
export type DecodeEvent = (event: Members) => string | Refusal;

/** Made once for a format; the inner function once for a request. */
export type Decoder = (context: DecodeContext) => DecodeEvent;

/** The most containers a field's value may nest; the outermost one counts. */
export const MAX_DEPTH = 64;

/** Decodes the events of one request, once: every one is accepted or rejected, whatever its neighbours are. */
export function decodeEvents(events: ScannedEvents, decodeEvent: DecodeEvent): Decoded {
  const event = firstValue(events);
  if (events.count === 1) return decodedOne(decodeEvent(event), events);
  const collected = createCollector();
  for (let index = 0; index < events.count; index += 1) {
    collected.add(index, decodeEvent(event));
    moveToNextValue(event);
  }
  discardTape(events);
  return collected.finish();
}

/** As pages send them: one event, for which there is nothing to collect. */
function decodedOne(row: string | Refusal, events: ScannedEvents): Decoded {
  discardTape(events);
  if (typeof row !== 'string') return { ...NOTHING, rejected: 1, rejections: [{ index: 0, reason: row.reason }] };
  return { ...NOTHING, rows: Buffer.from(row, 'latin1'), accepted: 1 };
}

const NOTHING: Decoded = { rows: Buffer.alloc(0), accepted: 0, rejected: 0, rejections: [], truncated: false };

/** Gathers what becomes of the events of a request. `rowBytes` counts what its rows take so far. */
export type Collector = {
  readonly accepted: () => number;
  readonly rowBytes: () => number;
  add(index: number, row: string | Refusal): void;
  finish(): Decoded;
};

export function createCollector(): Collector {
  const rejections: Rejection[] = [];
  const rows = createRowWriter();
  let accepted = 0;
  let rejected = 0;
  let rowBytes = 0;
  return {
    accepted: () => accepted,
    rowBytes: () => rowBytes,
    add(index, row) {
      if (typeof row === 'string') {
        rows.write(row);
        accepted += 1;
        rowBytes += row.length;
        return;
      }
      rejected += 1;
      if (rejections.length < MAX_LISTED_REJECTIONS) rejections.push({ index, reason: row.reason });
    },
    finish: () => ({
      rows: rows.finish(),
      accepted,
      rejected,
      rejections,
      truncated: rejected > rejections.length,
    }),
  };
}

/** The decoder of a format. */
export function decoderOf(format: EventFormat | ChosenFormat): Decoder {
  return 'by' in format ? choosingDecoder(format) : plainDecoder(format);
}

const NOT_AN_OBJECT = refused('event must be an object');

function choosingDecoder({ by, formats }: ChosenFormat): Decoder {
  const pick = createFieldPicker([[by]]);
  const decoders = new Map(Object.entries(formats).map(([value, format]) => [value, plainDecoder(format, value)]));
  const unknown = refused(`${by} must be one of ${[...decoders.keys()].join(', ')}`);
  const missing = refused(`${by} required`);
  return (context) => {
    const ready = new Map([...decoders].map(([value, decoder]) => [value, decoder(context)]));
    return (members) => {
      if (!isObject(members)) return NOT_AN_OBJECT;
      const member = pick(members).byField[0] ?? -1;
      const raw = member < 0 ? 'null' : rawValueOf(members, member);
      if (raw === 'null') return missing;
      const decodeEvent = raw[0] === '"' ? ready.get(stringOf(raw)) : undefined;
      return decodeEvent ? decodeEvent(members) : unknown;
    };
  };
}

/** The fields every format may have come first, at these places. */
const EVENT = 0;
const TIMESTAMP = 1;
const ANONYMOUS_ID = 2;
const USER_ID = 3;
const SESSION_ID = 4;
const EVENT_ID = 5;
const PROPERTIES = 6;
const EXTRAS = 7;
const PROJECT = 8;
const FIRST_CHECKED = 9;

type Checked = CheckedField & { readonly name: string; readonly place: number };

/** `chosenBy`: the name of an event that has no field for it. */
function plainDecoder(format: EventFormat, chosenBy = ''): Decoder {
  const { event, timestamp, anonymousId, userId, sessionId, eventId, properties, extras, project } = format;
  const kept = Object.entries(format.kept ?? {});
  const gathered = Object.entries(format.gathered ?? {});
  const checked = [...kept, ...gathered].map(([name, field], index): Checked => ({
    name,
    place: FIRST_CHECKED + index,
    ...field,
  }));
  const gatheredFrom = FIRST_CHECKED + kept.length;
  const pickFields = createFieldPicker([
    ...[event, timestamp, anonymousId, userId, sessionId, eventId, properties, extras, project].map(
      (field) => field?.keys ?? [],
    ),
    ...checked.map(({ name }) => [name]),
  ]);
  const constantName = rawStringOf(chosenBy);
  const readEvent = event ? textReader({ ...event, required: true }) : () => constantName;
  const readAnonymousId = textReader(anonymousId);
  const readUserId = textReader(userId);
  const readSessionId = textReader(sessionId);
  const readEventId = textReader(eventId);
  const timestampName = timestamp.keys[0];
  const timestampRequired = refused(`${timestampName} required`);
  const propertiesName = properties?.keys[0] ?? '';
  const notAnObject = refused(`${propertiesName} must be an object`);
  const keepsMore = kept.length > 0 || project !== undefined;

  return (context) => {
    const encodeRow = rowEncoder(context);
    const latestMs = context.receivedAt + context.maxFutureMs;

    return function decodeEvent(members) {
      if (!isObject(members)) return NOT_AN_OBJECT;
      const picked = pickFields(members);
      const { byField } = picked;

      const name = readEvent(rawOf(members, byField[EVENT]));
      if (isRefusal(name)) return name;
      const rawTimestamp = rawOf(members, byField[TIMESTAMP]);
      if (rawTimestamp === 'null') return timestampRequired;
      const at = readInstant(rawTimestamp, latestMs);
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
      for (const field of checked) {
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

      const bareId = sentId === null ? null : sentId.slice(1, -1);
      const isHashed = bareId !== null && !isUuid(bareId);
      const strays = straysOf(picked, isHashed);
      const ours = gathered.length === 0 ? null : gatheredOf(picked);
      // What alone is too large for a row is not looked into, nor taken apart.
      const isHuge = sentProperties.length > MAX_ROW_BYTES || base.length > MAX_ROW_BYTES;
      if (isHuge || areHuge(members, strays) || (ours !== null && areHuge(members, ours))) {
        return refused('event too large');
      }
      // Whoever sends many events sends them without line ends: one look at all of them is enough.
      const inRow = members.tape.hasLineEnds ? onOneLine : asItIs;
      const row = encodeRow({
        eventId: isHashed ? uuidOf(stringOf(sentId!)) : (bareId?.toLowerCase() ?? context.newEventId()),
        event: name!,
        anonymousId: anonymous,
        userId: user,
        timestamp: at,
        sessionId: session,
        properties: inRow(ours ? foldExtras(null, members, ours) : sentProperties === 'null' ? '{}' : sentProperties),
        extras: inRow(foldExtras(base === 'null' ? null : base, members, strays)),
      });
      if (row.length - 1 > MAX_ROW_BYTES) return refused('event too large');
      return deepestOf(members) > MAX_DEPTH ? refused('nesting too deep') : row;
    };

    function isOurs(raw: string): boolean {
      return raw === 'null' || (raw[0] === '"' && stringOf(raw).toLowerCase() === context.projectId);
    }
  };

  /** What goes to the extras besides the sent ones, in the order it was sent. */
  function straysOf({ strays, byField }: Picked, isHashed: boolean): readonly number[] {
    if (!isHashed && !keepsMore) return strays;
    const all = strays.slice();
    for (let field = PROJECT; field < gatheredFrom; field += 1) addPresent(all, byField[field]);
    if (isHashed) addPresent(all, byField[EVENT_ID]);
    return inOrder(all);
  }

  function gatheredOf({ byField }: Picked): readonly number[] {
    const all: number[] = [];
    for (let field = gatheredFrom; field < byField.length; field += 1) addPresent(all, byField[field]);
    return inOrder(all);
  }
}

const asItIs = (raw: string) => raw;

/** The raw value of a field's member; a missing field is null. */
function rawOf(members: Members, member = -1): string {
  return member < 0 ? 'null' : rawValueOf(members, member);
}

function addPresent(places: number[], member = -1): void {
  if (member >= 0) places.push(member);
}

/** Sorts few numbers that are nearly in order; the array's own way makes more garbage than an event takes. */
function inOrder(places: number[]): number[] {
  for (let end = 1; end < places.length; end += 1) {
    const place = places[end]!;
    let at = end;
    for (; at > 0 && places[at - 1]! > place; at -= 1) places[at] = places[at - 1]!;
    places[at] = place;
  }
  return places;
}

/** Reads a text field: the raw string to store, null, or the reason against it. */
function textReader(field: TextField | undefined): (raw: string) => string | null | Refusal {
  if (!field) return () => null;
  const { keys, required = false, maxLength = MAX_TEXT_LENGTH, kind } = field;
  const [name] = keys;
  const missing = refused(`${name} required`);
  return (raw) => {
    const read = readText(raw, maxLength);
    if (read === null) return required ? missing : null;
    if (isRefusal(read)) return refused(`${name} ${read.reason}`);
    const reason = kind?.refuse(raw, name) ?? null;
    return reason === null ? read : refused(reason);
  };
}

/** Whether these members alone are too large for a row. */
function areHuge(members: Members, places: readonly number[]): boolean {
  let byteCount = 0;
  for (const place of places) byteCount += sizeOf(members, place);
  return byteCount > MAX_ROW_BYTES;
}

function refused(reason: string): Refusal {
  return { reason };
}
