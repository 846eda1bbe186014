import { expect, test } from 'vitest';
import { createLog } from '../src/log/log.ts';
import type { OpenBatch } from '../src/topic/batch-cutter.ts';
import { createBell } from '../src/topic/bell.ts';
import { keepTicking } from '../src/topic/tick-keeper.ts';
import { createManualClock } from './support/clock.ts';

const openAt = (first: number): OpenBatch => ({
  first,
  at: 0,
  limits: { maxEvents: 10, maxBytes: 1_000, maxWaitMs: 2_000 },
  eventCount: 1,
  byteCount: 10,
});

test('a batch that opens before the tick of the one before it was read has its own interval', async () => {
  const clock = createManualClock();
  const end = new AbortController();
  const bell = createBell();
  let open: OpenBatch | null = openAt(0);
  let ticks = 0;
  const keeping = keepTicking({
    partition: 0,
    writer: { append: async () => void (ticks += 1) },
    waiting: () => open,
    changed: bell.next,
    isWanted: false,
    onTrouble: () => {},
    end: end.signal,
    clock,
    log: createLog('silent'),
  });
  await clock.advance(2_000);
  expect(ticks).toBe(1);
  // The tick is read with what came behind it.
  open = openAt(2);
  bell.ring();
  await clock.advance(1_900);
  expect(ticks).toBe(1);
  await clock.advance(100);
  expect(ticks).toBe(2);
  open = null;
  end.abort();
  bell.ring();
  await keeping;
});
