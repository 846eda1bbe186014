/** Events in Postgres under faults: whatever happens to an insert, its rows are there once or not at all, and nobody is blamed. */
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { Client } from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { createLog } from '../../src/log/log.ts';
import type { EventStorage } from '../../src/pipeline/storage-port.ts';
import { createPostgres } from '../../src/postgres/connection/pool.ts';
import { createEventStore } from '../../src/postgres/event-store/event-store.ts';
import { lockMonths } from '../../src/postgres/event-store/insert-statements.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { OTHER_PROJECT, randomOf } from '../support/factory.ts';
import { startTcpProxy, type TcpProxy } from '../support/fault-proxy.ts';
import { findPgBouncer, startPgBouncer } from '../support/pgbouncer.ts';
import {
  anyRow,
  batchWith,
  openEventsAt,
  type PostgresEvents,
  refusalOf,
  startPostgresEvents,
} from '../support/postgres-events.ts';
import { eventIdOf } from '../support/rows.ts';
import { SEED } from '../support/seed.ts';
import { isolatedUrl } from '../support/stores.ts';
import { isSkipped as isDiskSkipped, moveToSmallDisk, warnOf } from '../support/small-disk.ts';

let events: PostgresEvents;
let next = 0;

beforeAll(async () => {
  events = await startPostgresEvents();
});
afterAll(() => events.stop());
beforeEach(() => void (next += 10_000));

const rowsFrom = (from: number, count: number, parts: Parameters<typeof anyRow>[1] = {}) =>
  Array.from({ length: count }, (_, n) => anyRow(from + n, parts));
const insert = (id: number, rows: readonly Buffer[], into: EventStorage = events.storage) =>
  into.events.insert(batchWith(id, rows));

/** How many of this test's events are stored, and counted. */
async function stored(): Promise<{ rows: number; different: number }> {
  const [found] = await events.select<{ rows: number; different: number }>(
    `SELECT count(*)::int AS rows, count(DISTINCT (project_id, event_id, event))::int AS different FROM analytics.events_raw
     WHERE event_id >= $1 AND event_id < $2`,
    [eventIdOf(next), eventIdOf(next + 10_000)],
  );
  return found!;
}
const once = (count: number) => ({ rows: count, different: count });

/** Counts hold what the table holds, and nothing else, whatever happened. */
afterEach(async () => {
  const [wrong] = await events.select(
    `SELECT * FROM (SELECT project_id, event, date_trunc('hour', "timestamp", 'UTC') AS hour, channel, count(*) AS events
       FROM analytics.events_raw GROUP BY 1, 2, 3, 4) AS rows
     FULL JOIN analytics.event_counts_hourly AS counts USING (project_id, event, hour, channel)
     WHERE rows.events IS DISTINCT FROM counts.events`,
  );
  expect(wrong).toBeUndefined();
});

