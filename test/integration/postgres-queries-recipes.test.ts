/** The recipes of docs/QUERIES.md in Postgres's SQL: each runs as it is written, and answers what ClickHouse's of the same name does. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type OpenDoor, openDoor } from '../support/door.ts';
import { ANSWERS, events, recipesOf } from '../support/recipes.ts';
import { type PostgresStores, startPostgresStores } from '../support/stores.ts';

const RECIPES = recipesOf('####');

let stores: PostgresStores;
let door: OpenDoor;
let path: string;
let headers: Record<string, string>;

beforeAll(async () => {
  stores = await startPostgresStores();
  door = await openDoor({ databaseUrl: stores.databaseUrl }, { INGEST_FLUSH_INTERVAL: '50ms' });
  await door.weir.migrated;
  const { id } = await door.weir.projects.create({ name: 'shop', retentionSeconds: null, allowedOrigins: [] });
  const token = await door.weir.tokens.create({ projectId: id, kind: 'secret', name: null, imported: null });
  headers = { authorization: `Bearer ${token!.plaintext}` };
  path = `/api/v1/projects/${id}/query`;
  // The first one is sent twice, as a client does that got no answer.
  for (const sent of [events, events.slice(0, 1)]) {
    expect((await door.send({ events: sent }, headers, '?ack=stored')).status).toBe(202);
  }
});
afterAll(async () => {
  await door?.stop();
  await stores?.stop();
});

test('there are more than ten, and each has one of ClickHouse’s to be compared with', () => {
  expect(RECIPES.length).toBeGreaterThan(10);
  for (const { title } of RECIPES) expect(Object.keys(ANSWERS)).toContain(title);
});

test.each(RECIPES)('$title', async ({ title, sql }) => {
  const { status, json } = await door.ask(path, { method: 'POST', headers, body: JSON.stringify({ sql }) });
  expect({ status, error: (json as { error?: string }).error }).toEqual({ status: 200 });
  expect((json as { rows: unknown[] }).rows).toEqual(ANSWERS[title]);
});
