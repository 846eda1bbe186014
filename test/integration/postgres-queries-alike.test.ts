/**
 * The same events in ClickHouse and in Postgres: whoever asks one or the other sees the same people, sessions and counts.
 * Copies, late and back-dated events, ids that mean nobody, links in any order of arrival.
 */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openClickHouse } from '../../src/clickhouse/event-storage.ts';
import type { ProjectId } from '../../src/event/event.ts';
import { createLog } from '../../src/log/log.ts';
import type { BatchId } from '../../src/pipeline/batch.ts';
import type { CountQuestion } from '../../src/pipeline/read-ports.ts';
import type { EventReading, EventStorage } from '../../src/pipeline/storage-port.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { randomOf } from '../support/factory.ts';
import { type PostgresEvents, createProjectAsking, startPostgresEvents } from '../support/postgres-reading.ts';
import { SEED } from '../support/seed.ts';
import { startClickHouseOnly } from '../support/stores.ts';

const PROJECTS = ['01890000-0000-7000-8000-000000000001', '01890000-0000-7000-8000-000000000002'] as const;
const START = Date.parse('2026-03-30T22:00:00Z');
const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;

let server: Awaited<ReturnType<typeof startClickHouseOnly>>;
let clickhouse: EventStorage;
let columnar: EventReading;
let postgres: PostgresEvents;

type Sent = Record<string, unknown> & { readonly at: number; readonly receivedAt: number };

const random = randomOf(SEED);
const upTo = (n: number) => Math.floor(random() * n);
const oneOf = <T>(items: readonly T[]): T => items[upTo(items.length)]!;

const NOBODY = [
  'undefined',
  'null',
  '',
  ' ',
  '00000000-0000-0000-0000-000000000000',
  '{{user.id}}',
  'NaN',
  '[object Object]',
  'ANON',
  ' guest ',
];
const USERS = ['u-1', 'u-2', 'ü-3', 'u-4', 'nullable', ...NOBODY];
const ANONYMOUS = ['a-1', 'a-2', 'a-3', 'a-4', 'u-1', 'Ä-5', 'zz', ...NOBODY];
const NAMES = ['visit', 'visit', 'bought', '$identify', '$identify', '$alias', 'é 🎉', "quote'd"];
const SESSIONS = [null, 's-1', 's-2', 's-3', 'sess ion', 'Sé'];

/** Each at a moment of its own, so that the last event of a session is one. */
function eventsOf(count: number): Sent[] {
  return Array.from({ length: count }, (_, n) => {
    const at = START + oneOf([0, 0, 1, 2, 20, 45]) * DAY_MS + n * 1_237 + upTo(600) * MINUTE_MS * 1;
    const isLate = random() < 0.2;
    return {
      project_id: oneOf(PROJECTS),
      event_id: randomId(),
      event: oneOf(NAMES),
      ...(random() < 0.8 && { anonymous_id: oneOf(ANONYMOUS) }),
      ...(random() < 0.6 && { user_id: oneOf(USERS) }),
      session_id: oneOf(SESSIONS),
      properties: { n, plan: oneOf(['pro', 'free']), text: oneOf(['é', '"', '\\', 'a b']) },
      extras:
        random() < 0.5
          ? {}
          : {
              service: oneOf(['billing', 'mail', '']),
              channel: oneOf(['ads', 'é', '']),
              level: 'info',
              trace_id: oneOf(['t1', '']),
              env: 7,
              tags: ['x', 'y', 3],
              more: { a: 1 },
            },
      source: oneOf(['native', 'native', 'segment', 'amplitude', 'mixpanel']),
      at: at - (at % 1) + n,
      // A client sends late what it kept, and some clocks go before.
      receivedAt: at + (isLate ? upTo(20 * DAY_MS) : upTo(MINUTE_MS) - MINUTE_MS / 2),
    };
  });
}

