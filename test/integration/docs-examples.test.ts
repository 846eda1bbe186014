/** What the pages for people show is pasted: every `curl` line is sent, every question is asked. */
import { execFile } from 'node:child_process';
import { globSync, readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { type OpenDoor, openDoor } from '../support/door.ts';
import { type Stores, startStores } from '../support/stores.ts';

const run = promisify(execFile);
const pages = ['docs/API.md', 'docs/adding-a-door.md', ...globSync('docs/coming-from/*.md')];
const blocks = (language: string) =>
  pages.flatMap((page) =>
    [...readFileSync(page, 'utf8').matchAll(new RegExp(`^( *)\`\`\`${language}\\n([^]*?)^ *\`\`\``, 'gm'))].map(
      ([, indent = '', text = '']) => ({ page, text: text.replaceAll(new RegExp(`^${indent}`, 'gm'), '') }),
    ),
  );

let stores: Stores;
let door: OpenDoor;
let project: string;
let token: string;

beforeAll(async () => {
  stores = await startStores();
  door = await openDoor(stores, { INGEST_FLUSH_INTERVAL: '50ms' });
  await door.weir.migrated;
  project = (await door.weir.projects.create({ name: 'shop', retentionSeconds: null, allowedOrigins: [] })).id;
  const made = await door.weir.tokens.create({ projectId: project, kind: 'secret', name: null, imported: null });
  token = made!.plaintext;
  // The site of the examples, which is its own token.
  await door.weir.tokens.create({ projectId: project, kind: 'public', name: null, imported: 'shop.example' });
});
afterAll(async () => {
  await door.stop();
  await stores.stop();
});

/** As each service calls its own. */
const TOKENS = ['TOKEN', 'KEY', 'API_KEY', 'API_SECRET', 'PROJECT_KEY', 'PROJECT_TOKEN', 'WRITE_KEY'];

async function storedCount(): Promise<number> {
  const [row] = await stores.select<{ n: string }>('SELECT toString(count()) AS n FROM events_raw_v1');
  return Number(row!.n);
}

/** The command line has tests of its own; here, only what goes over HTTP counts. */
const SHELL = 'weir() { :; }; curl() { command curl -sS --fail-with-body "$@"; echo; }';

test.for(blocks('sh').filter(({ text }) => text.includes('curl ')))('$page: $text', async ({ text }, { skip }) => {
  const { paths } = (await door.ask('/openapi.json')).json as { paths: object };
  skip(text.includes('/metrics') && !('/metrics' in paths), 'this version does not answer GET /metrics');
  const tokens = Object.fromEntries(TOKENS.map((name) => [name, token]));
  const before = await storedCount();
  const { stdout } = await run('bash', ['-ec', `${SHELL}\n${text}`], {
    env: { ...process.env, ...tokens, WEIR: door.url },
  });
  // Some clients want answers that do not tell: then an event has to be stored.
  if (!/"(events_)?accepted":[1-9]|"status":"accepted"|"total_events":\d/.test(stdout)) {
    expect(stdout).toMatch(/^HTTP\/1.1 20[024] /);
    await vi.waitFor(async () => expect(await storedCount()).toBeGreaterThan(before), { timeout: 20_000 });
  }
  expect(stdout).not.toMatch(/"(events_)?rejected":[1-9]/);
});

test.each(
  blocks('sql').flatMap(({ page, text }) =>
    text.split(/;|\n\n/).flatMap((query) => (query.trim() === '' ? [] : [{ page, query: query.trim() }])),
  ),
)('$page: $query', async ({ query }) => {
  expect(await stores.select(query.replaceAll('…', project))).toBeInstanceOf(Array);
});

test('there are some of both', () => {
  expect(blocks('sh').length).toBeGreaterThan(5);
  expect(blocks('sql').length).toBeGreaterThan(3);
});
