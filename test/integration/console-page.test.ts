/** The console's page in Chromium: who gets in, and that everybody can use every page of it. */
import { randomUUIDv7 } from 'node:crypto';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { createProjects } from '../../src/postgres/accounts/projects.ts';
import { axeFindings, followWork, overflowOf } from '../support/chromium.ts';
import { type ConsoleWorld, SOON, eventOf, startConsoleWorld } from '../support/console-world.ts';
import { writeLetter } from '../support/dead-letters.ts';
import { findChromium } from '../support/sdk-app.ts';

vi.setConfig({ testTimeout: 300_000, hookTimeout: 300_000 });
const isMissing = findChromium() === null && !process.env['CI'];
if (isMissing)
  console.warn('NOT RUN: the console’s page in a browser. Install what is missing: apt-get install chromium');

let world: ConsoleWorld;
let letterId: string;

beforeAll(async () => {
  if (isMissing) return;
  world = await startConsoleWorld();
  const good = eventOf(randomUUIDv7(), { plan: 'pro' });
  expect(await world.send([good, { event: 'without a time' }], '?ack=stored')).toBe(202);
  const { id } = await writeLetter(world.stores, {
    shares: [[world.projectId, 3]],
    unreadable: 1,
    quarantined: 'for the test',
  });
  letterId = id;
});
afterAll(() => world?.stop());

const signInButton = (page: Page) => page.getByRole('button', { name: 'Sign in' });

describe.skipIf(isMissing)('who gets in', () => {
  test('by a link: once, and its secret is in no address afterwards', async () => {
    const link = await world.command('console', 'link');
    const page = await world.openPage();
    await page.goto(link);
    await page.getByRole('heading', { name: 'Now' }).waitFor();
    expect(page.url()).toBe(`${world.consoleUrl}/#/now`);
    // The same browser is in already; another one stays outside.
    await page.goto(`${world.consoleUrl}/`);
    await page.getByRole('heading', { name: 'Now' }).waitFor();
    const other = await world.openPage();
    await other.goto(link);
    await other.getByRole('alert').waitFor();
    expect(await signInButton(other).isVisible()).toBe(true);
  });

  test('by a link that is put into the address of the open page, whoever is in already', async () => {
    const page = await world.openPage();
    await page.goto(`${world.consoleUrl}/`);
    await signInButton(page).waitFor();
    await page.goto(await world.command('console', 'link'));
    await page.getByRole('heading', { name: 'Now' }).waitFor();
    expect(page.url()).toBe(`${world.consoleUrl}/#/now`);
    await page.goto(`${world.consoleUrl}/#/projects`);
    await page.getByRole('heading', { name: 'Projects' }).waitFor();
    await page.goto(await world.command('console', 'link', '--actor', 'vera'));
    await page.getByText('vera (operator)').waitFor();
    expect(page.url()).toBe(`${world.consoleUrl}/#/now`);
  });

  test('by a password: not by another one; signing out ends it for every page of the browser', async () => {
    await world.addOperator('mira', 'operator', 'correct horse battery');
    const page = await world.openPage();
    await page.goto(world.consoleUrl);
    await page.getByLabel('Name').fill('mira');
    await page.getByLabel('Password').fill('wrong horse battery');
    await signInButton(page).click();
    await page.getByRole('alert').waitFor();
    await page.getByLabel('Password').fill('correct horse battery');
    await signInButton(page).click();
    await page.getByText('mira (operator)').waitFor();
    const second = await page.context().newPage();
    await second.goto(`${world.consoleUrl}/#/projects`);
    await second.getByRole('link', { name: 'shop' }).waitFor();
    await page.getByRole('button', { name: 'Sign out' }).click();
    await signInButton(page).waitFor();
    await second.getByRole('link', { name: 'Rejected' }).click();
    await signInButton(second).waitFor();
  });

  test('a viewer sees everything and is offered no change', async () => {
    await world.addOperator('tv', 'viewer', 'looking at things');
    const page = await world.openPage();
    await page.goto(`${world.consoleUrl}/#/letters/letter/${letterId}`);
    await page.getByLabel('Name').fill('tv');
    await page.getByLabel('Password').fill('looking at things');
    await signInButton(page).click();
    await page.getByText('tv (viewer)').waitFor();
    await page.getByText('Today the event store refuses 1 of 4 events.').waitFor();
    const offered = await page.getByRole('button').allTextContents();
    expect(offered.filter((name) => /Replay|Discard|Close intake|Pause drain/.test(name))).toEqual([]);
    expect(offered).toContain('Dry run …');
  });
});

