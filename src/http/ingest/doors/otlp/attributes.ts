/** Attributes of OTLP as one object, and what those of them mean that are more than data. */
import { type JsonText, keepOnly, putByte, putRange, putRaw } from '../../../../event/json-text.ts';
import { createNameFinder } from '../../../../event/names.ts';

/** Where a raw value stands in the text. Negative where there is none. */
export type Place = { start: number; end: number };

export const nowhere = (): Place => ({ start: -1, end: -1 });

export function setPlace(place: Place, start: number, end: number): void {
  place.start = start;
  place.end = end;
}

/** What an attribute may say. */
export const SAID = {
  user: ['user.id', 'enduser.id'],
  device: ['device.id', 'app.installation.id', 'client.id'],
  session: ['session.id'],
  recordId: ['log.record.uid'],
  event: ['event.name'],
  service: ['service.name'],
  environment: ['deployment.environment.name', 'deployment.environment'],
  body: ['body'],
} as const;
export type Said = keyof typeof SAID;

const NAMES = Object.values(SAID).flat();
const findName = createNameFinder(NAMES);
const PLACES_OF = Object.fromEntries(
  Object.entries(SAID).map(([said, names]) => [said, names.map((name) => 2 * NAMES.indexOf(name))]),
) as unknown as Readonly<Record<Said, readonly number[]>>;

export type Attributes = {
  /** The object of them. */
  readonly object: Place;
  /** How many containers deep it is. */
  depth: number;
  /** By their names: where the values begin and end. */
  readonly values: Int32Array;
};

export const createAttributes = (): Attributes => ({
  object: nowhere(),
  depth: 0,
  values: new Int32Array(2 * NAMES.length).fill(-1),
});

export function resetAttributes(attributes: Attributes): void {
  setPlace(attributes.object, -1, -1);
  attributes.values.fill(-1);
  attributes.depth = 0;
}

/** Begins the object; each attribute follows by `nextAttribute` and `noteAttribute`, then `closeAttributes`. */
export function openAttributes(attributes: Attributes, text: JsonText): void {
  resetAttributes(attributes);
  attributes.object.start = text.length;
  putByte(text, OPEN_BRACE);
}

export function nextAttribute({ object }: Attributes, text: JsonText): void {
  if (text.length > object.start + 1) putByte(text, COMMA);
}

/** Notes the one that was just written, its key at `start`. Of a key that is there twice the last one counts. */
export function noteAttribute(attributes: Attributes, text: JsonText, start: number, keyEnd: number): void {
  const name = findName(text.bytes, start + 1, keyEnd - 1);
  if (name < 0) return;
  attributes.values[2 * name] = keyEnd + 1;
  attributes.values[2 * name + 1] = text.length;
}

/** Without attributes there is no object. Until then `depth` is that of the deepest value. */
export function closeAttributes(attributes: Attributes, text: JsonText): void {
  const { object } = attributes;
  if (text.length === object.start + 1) object.start = -1;
  else {
    putByte(text, CLOSE_BRACE);
    object.end = text.length;
    attributes.depth += 1;
  }
}

/** Where a key and a value were written last, in any order and with others between them. Negative for none. */
export type Member = {
  readonly keyStart: number;
  readonly keyEnd: number;
  readonly valueStart: number;
  readonly valueEnd: number;
};

/** Leaves nothing behind `start` but the key and the value, as a member; returns where the key ends. */
export function arrangeMember(text: JsonText, start: number, member: Member): number {
  const { keyStart, keyEnd, valueStart, valueEnd } = member;
  const { length: from } = text;
  if (keyStart < 0) putRaw(text, '""');
  else putRange(text, text.bytes, keyStart, keyEnd);
  const keyLength = text.length - from;
  putByte(text, COLON);
  if (valueStart < 0) putRaw(text, 'null');
  else putRange(text, text.bytes, valueStart, valueEnd);
  keepOnly(text, start, from, text.length);
  return start + keyLength;
}

/** Of a value that is deeper than an event may be only the depth is noted, for which the decoder rejects it. */
export const MAX_DEPTH = 64;

/** Where in `values` that stands which the attributes say, unless it is null; negative for nowhere. */
export function whereSaid({ values }: Attributes, said: Said, { bytes }: JsonText): number {
  for (const at of PLACES_OF[said]) {
    const start = values[at]!;
    if (start >= 0 && bytes[start] !== NULL) return at;
  }
  return -1;
}

/** Whether there is such an attribute, null or not. */
export const isSaid = ({ values }: Attributes, said: Said): boolean => PLACES_OF[said].some((at) => values[at]! >= 0);

const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const COMMA = 0x2c;
const COLON = 0x3a;
/** How `null` begins, and nothing else. */
export const NULL = 0x6e;
