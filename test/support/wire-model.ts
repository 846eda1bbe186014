/**
 * The contract for a request, restated in plain JavaScript as an independent judge of the front doors: which of its
 * events are accepted, and what is stored of each. Events are lists of raw members, so that what is stored can be
 * compared byte for byte.
 */

export type RawMember = readonly [key: string, value: string];
/** An event as sent: members, or some other text in place of an event. */
export type SentEvent = readonly RawMember[] | string;

export type StoredEvent = {
  readonly source: string;
  readonly event: string;
  /** Null when the server generates it or hashes one. */
  readonly event_id: string | null;
  readonly user_id: string | null;
  readonly anonymous_id: string | null;
  readonly session_id: string | null;
  /** Epoch milliseconds. */
  readonly timestamp: number;
  readonly properties: string;
  readonly extras: string;
};

export const PATHS = ['/api/v1/ingest/events', '/v1/events', '/events', '/events/bulk', '/ingest'] as const;
export type Path = (typeof PATHS)[number];

export const textOf = (event: SentEvent): string =>
  typeof event === 'string' ? event : `{${event.map(([key, value]) => `${key}:${value}`).join(',')}}`;

type Rule = (value: unknown, raw: string) => boolean;
type Role = 'own' | 'properties' | 'extras' | 'gathered' | 'kept';
type Field = { readonly role: Role; readonly is: Rule; readonly required?: boolean; readonly isDigits?: true };

const isText =
  (maxLength: number): Rule =>
  (value) =>
    typeof value === 'string' && Array.from(value).length <= maxLength;
/** A text, or a number that stands for its digits. */
const isId =
  (maxLength: number): Rule =>
  (value, raw) =>
    typeof value === 'number' ? raw.length <= maxLength : isText(maxLength)(value, raw);
const anything: Rule = () => true;
const isObject: Rule = (value) => typeof value === 'object' && value !== null && !Array.isArray(value);
const isNumber =
  (minimum: number, maximum: number): Rule =>
  (value) =>
    typeof value === 'number' && value >= minimum && value <= maximum;
const isOneOf =
  (...choices: string[]): Rule =>
  (value) =>
    choices.includes(value as string);
const isUuid: Rule = (value) =>
  typeof value === 'string' && value.length === 36 && /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/i.test(value);
const isFlag: Rule = (value) => typeof value === 'boolean';
/** A map, because a client names the members. */
const hasMembers =
  (rules: Record<string, Field>): Rule =>
  (value) =>
    isObject(value, '') &&
    Object.entries(rules).every(([name, field]) => isMet(field, ownOf(value as object, name), ''));
const ownOf = (value: object, name: string): unknown =>
  Object.hasOwn(value, name) ? (value as Record<string, unknown>)[name] : undefined;
const isMet = ({ is, required }: Field, value: unknown, raw: string) =>
  value === undefined || value === null ? !required : is(value, raw);

const own = (is: Rule, required = false): Field => ({ role: 'own', is, required });
const kept = (is: Rule, required = false): Field => ({ role: 'kept', is, required });
const label = (is: Rule = anything, required = false): Field => ({ role: 'kept', is, required, isDigits: true });
const gathered = (is: Rule, required = false): Field => ({ role: 'gathered', is, required });
const must =
  (rule: Rule): Rule =>
  (value, raw) =>
    value !== '' && rule(value, raw);
const TIMESTAMP = own((_value, raw) => instantOf(raw) !== null, true);
const OBJECT: Field = { role: 'properties', is: isObject };
const optional = { required: false, role: 'own' } as const;
const measure = isNumber(0, 1e9);

