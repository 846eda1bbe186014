import { afterAll, beforeAll, expect, test } from 'vitest';
import { createLog } from '../../src/log.ts';
import { createPostgres } from '../../src/postgres/pool.ts';
import { type Rig, startRig } from '../chaos/rig.ts';

let rig: Rig;

beforeAll(async () => {
  rig = await startRig();
});
afterAll(() => rig?.stop());

test('a Postgres connection that breaks between two statements of a transaction is not the end of the process', async () => {
  const databaseUrl = rig.stores.databaseUrl.replace(`:${rig.stores.postgresServer.port}/`, `:${rig.postgres.port}/`);
  const { pool } = createPostgres({ url: databaseUrl, maxConnections: 1 }, createLog('silent'));
  const connection = await pool.connect();
  await connection.query('BEGIN');
  const ended = new Promise<void>((resolve) => connection.once('end', resolve));
  rig.postgres.cut();
  // An error that nobody listens to would fail the whole run here.
  await ended;
  connection.release(true);
  expect((await pool.query<{ one: number }>('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
  await pool.end();
});
