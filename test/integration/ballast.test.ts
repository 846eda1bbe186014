/** The room that is set aside in Postgres: how it is made, whoever makes it at once and whatever ends them. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { createDiskRoom } from '../../src/postgres/dead-letters/disk-room.ts';
import { createPostgres } from '../../src/postgres/connection/pool.ts';
import { createLog } from '../../src/log/log.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { startMigratedPostgres } from '../support/stores.ts';

const BALLAST_BYTES = 4 * 1024 ** 2;

let at: Awaited<ReturnType<typeof startMigratedPostgres>>;
let lines: string[];
beforeAll(async () => {
  at = await startMigratedPostgres({ maxConnections: 8 });
});
afterAll(() => at.stop());
beforeEach(async () => {
  lines = [];
  await at.postgres.pool.query('DROP TABLE IF EXISTS dead_letter_ballast');
});

function newRoom() {
  const log = createLog('warn', { write: (line: string) => void lines.push(line) });
  return createDiskRoom({ db: at.postgres.db, clock: systemClock, log }, { ballastBytes: BALLAST_BYTES });
}

async function tablesNow(): Promise<string[]> {
  const { rows } = await at.postgres.pool.query<{ name: string }>(
    `SELECT relname AS name FROM pg_class WHERE relname LIKE 'dead_letter_ballast%' AND relkind = 'r' ORDER BY 1`,
  );
  return rows.map(({ name }) => name);
}

const sizeNow = async () =>
  Number(
    (await at.postgres.pool.query<{ bytes: string }>(`SELECT pg_total_relation_size('dead_letter_ballast') AS bytes`))
      .rows[0]!.bytes,
  );

const failedNow = async () => {
  await at.postgres.pool.query('SELECT pg_stat_force_next_flush()');
  const { rows } = await at.postgres.pool.query<{ failed: number }>(
    'SELECT xact_rollback::int AS failed FROM pg_stat_database WHERE datname = current_database()',
  );
  return rows[0]!.failed;
};

test.each([0, 7])('several that make it at once make one, and none fails; %i letters wait', async (waiting) => {
  await Promise.all(Array.from({ length: 4 }, () => newRoom().tend(waiting)));
  expect(await tablesNow()).toEqual(['dead_letter_ballast']);
  expect(await sizeNow()).toBeGreaterThanOrEqual(BALLAST_BYTES);
  expect(lines).toEqual([]);
});

test('a table is not undone after it was created, and what a process left half made goes', async () => {
  const before = await failedNow();
  await at.postgres.pool.query('CREATE UNLOGGED TABLE dead_letter_ballast_new (filler bytea)');
  await newRoom().tend(0);
  expect(await tablesNow()).toEqual(['dead_letter_ballast']);
  expect(await failedNow()).toBe(before);
});

test('Postgres comes back after it was killed while several made it, again and again', async () => {
  for (let round = 0; round < 3; round++) {
    await at.postgres.pool.query('DROP TABLE IF EXISTS dead_letter_ballast');
    const others = Array.from({ length: 3 }, () =>
      createPostgres({ url: at.server.url, maxConnections: 1 }, createLog('silent')),
    );
    const making = Promise.all(
      others.map(({ db }) =>
        createDiskRoom({ db, clock: systemClock, log: createLog('silent') }, { ballastBytes: BALLAST_BYTES }).tend(0),
      ),
    );
    await at.server.kill();
    await at.server.start();
    await making;
    await Promise.all(others.map(({ pool }) => pool.end()));
  }
  await newRoom().tend(0);
  expect(await sizeNow()).toBeGreaterThanOrEqual(BALLAST_BYTES);
});