describe('a connection that breaks', () => {
  let proxy: TcpProxy;
  let behind: EventStorage;
  beforeAll(async () => {
    proxy = await startTcpProxy(events.server.port);
    behind = openEventsAt(events.server.url.replace(`:${events.server.port}/`, `:${proxy.port}/`));
  });
  afterAll(async () => {
    await behind.close();
    await proxy.stop();
  });

  test('after the commit leaves open whether it landed, and the same id lands nothing twice', async () => {
    // A statement of its own, and none that holds the word.
    proxy.set({ kind: 'commit-then-cut', message: /Q.{4}COMMIT\0/s }, { times: 1 });
    expect(await refusalOf(insert(next, rowsFrom(next, 20), behind))).toMatchObject({
      failureClass: 'ambiguous',
      mayHaveLanded: true,
    });
    expect(await stored()).toEqual(once(20));
    await insert(next, rowsFrom(next, 20), behind);
    expect(await stored()).toEqual(once(20));
  });

  test('before the commit was sent leaves nothing', async () => {
    proxy.set({ kind: 'commit-then-cut', message: /read_rows/ }, { times: 1 });
    expect(await refusalOf(insert(next, rowsFrom(next, 20), behind))).toMatchObject({
      failureClass: 'unavailable',
      mayHaveLanded: false,
      retryAtOnce: true,
    });
    expect(await stored()).toEqual(once(0));
    await insert(next, rowsFrom(next, 20), behind);
    expect(await stored()).toEqual(once(20));
  });

  test('that is refused leaves nothing', async () => {
    await proxy.refuse();
    expect(await refusalOf(insert(next, rowsFrom(next, 2), behind))).toMatchObject({ failureClass: 'unavailable' });
    expect(await refusalOf(behind.events.findStored(rowsFrom(next, 2)))).toMatchObject({ failureClass: 'unavailable' });
    expect(await refusalOf(behind.events.inspect(rowsFrom(next, 2)))).toMatchObject({ failureClass: 'unavailable' });
    await expect(behind.isAnswering(new AbortController().signal)).rejects.toThrow();
    await proxy.accept();
    await insert(next, rowsFrom(next, 2), behind);
  });

  test('a server that freezes leaves nothing, and lands it once when it goes on', async () => {
    const impatient = openEventsAt(events.server.url, { timeoutMs: 3_000 });
    // A connection that is open already.
    await impatient.isAnswering(new AbortController().signal);
    events.server.pause();
    const failure = await refusalOf(insert(next, rowsFrom(next, 10), impatient));
    events.server.resume();
    await impatient.close();
    expect(failure).toMatchObject({ failureClass: 'unavailable' });
    await insert(next, rowsFrom(next, 10));
    expect(await stored()).toEqual(once(10));
  });

  test('a transaction has a deadline of its own, however patient its statements are', async () => {
    const statementMs = 10 * 60_000;
    const { pool } = createPostgres({ url: events.server.url, maxConnections: 1, statementMs }, createLog('silent'));
    const store = createEventStore({ pool, clock: systemClock }, { timeoutMs: 100 });
    await pool.query('SELECT 1');
    events.server.pause();
    const failure = await refusalOf(store.insert(batchWith(next, rowsFrom(next, 2))));
    events.server.resume();
    await pool.end();
    expect(failure).toMatchObject({ failureClass: 'unavailable', retryAtOnce: false });
  });
});