const SERVICE: Record<string, Field> = {
  name: own(must(isText(200)), true),
  timestamp: TIMESTAMP,
  user_id: own(isId(200)),
  data: OBJECT,
  service: label(must(isId(200)), true),
  ...Object.fromEntries(['env', 'job_id', 'request_id', 'trace_id', 'level'].map((name) => [name, label()])),
};
const PRODUCT: Record<string, Field> = {
  event_name: own(must(isText(200)), true),
  timestamp: TIMESTAMP,
  user_id: own(must(isId(200)), true),
  metadata: OBJECT,
  channel: kept(isOneOf('web', 'mobile', 'api', 'email', 'push', '')),
  campaign_id: label(),
  tags: kept(anything),
};
const milliseconds = isNumber(0, 60_000);
const sizes = ['device_pixel_ratio', 'screen_width', 'screen_height', 'viewport_width', 'viewport_height'];
const webCommon = (projectId: string): Record<string, Field> => ({
  id: own(isUuid, true),
  session_id: own(isUuid, true),
  timestamp: TIMESTAMP,
  user_id: own(isId(200)),
  tenant_id: kept((value) => typeof value === 'string' && value.toLowerCase() === projectId),
  metadata: kept(
    hasMembers({
      user_agent: { ...optional, is: isText(512) },
      ...Object.fromEntries(['ip', 'timezone', 'language'].map((name) => [name, { ...optional, is: isText(64) }])),
      ...Object.fromEntries(sizes.map((name) => [name, { ...optional, is: measure }])),
    }),
  ),
});
const WEB: Record<string, Record<string, Field>> = {
  pageview: {
    title: gathered(isText(500), true),
    path: gathered(isText(2_000), true),
    referrer: gathered(isText(2_000)),
    load_time: gathered(measure),
    time_to_first_byte: gathered(measure),
  },
  click: {
    element: gathered(isText(64), true),
    selector: gathered(isText(2_000)),
    coordinates: gathered(
      hasMembers({
        x: { ...optional, is: isNumber(-Infinity, Infinity), required: true },
        y: { ...optional, is: isNumber(-Infinity, Infinity), required: true },
      }),
    ),
    is_double_click: gathered(isFlag),
    text: gathered(isText(200)),
  },
  scroll: {
    scroll_depth: gathered(isNumber(0, 100), true),
    direction: gathered(isOneOf('up', 'down'), true),
    element: gathered(isText(64)),
  },
  performance: {
    metrics: gathered(
      hasMembers({
        ...Object.fromEntries(['lcp', 'fcp', 'ttfb'].map((name) => [name, { ...optional, is: milliseconds }])),
        fid: { ...optional, is: isNumber(0, 10_000) },
        cls: { ...optional, is: isNumber(0, 10) },
      }),
      true,
    ),
  },
  custom: {
    event_name: own(must(isText(100)), true),
    properties: {
      role: 'properties',
      is: (value, raw) => isObject(value, raw) && Buffer.byteLength(raw) <= 16_384,
      required: true,
    },
  },
};
const NATIVE: Record<string, Field> = {
  event: own(must(isText(200)), true),
  timestamp: TIMESTAMP,
  anonymous_id: own(isId(200)),
  user_id: own(isId(200)),
  session_id: own(isId(200)),
  event_id: own(isId(200)),
  properties: OBJECT,
  extras: { role: 'extras', is: isObject },
};
const ALIASES: Record<string, readonly string[]> = {
  anonymous_id: ['anonymousId'],
  user_id: ['userId'],
  session_id: ['sessionId'],
  event_id: ['eventId', 'messageId', 'uuid'],
  id: ['event_id', 'eventId', 'messageId', 'message_id', 'uuid'],
};
const EVENT_IDS = ['event_id', 'eventId', 'messageId', 'message_id', 'uuid', 'id'];
/** The names of an id for which no event is rejected. */
const OTHER_IDS: Record<Path, readonly string[]> = {
  '/api/v1/ingest/events': ['message_id', 'id'],
  '/v1/events': EVENT_IDS,
  '/events': EVENT_IDS,
  '/events/bulk': EVENT_IDS,
  '/ingest': [],
};
const hasAliases = (path: Path) => path === '/api/v1/ingest/events' || path === '/ingest';

/** The instants that are sent, with their milliseconds; null where they are refused. */
export const INSTANTS: ReadonlyMap<string, number | null> = new Map([
  ['"2024-01-01T00:00:00Z"', Date.UTC(2024, 0, 1)],
  ['"2024-01-01T00:00:00.123987+01:30"', Date.UTC(2023, 11, 31, 22, 30, 0, 123)],
  ['"2024-02-29 23:59:59.9z"', Date.UTC(2024, 1, 29, 23, 59, 59, 900)],
  ['"\\u0032024-01-01T00:00:00Z"', Date.UTC(2024, 0, 1)],
  ['1708732800000', 1_708_732_800_000],
  ['1708732800', 1_708_732_800_000],
  ['1708732800.1239', 1_708_732_800_123],
  ['1.7087328e9', 1_708_732_800_000],
  ['0', 0],
  ['-0', 0],
  ['99999999999', null],
  ['-1', null],
  ['1e400', null],
  ['"2023-02-29T00:00:00Z"', null],
  ['"2024-01-01T00:00:00"', null],
  ['"2024-01-01"', null],
  ['"1708732800"', 1_708_732_800_000],
  ['"1708732800123.9"', 1_708_732_800_123],
  ['"2024-01-01T00:00:00,5+0130"', Date.UTC(2023, 11, 31, 22, 30, 0, 500)],
  ['"2016-12-31T23:59:60Z"', Date.UTC(2017, 0, 1)],
  ['20240224', null],
  ['"20240224093000"', null],
  ['true', null],
  ['""', null],
  ['{}', null],
]);

