/**
 * A ClickHouse that fails every request by chance, with a code nobody knows, as
 * one with an ill replica or an overloaded proxy in front does. No good event
 * may be condemned for it. `CHANCE_WORLDS=100` makes it a million batches.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { randomOf } from './support/factory.ts';
import { startPipeline } from './support/pipeline.ts';

const WORLDS = Number(process.env['CHANCE_WORLDS'] ?? 1);
const BATCHES = 10_000;

const { stackTraceLimit } = Error;
beforeAll(() => {
  Error.stackTraceLimit = 0;
});
afterAll(() => {
  Error.stackTraceLimit = stackTraceLimit;
});

test.each(Array.from({ length: WORLDS }, (_, index) => index + 1))(
  'ten thousand batches of good events at one chance in two: none is condemned, all land (SEED=%i)',
  { timeout: 600_000 },
  async (seed) => {
    const random = randomOf(seed);
    const limits = { maxEvents: 1_000, maxBytes: 10_000_000, projectShare: 1 };
    const { clock, channel, events, deadLetters, offerGood, stop } = startPipeline({
      random,
      isDraining: true,
      channel: limits,
      batch: { maxEvents: 2, maxBytes: 100_000, maxWaitMs: 20 },
      drain: { intervalMs: 200, maxRows: 100 },
      // The fewest tries that the configuration allows.
      policy: { maxAttempts: 1 },
    });
    events.failsByChance = () => random() < 0.5;
    let offered = 0;
    for (let batch = 0; batch < BATCHES; batch++) {
      const count = 1 + Math.floor(random() * 2);
      if (offerGood(count) === 'queued') offered += count;
      await clock.advance(20);
    }
    expect(events.sent).toBeGreaterThan(BATCHES);
    expect(deadLetters.quarantined()).toEqual([]);
    events.failsByChance = () => false;
    while (channel.usage().events > 0 || deadLetters.letters.size > 0) {
      offered += offerGood(1) === 'queued' ? 1 : 0;
      await clock.advance(10_000);
    }
    expect(deadLetters.quarantined()).toEqual([]);
    expect([events.stored.size, events.counted]).toEqual([offered, offered]);
    stop();
  },
);
