import { describe, expect, test } from 'vitest';
import { shareOut, type GroupMember } from '../src/kafka/assignment.ts';
import fc from './support/fast-check.ts';

const member = (id: string, owned: number[] = [], generation = 1): GroupMember => ({ id, owned, generation });
const sharesOf = (members: GroupMember[], count: number) => Object.fromEntries(shareOut(members, count));

describe('partitions', () => {
  test('are shared evenly among those who have none', () => {
    expect(sharesOf([member('b'), member('a')], 5)).toEqual({ a: [0, 1, 2], b: [3, 4] });
    expect(sharesOf([member('a'), member('b'), member('c')], 2)).toEqual({ a: [0], b: [1], c: [] });
    expect(sharesOf([], 2)).toEqual({});
  });

  test('stay with who has them, up to its share', () => {
    expect(sharesOf([member('new'), member('old', [0, 1, 2, 3])], 4)).toEqual({ new: [2, 3], old: [0, 1] });
    expect(sharesOf([member('a', [1]), member('b', [0, 2])], 3)).toEqual({ a: [1], b: [0, 2] });
  });

  test('of two who say that they have one stay with the newer', () => {
    expect(sharesOf([member('a', [0, 1], 3), member('b', [0, 1], 4)], 4)).toEqual({ a: [2, 3], b: [0, 1] });
  });

  test('are each given to one member, evenly, and as few as possible move', () => {
    const members = fc.uniqueArray(
      fc.record({ id: fc.string({ minLength: 1 }), owned: fc.array(fc.nat(20)), generation: fc.nat(3) }),
      { selector: ({ id }) => id, minLength: 1, maxLength: 8 },
    );
    fc.assert(
      fc.property(members, fc.nat(16), (members, count) => {
        const shares = shareOut(members, count);
        expect([...shares.values()].flat().sort((a, b) => a - b)).toEqual(
          Array.from({ length: count }, (_, index) => index),
        );
        const sizes = [...shares.values()].map(({ length }) => length);
        expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(1);
        expect(shareOut(members.toReversed(), count)).toEqual(shares);
        const settled = members.map((member) => ({ ...member, owned: shares.get(member.id)!, generation: 9 }));
        expect(shareOut(settled, count)).toEqual(shares);
      }),
    );
  });
});