/** Each page, and what stands on it when it is all there. */
const PAGES: readonly { readonly address: () => string; readonly name: string; readonly shows: string }[] = [
  { name: 'Now', address: () => 'now', shows: 'Where every accepted event is' },
  { name: 'Live', address: () => 'live', shows: 'listening' },
  { name: 'Dead letters', address: () => 'letters', shows: 'Cannot parse input' },
  { name: 'a dead letter', address: () => `letters/letter/${letterId}`, shows: 'Today the event store refuses' },
  { name: 'the audit', address: () => 'letters/audit', shows: 'What was done to dead letters' },
  { name: 'Rejected', address: () => 'rejected', shows: 'timestamp required' },
  { name: 'Find', address: () => `find?user=u1&project=${world.projectId}`, shows: 'order_paid' },
  { name: 'Projects', address: () => 'projects', shows: 'shop' },
  { name: 'a project', address: () => `projects/${world.projectId}`, shows: 'Send an event' },
  { name: 'Ask', address: () => `ask/${world.projectId}`, shows: 'What there is to ask' },
];

describe.skipIf(isMissing)('every page', () => {
  const WIDE = { width: 1280, height: 800 };
  const TELEPHONE = { width: 360, height: 740 };
  const WAYS = (['light', 'dark'] as const).flatMap((colorScheme) =>
    [WIDE, TELEPHONE].map((viewport) => ({ colorScheme, viewport })),
  );
  let pages: readonly Page[];
  beforeAll(async () => {
    pages = await Promise.all(WAYS.map((way) => world.signedInPage(way)));
  });

  async function expectNothingWrong(page: Page): Promise<void> {
    expect(await axeFindings(page)).toEqual([]);
    expect(await overflowOf(page)).toBe(0);
  }

  test.each(PAGES)(
    '$name: axe finds nothing, light and dark, wide and on a telephone, which nothing is too wide for',
    async ({ address, shows }) => {
      for (const page of pages) {
        await page.goto(`${world.consoleUrl}/#/${address()}`);
        await page.getByText(shows).first().waitFor();
        await expectNothingWrong(page);
      }
    },
  );

  test('a dialog, too', async () => {
    for (const page of pages) {
      await page.goto(`${world.consoleUrl}/#/letters/letter/${letterId}`);
      await page.getByRole('button', { name: 'Discard …' }).click();
      await page.getByText('This touches 1 letter with 4 events').waitFor();
      await expectNothingWrong(page);
      await page.getByRole('button', { name: 'Cancel' }).click();
    }
  });

  test('the door that everybody comes in by, and what an examination found', async () => {
    for (const [place, page] of pages.entries()) {
      const outside = await world.openPage(WAYS[place]);
      await outside.goto(world.consoleUrl);
      await signInButton(outside).waitFor();
      await expectNothingWrong(outside);
      await page.goto(`${world.consoleUrl}/#/now`);
      await page.getByRole('button', { name: 'Examine', exact: true }).click();
      await page.getByText('checks passed').click();
      await page.getByRole('region', { name: 'Examination' }).getByText('Postgres').first().waitFor();
      await expectNothingWrong(page);
    }
  });
});

