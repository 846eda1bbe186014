/** The members of an event that no column takes, as the text of an object. */
import { inOrder } from './decoding.ts';
import type { EventReader, Found } from './event-reader.ts';
import { endOfMembers, firstMember, type Members, nextMember, rawKeyOf, rawMemberOf } from './json-members.ts';
import { type LenientFormat, REWRITTEN } from './lenient-format.ts';

export type Spellings = NonNullable<LenientFormat['spelt']>;
export const NO_SPELLINGS: Spellings = {};

/** What goes to the extras, in the order it was sent. */
export function straysOf({ picked }: EventReader, stored: readonly number[]): readonly number[] {
  const { strays, byField } = picked();
  const all = strays.slice();
  for (const member of byField) if (member >= 0 && !stored.includes(member)) all.push(member);
  return inOrder(all);
}

/** Members as an object, in the order they were sent, without what is never stored. */
export function objectOf(
  members: Members,
  reader: EventReader,
  places: readonly number[],
  { skewMs = 0, spelt = NO_SPELLINGS }: { skewMs?: number; spelt?: Spellings } = {},
): string {
  let text = '';
  for (const member of places) {
    const part = reader.isKnown(member) ? knownMember(members, reader, member, spelt) : rawMemberOf(members, member);
    text += text === '' ? part : `,${part}`;
  }
  if (skewMs !== 0) text += `${text === '' ? '' : ','}"$skew_ms":${skewMs}`;
  return `{${text}}`;
}

/** A member that the format reads, as it is stored. */
function knownMember(members: Members, reader: EventReader, member: number, spelt: Spellings): string {
  const rawKey = rawKeyOf(members, member);
  const raw = reader.textOf(member);
  for (const name in spelt) if (reader.memberOf(name) === member) return `${rawKey}:${spelt[name]!(raw)}`;
  return `${rawKey.includes(REWRITTEN) ? rawKey.replace(REWRITTEN, '') : rawKey}:${raw}`;
}

/** What stands at a place, without what is never stored. */
export const textAt = (reader: EventReader, { raw, member }: Found): string =>
  member < 0 ? raw : reader.textOf(member);

/** The event as it was sent, but for white space between its members. */
export function wholeOf(members: Members): string {
  const parts: string[] = [];
  for (let member = firstMember(members); member < endOfMembers(members); member = nextMember(member)) {
    parts.push(rawMemberOf(members, member));
  }
  return `{${parts.join(',')}}`;
}
