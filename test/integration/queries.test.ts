/** The recipes of docs/QUERIES.md: each runs as it is written, through the endpoint, and answers what the few events here say. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { setProperties } from '../../src/clickhouse/operations/property-columns.ts';
import { type OpenDoor, openDoor } from '../support/door.ts';
import { ANSWERS, events, recipesOf } from '../support/recipes.ts';
import { type Stores, startStores } from '../support/stores.ts';

const RECIPES = recipesOf('###');

let stores: Stores;
let door: OpenDoor;
let path: string;
let headers: Record<string, string>;

beforeAll(async () => {
  stores = await startStores();
  door = await openDoor(
    { databaseUrl: stores.databaseUrl, clickhouseUrl: stores.clickhouseUrl },
    { INGEST_FLUSH_INTERVAL: '50ms' },
  );
  await door.weir.migrated;
  const { id } = await door.weir.projects.create({ name: 'shop', retentionSeconds: null, allowedOrigins: [] });
  const token = await door.weir.tokens.create({ projectId: id, kind: 'secret', name: null, imported: null });
  headers = { authorization: `Bearer ${token!.plaintext}` };
  path = `/api/v1/projects/${id}/query`;
  await setProperties(stores.clickhouse, stores.database, [
    { name: 'plan', type: 'String' },
    { name: 'amount', type: 'Float64' },
  ]);
  // The first one is sent twice, as a client does that got no answer.
  for (const sent of [events, events.slice(0, 1)]) {
    expect((await door.send({ events: sent }, headers, '?ack=stored')).status).toBe(202);
  }
});
afterAll(async () => {
  await door.stop();
  await stores.stop();
});

test('every recipe has an answer here, and no answer is without its recipe', () => {
  expect(RECIPES.map(({ title }) => title)).toEqual(Object.keys(ANSWERS));
  expect(RECIPES.length).toBeGreaterThanOrEqual(30);
});

test.each(RECIPES)('$title', async ({ title, sql }) => {
  const { status, json } = await door.ask(path, { method: 'POST', headers, body: JSON.stringify({ sql }) });
  expect({ status, error: (json as { error?: string }).error }).toEqual({ status: 200 });
  expect((json as { rows: unknown[] }).rows).toEqual(ANSWERS[title]);
});
