/** The console's page in Chromium while much happens: an outage, and five thousand events a second for a minute. */
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { followWork } from '../support/chromium.ts';
import { type ConsoleWorld, SOON, startConsoleWorld } from '../support/console-world.ts';
import { createLoad, createTally } from '../support/load.ts';
import { findChromium } from '../support/sdk-app.ts';

vi.setConfig({ testTimeout: 420_000, hookTimeout: 300_000 });
const isMissing = findChromium() === null && !process.env['CI'];
const PER_SECOND = 5_000;
const FOR_MS = 60_000;
/** Ten a second: the table four times, what is said beside it once. */
const MAX_CHANGES = (10 * FOR_MS) / 1000;

let world: ConsoleWorld;
beforeAll(async () => {
  if (!isMissing) world = await startConsoleWorld();
});
afterAll(() => world?.stop());

describe.skipIf(isMissing)('an outage', () => {
  test('of the event store is seen, with what to do, and its end as well', async () => {
    const page = await world.signedInPage();
    await page.getByText('Everything works').waitFor();
    await world.stores.clickhouseServer.stop();
    await page.getByText('Not everything works').waitFor();
    await page.getByText('does not answer', { exact: true }).waitFor();
    await world.stores.clickhouseServer.start();
    await page.getByText('Everything works').waitFor();
  });
});

describe.skipIf(isMissing)('five thousand events a second for a minute', () => {
  test('pass before a page that stays as quick as it was, and all of them are stored', async () => {
    const page = await world.signedInPage();
    await page.getByRole('link', { name: 'Live' }).click();
    await page.getByText('listening').waitFor();
    await page.evaluate(`
      globalThis.changes = 0;
      new MutationObserver(() => globalThis.changes++).observe(document.querySelector('main'), {
        childList: true,
        subtree: true,
        characterData: true,
      });
    `);
    const work = await followWork(page);
    const tally = createTally();
    const load = createLoad({ tally, urls: () => [world.url], random: () => 0.5 }, { token: world.token });
    const stop = AbortSignal.timeout(FOR_MS);
    const running = load.run(PER_SECOND, stop);
    await page.getByRole('region', { name: 'Events, newest first' }).waitFor();
    // In the middle of it, whoever looks can do something.
    await page.getByRole('button', { name: 'Pause', exact: true }).click();
    await page.getByText('paused').waitFor();
    await page.getByRole('button', { name: 'Go on' }).click();
    await page.getByText('listening').waitFor();
    await running;

    const { busyMs, blockedMs } = await work();
    // A quarter of a processor, however many come; and by the clock, which others turn as well, half of the time.
    expect(busyMs).toBeLessThan(FOR_MS / 4);
    expect(blockedMs).toBeLessThan(FOR_MS / 2);
    // However many come, the page changes no more often than people read, and holds no more than it shows.
    expect(await page.evaluate<number>('globalThis.changes')).toBeLessThan(MAX_CHANGES);
    expect(await page.getByRole('row').count()).toBeLessThanOrEqual(101);
    const { stores } = world;
    await expect
      .poll(async () => {
        const [{ n }] = (await stores.select<{ n: string }>(
          `SELECT count() AS n FROM ${stores.database}.events_raw_v1 FINAL WHERE event LIKE 'load_%'`,
        )) as [{ n: string }];
        return Number(n) >= tally.acknowledged();
      }, SOON)
      .toBe(true);
    expect(tally.acknowledged()).toBeGreaterThan(0);
  });
});