function randomId(): string {
  const hex = (length: number) => Array.from({ length }, () => upTo(16).toString(16)).join('');
  return `${hex(8)}-${hex(4)}-4${hex(3)}-8${hex(3)}-${hex(12)}`;
}

const iso = (ms: number) => new Date(ms).toISOString();
/** In the order of `event/row.ts`. */
const rowOf = ({ at, receivedAt, ...sent }: Sent) => ({
  project_id: sent['project_id'],
  event_id: sent['event_id'],
  event: sent['event'],
  anonymous_id: sent['anonymous_id'] ?? null,
  user_id: sent['user_id'] ?? null,
  timestamp: iso(at),
  session_id: sent['session_id'],
  properties: sent['properties'],
  extras: sent['extras'],
  source: sent['source'],
  received_at: iso(receivedAt),
  ...(sent['expires_at'] !== undefined && { expires_at: sent['expires_at'] }),
});

async function insert(sent: readonly Sent[]): Promise<void> {
  const bytes = Buffer.from(sent.map((one) => `${JSON.stringify(rowOf(one))}\n`).join(''));
  const batch = { id: randomUUID() as BatchId, chunks: [bytes] };
  await Promise.all([clickhouse.events.insert(batch), postgres.storage.events.insert(batch)]);
}

beforeAll(async () => {
  server = await startClickHouseOnly();
  postgres = await startPostgresEvents();
  clickhouse = openClickHouse(
    {
      access: { url: server.url, username: 'default', password: '', key: null },
      database: 'analytics',
      maxInFlight: 2,
      insertTimeoutMs: 60_000,
      maxQueries: 4,
      workers: 1,
    },
    { clock: systemClock, log: createLog('silent') },
  );
  await clickhouse.schema.migrate();
  const { signal } = new AbortController();
  columnar = clickhouse.openReading({ downSignal: () => signal, stopping: signal });
  const events = eventsOf(1_200);
  const expired = eventsOf(30).map((sent) => ({ ...sent, expires_at: '2026-05-01T00:00:00Z' }));
  const copies = events.slice(0, 300).map((sent) => ({ ...sent, receivedAt: sent.receivedAt + upTo(9 * DAY_MS) + 1 }));
  const all = [...events, ...expired];
  all.sort(() => random() - 0.5);
  // Some copies come with what they are copies of, others days later.
  for (let from = 0; from < all.length; from += 100) await insert(all.slice(from, from + 100));
  await insert([...copies.slice(0, 150), ...copies.slice(0, 50)]);
  await insert(copies.slice(150));
});
afterAll(async () => {
  await Promise.all([clickhouse?.close(), postgres?.stop()]);
  await server?.discard();
});

type Answer = { readonly columns: readonly { readonly name: string }[]; readonly rows: readonly string[] };

/** Rows as values, sorted as text: documents in one form, and truth as truth. */
async function rowsOf(reading: EventReading, project: string, sql: string): Promise<unknown[][]> {
  const answer = JSON.parse(await createProjectAsking(reading.projectReader, project).ask(sql)) as Answer;
  expect(answer, sql).toHaveProperty('rows');
  const names = answer.columns.map(({ name }) => name);
  const rows = answer.rows.map((row) =>
    (JSON.parse(row) as unknown[]).map((value, index) => {
      const name = names[index]!;
      if (['properties', 'extras', 'data'].includes(name)) return typeof value === 'string' ? JSON.parse(value) : value;
      return name === 'is_identified' ? Boolean(value) : value;
    }),
  );
  return rows.sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
}

const EVENTS =
  'project_id, event_id, event, timestamp, distinct_id, user_id, anonymous_id, session_id, properties, extras, source, channel, service, env, level, trace_id, request_id, job_id, campaign_id, tags';

