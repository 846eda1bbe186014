import { enter, nextKey, scanValue, scannerOf } from './json.ts';
import { stringOf } from './raw-json.ts';
import { rawKeyOf, rawMemberOf, rawValueOf, type Members } from './json-members.ts';

const NONE: readonly number[] = [];

/**
 * The extras object, as byte text: the members of `base`, a raw JSON object or null, followed by the strays, which win
 * over a base member of the same name. A base that loses no member is kept byte for byte. `numbers`: the strays whose
 * number is kept as a text, because their field is one.
 */
export function foldExtras(
  base: string | null,
  members: Members,
  strays: readonly number[],
  numbers: readonly number[] = NONE,
): string {
  if (strays.length === 0) return base ?? '{}';
  let folded = '';
  for (const stray of strays) {
    const member = numbers.includes(stray)
      ? `${rawKeyOf(members, stray)}:"${rawValueOf(members, stray)}"`
      : rawMemberOf(members, stray);
    folded += folded === '' ? member : `,${member}`;
  }
  if (base === null || base === '{}') return `{${folded}}`;

  const names = new Set(strays.map((stray) => stringOf(rawKeyOf(members, stray))));
  const inBase = [...membersOf(base)];
  const kept = inBase.filter(({ key }) => !names.has(stringOf(key)));
  if (kept.length === 0) return `{${folded}}`;
  if (kept.length === inBase.length) return `${base.slice(0, -1)},${folded}}`;
  return `{${kept.map(({ key, value }) => `${key}:${value}`).join(',')},${folded}}`;
}

/** A member as it was written: raw key and raw value, as byte text. */
type RawMember = { readonly key: string; readonly value: string };

/** The members of a raw JSON object, as they were written; one at a time, because there may be millions. */
export function* membersOf(object: string): Generator<RawMember> {
  const scanner = scannerOf(object);
  enter(scanner);
  while (nextKey(scanner)) {
    const { keyStart, keyEnd, at } = scanner;
    if (!scanValue(scanner)) return;
    yield { key: object.slice(keyStart, keyEnd), value: object.slice(at, scanner.at) };
  }
}
