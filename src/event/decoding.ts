/** The input of every decoder, and the rules that all formats share. */
import type { ProjectId } from './event.ts';
import { type Members, problemOf, sizeOf } from './json-members.ts';
import { MAX_ROW_BYTES } from './row.ts';
import type { Refusal } from './text.ts';

export type DecodeContext = {
  readonly projectId: ProjectId;
  /** The front door the events came through. */
  readonly source: string;
  /** When the request arrived, in epoch milliseconds. */
  readonly receivedAt: number;
  /** How far ahead of `receivedAt` a timestamp may lie. */
  readonly maxFutureMs: number;
  /** Generates the id of an event that came without one: a UUID (v7) in lower case. */
  readonly newEventId: () => string;
  /** Seconds until the project's events expire; null keeps them. */
  readonly retentionSeconds: number | null;
  /** How slow the sender's clock is; absent or 0 where it is right. */
  readonly skewMs?: number;
  /** For lenient formats: what the request says about its events. */
  readonly asSent?: AsSent;
};

/** What a request from another service's client says about all of its events. */
export type AsSent = {
  /** When it was sent by the sender's clock, in epoch milliseconds; null when it does not say. */
  readonly sentAt: number | null;
  /** The kind of events that it announces. */
  readonly hint: string | null;
  /** The token that admitted it. */
  readonly token: string | null;
  /** The address it came from and its user agent, raw; null for what is not to be stored. */
  readonly ip: string | null;
  readonly userAgent: string | null;
  /** The place of the first event in the request; absent: 0. */
  readonly firstIndex?: number;
};

/** One event's row, or the first reason against it. */
export type DecodeEvent = (event: Members) => string | Refusal;

/** The outer function is called once per format, the inner one once per request. */
export type Decoder = (context: DecodeContext) => DecodeEvent;

/** The deepest nesting of a field's value; the outermost container counts. */
export const MAX_DEPTH = 64;

/** Why a value is no event. */
export function whyNoObject(members: Members): Refusal {
  const problem = problemOf(members);
  return problem === null ? NOT_AN_OBJECT : { reason: problem };
}

const NOT_AN_OBJECT: Refusal = { reason: 'event must be an object' };

/** Sorts a few numbers that are nearly in order; `Array.sort` makes more garbage than an event takes. */
export function inOrder(places: number[]): number[] {
  for (let end = 1; end < places.length; end += 1) {
    const place = places[end]!;
    let at = end;
    for (; at > 0 && places[at - 1]! > place; at -= 1) places[at] = places[at - 1]!;
    places[at] = place;
  }
  return places;
}

/** Whether these members alone are too large for a row. */
export function areHuge(members: Members, places: readonly number[]): boolean {
  let byteCount = 0;
  for (const place of places) byteCount += sizeOf(members, place);
  return byteCount > MAX_ROW_BYTES;
}
