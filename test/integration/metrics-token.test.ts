/** The metrics page with a token: who has it reads, nobody else does, and Weir's own command knows to send it. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type OpenDoor, openDoor } from '../support/door.ts';
import { startStores, type Stores } from '../support/stores.ts';
import { commandWeir } from '../support/weir.ts';

const TOKEN = 'metrics-of-the-tests-0123456789';

let stores: Stores;
let door: OpenDoor;

beforeAll(async () => {
  stores = await startStores();
  door = await openDoor(stores, { METRICS_TOKEN: TOKEN });
  await door.weir.migrated;
});
afterAll(async () => {
  await door?.stop();
  await stores?.stop();
});

const page = (headers: Record<string, string>) => door.ask('/internal/metrics', { headers });

test.each([
  [{}, 'invalid_request'],
  [{ authorization: TOKEN }, 'invalid_request'],
  [{ authorization: `Basic ${TOKEN}` }, 'invalid_request'],
  [{ authorization: `Bearer ${TOKEN}x` }, 'invalid_token'],
  [{ authorization: `Bearer ${TOKEN.slice(0, -1)}` }, 'invalid_token'],
  [{ 'x-api-key': TOKEN }, 'invalid_request'],
])('with %j it is refused', async (headers, challenge) => {
  const { status, text, json, headers: answered } = await page(headers);
  expect([status, json?.['code']]).toEqual([401, 'unauthorized']);
  expect(answered.get('www-authenticate')).toContain(`error="${challenge}"`);
  expect(answered.get('cache-control')).toBe('no-store');
  expect(text).not.toContain('weir_events_total');
  expect(text).not.toContain(TOKEN);
});

test('a secret token of a project does not open it', async () => {
  const { id } = await door.weir.projects.create({ name: 'shop', retentionSeconds: null, allowedOrigins: [] });
  const secret = await door.weir.tokens.create({ projectId: id, kind: 'secret', name: null, imported: null });
  expect((await page({ authorization: `Bearer ${secret!.plaintext}` })).status).toBe(401);
});

test('with the token it is read, and kept by no cache', async () => {
  for (const scheme of ['Bearer', 'bearer']) {
    const { status, text, headers } = await page({ authorization: `${scheme} ${TOKEN}` });
    expect([status, headers.get('cache-control')]).toEqual([200, 'no-store']);
    expect(text).toContain('weir_events_total{result="accepted"}');
  }
  expect(door.logged()).not.toContain(TOKEN);
});

test('the health paths stay as they are', async () => {
  for (const path of ['/health', '/healthz', '/livez', '/readyz'])
    expect((await door.ask(path)).status).toBeLessThan(400);
});

test('weir doctor --reconcile sends it, and says what is missing without it', async () => {
  const env = { DATABASE_URL: stores.databaseUrl, CLICKHOUSE_URL: stores.clickhouseUrl };
  const reconcile = (more: Record<string, string>) =>
    commandWeir(['doctor', '--reconcile', '--url', door.url], { cwd: '/nonexistent', env: { ...env, ...more } });
  const good = await reconcile({ METRICS_TOKEN: TOKEN });
  expect([good.code, good.stdout + good.stderr]).toEqual([0, expect.stringContaining('ledger of')]);
  const without = await reconcile({});
  expect(without.code).toBe(1);
  expect(without.stdout + without.stderr).toContain('METRICS_TOKEN');
});
