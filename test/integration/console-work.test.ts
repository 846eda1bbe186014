/** The console's page in Chromium at work: what went wrong is found, mended and replayed, whatever it is called. */
import { randomUUIDv7 } from 'node:crypto';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { InsertFailure } from '../../src/pipeline/ports.ts';
import { createProjects } from '../../src/postgres/accounts/projects.ts';
import { createTokens } from '../../src/postgres/accounts/tokens.ts';
import { overflowOf } from '../support/chromium.ts';
import { type ConsoleWorld, SOON, eventOf, startConsoleWorld } from '../support/console-world.ts';
import { writeLetter } from '../support/dead-letters.ts';
import { findChromium } from '../support/sdk-app.ts';

vi.setConfig({ testTimeout: 420_000, hookTimeout: 300_000 });
const isMissing = findChromium() === null && !process.env['CI'];

let world: ConsoleWorld;
beforeAll(async () => {
  if (!isMissing) world = await startConsoleWorld();
});
afterAll(() => world?.stop());

const rowsOf = async (condition: string): Promise<number> => {
  const { stores } = world;
  const [{ n }] = (await stores.select<{ n: string }>(
    `SELECT count() AS n FROM ${stores.database}.events_raw_v1 FINAL WHERE ${condition}`,
  )) as [{ n: string }];
  return Number(n);
};

const button = (page: Page, name: string) => page.getByRole('button', { name, exact: true });

/** Opens the dialog of an action, and does it. */
async function confirm(page: Page, name: string, act = name): Promise<void> {
  await button(page, `${name} …`).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByText('This touches').waitFor();
  await dialog.getByRole('button', { name: act, exact: true }).click();
  await dialog.waitFor({ state: 'detached' });
}

