/** Makes the pictures of the console in docs/console/: `SCREENSHOTS=1 npx vitest run --project integration <this file>`. */
import { randomUUIDv7 } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { type ConsoleWorld, SOON, eventOf, startConsoleWorld } from '../support/console-world.ts';

vi.setConfig({ testTimeout: 420_000, hookTimeout: 300_000 });
const isWanted = Boolean(process.env['SCREENSHOTS']);
const PICTURES = 'docs/console';
/** So that the curves have something to show. */
const SENT_FOR_MS = 90_000;
const NAMES = ['page_viewed', 'product_viewed', 'cart_filled', 'order_paid', 'signed_up'];

let world: ConsoleWorld;
let badId: string;

beforeAll(async () => {
  if (!isWanted) return;
  mkdirSync(PICTURES, { recursive: true });
  world = await startConsoleWorld();
  const { clickhouse, database } = world.stores;
  await clickhouse.command({
    query: `ALTER TABLE ${database}.events_raw_v1 ADD CONSTRAINT paid_something CHECK JSONExtractFloat(properties, 'amount') >= 0`,
  });
  badId = randomUUIDv7();
  await world.send([eventOf(badId, { amount: -3, currency: 'EUR' })]);
});
afterAll(() => world?.stop());

/** Some requests a second, never the same number twice. */
async function sendFor(ms: number): Promise<void> {
  const end = Date.now() + ms;
  for (let turn = 0; Date.now() < end; turn++) {
    const count = Math.round(40 + 30 * Math.sin(turn / 25) + 15 * Math.sin(turn / 7));
    const events = Array.from({ length: count }, (_, at) => ({
      ...eventOf(randomUUIDv7(), { amount: (at % 9) + 1, plan: 'pro' }, NAMES[(turn * at) % NAMES.length]),
      user_id: `u${(turn * 31 + at) % 400}`,
    }));
    await world.send(events);
    await delay(100);
  }
}

const picture = (page: Page, name: string) => page.screenshot({ path: `${PICTURES}/${name}.png` });

describe.skipIf(!isWanted)('pictures', () => {
  test('of what the service does, of its events, of a dead letter, and of an answer', async () => {
    const page = await world.signedInPage({ viewport: { width: 1000, height: 640 } });
    await page.getByText('Everything works').waitFor();
    await page.getByLabel('Shown').selectOption('5 minutes');
    await sendFor(SENT_FOR_MS);
    const sending = sendFor(30_000);
    await page.getByRole('button', { name: 'Count again' }).click();
    await page.getByText(/\d,\d{3} accepted/).waitFor();
    await page.screenshot({ path: `${PICTURES}/now.png`, fullPage: true });
    await page.getByRole('link', { name: 'Live' }).click();
    await page.getByRole('row').nth(20).waitFor();
    await picture(page, 'live');
    await sending;

    await expect
      .poll(async () => (await world.command('dlq', 'ls', '--quarantined', '--json')).includes('"eventCount":1'), SOON)
      .toBe(true);
    await page.getByLabel('Find an event by its id').fill(badId);
    await page.getByRole('button', { name: 'Find', exact: true }).click();
    await page.getByRole('link', { name: 'Open its dead letter' }).click();
    await page.getByText('Today the event store refuses').waitFor();
    await page.getByRole('heading', { name: 'Its events beside' }).evaluate((heading) => heading.scrollIntoView());
    await picture(page, 'letter');

    const dark = await world.signedInPage({ viewport: { width: 1000, height: 640 }, colorScheme: 'dark' });
    await dark.goto(`${world.consoleUrl}/#/ask/${world.projectId}`);
    await dark
      .getByLabel('SQL')
      .fill(
        'SELECT toStartOfInterval(timestamp, INTERVAL 5 SECOND) AS time, count() AS events, uniq(distinct_id) AS people\nFROM events\nGROUP BY time ORDER BY time',
      );
    await dark.getByRole('button', { name: 'Ask' }).click();
    await dark.getByRole('button', { name: 'Download CSV' }).waitFor();
    await dark.getByLabel('SQL').evaluate((editor) => editor.scrollIntoView());
    await picture(dark, 'ask');
  });
});
