/** A short run of what `npm run chaos` does for longer, with the faults that are over quickly. */
import { expect, test } from 'vitest';
import { runChaos } from '../chaos/run.ts';

test('a dozen seconds of faults cost no event', { timeout: 180_000 }, async () => {
  const report = await runChaos({
    seconds: 12,
    seed: 7,
    store: 'clickhouse',
    channel: 'local',
    eventsPerSecond: 100,
    // Other tests run beside this one.
    readyWithinMs: 60_000,
    only: '^(answers cut|requests cut|inserts reset|connections cut|gateway error|clickhouse killed|clickhouse refused|postgres refused|weir terminated|weir killed)$',
    keepLogs: false,
    onProgress: () => {},
  });
  expect(report.broken).toEqual([]);
  expect(report.acknowledged).toBeGreaterThan(300);
});
