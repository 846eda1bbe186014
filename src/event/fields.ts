import { endOfMembers, firstMember, keyEndOf, keyStartOf, type Members, nextMember } from './json-members.ts';
import { createKeyFinder } from './names.ts';

/** Finds an object's known fields. Members are identified by their place on the tape. */
export type Picked = {
  /** For each field, in the picker's order, the member that gives it its value; -1 when there is none. */
  readonly byField: readonly number[];
  /** The members that give no field its value, in the order in which they were sent. */
  readonly strays: readonly number[];
};

/**
 * Creates the function that finds fields among an object's members. A field may be known under several keys: the first
 * in its list that is present wins, and the others are strays. A key sent twice counts where it was sent last, as in
 * `JSON.parse`.
 */
export function createFieldPicker(keysByField: readonly (readonly string[])[]): (members: Members) => Picked {
  const slots = keysByField.flatMap((keys, field) => keys.map((key) => ({ key, field })));
  const findKey = createKeyFinder(slots.map(({ key }) => key));
  const fieldBySlot = slots.map(({ field }) => field);
  const memberBySlot = slots.map(() => -1);
  const nowhere = keysByField.map(() => -1);

  return function pickFields(members) {
    const strays: number[] = [];
    const byField = nowhere.slice();
    // A loop: `fill` costs more for so few.
    for (let slot = 0; slot < memberBySlot.length; slot += 1) memberBySlot[slot] = -1;
    const end = endOfMembers(members);
    let isSimple = true;
    for (let member = firstMember(members); member < end; member = nextMember(member)) {
      const slot = slotOf(members, member);
      if (slot < 0) {
        strays.push(member);
        continue;
      }
      const field = fieldBySlot[slot]!;
      if (memberBySlot[slot] === -1 && byField[field] !== -1) isSimple = false;
      memberBySlot[slot] = member;
      byField[field] = member;
    }
    return isSimple ? { byField, strays } : withStrongestKeys(strays);
  };

  /** For an object that spells a field in more than one way. */
  function withStrongestKeys(strays: number[]): Picked {
    const byField = nowhere.slice();
    for (const [slot, member] of memberBySlot.entries()) {
      const field = fieldBySlot[slot]!;
      if (member < 0) continue;
      if (byField[field] === -1) byField[field] = member;
      else strays.push(member);
    }
    return { byField, strays: strays.sort((a, b) => a - b) };
  }

  /** Which known key the member has; -1 for none. */
  function slotOf(members: Members, member: number): number {
    const { bytes, text } = members.tape;
    return findKey(bytes, text, keyStartOf(members, member), keyEndOf(members, member));
  }
}
