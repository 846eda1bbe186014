/** Values around the edges of a JSON Schema, valid and invalid: a validator decides which. */
import type { Schema } from './description.ts';

export type Follow = (schema: Schema) => Schema;

const ANYTHING = [null, '', 'text', 0, -1, 1.5, 1e12, true, [], {}, ['text'], { a: 1 }];
const INSTANTS = [
  '2026-05-04T12:30:00Z',
  '2026-05-04t14:30:00.123456789+02:00',
  '1970-01-01T00:00:00Z',
  '2026-05-04',
  '2026-05-04T12:30:00',
  '2026-02-30T12:30:00Z',
  '1777897800',
];

/**
 * An object with one member more, less or different from what is required; everything at once; or something that is no
 * object.
 */
export function candidatesOf(schema: Schema, follow: Follow, uuid: string): unknown[] {
  return valuesOf(schema);

  function valuesOf(unfollowed: Schema): unknown[] {
    const known = follow(unfollowed);
    if ('only' in known) return known['only'] as unknown[];
    const branches = [...listOf(known['anyOf']), ...listOf(known['oneOf'])];
    if (branches.length > 0) return branches.flatMap(valuesOf);
    return [...ANYTHING, ...special(known)];
  }

  function special(known: Schema): unknown[] {
    const { maxLength, minimum, maximum, maxItems, format } = known as Record<string, number & string>;
    if ('const' in known) return [known['const']];
    if ('enum' in known) return known['enum'] as unknown[];
    if (format === 'date-time') return INSTANTS;
    if (format === 'uuid') return [uuid, uuid.toUpperCase(), `${uuid}0`];
    if (maxLength !== undefined)
      return ['x', '😀'].flatMap((one) => [one.repeat(maxLength), one.repeat(maxLength + 1)]);
    if (minimum !== undefined || maximum !== undefined)
      return [minimum, maximum].flatMap((bound) => (bound === undefined ? [] : [bound, bound - 0.5, bound + 0.5]));
    if ('items' in known) {
      const item = known['items'] as Schema;
      const several =
        maxItems === undefined ? [] : [maxItems, maxItems + 1].map((count) => Array(count).fill(exemplar(item)));
      return [...several, ...valuesOf(item).map((value) => [value])];
    }
    return 'properties' in known ? objectsOf(known) : [];
  }

  function objectsOf(known: Schema): object[] {
    const properties = Object.entries(known['properties'] as Record<string, Schema>);
    const required = listOf(known['required']) as unknown as string[];
    const full = Object.fromEntries(properties.map(([name, property]) => [name, exemplar(property)]));
    const least = Object.fromEntries(required.map((name) => [name, full[name]]));
    return [
      full,
      least,
      { ...least, unheard_of: { b: [2] } },
      ...required.map((name) => Object.fromEntries(Object.entries(full).filter(([other]) => other !== name))),
      ...properties.flatMap(([name, property]) => valuesOf(property).map((value) => ({ ...least, [name]: value }))),
    ];
  }

  /** A plain valid value. */
  function exemplar(unfollowed: Schema): unknown {
    const known = follow(unfollowed);
    if ('only' in known) return (known['only'] as unknown[])[0];
    const [branch] = [...listOf(known['anyOf']), ...listOf(known['oneOf'])];
    if (branch) return exemplar(branch);
    if ('const' in known) return known['const'];
    if ('enum' in known) return (known['enum'] as unknown[])[0];
    if (known['format'] === 'date-time') return INSTANTS[0];
    if (known['format'] === 'uuid') return uuid;
    switch ([known['type']].flat()[0]) {
      case 'string':
        return 'good';
      case 'boolean':
        return true;
      case 'number':
        return Number(known['minimum'] ?? 1);
      case 'array':
        return [exemplar(known['items'] as Schema)];
      default:
        return exemplarObject(known);
    }
  }

  function exemplarObject(known: Schema): object {
    const properties = Object.entries((known['properties'] ?? {}) as Record<string, Schema>);
    return Object.fromEntries(properties.map(([name, property]) => [name, exemplar(property)]));
  }
}

const listOf = (value: unknown): readonly Schema[] => (Array.isArray(value) ? (value as Schema[]) : []);