describe('one batch among others', () => {
  test('that an insert of the same id waits for is stored by whichever of them commits', async () => {
    const first = new Client({ connectionString: events.server.url });
    await first.connect();
    await first.query(
      `BEGIN; INSERT INTO analytics.event_batches (id, events) VALUES ('${batchWith(next, []).id}', 3)`,
    );
    const second = insert(next, rowsFrom(next, 3));
    await waitingFor(1);
    await first.query('ROLLBACK');
    await second;
    await first.end();
    expect(await stored()).toEqual(once(3));
  });

  test('that holds the same events in another order is no reason for either to fail', async () => {
    const other = new Client({ connectionString: events.server.url });
    await other.connect();
    // The one that waited first gives in.
    await other.query(`SET deadlock_timeout = '1h'; BEGIN`);
    const store = (row: Buffer) =>
      other.query(
        `INSERT INTO analytics.events_raw SELECT r.project_id, r.event_id, r."timestamp", r.received_at, r.expires_at,
        r.is_user, r.is_anonymous, r.event, r.anonymous_id, r.user_id, r.session_id, r.source, r.channel, r.service, r.env,
        r.level, r.trace_id, r.request_id, r.job_id, r.campaign_id, r.tags, r.properties, r.extras, r.properties_sent,
        r.extras_sent FROM analytics.read_rows($1) AS r ON CONFLICT DO NOTHING`,
        [`[${row.toString()}]`],
      );
    const [a, b] = rowsFrom(next, 2) as [Buffer, Buffer];
    await store(b);
    const ours = insert(next, [a, b]);
    await waitingFor(1);
    await store(a);
    await other.query('ROLLBACK');
    await other.end();
    await ours;
    expect(await stored()).toEqual(once(2));
  });

  test('and many of the same events at a time, in any order, are stored once each', async () => {
    const random = randomOf(SEED);
    // Of the present month, since others are stored one batch after another.
    const rows = rowsFrom(next, 300, { receivedAt: Date.now() });
    const shuffled = () =>
      rows
        .map((row) => ({ row, key: random() }))
        .sort((one, other) => one.key - other.key)
        .map(({ row }) => row);
    await Promise.all(Array.from({ length: 4 }, (_, n) => insert(next + n, shuffled())));
    expect(await stored()).toEqual(once(300));
    const [copies] = await events.select(
      `SELECT sum(events)::int AS events, sum(copies)::int AS copies FROM analytics.event_batches WHERE id >= $1 AND id <= $2`,
      [batchWith(next, []).id, batchWith(next + 3, []).id],
    );
    expect(copies).toEqual({ events: 1_200, copies: 900 });
  });

  test('that nobody waits for any more ends in the server too', async () => {
    const holder = new Client({ connectionString: events.server.url });
    await holder.connect();
    await holder.query(`BEGIN; LOCK TABLE analytics.event_counts_hourly`);
    const stop = new AbortController();
    const patient = openEventsAt(events.server.url, { timeoutMs: 10 * 60_000 });
    const ours = refusalOf(patient.events.insert(batchWith(next, rowsFrom(next, 2)), stop.signal));
    await waitingFor(1);
    stop.abort();
    expect(await ours).toMatchObject({ failureClass: 'unavailable', retryAtOnce: false });
    await waitingFor(0);
    await patient.close();
    await holder.query('ROLLBACK');
    await holder.end();
    expect(await stored()).toEqual(once(0));
  });

  test.each(['read committed', 'repeatable read', 'serializable'])(
    'that has a copy in another month, not committed yet, waits for it and adds nothing (%s)',
    async (level) => {
      const storage = openEventsAt(isolatedUrl(events.server.url, level));
      onTestFinished(() => storage.close());
      const now = Date.now();
      const lastMonth = Date.UTC(new Date(now).getUTCFullYear(), new Date(now).getUTCMonth()) - 1;
      await insert(next, rowsFrom(next, 1, { receivedAt: now }));
      await insert(next + 1, rowsFrom(next + 1, 1, { receivedAt: lastMonth }));
      // Both are held up behind their rows, before they commit.
      const holder = new Client({ connectionString: events.server.url });
      await holder.connect();
      await holder.query(`BEGIN; UPDATE analytics.event_counts_hourly SET events = events`);
      const copies = [now, lastMonth].map((receivedAt) => rowsFrom(next + 2, 1, { receivedAt }));
      const inserts = copies.map((rows, n) => insert(next + 2 + n, rows, storage));
      await waitingFor(2);
      await holder.query('ROLLBACK');
      await holder.end();
      await Promise.all(inserts);
      expect(await stored()).toEqual(once(3));
    },
  );

  test('is stored beside others of this month, and beside none of another', async () => {
    const sharing = async (receivedAt: number) => {
      const connection = new Client({ connectionString: events.server.url });
      await connection.connect();
      await connection.query('BEGIN');
      await connection.query(lockMonths([new Date(receivedAt).toISOString().slice(0, 7)], 0));
      const { rows } = await connection.query<{ isFree: boolean }>(
        `SELECT count(*) FILTER (WHERE mode = 'ExclusiveLock') = 0 AS "isFree" FROM pg_locks
         WHERE locktype = 'advisory' AND classid = x'77656972'::int AND objid = 3`,
      );
      await connection.end();
      return rows[0]!.isFree;
    };
    expect(await sharing(Date.now())).toBe(true);
    expect(await sharing(Date.now() + 40 * 24 * 60 * 60_000)).toBe(false);
  });

  /** Resolves when so many statements wait for a lock. */
  async function waitingFor(count: number): Promise<void> {
    for (;;) {
      const [found] = await events.select<{ n: number }>(
        `SELECT count(*)::int AS n FROM pg_stat_activity WHERE wait_event_type = 'Lock'`,
      );
      if (found!.n === count) return;
      await delay(10);
    }
  }
});

test('a batch that landed is not stored again when its rows are gone', async () => {
  await insert(next, rowsFrom(next, 3));
  await events.select('DELETE FROM analytics.events_raw; DELETE FROM analytics.event_counts_hourly');
  await insert(next, rowsFrom(next, 3));
  expect(await stored()).toEqual(once(0));
});