describe.each(PROJECTS)('project %s', (project) => {
  test.each([
    [`SELECT ${EVENTS} FROM events`, 400],
    ['SELECT * FROM persons', 4],
    ['SELECT * FROM sessions', 4],
    ['SELECT project_id, anonymous_id, user_id FROM identities', 3],
    ['SELECT timestamp, service, name, env, job_id, request_id, trace_id, level, data FROM monitor.events', 50],
    ['SELECT distinct_id, count(*) AS n FROM events GROUP BY distinct_id', 4],
    ...['u-1', 'a-1', 'ü-3', 'Ä-5', 'undefined'].flatMap((person): [string, number][] => [
      [`SELECT ${EVENTS} FROM events WHERE distinct_id = '${person}'`, 0],
      [`SELECT * FROM persons WHERE distinct_id = '${person}'`, 0],
      [`SELECT * FROM sessions WHERE distinct_id = '${person}'`, 0],
    ]),
    ["SELECT * FROM persons WHERE distinct_id IN ('u-1', 'u-2', 'a-1', 'null')", 1],
    ["SELECT * FROM sessions WHERE session_id = 's-1'", 1],
    [
      "SELECT event, count(*) AS n FROM events WHERE event = 'bought' AND timestamp >= '2026-04-01 00:00:00' GROUP BY event",
      1,
    ],
  ])('%s', async (sql, atLeast) => {
    const expected = await rowsOf(columnar, project, sql);
    expect(expected.length).toBeGreaterThanOrEqual(atLeast);
    expect(await rowsOf(postgres.reading, project, sql)).toEqual(expected);
  });

  test('counts are alike, by any group and in any window', { timeout: 120_000 }, async () => {
    const { signal } = new AbortController();
    for (let round = 0; round < 30; round++) {
      const fromMs = START + upTo(50 * DAY_MS) - DAY_MS - (round % 2) * upTo(1_000);
      const question: CountQuestion = {
        projectId: project as ProjectId,
        event: oneOf(NAMES),
        fromMs,
        toMs: fromMs + 1 + upTo(oneOf([MINUTE_MS * 90, DAY_MS, 40 * DAY_MS])),
        groupBy: oneOf([null, 'channel', 'hour', 'day'] as const),
        isExact: true,
      };
      const expected = await columnar.countEvents(question, signal);
      expect(await postgres.reading.countEvents(question, signal), JSON.stringify(question)).toEqual(expected);
    }
  });
});