describe.skipIf(isMissing)('what is not known is not said', () => {
  test('while the event store is away: not of a letter that its events would be stored, nor of an event that it is nowhere', async () => {
    const page = await world.signedInPage();
    await world.stores.clickhouseServer.stop();
    await page.goto(`${world.consoleUrl}/#/letters/letter/${letterId}`);
    await page.getByText('The event store could not be asked').waitFor();
    await page.getByText('are refused is not known now').waitFor();
    expect(await page.getByText('No event of it is refused').count()).toBe(0);
    await page.goto(`${world.consoleUrl}/#/find?id=${randomUUIDv7()}`);
    await page.getByText('not found in what could be looked through').waitFor();
    await page.getByText('the event store (does not answer)').waitFor();
    await page.goto(`${world.consoleUrl}/#/find?requestId=${randomUUIDv7()}`);
    await page.getByText('No request with this id is remembered').waitFor();
    await world.stores.clickhouseServer.start();
  });

  test('a discard waits until it says what it would touch', async () => {
    const page = await world.signedInPage();
    const counting = Promise.withResolvers<void>();
    await page.route('**/letters/count', async (route) => {
      await counting.promise;
      await route.continue();
    });
    await page.goto(`${world.consoleUrl}/#/letters/letter/${letterId}`);
    await page.getByRole('button', { name: 'Discard …' }).click();
    await page.getByLabel('Reason, for the audit').fill('for the test');
    const act = page.getByRole('button', { name: 'Discard for good' });
    expect(await act.isDisabled()).toBe(true);
    counting.resolve();
    await page.getByText('This touches 1 letter with 4 events').waitFor();
    await expect.poll(() => act.isEnabled(), SOON).toBe(true);
    await page.getByRole('button', { name: 'Cancel' }).click();
  });

  test('intake is not called open where a setting closes it', async () => {
    const closed = await startConsoleWorld({ INGEST_DISABLED: 'true' });
    try {
      const page = await closed.signedInPage();
      await page.getByText('closed by INGEST_DISABLED').waitFor();
      await closed.stores.postgresServer.stop();
      await page.getByText('open, when it was last known').waitFor();
    } finally {
      await closed.stop();
    }
  });
});

describe.skipIf(isMissing)('a change that deletes', () => {
  test('says first what it would delete: a shorter retention, for events that are stored', async () => {
    const page = await world.signedInPage();
    await page.goto(`${world.consoleUrl}/#/projects/${world.projectId}`);
    await page.getByRole('button', { name: 'Change retention …' }).click();
    await page.getByLabel('Events expire this long after arrival').fill('30d');
    await page.getByLabel('Also for events that are stored already').check();
    await page.getByText('0 events would be deleted at once, for good').waitFor();
    expect(await axeFindings(page)).toEqual([]);
    await page.getByRole('button', { name: 'Change retention', exact: true }).click();
    await page.getByText('for 30d after arrival').waitFor();
    await page.getByText('1 stored event got another expiry').waitFor();
  });

  test('of a project: its job says what came of it, and offers it again when the project is gone', async () => {
    const { id } = await createProjects(world.stores.postgres.db).create({
      name: 'short-lived',
      retentionSeconds: null,
      allowedOrigins: [],
    });
    const page = await world.signedInPage();
    await page.goto(`${world.consoleUrl}/#/projects/${id}`);
    await page.getByRole('button', { name: 'Delete project …' }).click();
    await page.getByLabel('Type the project’s name').fill('short-lived');
    await page.getByRole('button', { name: 'Delete for good' }).click();
    await page.getByText('The project and its events are deleted').waitFor();
    await page.reload();
    const again = page.getByRole('button', { name: 'Delete again' });
    await again.waitFor();
    expect(await axeFindings(page)).toEqual([]);
    const answered = page.waitForResponse((response) => response.request().method() === 'DELETE');
    await again.click();
    expect(new URL((await answered).url()).pathname).toBe(`/api/v1/operator/projects/${id}`);
    // The new job stands in the place of the one that was repeated, and offers it once it has ended.
    await expect.poll(() => again.count(), SOON).toBe(1);
    await page.getByText('The project and its events are deleted').waitFor();
  });

  test('intake: it is closed and opened again, and says so', async () => {
    const page = await world.signedInPage();
    await page.getByRole('button', { name: 'Close intake …' }).click();
    await page.getByRole('button', { name: 'Close intake', exact: true }).click();
    await page.getByRole('button', { name: 'Open intake …' }).click();
    await page.getByRole('button', { name: 'Open intake', exact: true }).click();
    await page.getByRole('button', { name: 'Close intake …' }).waitFor();
  });

  test('intake: a question stays the one that was asked, whatever others do meanwhile', async () => {
    const page = await world.signedInPage();
    await page.getByRole('button', { name: 'Close intake …' }).click();
    const dialog = page.getByRole('dialog', { name: 'Close intake?' });
    await dialog.waitFor();
    await world.command('intake', 'disable');
    // The header behind the dialog follows.
    await page.getByText('Open intake …').waitFor();
    await dialog.getByRole('button', { name: 'Close intake', exact: true }).click();
    await dialog.waitFor({ state: 'detached' });
    expect(await world.command('intake', 'status')).toContain('disabled');
    await world.command('intake', 'enable');
  });
});