describe('an arrival', () => {
  test.each([
    ['before there were computers', Date.UTC(1970, 0, 1)],
    ['in the last moment of a month', Date.UTC(2031, 1, 28, 23, 59, 59, 999)],
    ['in the first moment of a month', Date.UTC(2031, 3, 1)],
    ['far ahead', Date.UTC(2105, 11, 31, 23, 59)],
    ['where four digits end', Date.UTC(9999, 10, 30)],
  ])('%s finds a partition', async (_, receivedAt) => {
    const rows = [anyRow(next, { receivedAt }), anyRow(next + 1, { receivedAt: receivedAt + 1 })];
    expect((await events.storage.events.inspect(rows)).refusals).toEqual([]);
    await insert(next, rows);
    await insert(next + 1, rows);
    expect(await stored()).toEqual(once(2));
    expect(await events.storage.events.findStored(rows)).toEqual([true, true]);
  });

  test('of one batch in many months is stored where it belongs, whatever time zone the server keeps', async () => {
    await events.select(`ALTER DATABASE weir SET timezone = 'America/St_Johns'`);
    const elsewhere = openEventsAt(events.server.url);
    const rows = Array.from({ length: 30 }, (_, n) => anyRow(next + n, { receivedAt: Date.UTC(2040, n, 1) }));
    await insert(next, rows, elsewhere);
    await elsewhere.close();
    await events.select('ALTER DATABASE weir RESET timezone');
    expect(await stored()).toEqual(once(30));
    const partitions = await events.select<{ name: string }>(
      `SELECT DISTINCT tableoid::regclass::text AS name FROM analytics.events_raw WHERE event_id >= $1 ORDER BY 1`,
      [eventIdOf(next)],
    );
    expect(partitions).toHaveLength(30);
    expect(partitions[0]!.name).toBe('analytics.events_raw_2040_01');
  });

  test('of a copy a month later, or before, is the same event', async () => {
    const arrivedIn = (month: number) => [anyRow(next, { receivedAt: Date.UTC(2026, month, 15) })];
    await insert(next, arrivedIn(4));
    await insert(next + 1, arrivedIn(5));
    await insert(next + 2, arrivedIn(3));
    expect(await stored()).toEqual(once(1));
    for (const month of [3, 5]) expect(await events.storage.events.findStored(arrivedIn(month))).toEqual([true]);
    // Another project's, and one of another name, are others.
    await insert(next + 3, [
      anyRow(next, { receivedAt: Date.UTC(2026, 5, 15), projectId: OTHER_PROJECT }),
      anyRow(next, { receivedAt: Date.UTC(2026, 5, 15), event: '"other"' }),
    ]);
    expect(await stored()).toEqual(once(3));
    expect(await events.storage.events.findStored([anyRow(next, { event: '"third"' })])).toEqual([false]);
  });

  test('of an id and a user links them by whatever arrived first, in any order', async () => {
    const link = (n: number, receivedAt: number, userId: string) =>
      anyRow(n, { event: '"$identify"', receivedAt, anonymousId: `"a${next}"`, userId });
    const at = Date.UTC(2026, 0, 2);
    await insert(next, [link(next, at + 2, '"second"'), link(next + 1, at + 3, '"third"')]);
    const user = async () =>
      (
        await events.select<{ user_id: string }>('SELECT user_id FROM analytics.identities WHERE anonymous_id = $1', [
          `a${next}`,
        ])
      )[0]!.user_id;
    expect(await user()).toBe('second');
    await insert(next + 1, [link(next + 2, at + 1, '"first"'), link(next + 3, at + 4, '"fourth"')]);
    expect(await user()).toBe('first');
  });
});