/** Numbers that no list foresaw come from arbitrary JSON, which contains nothing near the edge. */
function instantOf(raw: string): number | null {
  const known = INSTANTS.get(raw);
  if (known !== undefined) return known;
  const value: unknown = JSON.parse(raw);
  if (typeof value !== 'number') return null;
  const ms = Math.floor(value < 1e11 ? value * 1_000 : value);
  return value < 0 || ms > Date.now() + 86_400_000 ? null : ms;
}

const MAX_DEPTH = 64;
/** Rows of nearly 256 KiB are not sent, so that the model need not know how a row is written. */
const LARGE_BYTES = 250_000;

function depthOf(raw: string): number {
  let depth = 0;
  let deepest = 0;
  for (const [token] of raw.matchAll(/"(?:[^"\\]|\\.)*"|[[\]{}]/g)) {
    if (token === '{' || token === '[') deepest = Math.max(deepest, (depth += 1));
    else if (token === '}' || token === ']') depth -= 1;
  }
  return deepest;
}

const nameOf = ([key]: RawMember) => JSON.parse(key) as string;
const onOneLine = (raw: string) => raw.replaceAll(/[\r\n]/g, ' ');

/** What is stored of an event that comes through a door; null when it is rejected. */
export function judge(path: Path, event: SentEvent, projectId: string): StoredEvent | null {
  const members = typeof event === 'string' ? membersOf(event) : event;
  if (members === null) return null;
  const lastOf = (name: string) => members.findLastIndex((member) => nameOf(member) === name);
  const rawAt = (index: number) => (index < 0 ? 'null' : members[index]![1]);
  const valueAt = (index: number): unknown => JSON.parse(rawAt(index));

  const type = valueAt(lastOf('type'));
  const fields = fieldsOf(path, type, projectId);
  if (fields === null) return null;

  const places = new Map<string, number>();
  for (const [name, field] of Object.entries(fields)) {
    const spellings = aliasesOf(path, name);
    const place = spellings.map(lastOf).find((index) => index >= 0) ?? -1;
    if (!isMet(field, valueAt(place), rawAt(place))) return null;
    places.set(name, place);
  }
  if (members.some(([, raw]) => depthOf(raw) > MAX_DEPTH)) return null;

  const textIn = (place: number) => {
    const value = valueAt(place);
    if (typeof value === 'number') return rawAt(place);
    return typeof value !== 'string' || value === '' ? null : value.toWellFormed();
  };
  const textAt = (name: string) => textIn(places.get(name) ?? -1);
  const other = OTHER_IDS[path].map(lastOf).find((index) => index >= 0) ?? -1;
  const ownId = textAt(idNameOf(path));
  const id = ownId ?? textIn(other);
  const isHashed = id !== null && !isUuid(id, '');
  const isOtherUsed = ownId === null && id !== null && !isHashed;
  const placeOf = (role: string) => [...places].find(([name]) => fields[name]?.role === role)?.[1] ?? -1;
  const more = membersElsewhere({ path, members, fields, places, isHashed, usedOther: isOtherUsed ? other : -1 });
  const hasGathered = Object.values(fields).some(({ role }) => role === 'gathered');
  const name = path === '/ingest' && type !== 'custom' ? (type as string) : textAt(NAMES[path]);
  const properties = rawAt(placeOf('properties'));
  const stored: StoredEvent = {
    source: SOURCES[path],
    event: name!,
    event_id: isHashed || id === null ? null : id.toLowerCase(),
    user_id: textAt('user_id'),
    anonymous_id: textAt('anonymous_id'),
    session_id: textAt('session_id'),
    timestamp: instantOf(rawAt(places.get('timestamp')!))!,
    properties: onOneLine(hasGathered ? textOf(more.properties) : properties === 'null' ? '{}' : properties),
    extras: onOneLine(folded(rawAt(placeOf('extras')), more.extras)),
  };
  return stored.properties.length + stored.extras.length > LARGE_BYTES ? null : stored;
}