describe('counts of Postgres', () => {
  const { signal } = new AbortController();

  /** The events of the last expired ones still count by the hour: these windows have none. */
  test('are exact whether or not that is asked for, while there are few', { timeout: 120_000 }, async () => {
    await postgres.pool.query('DELETE FROM analytics.events_raw WHERE expires_at < now()');
    await postgres.pool.query(
      `TRUNCATE analytics.event_counts_hourly;
       INSERT INTO analytics.event_counts_hourly (project_id, event, hour, channel, events)
       SELECT project_id, event, date_trunc('hour', "timestamp", 'UTC'), left(channel, 200), count(*)
       FROM analytics.events_raw GROUP BY 1, 2, 3, 4`,
    );
    for (let round = 0; round < 30; round++) {
      const fromMs = START + upTo(50 * DAY_MS) - DAY_MS;
      const question: CountQuestion = {
        projectId: oneOf(PROJECTS) as string as ProjectId,
        event: oneOf(NAMES),
        fromMs,
        toMs: fromMs + 1 + upTo(oneOf([MINUTE_MS * 90, DAY_MS, 40 * DAY_MS])),
        groupBy: oneOf([null, 'channel', 'hour', 'day'] as const),
        isExact: false,
      };
      const exact = await postgres.reading.countEvents({ ...question, isExact: true }, signal);
      expect(await postgres.reading.countEvents(question, signal), JSON.stringify(question)).toEqual(exact);
    }
  });

  test(
    'of many events come from kept days, and those of a day that has changed do not',
    { timeout: 120_000 },
    async () => {
      const project = '01890000-0000-7000-8000-000000000009' as ProjectId;
      const first = Date.UTC(2026, 8, 1);
      await postgres.pool.query(
        `INSERT INTO analytics.events_raw (project_id, event_id, event, "timestamp", received_at, is_user, is_anonymous, user_id,
         source, channel, service, env, level, trace_id, request_id, job_id, campaign_id, tags, properties, extras)
       SELECT $1, gen_random_uuid(), 'many', at, now(), true, false, 'u' || (n * 7919 % 30011), 'native', '', '', '', '', '', '', '', '', '{}', '{}', '{}'
       FROM generate_series(1, 60000) AS n, LATERAL (SELECT $2::timestamptz + n * interval '10 seconds' AS at)`,
        [project, iso(first)],
      );
      await postgres.pool.query(
        `INSERT INTO analytics.event_counts_hourly (project_id, event, hour, channel, events)
       SELECT project_id, event, date_trunc('hour', "timestamp", 'UTC'), channel, count(*) FROM analytics.events_raw
       WHERE project_id = $1 GROUP BY 1, 2, 3, 4`,
        [project],
      );
      const ask = (isExact: boolean, fromMs = first, toMs = first + 8 * DAY_MS) =>
        postgres.reading.countEvents(
          { projectId: project, event: 'many', fromMs, toMs, groupBy: 'day', isExact },
          signal,
        );
      const exact = await ask(true);
      expect(exact.total.events).toBe(60_000);
      expect(await ask(false)).toEqual(exact);

      while ((await postgres.storage.upkeep.doSome(7 * 24 * 60 * 60 + 1)) > 0);
      const kept = 'SELECT count(*)::int AS days, sum(users)::int AS users FROM analytics.event_users_daily';
      const { rows } = await postgres.pool.query<{ days: number; users: number }>(kept);
      expect(rows[0]!.days).toBeGreaterThan(5);
      const near = (users: number) => Math.abs(users - exact.total.users) / exact.total.users;
      const quick = await ask(false);
      expect(quick.groups).toEqual(exact.groups);
      expect(quick.total.events).toBe(exact.total.events);
      expect(near(quick.total.users)).toBeLessThan(0.01);

      // An event that comes late, of somebody new: the day is read again, and no other.
      await postgres.insert([
        rowOf({
          ...eventsOf(1)[0]!,
          project_id: project,
          event: 'many',
          user_id: 'somebody new',
          at: first + DAY_MS + 5,
          receivedAt: Date.now(),
        }),
      ]);
      const after = await ask(false);
      expect(after.groups).toEqual((await ask(true)).groups);
      expect(after.total.events).toBe(60_001);

      // Edges that are no whole hours or days.
      const [fromMs, toMs] = [first + 12_345_678, first + 6 * DAY_MS + 54_321_987];
      const edged = await ask(false, fromMs, toMs);
      const edgedExactly = await ask(true, fromMs, toMs);
      expect(edged.groups).toEqual(edgedExactly.groups);
      expect(edged.total.events).toBe(edgedExactly.total.events);
      expect(Math.abs(edged.total.users - edgedExactly.total.users) / edgedExactly.total.users).toBeLessThan(0.01);
    },
  );

  test('take no longer than they may, and stop for whoever leaves', async () => {
    const question = {
      projectId: PROJECTS[0] as string as ProjectId,
      event: 'visit',
      fromMs: 0,
      toMs: Date.now(),
      groupBy: null,
      isExact: true,
    } as const;
    await expect(postgres.reading.countEvents(question, AbortSignal.abort())).rejects.toMatchObject({
      name: 'ReadFailure',
      kind: 'unavailable',
    });
    const leaving = new AbortController();
    const counting = postgres.reading.countEvents(question, leaving.signal);
    leaving.abort();
    await expect(counting).rejects.toMatchObject({ name: 'ReadFailure' });
    expect((await postgres.reading.countEvents(question, signal)).total.events).toBeGreaterThan(0);
  });
});