describe('refused rows', () => {
  /** What reads the table keeps its columns from being changed. */
  beforeAll(() =>
    alter(
      'DROP VIEW analytics.events, analytics.persons, analytics.sessions, monitor.events, analytics_people.events, analytics_people.persons',
    ),
  );

  const alter = (statement: string) => events.pool.query(statement);
  const TRIGGER = `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF NEW.user_id = 'bad' THEN RAISE EXCEPTION 'not this one: %', NEW.user_id; END IF; RETURN NEW; END $$;`;

  const CASES: readonly (readonly [name: string, make: string, unmake: string, code: number | null])[] = [
    [
      'a constraint',
      `ALTER TABLE analytics.events_raw ADD CONSTRAINT not_that_one CHECK (user_id <> 'bad') NOT VALID`,
      'ALTER TABLE analytics.events_raw DROP CONSTRAINT not_that_one',
      23514,
    ],
    [
      'a trigger',
      `${TRIGGER} CREATE TRIGGER refuse BEFORE INSERT ON analytics.events_raw FOR EACH ROW EXECUTE FUNCTION refuse()`,
      'DROP FUNCTION refuse CASCADE',
      null,
    ],
    [
      'a trigger at the end of the transaction',
      `${TRIGGER} CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON analytics.events_raw DEFERRABLE INITIALLY DEFERRED
         FOR EACH ROW EXECUTE FUNCTION refuse()`,
      'DROP FUNCTION refuse CASCADE',
      null,
    ],
    [
      'a narrower column',
      'ALTER TABLE analytics.events_raw ALTER source TYPE varchar(9)',
      'ALTER TABLE analytics.events_raw ALTER source TYPE text',
      22001,
    ],
    [
      'a column that must not be empty any more',
      'DELETE FROM analytics.events_raw WHERE anonymous_id IS NULL; ALTER TABLE analytics.events_raw ALTER anonymous_id SET NOT NULL',
      'ALTER TABLE analytics.events_raw ALTER anonymous_id DROP NOT NULL',
      23502,
    ],
  ];
  const good = { anonymousId: '"a"' };
  const bad = { source: 'too long a source', userId: '"bad"', anonymousId: null };

  test.each(CASES)('by %s are exactly those', async (name, make, unmake, code) => {
    if (name.includes('empty'))
      await alter('DELETE FROM analytics.event_counts_hourly; DELETE FROM analytics.events_raw');
    await alter(make);
    try {
      const random = randomOf(SEED);
      const isBad = Array.from({ length: 100 }, () => random() < 0.1);
      const rows = isBad.map((is, n) => anyRow(next + n, is ? bad : good));
      const places = isBad.flatMap((is, n) => (is ? [n] : []));
      const failure = await refusalOf(insert(next, rows));
      expect(failure).toMatchObject({ failureClass: 'data', code, mayHaveLanded: false });
      expect(failure!.message).not.toMatch(/bad|too long/);
      const { refusals, isComplete } = await events.storage.events.inspect(rows);
      expect(isComplete).toBe(true);
      expect(refusals).toMatchObject([{ rows: places, when: 'storing', isOrdinaryRefused: false }]);
      expect(refusals[0]!.failure).toMatchObject({ failureClass: 'data', code });
      expect(refusals[0]!.failure.message).not.toMatch(/\bbad\b|too long/);
      expect(await stored()).toEqual(once(0));
      await insert(
        next + 1,
        rows.filter((_, n) => !isBad[n]),
      );
      expect(await stored()).toEqual(once(100 - places.length));
    } finally {
      await alter(unmake);
    }
  });

  test('that no Weir wrote are told from their neighbours', async () => {
    const broken = [
      'no JSON\n',
      '\n',
      '1\n',
      '[]\n',
      '{}\n',
      `${anyRow(next + 1)
        .toString()
        .trim()},${anyRow(next + 2).toString()}`,
      anyRow(next + 3)
        .toString()
        .replace('"project_id":"', '"project_id":"x'),
      anyRow(next + 4)
        .toString()
        .replace('{}', '[]'),
      anyRow(next + 5)
        .toString()
        .replace('"extras":{}', '"extras":7'),
    ].map((line) => Buffer.from(line));
    broken.push(Buffer.concat([anyRow(next + 6).subarray(0, -3), Buffer.of(0xff, 0x22, 0x7d, 0x0a)]));
    const rows = [...rowsFrom(next + 100, 3), ...broken, ...rowsFrom(next + 103, 3)];
    expect(await refusalOf(insert(next, rows))).toMatchObject({ failureClass: 'data' });
    const { refusals } = await events.storage.events.inspect(rows);
    const refused = refusals.flatMap((refusal) => refusal.rows).sort((a, b) => a - b);
    // An array in the place of properties is JSON, and stored.
    expect(refused).toEqual([3, 4, 5, 6, 7, 8, 9, 11, 12]);
    expect(refusals.every(({ isOrdinaryRefused }) => !isOrdinaryRefused)).toBe(true);
    expect(await events.storage.events.findStored(rows)).toEqual(rows.map(() => false));
  });

  test.each([
    [
      'a column of another type',
      'ALTER TABLE analytics.events_raw ALTER session_id TYPE bigint USING NULL',
      'ALTER TABLE analytics.events_raw ALTER session_id TYPE text',
    ],
    [
      'a column less',
      'ALTER TABLE analytics.events_raw DROP tags',
      `ALTER TABLE analytics.events_raw ADD tags text[] NOT NULL DEFAULT '{}'`,
    ],
    [
      'no table for counts',
      'ALTER TABLE analytics.event_counts_hourly RENAME TO away',
      'ALTER TABLE analytics.away RENAME TO event_counts_hourly',
    ],
    [
      'no function that reads',
      'ALTER FUNCTION analytics.read_rows RENAME TO away',
      'ALTER FUNCTION analytics.away RENAME TO read_rows',
    ],
  ])('are none where the schema has %s: a person is needed', async (_, make, unmake) => {
    const before = await events.storage.schema.check();
    await alter(make);
    try {
      expect(await refusalOf(insert(next, rowsFrom(next, 3)))).toMatchObject({ failureClass: 'operator' });
      const found = await events.storage.schema.check();
      expect(found).toHaveLength(before.length + 1);
    } finally {
      await alter(unmake);
    }
    await insert(next, rowsFrom(next, 3));
    expect(await stored()).toEqual(once(3));
  });

  test('are none where a partition was taken away and its name is not free', async () => {
    const arrived = { receivedAt: Date.UTC(2033, 4, 5) };
    await insert(next, [anyRow(next, arrived)]);
    await alter('ALTER TABLE analytics.events_raw DETACH PARTITION analytics.events_raw_2033_05');
    const rows = [anyRow(next, arrived), anyRow(next + 1, arrived)];
    expect(await refusalOf(insert(next + 1, rows))).toMatchObject({ failureClass: 'operator' });
    expect(await refusalOf(events.storage.events.inspect(rows))).toMatchObject({ failureClass: 'operator' });
    await alter('ALTER TABLE analytics.events_raw_2033_05 RENAME TO archive');
    await alter('DELETE FROM analytics.event_counts_hourly');
    await insert(next + 1, rows);
    expect(await stored()).toEqual(once(2));
    await alter(
      'DROP TABLE analytics.archive; DELETE FROM analytics.events_raw; DELETE FROM analytics.event_counts_hourly',
    );
  });

  test('are none where no row can be stored, and inspecting them says so', async () => {
    await alter('ALTER TABLE analytics.events_raw ALTER session_id TYPE bigint USING NULL');
    const failure = await refusalOf(events.storage.events.inspect(rowsFrom(next, 3)));
    await alter('ALTER TABLE analytics.events_raw ALTER session_id TYPE text');
    expect(failure).toMatchObject({ failureClass: 'operator' });
  });

  test('are none while the server takes no writes', async () => {
    await alter('ALTER DATABASE weir SET default_transaction_read_only = on');
    const elsewhere = openEventsAt(events.server.url);
    const failures = [
      await refusalOf(insert(next, rowsFrom(next, 3), elsewhere)),
      await refusalOf(elsewhere.events.inspect(rowsFrom(next, 3))),
    ];
    await elsewhere.close();
    await alter('ALTER DATABASE weir RESET default_transaction_read_only').catch(() =>
      alter('SET transaction_read_only = off; ALTER DATABASE weir RESET default_transaction_read_only'),
    );
    expect(failures).toMatchObject([{ failureClass: 'unavailable' }, { failureClass: 'unavailable' }]);
    await insert(next, rowsFrom(next, 3));
  });
});