/** The fields of the door; null for an event type that it does not know. */
function fieldsOf(path: Path, type: unknown, projectId: string): Record<string, Field> | null {
  if (path === '/v1/events') return SERVICE;
  if (path === '/api/v1/ingest/events') return NATIVE;
  if (path !== '/ingest') return PRODUCT;
  return typeof type === 'string' && Object.hasOwn(WEB, type) ? { ...webCommon(projectId), ...WEB[type] } : null;
}

const idNameOf = (path: Path) => (path === '/ingest' ? 'id' : 'event_id');

type Placed = {
  readonly path: Path;
  readonly members: readonly RawMember[];
  readonly fields: Record<string, Field>;
  /** The member that each field takes. */
  readonly places: ReadonlyMap<string, number>;
  /** Whether the id is stored as a hash: then the sent one is kept beside it. */
  readonly isHashed: boolean;
  /** The member outside the fields that serves as the id, -1 for none. */
  readonly usedOther: number;
};

/** The members without a column of their own: they are stored among the properties or the extras. */
function membersElsewhere({ path, members, fields, places, isHashed, usedOther }: Placed) {
  const toExtras: RawMember[] = [];
  const toProperties: RawMember[] = [];
  const fieldAt = new Map([...places].toReversed().map(([name, place]) => [place, name]));
  const lastPlaceOf = new Map(members.map((member, index) => [nameOf(member), index]));
  for (const [index, member] of members.entries()) {
    const taker = fieldAt.get(index);
    if (taker === undefined) {
      const isEarlierCopy = isKnown(path, fields, nameOf(member)) && lastPlaceOf.get(nameOf(member)) !== index;
      if (!isEarlierCopy && index !== usedOther) toExtras.push(member);
      continue;
    }
    const { role, isDigits } = fields[taker]!;
    if (role === 'gathered') toProperties.push(member);
    else if (role === 'kept' || (taker === idNameOf(path) && isHashed)) {
      const [key, raw] = member;
      toExtras.push(isDigits && typeof JSON.parse(raw) === 'number' ? [key, `"${raw}"`] : member);
    }
  }
  return { properties: toProperties, extras: toExtras };
}

const NAMES: Record<Path, string> = {
  '/api/v1/ingest/events': 'event',
  '/v1/events': 'name',
  '/events': 'event_name',
  '/events/bulk': 'event_name',
  '/ingest': 'event_name',
};
const SOURCES: Record<Path, string> = {
  '/api/v1/ingest/events': 'native',
  '/v1/events': 'ndjson',
  '/events': 'product',
  '/events/bulk': 'product',
  '/ingest': 'web',
};

const aliasesOf = (path: Path, name: string) => (hasAliases(path) ? [name, ...(ALIASES[name] ?? [])] : [name]);
const isKnown = (path: Path, fields: Record<string, Field>, name: string) =>
  OTHER_IDS[path].includes(name) || Object.keys(fields).some((field) => aliasesOf(path, field).includes(name));

/** Strays win over the members of an explicit extras object, which is otherwise kept as sent. */
function folded(base: string, strays: readonly RawMember[]): string {
  if (base === 'null') return textOf(strays);
  if (strays.length === 0) return base;
  const names = new Set(strays.map(nameOf));
  const members = membersOf(base)!;
  const kept = members.filter((member) => !names.has(nameOf(member)));
  const text = textOf(strays).slice(1);
  if (kept.length === 0) return `{${text}`;
  return kept.length === members.length ? `${base.slice(0, -1)},${text}` : `${textOf(kept).slice(0, -1)},${text}`;
}

/** The members of an object as `JSON.stringify` would write them; null when the text is no object. */
function membersOf(text: string): RawMember[] | null {
  const value: unknown = JSON.parse(text);
  if (!isObject(value, text)) return null;
  return Object.entries(value as object).map(([key, member]) => [JSON.stringify(key), JSON.stringify(member)]);
}
