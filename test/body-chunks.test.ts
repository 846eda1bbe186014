import fc from './support/fast-check.ts';
import { expect, test } from 'vitest';
import { gatherBodyChunks } from '../src/http/request/body-chunks.ts';
import { heldBytes } from './support/garbage.ts';

test('what was added comes out in one piece, once', () => {
  const piece = fc.oneof(
    fc.uint8Array({ maxLength: 5 }),
    fc.integer({ min: 4_000, max: 20_000 }).map((size) => Buffer.alloc(size, size)),
  );
  const rounds = fc.array(fc.array(piece, { maxLength: 30 }), { maxLength: 4 });
  fc.assert(
    fc.property(rounds, (rounds) => {
      const gathered = gatherBodyChunks();
      const takes = rounds.map((pieces) => {
        for (const one of pieces) gathered.add(Buffer.from(one));
        return { sent: Buffer.concat(pieces), taken: gathered.take() };
      });
      // Looked at in the end, because later pieces must not write over earlier ones.
      for (const { sent, taken } of takes) expect(taken.equals(sent)).toBe(true);
    }),
  );
});

test('single bytes take little more memory than many at once', () => {
  const gathered = gatherBodyChunks();
  const before = heldBytes();
  for (let i = 0; i < 200_000; i += 1) gathered.add(Buffer.from('x'));
  expect(heldBytes() - before).toBeLessThan(2_000_000);
  expect(gathered.take().toString()).toBe('x'.repeat(200_000));
});
