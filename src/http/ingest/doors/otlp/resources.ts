/** Resources and scopes of OTLP: what they say is a part of each of their records' events. */
import { type JsonText, putRange, putRaw, rawPart } from '../../../../event/json-text.ts';
import { MAX_REWRITTEN_BYTES, TOO_MUCH } from '../../../../event/rewriting.ts';
import { BYTES_A_STEP, type Steps } from '../../../../event/steps.ts';
import { addNoObject, closeEvent, openEvent, type TapeWriter } from '../../../../event/tape-writer.ts';
import { type Attributes, type Place, resetAttributes, type Said, setPlace, whereSaid } from './attributes.ts';
import { countOrigin, HEAD_NUMBERS, NO_OBJECT, Refused, type Origin, type OtlpEvents } from './events.ts';
import { addKeyed, KEYS, putKey } from './members.ts';

/** Begins a resource, whose scopes follow, then `closeResource`. */
export function openResource(events: OtlpEvents): void {
  countOrigin(events);
  resetAttributes(events.resource);
  setPlace(events.resourceSchema, -1, -1);
  events.scopes = [];
  events.waitingLength = 0;
}

/** Begins a scope: that of all records until the next one begins. */
export function openScope(events: OtlpEvents): Origin {
  countOrigin(events);
  const scope = { members: [], depth: 0, hasUnreadable: false };
  events.scopes.push(scope);
  return scope;
}

/** `own`: what the scope says of itself, raw members; and its attributes. */
export function closeScope(
  { text }: OtlpEvents,
  scope: Origin,
  { own, attributes, schema }: { own: readonly string[]; attributes: Attributes; schema: Place },
): void {
  const { object, depth } = attributes;
  const all = object.start < 0 ? own : [...own, `"attributes":${rawPart(text, object.start, object.end)}`];
  if (all.length > 0) {
    const start = putKey(text, KEYS.scope);
    putRaw(text, `{${all.join(',')}}`);
    scope.members.push(KEYS.scope, start, text.length);
    scope.depth = depth + 1;
  }
  addCopy(text, scope.members, KEYS.scopeSchema, schema);
}

/** Makes events of the records of the resource. `hasUnreadable`: whether ClickHouse cannot read its attributes. */
export function* closeResource(events: OtlpEvents, hasUnreadable: boolean): Steps<void> {
  const { waiting, waitingLength, scopes, tape } = events;
  const resource = resourceOf(events, hasUnreadable);
  let stepEnd = tape.byteCount + BYTES_A_STEP;
  for (let head = 0; head < waitingLength; head = waiting[head]!) {
    if (waiting[head + 2] === NO_OBJECT) addNoObject(tape);
    else writeEvent(events, head, resource, scopes[waiting[head + 1]!]!);
    if (tape.byteCount > MAX_REWRITTEN_BYTES) throw new Refused(TOO_MUCH);
    if (tape.byteCount < stepEnd) continue;
    stepEnd = tape.byteCount + BYTES_A_STEP;
    yield;
  }
}

/** Where a resource names whom a record does not name: by the number of the key; negative for nowhere. */
type Resource = Origin & { readonly people: readonly number[] };

const PEOPLE: Readonly<Record<number, Said>> = {
  [KEYS.user]: 'user',
  [KEYS.device]: 'device',
  [KEYS.session]: 'session',
};

function resourceOf({ text, resource, resourceSchema }: OtlpEvents, hasUnreadable: boolean): Resource {
  const members: number[] = [];
  const addSaid = (key: number, said: Said) => {
    const at = whereSaid(resource, said, text);
    if (at >= 0) addCopy(text, members, key, { start: resource.values[at]!, end: resource.values[at + 1]! });
  };
  addCopy(text, members, KEYS.resource, resource.object);
  addSaid(KEYS.service, 'service');
  addSaid(KEYS.environment, 'environment');
  addCopy(text, members, KEYS.resourceSchema, resourceSchema);
  const people = Object.values(KEYS).map((key) => (key in PEOPLE ? whereSaid(resource, PEOPLE[key]!, text) : -1));
  return { members, people, depth: resource.depth, hasUnreadable };
}

/** Writes a member behind its key, unless its value is nowhere. */
function addCopy(text: JsonText, members: number[], key: number, { start, end }: Place): void {
  if (start < 0) return;
  const at = putKey(text, key);
  putRange(text, text.bytes, start, end);
  members.push(key, at, text.length);
}

function writeEvent(
  { tape, waiting, resource: { values } }: OtlpEvents,
  head: number,
  resource: Resource,
  scope: Origin,
) {
  const place = openEvent(tape);
  addOrigin(tape, resource);
  addOrigin(tape, scope);
  const end = waiting[head]!;
  for (let at = head + HEAD_NUMBERS; at < end;) {
    const key = waiting[at]!;
    if (key >= 0) {
      addKeyed(tape, key, waiting[at + 1]!, waiting[at + 2]!);
      at += 3;
      continue;
    }
    at += 1;
    const person = resource.people[~key]!;
    if (person >= 0) addKeyed(tape, ~key, values[person]!, values[person + 1]!);
  }
  const isUnreadable = waiting[head + 3] === 1 || resource.hasUnreadable || scope.hasUnreadable;
  closeEvent(tape, place, Math.max(waiting[head + 2]!, resource.depth, scope.depth), isUnreadable);
}

function addOrigin(tape: TapeWriter, { members }: Origin): void {
  for (let at = 0; at < members.length; at += 3) {
    addKeyed(tape, members[at]!, members[at + 1]!, members[at + 2]!);
  }
}
