/**
 * Request body → rows. The body was scanned once (`readEnvelope`); here each
 * event becomes a row made of pieces of the body's own bytes, or a rejection.
 * Total: whatever a client sent, nothing throws, and every event is counted
 * once. Time and randomness come in as arguments.
 */
import { MAX_LISTED_REJECTIONS, type ProjectId, type Rejection } from './event.ts';
import type { ScannedEvents } from './envelope.ts';
import { foldExtras, type RawMember } from './extras.ts';
import { createFieldPicker, type Picked } from './fields.ts';
import { stringOf } from './json.ts';
import {
  deepestOf,
  firstValue,
  isObject,
  moveToNextValue,
  rawKeyOf,
  rawValueOf,
  sizeOf,
  type Members,
} from './members.ts';
import { createRowEncoder, createRowWriter, MAX_ROW_BYTES } from './row.ts';
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
  /** Days until the project's events expire; null keeps them. */
  readonly retentionDays: number | null;
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

/** The most code points of an event's name and of its ids. */
export const MAX_TEXT_LENGTH = 200;

/** The most containers a field's value may nest; the outermost one counts. */
export const MAX_DEPTH = 64;

/** The fields, each with the keys it is known under, the strongest first. */
const KEYS = [
  ['event'],
  ['timestamp'],
  ['anonymous_id', 'anonymousId'],
  ['user_id', 'userId'],
  ['session_id', 'sessionId'],
  ['event_id', 'eventId', 'messageId', 'uuid'],
  ['properties'],
  ['extras'],
] as const;
const EVENT = 0;
const TIMESTAMP = 1;
const ANONYMOUS_ID = 2;
const USER_ID = 3;
const SESSION_ID = 4;
const EVENT_ID = 5;
const PROPERTIES = 6;
const EXTRAS = 7;

const pickNativeFields = createFieldPicker(KEYS);

/** Decodes native events: every one is accepted or rejected, whatever its neighbours are. */
export function decodeEvents(events: ScannedEvents, context: DecodeContext): Decoded {
  const encodeRow = createRowEncoder(context);
  const latestMs = context.receivedAt + context.maxFutureMs;
  const rejections: Rejection[] = [];
  const rows = createRowWriter();
  let accepted = 0;
  const event = firstValue(events);
  for (let index = 0; index < events.count; index += 1) {
    const row = decodeEvent(event);
    moveToNextValue(event);
    if (typeof row === 'string') {
      rows.write(row);
      accepted += 1;
    } else if (rejections.length < MAX_LISTED_REJECTIONS) {
      rejections.push({ index, reason: row.reason });
    }
  }
  const rejected = events.count - accepted;
  const truncated = rejected > rejections.length;
  return { rows: rows.finish(), accepted, rejected, rejections, truncated };

  /** The event's row, or the first reason against it, in the order the contract lists them. */
  function decodeEvent(members: Members): string | Refusal {
    if (!isObject(members)) return refused('event must be an object');
    const picked = pickNativeFields(members);

    const event = readText(rawOf(EVENT), MAX_TEXT_LENGTH);
    if (event === null) return refused('event required');
    if (isRefusal(event)) return refused(`event ${event.reason}`);

    const rawTimestamp = rawOf(TIMESTAMP);
    if (rawTimestamp === 'null') return refused('timestamp required');
    const timestamp = readInstant(rawTimestamp, latestMs);
    if (typeof timestamp === 'string') return refused(`timestamp ${timestamp}`);

    const anonymousId = readText(rawOf(ANONYMOUS_ID), MAX_TEXT_LENGTH);
    if (isRefusal(anonymousId)) return refused(`anonymous_id ${anonymousId.reason}`);
    const userId = readText(rawOf(USER_ID), MAX_TEXT_LENGTH);
    if (isRefusal(userId)) return refused(`user_id ${userId.reason}`);
    const sessionId = readText(rawOf(SESSION_ID), MAX_TEXT_LENGTH);
    if (isRefusal(sessionId)) return refused(`session_id ${sessionId.reason}`);
    const sentId = readText(rawOf(EVENT_ID), MAX_TEXT_LENGTH);
    if (isRefusal(sentId)) return refused(`event_id ${sentId.reason}`);

    const properties = rawOf(PROPERTIES);
    if (properties !== 'null' && properties[0] !== '{') return refused('properties must be an object');
    const base = rawOf(EXTRAS);
    if (base !== 'null' && base[0] !== '{') return refused('extras must be an object');

    const isHashed = sentId !== null && !isUuid(sentId.slice(1, -1));
    const strays = strayMembers(members, isHashed ? withEventId(picked) : picked.strays);
    // What alone is too large for a row is not looked into.
    const isHuge = properties.length > MAX_ROW_BYTES || base.length > MAX_ROW_BYTES;
    if (strays === null || isHuge) return refused('event too large');
    const row = encodeRow({
      eventId: eventIdOf(sentId, isHashed),
      event,
      anonymousId,
      userId,
      timestamp,
      sessionId,
      properties: properties === 'null' ? '{}' : properties,
      extras: foldExtras(base === 'null' ? null : base, strays),
    });
    if (row.length - 1 > MAX_ROW_BYTES) return refused('event too large');
    return deepestOf(members) > MAX_DEPTH ? refused('nesting too deep') : row;

    /** The field's raw value; a missing field is null. */
    function rawOf(field: number): string {
      const member = picked.byField[field] ?? -1;
      return member < 0 ? 'null' : rawValueOf(members, member);
    }
  }

  /** The id to store for the sent one, a raw string. */
  function eventIdOf(sentId: string | null, isHashed: boolean): string {
    if (sentId === null) return context.newEventId();
    return isHashed ? uuidOf(stringOf(sentId)) : sentId.slice(1, -1).toLowerCase();
  }
}

/** The strays with the member that gave the event its id, all in the order they were sent. */
function withEventId({ strays, byField }: Picked): number[] {
  return [...strays, byField[EVENT_ID] ?? -1].sort((a, b) => a - b);
}

/**
 * What goes to extras besides the sent extras. Null when it alone is too large
 * for a row, so that a hostile event is not taken apart.
 */
function strayMembers(members: Members, strays: readonly number[]): RawMember[] | null {
  let byteCount = 0;
  for (const stray of strays) byteCount += sizeOf(members, stray);
  if (byteCount > MAX_ROW_BYTES) return null;
  return strays.map((stray) => ({ key: rawKeyOf(members, stray), value: rawValueOf(members, stray) }));
}

function refused(reason: string): Refusal {
  return { reason };
}
