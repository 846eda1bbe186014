import { stringOf } from './json.ts';
import { endOfMembers, firstMember, nextMember, rawKeyOf, type Members } from './members.ts';

/** Where an object's known fields are. Members are named by their place on the tape. */
export type Picked<Field extends string> = {
  /** The member that gives the field its value; -1 when there is none. */
  readonly member: Readonly<Record<Field, number>>;
  /** The members that give no field its value, in the order they were sent. */
  readonly strays: readonly number[];
};

/**
 * Makes the function that finds fields among an object's members. A field may be
 * known under several keys: the first in its list that is present wins, and the
 * others are strays. A key sent twice counts where it was sent last, as in
 * `JSON.parse`.
 */
export function createFieldPicker<Field extends string>(
  keysByField: Readonly<Record<Field, readonly string[]>>,
): (members: Members) => Picked<Field> {
  const fields = Object.keys(keysByField) as Field[];
  const keys = fields.flatMap((field) => keysByField[field].map((key) => ({ field, key })));
  const slotByKey = new Map(keys.map(({ key }, slot) => [key, slot]));
  const fieldBySlot = keys.map(({ field }) => field);
  const nowhere = Object.fromEntries(fields.map((field) => [field, -1])) as Record<Field, number>;
  const memberBySlot = new Int32Array(keys.length);

  return function pickFields(members) {
    const strays: number[] = [];
    memberBySlot.fill(-1);
    const end = endOfMembers(members);
    for (let member = firstMember(members); member < end; member = nextMember(member)) {
      const slot = slotByKey.get(knownNameOf(rawKeyOf(members, member)));
      if (slot === undefined) strays.push(member);
      else memberBySlot[slot] = member;
    }

    const winners = { ...nowhere };
    const strayCount = strays.length;
    for (const [slot, field] of fieldBySlot.entries()) {
      const member = memberBySlot[slot] ?? -1;
      if (member < 0) continue;
      if (winners[field] < 0) winners[field] = member;
      else strays.push(member);
    }
    if (strays.length > strayCount) strays.sort((a, b) => a - b);
    return { member: winners, strays };
  };
}

/** The key's name as far as it can be a known one: those are ASCII, so only escapes matter. */
function knownNameOf(rawKey: string): string {
  return rawKey.includes('\\') ? stringOf(rawKey) : rawKey.slice(1, -1);
}