describe.skipIf(isMissing)('a list or a stream that does not begin as usual', () => {
  test('Live says why a stream is refused', async () => {
    const page = await world.signedInPage();
    await page.goto(`${world.consoleUrl}/#/live`);
    await page.getByText('listening').waitFor();
    await page.getByLabel('Project id').fill('shop');
    await page.getByRole('button', { name: 'Filter' }).click();
    await page.getByText('project must be a UUID').waitFor();
    await page.getByLabel('Project id').fill(world.projectId);
    await page.getByRole('button', { name: 'Filter' }).click();
    await page.getByText('listening').waitFor();
  });

  test('Rejected goes on behind a page that holds none', async () => {
    const page = await world.signedInPage();
    const isFirst = (url: URL) => url.pathname.endsWith('/operator/rejected') && !url.searchParams.has('after');
    await page.route(isFirst, (route) =>
      route.fulfill({ json: { events: [], next: 'ffffffff-ffff-7fff-bfff-ffffffffffff' } }),
    );
    await page.goto(`${world.consoleUrl}/#/rejected`);
    await page.getByRole('button', { name: 'Next page' }).click();
    await page.getByText('timestamp required').waitFor();
  });
});

describe.skipIf(isMissing)('the first look', () => {
  test('loads a page, a script and a style, and keeps the browser busy for little of the time', async () => {
    const link = await world.command('console', 'link');
    const page = await world.openPage();
    const work = await followWork(page);
    await page.goto(link);
    await page.getByText('Where every accepted event is').waitFor();
    const { busyMs } = await work();
    // Processor time, which does not depend on what else the machine does.
    expect(busyMs).toBeLessThan(2_000);
    const loaded = await page.evaluate<string[]>(`performance.getEntriesByType('resource')
      .map(({ name }) => new URL(name).pathname).filter((path) => !path.startsWith('/api/'))`);
    expect(loaded.filter((path) => path.endsWith('.js'))).toHaveLength(1);
    expect(loaded.filter((path) => path.endsWith('.css'))).toHaveLength(1);
    expect(loaded.length).toBeLessThanOrEqual(3);
  });
});

describe.skipIf(isMissing)('with the keyboard alone', () => {
  const focused = (page: Page) => page.evaluate<string>('document.activeElement?.textContent ?? ""');

  /** Tab until something of this name has the focus. */
  async function tabTo(page: Page, name: string): Promise<void> {
    for (let presses = 0; presses < 80; presses++) {
      await page.keyboard.press('Tab');
      if ((await focused(page)).trim() === name) return;
    }
    throw new Error(`Tab never comes to ${name}`);
  }

  test('one gets past the header, to a letter, into a dialog and out of it', async () => {
    const page = await world.signedInPage();
    await page.keyboard.press('Tab');
    expect(await focused(page)).toBe('Skip to the page');
    await page.keyboard.press('Enter');
    expect(await page.evaluate('document.activeElement?.tagName')).toBe('MAIN');
    await page.reload();
    await tabTo(page, 'Dead letters');
    await page.keyboard.press('Enter');
    await page.getByRole('link', { name: letterId }).waitFor();
    await tabTo(page, letterId);
    await page.keyboard.press('Enter');
    await page.getByText('Today the event store refuses').waitFor();
    await tabTo(page, 'Discard …');
    await page.keyboard.press('Enter');
    await page.getByRole('dialog').waitFor();
    await page.keyboard.press('Escape');
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    await expect.poll(() => focused(page), SOON).toBe('Discard …');
  });

  test('names are completed and a question is asked', async () => {
    const page = await world.signedInPage();
    await page.goto(`${world.consoleUrl}/#/ask/${world.projectId}`);
    await page.getByText('What there is to ask').waitFor();
    const sql = page.getByLabel('SQL');
    await sql.press('Control+Enter');
    await page.getByRole('cell', { name: 'order_paid' }).waitFor();
    await sql.fill('SELECT count() AS found FROM ');
    await sql.press('End');
    await sql.pressSequentially('eve');
    await page.getByRole('option', { name: 'events table' }).waitFor();
    await sql.press('Enter');
    await sql.press('Control+Enter');
    await page.getByRole('cell', { name: '1', exact: true }).waitFor();
    await sql.fill('SELECT nothing FROM nowhere');
    await sql.press('Control+Enter');
    await page.getByRole('alert').waitFor();
  });
});
