/** Doctor asks for rights on the tables that the migrations make, and on all of them. */
import { expect, test } from 'vitest';
import { readMigrations } from '../src/postgres/migrations/migrations.ts';
import { TABLES } from '../src/postgres/operations/rights.ts';

test('the rights are those on every table that the migrations make', () => {
  const made = readMigrations()
    .flatMap(({ statements }) => statements)
    .flatMap((statement) => /^\s*CREATE TABLE (?:IF NOT EXISTS )?"?(\w+)"?/i.exec(statement)?.[1] ?? []);
  expect(made.toSorted()).toEqual(TABLES.toSorted());
});
