/**
 * What a field may hold: how a raw JSON value is judged, and the same rule in JSON Schema. A front door that checks and
 * describes its fields by one of these cannot describe anything but what it checks.
 */
import { membersOf } from './extras.ts';
import { enter, nextElement, scanValue, scannerOf } from './json.ts';
import { stringOf } from './raw-json.ts';
import { isNumber, isRefusal, NOT_A_STRING, readText } from './text.ts';
import { readUuid } from './uuid.ts';

export type JsonSchema = { readonly [keyword: string]: unknown };

export type Kind = {
  /**
   * The complete reason against the raw value of the named field, or null. A raw `null` occurs only in a list:
   * elsewhere it means absence.
   */
  refuse(raw: string, name: string): string | null;
  readonly schema: JsonSchema;
  /** Whether a number is kept as the text of its digits, as written. */
  readonly digitsAreText?: true;
};

/** A field with a rule of its own; absent and null are the same. */
export type CheckedField = { readonly kind: Kind; readonly required?: boolean };

/** A text of at most this many code points. */
export function text(maxLength: number, { minLength = 0 }: { minLength?: 0 | 1 } = {}): Kind {
  return {
    schema: { type: 'string', maxLength, ...(minLength > 0 ? { minLength } : {}) },
    refuse(raw, name) {
      const read = raw === 'null' ? NOT_A_STRING : readText(raw, maxLength);
      if (isRefusal(read)) return `${name} ${read.reason}`;
      return read === null && minLength > 0 ? `${name} required` : null;
    },
  };
}

/** A text of at most this many code points, or a number, which stands for its digits. */
export function digitsOrText(maxLength: number, options: { minLength?: 0 | 1 } = {}): Kind {
  const asText = text(maxLength, options);
  return {
    digitsAreText: true,
    schema: { ...asText.schema, type: ['string', 'number'] },
    refuse: (raw, name) => asText.refuse(isNumber(raw) ? `"${raw}"` : raw, name),
  };
}

/**
 * A value by which events are found, besides their ids. It never causes a rejection: what is no text is kept as sent.
 */
export const label: Kind = {
  digitsAreText: true,
  schema: { description: 'A text of a few characters; a number stands for its digits. Anything else is kept as sent.' },
  refuse: () => null,
};

/** Several labels. */
export const labels: Kind = {
  schema: { description: 'A list of texts. Anything else is kept as sent.' },
  refuse: () => null,
};

/** One of the texts. */
export function oneOf(...choices: readonly string[]): Kind {
  const accepted = choices.filter((choice) => choice !== '').join(', ');
  return {
    schema: { type: 'string', enum: choices },
    refuse(raw, name) {
      if (raw[0] === '"' && choices.includes(stringOf(raw))) return null;
      return `${name} must be one of ${accepted}`;
    },
  };
}

export const uuid: Kind = {
  schema: { type: 'string', format: 'uuid' },
  refuse: (raw, name) => (raw[0] === '"' && readUuid(stringOf(raw)) !== null ? null : `${name} must be a UUID`),
};

/** A number between both bounds, inclusive. */
export function number(minimum = -Infinity, maximum = Infinity): Kind {
  return {
    schema: {
      type: 'number',
      ...(minimum === -Infinity ? {} : { minimum }),
      ...(maximum === Infinity ? {} : { maximum }),
    },
    refuse(raw, name) {
      if (!/^[-\d]/.test(raw)) return `${name} must be a number`;
      const value = Number(raw);
      return value >= minimum && value <= maximum ? null : `${name} out of range`;
    },
  };
}

export const flag: Kind = {
  schema: { type: 'boolean' },
  refuse: (raw, name) => (raw === 'true' || raw === 'false' ? null : `${name} must be true or false`),
};

/** An object of at most this many bytes as sent, with any content. */
export function object({ maxBytes = Infinity }: { maxBytes?: number } = {}): Kind {
  return {
    schema: { type: 'object', ...(maxBytes === Infinity ? {} : { description: `At most ${maxBytes} bytes as sent.` }) },
    refuse(raw, name) {
      if (raw[0] !== '{') return `${name} must be an object`;
      return raw.length > maxBytes ? `${name} too large` : null;
    },
  };
}

/** An array whose elements are all of one kind. */
export function listOf(element: Kind, { maxItems }: { maxItems: number }): Kind {
  return {
    schema: { type: 'array', items: element.schema, maxItems },
    refuse(raw, name) {
      if (raw[0] !== '[') return `${name} must be an array`;
      const scanner = scannerOf(raw);
      enter(scanner);
      for (let index = 0; nextElement(scanner); index += 1) {
        if (index === maxItems) return `${name} too long`;
        const start = scanner.at;
        scanValue(scanner);
        const reason = element.refuse(raw.slice(start, scanner.at), `${name}[${index}]`);
        if (reason !== null) return reason;
      }
      return null;
    },
  };
}

/** An object with rules for some of its members; others are not checked. */
export function shape(fields: Readonly<Record<string, CheckedField>>): Kind {
  const known = new Map(Object.entries(fields));
  return {
    schema: objectSchema(fields),
    refuse(raw, name) {
      if (raw[0] !== '{') return `${name} must be an object`;
      // A member that is sent twice counts where it was sent last, as everywhere.
      const sent = new Map<string, string>();
      for (const { key, value } of membersOf(raw)) {
        const member = stringOf(key);
        if (known.has(member)) sent.set(member, value);
      }
      for (const [member, field] of known) {
        const reason = reasonAgainst(field, sent.get(member) ?? 'null', `${name}.${member}`);
        if (reason !== null) return reason;
      }
      return null;
    },
  };
}

/** The reason against the raw value of a field; null stands for a missing one. */
export function reasonAgainst({ kind, required = false }: CheckedField, raw: string, name: string): string | null {
  if (raw !== 'null') return kind.refuse(raw, name);
  return required ? `${name} required` : null;
}

/** The JSON Schema of an object with these fields and any others. An optional field may be null. */
export function objectSchema(fields: Readonly<Record<string, CheckedField>>): JsonSchema {
  const required = Object.keys(fields).filter((name) => fields[name]?.required);
  const properties = Object.entries(fields).map(([name, field]) => [
    name,
    field.required ? field.kind.schema : orNull(field.kind.schema),
  ]);
  return {
    type: 'object',
    properties: Object.fromEntries(properties) as JsonSchema,
    ...(required.length > 0 ? { required } : {}),
  };
}

function orNull(schema: JsonSchema): JsonSchema {
  return { anyOf: [schema, { type: 'null' }] };
}
