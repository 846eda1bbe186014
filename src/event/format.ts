/**
 * A wire format: under which keys its events keep what an event has, and what
 * else is checked. The decoder and the description of the API follow from it.
 */
import type { CheckedField, JsonSchema, Kind } from './kinds.ts';
import { objectSchema, object, text } from './kinds.ts';

/** A field under any of its keys, the strongest first. The first one names it in reasons. */
type Keys = readonly [string, ...string[]];

/** A text of an event: up to 200 characters, unless the format allows fewer; `""` counts as absent. */
export type TextField = {
  readonly keys: Keys;
  readonly required?: boolean;
  readonly maxLength?: number;
  readonly kind?: Kind;
};

export type EventFormat = {
  /** The event's name, always required. Left out in a chosen format, the value that chose it is the name. */
  readonly event?: TextField;
  /** Always required. */
  readonly timestamp: { readonly keys: Keys };
  readonly anonymousId?: TextField;
  readonly userId?: TextField;
  readonly sessionId?: TextField;
  /** Made by the server when absent; one that is no UUID is hashed to one and kept in the extras as sent. */
  readonly eventId?: TextField;
  /** An object that is kept byte for byte. */
  readonly properties?: { readonly keys: Keys; readonly required?: boolean; readonly kind?: Kind };
  /** An object that the extras begin with; stray fields win over its members. */
  readonly extras?: { readonly keys: Keys };
  /** Must name the project of the credential; kept in the extras. */
  readonly project?: { readonly keys: Keys };
  /** Checked, and kept in the extras as sent. Named by their keys. */
  readonly kept?: Readonly<Record<string, CheckedField>>;
  /** Checked, and become the properties, instead of a field that holds them. */
  readonly gathered?: Readonly<Record<string, CheckedField>>;
};

/** A format that differs by the value of a field, which is kept in the extras as well. */
export type ChosenFormat = { readonly by: string; readonly formats: Readonly<Record<string, EventFormat>> };

/** The most code points of an event's name and of its ids. */
export const MAX_TEXT_LENGTH = 200;

/** The JSON Schema of an event in the format. Fields that are not listed are welcome everywhere: they become extras. */
export function schemaOf(format: EventFormat | ChosenFormat): JsonSchema {
  if (!('by' in format)) return plainSchema(format);
  const { by, formats } = format;
  const schemas = Object.entries(formats).map(([value, one]) => ({
    title: value,
    ...plainSchema(one, { [by]: { kind: constant(value), required: true } }),
  }));
  return { oneOf: schemas };
}

function plainSchema(format: EventFormat, more: Record<string, CheckedField> = {}): JsonSchema {
  const fields = { ...fieldsOf(format), ...more };
  const schema = objectSchema(fields);
  // A required field may be under any of its keys.
  const choices = [format.event, format.timestamp, format.anonymousId, format.userId, format.sessionId, format.eventId]
    .concat(format.properties)
    .flatMap((field) => (field && field.keys.length > 1 && fields[field.keys[0]]?.required ? [field.keys] : []));
  if (choices.length === 0) return schema;
  const alternatives = new Set<string>(choices.flat());
  return {
    ...schema,
    required: Object.keys(fields).filter((name) => fields[name]?.required && !alternatives.has(name)),
    allOf: choices.map((keys) => ({ anyOf: keys.map((key) => ({ required: [key] })) })),
  };
}

export const INSTANT: Kind = {
  refuse: () => null,
  schema: {
    description:
      'RFC 3339 with an offset, or a number: below 1e11 epoch seconds, from there on epoch milliseconds. From 1970 on.',
    anyOf: [
      { type: 'string', format: 'date-time' },
      { type: 'number', minimum: 0 },
    ],
  },
};

function fieldsOf(format: EventFormat): Record<string, CheckedField> {
  const { event, timestamp, anonymousId, userId, sessionId, eventId, properties, extras, project } = format;
  const fields: Record<string, CheckedField> = {};
  const add = (keys: Keys | undefined, field: CheckedField) => {
    for (const key of keys ?? []) fields[key] = field;
  };
  const addText = (field: TextField | undefined, isRequired = field?.required ?? false) => {
    if (!field) return;
    const kind = field.kind ?? text(field.maxLength ?? MAX_TEXT_LENGTH, isRequired ? { minLength: 1 } : {});
    add(field.keys, { kind, required: isRequired });
  };
  addText(event, true);
  add(timestamp.keys, { kind: INSTANT, required: true });
  for (const field of [anonymousId, userId, sessionId, eventId]) addText(field);
  add(project?.keys, { kind: PROJECT_ID });
  add(properties?.keys, { kind: properties?.kind ?? object(), required: properties?.required ?? false });
  add(extras?.keys, { kind: object() });
  return { ...fields, ...format.kept, ...format.gathered };
}

const PROJECT_ID: Kind = {
  refuse: () => null,
  schema: { type: 'string', format: 'uuid', description: 'The project of the credential; any other is refused.' },
};

function constant(value: string): Kind {
  return { refuse: () => null, schema: { type: 'string', const: value } };
}