test.skipIf(findPgBouncer() === null)(
  'behind a pooler that gives every transaction another connection, all is the same',
  async () => {
    const bouncer = await startPgBouncer({
      file: findPgBouncer()!,
      databaseUrl: events.server.url,
      poolMode: 'transaction',
      maxServers: 2,
    });
    const behind = openEventsAt(bouncer.url);
    await Promise.all(Array.from({ length: 8 }, (_, n) => insert(next + n, rowsFrom(next + 10 * n, 10), behind)));
    await insert(next, rowsFrom(next, 10), behind);
    expect(await stored()).toEqual(once(80));
    const { refusals } = await behind.events.inspect([...rowsFrom(next, 2), Buffer.from(`{"${randomUUID()}":1}\n`)]);
    expect(refusals).toMatchObject([{ rows: [2] }]);
    await behind.close();
    await bouncer.stop();
  },
);

warnOf('events in a Postgres whose disk is full');

test.skipIf(isDiskSkipped)('a disk that is full takes nothing and blames nobody', { timeout: 120_000 }, async () => {
  const other = await startPostgresEvents();
  const { pool, server } = other;
  const postgres = { pool } as unknown as Parameters<typeof moveToSmallDisk>[0]['postgres'];
  const disk = await moveToSmallDisk({ databaseUrl: server.url, postgres, postgresServer: server }, 24);
  await disk.fill();
  const rows = Array.from({ length: 2_000 }, (_, n) => anyRow(n));
  const insertThere = () => refusalOf(other.storage.events.insert(batchWith(1, rows)));
  expect(await insertThere()).toMatchObject({ failureClass: 'unavailable', code: 53100, mayHaveLanded: false });
  await disk.clear();
  expect(await insertThere()).toBeNull();
  await other.stop();
  disk.stop();
});
