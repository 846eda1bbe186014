import { createScanner, enter, stringOf, nextKey, scanValue } from './json.ts';

/** A member as it was written: raw key and raw value, as byte text. */
export type RawMember = { readonly key: string; readonly value: string };

/**
 * The extras object, as byte text: the members of `base`, a raw JSON object or
 * null, and then the strays, which win over a base member of the same name.
 * A base that loses no member is kept byte for byte.
 */
export function foldExtras(base: string | null, strays: readonly RawMember[]): string {
  if (strays.length === 0) return base ?? '{}';
  let folded = '';
  for (const { key, value } of strays) folded += folded === '' ? `${key}:${value}` : `,${key}:${value}`;
  if (base === null || base === '{}') return `{${folded}}`;

  const names = new Set(strays.map(({ key }) => stringOf(key)));
  const members = [...membersOf(base)];
  const kept = members.filter(({ key }) => !names.has(stringOf(key)));
  if (kept.length === 0) return `{${folded}}`;
  if (kept.length === members.length) return `${base.slice(0, -1)},${folded}}`;
  return `{${kept.map(({ key, value }) => `${key}:${value}`).join(',')},${folded}}`;
}

/** The members of a raw JSON object, as they were written; one by one, because there may be millions. */
export function* membersOf(object: string): Generator<RawMember> {
  const scanner = createScanner(Buffer.from(object, 'latin1'));
  enter(scanner);
  while (nextKey(scanner)) {
    const { keyStart, keyEnd, at } = scanner;
    if (!scanValue(scanner)) return;
    yield { key: object.slice(keyStart, keyEnd), value: object.slice(at, scanner.at) };
  }
}
