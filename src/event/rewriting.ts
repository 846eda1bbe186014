/**
 * Rewrites events of another shape to flat ones, which a format can then read: raw values are moved and never built, so
 * that digits and order stay as they were sent.
 */
import type { BodyProblem, ScannedEvents } from './envelope.ts';
import { isBodyProblem, jsonProblem, scanEvents } from './envelope.ts';
import { membersOf } from './extras.ts';
import { endOfMembers, firstMember, firstValue, isObject, type Members } from './json-members.ts';
import { moveToNextValue, nextMember, rawKeyOf, rawValueOf } from './json-members.ts';
import { createJsonTape, takeOverUnusable } from './json-tape.ts';
import { createScanner, isAtEnd, scannerOf, scanValue } from './json.ts';
import { rawStringOf, stringOf } from './raw-json.ts';
import { BYTES_A_STEP, EVENTS_A_STEP, type Steps } from './steps.ts';

/** Raw values by the names of their members, in the order they were sent; of a name that is there twice the last one. */
export type RawMembers = Map<string, string>;

/** What a small body may be rewritten to: something that is said once of many events is written into each. */
export const MAX_REWRITTEN_BYTES = 64 * 1024 * 1024;
export const TOO_MUCH: BodyProblem = {
  ok: false,
  code: 'body_too_large',
  message: 'what the body says of all its events is too large for so many; send them in parts',
};

/** The rewritten events, scanned. What is no object stays none, and what is unusable keeps its problem. */
export function* rewriteEvents(
  events: ScannedEvents,
  rewrite: (event: RawMembers) => RawMembers,
): Steps<ScannedEvents | BodyProblem> {
  const parts: string[] = [];
  let byteCount = 0;
  let stepEnd = BYTES_A_STEP;
  let lastOfStep = EVENTS_A_STEP;
  const event = firstValue(events);
  for (let index = 0; index < events.count; index += 1) {
    const part = isObject(event) ? rawObjectOf(rewrite(rawMembersOf(event))) : 'null';
    parts.push(part);
    byteCount += part.length;
    if (byteCount > MAX_REWRITTEN_BYTES) return TOO_MUCH;
    moveToNextValue(event);
    if (byteCount < stepEnd && parts.length < lastOfStep) continue;
    stepEnd = byteCount + BYTES_A_STEP;
    lastOfStep = parts.length + EVENTS_A_STEP;
    yield;
  }
  const rewritten = yield* scanRewritten(parts);
  if (events.problems.length > 0 && !isBodyProblem(rewritten)) takeOverUnusable(rewritten, events);
  return rewritten;
}

/** Scans rewritten events, raw. */
export function* scanRewritten(events: readonly string[]): Steps<ScannedEvents | BodyProblem> {
  const scanner = createScanner(Buffer.from(`[${events.join(',')}]`, 'latin1'));
  const tape = createJsonTape(scanner);
  yield* scanEvents(scanner, tape, Infinity);
  return jsonProblem(scanner) ?? tape;
}

function rawMembersOf(event: Members): RawMembers {
  const members: RawMembers = new Map();
  for (let member = firstMember(event); member < endOfMembers(event); member = nextMember(member)) {
    members.set(stringOf(rawKeyOf(event, member)), rawValueOf(event, member));
  }
  return members;
}

/** The members of a raw value; none where it is no object. */
export function rawMembersIn(raw: string | undefined): RawMembers {
  const members: RawMembers = new Map();
  if (isObjectValue(raw)) for (const { key, value } of membersOf(raw)) members.set(stringOf(key), value);
  return members;
}

/** Whether a text, as byte text, is one JSON value and nothing else. */
export function isRawJson(raw: string): boolean {
  const scanner = scannerOf(raw);
  return scanValue(scanner) && isAtEnd(scanner);
}

/** Whether a raw value is an object. */
export const isObjectValue = (raw: string | undefined): raw is string => raw?.[0] === '{';

/** Whether a text, as byte text, is one JSON object and nothing else. */
export const isRawObject = (raw: string): boolean => raw[0] === '{' && isRawJson(raw);

export function rawObjectOf(members: Iterable<readonly [name: string, raw: string]>): string {
  const parts: string[] = [];
  for (const [name, raw] of members) parts.push(`${rawStringOf(name)}:${raw}`);
  return `{${parts.join(',')}}`;
}

/** A raw object with further members, of whose names it has none, as far as they are there and not null. */
export function withMembers(
  object: string,
  further: Iterable<readonly [name: string, raw: string | undefined]>,
): string {
  const added = [...further].filter(
    (member): member is [string, string] => member[1] !== undefined && member[1] !== 'null',
  );
  if (added.length === 0) return object;
  const more = rawObjectOf(added);
  return NO_MEMBERS.test(object) ? more : `${object.slice(0, -1)},${more.slice(1)}`;
}

const NO_MEMBERS = /^\{\s*\}$/;

/** Takes the first of these members that is there and not null; undefined for none. */
export function takeFirst(members: RawMembers, ...names: readonly string[]): string | undefined {
  for (const name of names) {
    const raw = members.get(name);
    if (raw === undefined || raw === 'null') continue;
    members.delete(name);
    return raw;
  }
  return undefined;
}