describe.skipIf(isMissing)('whoever sees the page for the first time', () => {
  test('finds why an event was not taken, mends it, replays it, and sees it stored, by what is written there', async () => {
    const { stores } = world;
    await stores.clickhouse.command({
      query: `ALTER TABLE ${stores.database}.events_raw_v1 ADD CONSTRAINT paid_something CHECK JSONExtractFloat(properties, 'amount') >= 0`,
    });
    const id = randomUUIDv7();
    expect(await world.send([eventOf(id, { amount: -3 }), eventOf(randomUUIDv7(), { amount: 5 })])).toBe(202);
    // Something has to land after it was refused before it counts as bad.
    await expect
      .poll(async () => {
        await world.send([eventOf(randomUUIDv7(), { amount: 1 })], '?ack=stored');
        return (await world.command('dlq', 'ls', '--quarantined', '--json')).includes('"eventCount":1');
      }, SOON)
      .toBe(true);

    const page = await world.signedInPage();
    await page.getByLabel('Find an event by its id').fill(id);
    await button(page, 'Find').click();
    await page.getByText('not taken: it is a dead letter').waitFor();
    await page.getByRole('link', { name: 'Open its dead letter' }).click();
    await page.getByText('Today the event store refuses 1 of 1 event').waitFor();
    await page.getByText('refused because of this').waitFor();
    const statement = await page.getByLabel('statement', { exact: true }).first().innerText();
    expect(statement).toMatch(/DROP CONSTRAINT .*paid_something/);
    await stores.clickhouse.command({ query: statement.replace(/;\s*$/, '') });
    await button(page, 'Ask again').click();
    await page.getByText('No event of it is refused').waitFor();
    await confirm(page, 'Dry run');
    await page.getByText('1 event would be stored').waitFor();
    await confirm(page, 'Replay');
    await page.getByText('1 letter stored').waitFor();
    await page.getByLabel('Find an event by its id').fill(id);
    await button(page, 'Find').click();
    await page.getByText('stored', { exact: true }).first().waitFor();
    expect(await rowsOf(`event_id = '${id}'`)).toBe(1);
  });

  test('makes a project and a token, sends the line that stands there, and sees the event come', async () => {
    const page = await world.signedInPage();
    await page.getByRole('link', { name: 'Projects', exact: true }).click();
    await button(page, 'New project …').click();
    await page.getByRole('dialog').getByLabel('Name').fill('first');
    await button(page, 'Create').click();
    await page.getByRole('heading', { name: 'first' }).waitFor();
    await button(page, 'New token …').click();
    await page.getByRole('dialog').getByLabel('Name').fill('website');
    await button(page, 'Make token').click();
    const token = (await page.getByLabel('token', { exact: true }).innerText()).trim();
    await button(page, 'Wait for an event').click();
    await page.getByText('waiting for the next event').waitFor();
    const line = await page.getByLabel('curl line', { exact: true }).innerText();
    expect(line).toContain(`Bearer ${token}`);
    // Until the console listens; a person would send it again as well.
    const seen = page.getByText('here it is:');
    await expect
      .poll(async () => {
        await sendAsIn(line);
        return seen.isVisible();
      }, SOON)
      .toBe(true);
    await page.reload();
    await page.getByRole('cell', { name: 'website', exact: true }).waitFor();
    expect(await page.content()).not.toContain(token);
    await page.getByRole('button', { name: 'Revoke website' }).click();
    await button(page, 'Revoke').click();
    await page.getByText('revoked').waitFor();
  });

  /** What a shell makes of the line. */
  async function sendAsIn(line: string): Promise<void> {
    const [, url] = /curl (\S+)/.exec(line)!;
    const [, authorization] = /Authorization: ([^']+)'/.exec(line)!;
    const [, body] = /-d '(.*)'$/s.exec(line)!;
    const now = String(Math.floor(Date.now() / 1000));
    const answer = await fetch(url!, {
      method: 'POST',
      headers: { authorization: authorization! },
      body: body!.replace(`'"$(date +%s)"'`, now),
    });
    expect(answer.status).toBe(202);
  }
});

describe.skipIf(isMissing)('much of it', () => {
  test('100 000 events are replayed to the end, with a reload in the middle', async () => {
    const LETTERS = 100;
    const properties = '{"of":"much of it"}';
    const written = new Set<string>();
    for (let letter = 0; letter < LETTERS; letter++) {
      const shares = [[world.projectId, 1_000]] as const;
      const { eventIds } = await writeLetter(world.stores, { shares, properties, quarantined: 'for the test' });
      for (const id of eventIds) written.add(id);
    }
    const page = await world.signedInPage();
    await page.goto(`${world.consoleUrl}/#/letters/quarantined`);
    await confirm(page, 'Replay');
    await page.getByRole('progressbar', { name: 'Replay' }).or(page.getByText('100 letters stored')).first().waitFor();
    await page.reload();
    await page.getByText('100 letters stored').waitFor({ timeout: 300_000 });
    const stored = await world.stores.select<{ id: string }>(
      `SELECT event_id AS id FROM ${world.stores.database}.events_raw_v1 WHERE properties = '${properties}'`,
    );
    expect(stored).toHaveLength(LETTERS * 1_000);
    expect(new Set(stored.map(({ id }) => id))).toEqual(written);
  });

  test('a thousand letters are listed page by page, and gone when they are discarded', async () => {
    const failure = new InsertFailure('one of a thousand', { failureClass: 'data', code: 7 });
    for (let letter = 0; letter < 1_000; letter++) {
      await writeLetter(world.stores, { shares: [[world.projectId, 1]], failure, quarantined: 'for the test' });
    }
    const page = await world.signedInPage({ viewport: { width: 360, height: 740 } });
    await page.goto(`${world.consoleUrl}/#/letters`);
    await page.getByRole('link', { name: 'one of a thousand' }).click();
    const table = page.getByRole('region', { name: 'Dead letters, oldest first' });
    await expect.poll(() => table.getByRole('link').count(), SOON).toBe(50);
    const first = await table.getByRole('link').first().innerText();
    await button(page, 'Next page').click();
    await page.getByText('Page 2').waitFor();
    await expect.poll(() => table.getByRole('link').first().innerText(), SOON).not.toBe(first);
    expect(await overflowOf(page)).toBe(0);
    await button(page, 'Discard …').click();
    await page.getByText('This touches 1,000 letters with 1,000 events').waitFor();
    await page.getByLabel('Reason, for the audit').fill('made by the test');
    await button(page, 'Discard for good').click();
    await page.getByText('1,000 letters with 1,000 events deleted').waitFor();
    await page.getByText('No dead letter has this cause any more').waitFor();
  });
});

describe.skipIf(isMissing)('what the command line can', () => {
  test('some events of a letter are chosen and replayed, and the others stay', async () => {
    const { id, eventIds } = await writeLetter(world.stores, {
      shares: [[world.projectId, 5]],
      failure: new InsertFailure('to choose from', { failureClass: 'data', code: 7 }),
      quarantined: 'for the test',
    });
    const page = await world.signedInPage();
    await page.goto(`${world.consoleUrl}/#/letters/letter/${id}`);
    await page.getByLabel('Events shown').selectOption('all of them');
    for (const number of [2, 3, 5]) await page.getByLabel(`Choose Event ${number} to replay it`).check();
    await page.getByLabel('Choose Event 3 to replay it').uncheck();
    await button(page, 'Replay the 2 chosen …').click();
    await page.getByText('3 events stay behind').waitFor();
    await page.getByRole('dialog').getByRole('button', { name: 'Replay', exact: true }).click();
    await page.getByText('It is no dead letter any more').waitFor();
    const storedIds = eventIds.filter((_, place) => place === 1 || place === 4);
    await expect.poll(() => rowsOf(`event_id IN (${storedIds.map((one) => `'${one}'`).join()})`), SOON).toBe(2);
    expect(await rowsOf(`event_id IN (${eventIds.map((one) => `'${one}'`).join()})`)).toBe(2);
    const { letters } = JSON.parse(await world.command('dlq', 'ls', '--quarantined', '--json')) as {
      letters: { parentId: string; eventCount: number }[];
    };
    expect(letters.filter(({ parentId }) => parentId === id)).toMatchObject([{ eventCount: 3 }]);
  });

  test('a key that clients send already is imported, shown nowhere, and lets them in', async () => {
    const key = `phc_${randomUUIDv7()}`;
    const page = await world.signedInPage();
    await page.goto(`${world.consoleUrl}/#/projects/${world.projectId}`);
    await button(page, 'New token …').click();
    await page.getByRole('dialog').getByLabel('Name').fill('old clients');
    await page.getByLabel('A key to import').fill(key);
    await button(page, 'Import key').click();
    await page.getByText('The key is a token of this project now').waitFor();
    await page.getByRole('cell', { name: 'old clients', exact: true }).waitFor();
    expect(await page.content()).not.toContain(key);
    const answer = await fetch(`${world.url}/batch/`, {
      method: 'POST',
      body: JSON.stringify({ api_key: key, batch: [{ event: 'signed_up', distinct_id: 'u2' }] }),
    });
    expect(answer.status).toBe(200);
  });

  test('everything around the service is examined, with what to do where something is wrong', async () => {
    const { clickhouse, database } = world.stores;
    await clickhouse.command({
      query: `ALTER TABLE ${database}.events_raw_v1 MODIFY COLUMN session_id Nullable(UInt64)`,
    });
    const page = await world.signedInPage();
    await button(page, 'Examine').click();
    const found = page.getByRole('region', { name: 'Examination' });
    await found.getByText('found something to do').waitFor();
    await found.getByText('Run: ALTER TABLE').first().waitFor();
    await clickhouse.command({
      query: `ALTER TABLE ${database}.events_raw_v1 MODIFY COLUMN session_id Nullable(String)`,
    });
    await button(page, 'Examine again').click();
    await found.getByText('Run: ALTER TABLE').waitFor({ state: 'detached' });
  });
});

describe.skipIf(isMissing)('two operators at once', () => {
  test('see what the other one did, and can do nothing twice', async () => {
    const { id, eventIds } = await writeLetter(world.stores, {
      shares: [[world.projectId, 2]],
      quarantined: 'for the test',
    });
    const [one, other] = await Promise.all([world.signedInPage(), world.signedInPage()]);
    for (const page of [one, other]) {
      await page.goto(`${world.consoleUrl}/#/letters/letter/${id}`);
      await page.getByText('Today the event store refuses 0 of 2 events').waitFor();
    }
    await confirm(one, 'Replay');
    await one.getByText('1 letter stored').waitFor();
    // It is offered to nobody any more, and the audit says who did it.
    await other.getByText('It is no dead letter any more').waitFor();
    expect(await button(other, 'Discard …').count()).toBe(0);
    await other.getByRole('cell', { name: 'replay' }).first().waitFor();
    expect(await rowsOf(`event_id IN (${eventIds.map((event) => `'${event}'`).join()})`)).toBe(2);
  });
});

describe.skipIf(isMissing)('whatever things are called', () => {
  const SCRIPT = '<img src=x onerror="globalThis.ran=1"><script>globalThis.ran=1</script><b>bold';

  test('markup is shown as the text it is, and no script runs, on any page', async () => {
    const { db } = world.stores.postgres;
    const { id: projectId } = await createProjects(db).create({
      name: SCRIPT,
      retentionSeconds: null,
      allowedOrigins: [],
    });
    const made = await createTokens(db).create({ projectId, kind: 'public', name: SCRIPT, imported: null });
    const { id } = await writeLetter(world.stores, {
      shares: [[projectId, 1]],
      failure: new InsertFailure(SCRIPT, { failureClass: 'data', code: 6 }),
      quarantined: SCRIPT,
      properties: JSON.stringify({ [SCRIPT]: SCRIPT }),
    });
    const page = await world.signedInPage();
    const live = await world.signedInPage();
    await live.goto(`${world.consoleUrl}/#/live`);
    await live.getByText('listening').waitFor();
    const answer = await fetch(`${world.url}/api/v1/ingest/events?ack=stored`, {
      method: 'POST',
      headers: { authorization: `Bearer ${made!.plaintext}` },
      body: JSON.stringify({
        events: [eventOf(randomUUIDv7(), { [SCRIPT]: SCRIPT }, SCRIPT), { event: SCRIPT, user_id: SCRIPT }],
      }),
    });
    expect(answer.status).toBe(202);
    const shows: readonly (readonly [address: string, text: string])[] = [
      ['letters', '<b>bold'],
      [`letters/letter/${id}`, '<b>bold'],
      ['letters/audit', 'What was done'],
      ['projects', '<b>bold'],
      [`projects/${projectId}`, '<b>bold'],
      [`ask/${projectId}`, 'What there is to ask'],
      ['rejected', 'timestamp required'],
      [`find?user=u1&project=${projectId}`, '<b>bold'],
      [`find?id=${encodeURIComponent(SCRIPT)}`, 'It is nowhere'],
      [encodeURIComponent(SCRIPT), 'There is no page of this name'],
    ];
    for (const [address, text] of shows) {
      await page.goto(`${world.consoleUrl}/#/${address}`);
      await page.getByText(text).first().waitFor();
      expect(await foreignIn(page), address).toEqual([]);
    }
    await live.getByText('<b>bold').first().waitFor();
    expect(await foreignIn(live)).toEqual([]);
  });

  /** What is there only when text became markup. */
  const foreignIn = (page: Page) =>
    page.evaluate<string[]>(
      `[...document.querySelectorAll('#root img, #root script, #root iframe, body b > b')].map((e) => e.outerHTML).concat(globalThis.ran ? ['ran'] : [])`,
    );
});
