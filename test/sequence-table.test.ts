import { expect, test } from 'vitest';
import { SequenceTable } from '../src/journal/sequence-table.ts';
import fc from './support/fast-check.ts';

test('is a map of numbers that come in order and go in any', () => {
  const step = fc.record({
    added: fc.nat({ max: 200 }),
    skipped: fc.nat({ max: 200 }),
    taken: fc.array(fc.nat({ max: 999 }), { maxLength: 150 }),
  });
  fc.assert(
    fc.property(fc.nat({ max: 2 ** 40 }), fc.array(step, { minLength: 1, maxLength: 20 }), (first, steps) => {
      const table = new SequenceTable<{ readonly sequence: number }>();
      const model = new Map<number, { readonly sequence: number }>();
      let next = first;
      for (const { added, skipped, taken } of steps) {
        for (let index = 0; index < added; index++, next++) {
          const value = { sequence: next };
          table.add(next, value);
          model.set(next, value);
        }
        for (const back of taken) {
          const sequence = next - back;
          expect(table.has(sequence)).toBe(model.has(sequence));
          expect(table.take(sequence)).toBe(model.get(sequence));
          model.delete(sequence);
          expect(table.has(sequence)).toBe(false);
        }
        next += skipped;
        expect(table.size).toBe(model.size);
        expect([...table.values()]).toEqual([...model.values()]);
      }
    }),
  );
});

test('holds nothing of numbers that are gone', () => {
  const table = new SequenceTable<{ readonly sequence: number }>();
  for (let sequence = 0; sequence < 1_000_000; sequence++) {
    table.add(sequence, { sequence });
    if (sequence >= 100) table.take(sequence - 100);
  }
  expect(table.size).toBe(100);
  expect(table.chunkCount).toBeLessThanOrEqual(3);
});
