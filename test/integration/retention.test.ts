/** Retention on real stores: what the door stamps, what is stamped anew, what ClickHouse then deletes. */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { drizzle } from 'drizzle-orm/node-postgres';
import { migrate } from 'drizzle-orm/node-postgres/migrator';
import { Client } from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { migratePostgres } from '../../src/postgres/migrate.ts';
import { type Desk, startDesk } from '../support/desk.ts';

let desk: Desk;
beforeAll(async () => {
  desk = await startDesk();
});
afterAll(() => desk.stop());

test('a retention in days is carried over, and processes of the version before go on reading days', async () => {
  await desk.query('create database before');
  const client = new Client({
    connectionString: Object.assign(new URL(desk.env.DATABASE_URL), { pathname: '/before' }).href,
  });
  await client.connect();
  const folder = mkdtempSync(join(tmpdir(), 'weir-drizzle-'));
  try {
    await migrate(drizzle(client), { migrationsFolder: upTo('0001_exposed_ms', folder) });
    await client.query(
      `insert into projects (name, retention_days) values ('kept', null), ('quarter', 90), ('ages', 36500)`,
    );
    expect(await migratePostgres(client)).toContain('0002_retention');
    await client.query(`insert into projects (name, retention_seconds) values ('day and a bit', 86401)`);
    const { rows } = await client.query('select name, retention_seconds, retention_days from projects order by name');
    expect(rows).toEqual([
      { name: 'ages', retention_seconds: '3153600000', retention_days: 36_500 },
      { name: 'day and a bit', retention_seconds: '86401', retention_days: 2 },
      { name: 'kept', retention_seconds: null, retention_days: null },
      { name: 'quarter', retention_seconds: '7776000', retention_days: 90 },
    ]);
    await expect(client.query(`insert into projects (name, retention_days) values ('late', 30)`)).rejects.toThrow();
    await expect(client.query(`insert into projects (name, retention_seconds) values ('no', 0)`)).rejects.toThrow();
  } finally {
    await client.end();
    rmSync(folder, { recursive: true });
  }
});

/** A copy of the migrations that ends with `last`, as the version had it that came with that one. */
function upTo(last: string, folder: string): string {
  cpSync(join(import.meta.dirname, '../../drizzle'), folder, { recursive: true });
  const path = join(folder, 'meta/_journal.json');
  const journal = JSON.parse(readFileSync(path, 'utf8')) as { entries: { tag: string }[] };
  const end = journal.entries.findIndex(({ tag }) => tag === last) + 1;
  writeFileSync(path, JSON.stringify({ ...journal, entries: journal.entries.slice(0, end) }));
  return folder;
}
