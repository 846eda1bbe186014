/** What a question about some days reads through the endpoint, of a project with events of many months, and that it is answered alike. */
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { createProjectReader } from '../../src/clickhouse/reading/project-reader.ts';
import { createEventSchema } from '../../src/clickhouse/migrations/event-schema.ts';
import { migrateClickHouse, readMigrations } from '../../src/clickhouse/migrations/migrate.ts';
import { migrateStores } from '../../src/composition/migrate-stores.ts';
import { createLog } from '../../src/log/log.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { randomOf } from '../support/factory.ts';
import { SEED } from '../support/seed.ts';
import { type Stores, startStores } from '../support/stores.ts';

const MONTH = '01890000-0000-7000-8000-000000000001';
const YEAR = '01890000-0000-7000-8000-000000000002';
const ROWS_A_MONTH = 24_000;
const MONTHS = 8;
const HALF_A_DAY = `timestamp >= '2026-05-10' AND timestamp < '2026-05-10 12:00:00'`;

/** Events of twelve names, the same in each month, and some whose clocks were wrong; one in fifty came twice. */
async function insertMonths({ clickhouse }: Stores, project: string, months: number): Promise<void> {
  for (let month = 0; month < months; month += 1) {
    await clickhouse.command({
      query: `INSERT INTO events_raw_v1 (project_id, event_id, event, anonymous_id, user_id, timestamp, properties, extras, source, received_at)
        SELECT '${project}', reinterpretAsUUID(MD5(toString((${month}, n)))), concat('name_', toString(n % 12)), concat('anon-', toString(n % 900)),
          if(n % 7 = 0, concat('user-', toString(n % 90)), NULL),
          if(n % 9973 = 5, toDateTime64('1999-01-01', 3, 'UTC') + n, received_at - 2), '{}', '{}', 'test',
          addMonths(toDateTime64('2026-03-01', 3, 'UTC'), ${month}) + n * 28 * 86400 / ${ROWS_A_MONTH} AS received_at
        FROM (SELECT number - if(number % 50 = 4, 4, 0) AS n FROM numbers(${ROWS_A_MONTH}))`,
      clickhouse_settings: { insert_deduplicate: 0 },
    });
  }
  await clickhouse.command({ query: 'OPTIMIZE TABLE events_raw_v1' });
}

type Answered = {
  readonly rows: readonly string[];
  readonly readRows: number;
  readonly settings: Record<string, unknown>;
};

/** Questions through the endpoint's reader, with what ClickHouse read for the last one. */
function createAsking({ clickhouse, database }: Stores) {
  const stopping = new AbortController();
  const reader = createProjectReader(
    { client: clickhouse, clock: systemClock, stopping: stopping.signal },
    { database },
  );
  let asked = 0;
  return async (project: string, sql: string): Promise<Answered> => {
    const query = vi.spyOn(clickhouse, 'query');
    try {
      const queryId = `reading-days-${process.pid}-${asked++}`;
      const answer = await reader.query(project, sql, { queryId, signal: stopping.signal });
      if (answer.kind !== 'answer') expect.fail(`${sql}: ${JSON.stringify(answer)}`);
      const rows: string[] = [];
      for await (const some of answer.rows) rows.push(...some);
      const run = query.mock.calls.findIndex(([{ query_id }]) => query_id === queryId);
      const { response_headers } = await (query.mock.results[run]!.value as ReturnType<typeof clickhouse.query>);
      const summary = JSON.parse(String(response_headers['x-clickhouse-summary'])) as { read_rows: string };
      return {
        rows: rows.sort(),
        readRows: Number(summary.read_rows),
        settings: query.mock.calls[run]![0].clickhouse_settings ?? {},
      };
    } finally {
      query.mockRestore();
    }
  };
}

const isByDays = ({ settings }: Answered) => settings['use_skip_indexes'] === 1;

let stores: Stores;
let ask: ReturnType<typeof createAsking>;

beforeAll(async () => {
  stores = await startStores();
  await insertMonths(stores, MONTH, 3);
  await insertMonths(stores, YEAR, MONTHS);
  ask = createAsking(stores);
});
afterAll(() => stores.stop());

describe('a question about half a day reads as much of a project of many months as of one of few', () => {
  test.each([
    `SELECT count() FROM events WHERE event = 'name_3' AND ${HALF_A_DAY}`,
    `SELECT event, count() FROM events WHERE ${HALF_A_DAY} GROUP BY event`,
    `SELECT event, count() FROM events_raw_v1 FINAL WHERE ${HALF_A_DAY} GROUP BY event`,
    `SELECT event, count() FROM events_raw_v1 WHERE ${HALF_A_DAY} GROUP BY event`,
    `SELECT count() FROM (SELECT user_id, count() AS n FROM events AS e WHERE toDate(e.timestamp) = '2026-05-10' GROUP BY user_id HAVING n > 1)`,
  ])('%s', async (sql) => {
    const [few, many] = [await ask(MONTH, sql), await ask(YEAR, sql)];
    expect(many.rows).not.toEqual([]);
    expect(many.rows).toEqual(few.rows);
    expect([few, many].map(isByDays)).toEqual([true, true]);
    // Two granules more at most, for what lies in parts that have not been merged.
    expect(many.readRows).toBeLessThanOrEqual(few.readRows * 1.1 + 16_384);
  });
});

describe('questions about some days are answered as though nothing was passed over', () => {
  /** What has to be found by its days, and what is not understood, or about something else. */
  const BY_DAYS = [
    `timestamp BETWEEN '2026-05-31' AND '2026-06-01'`,
    `'2026-05-10 03:00:00' <= timestamp AND '2026-05-10 03:30:00.500' > timestamp`,
    `timestamp = '2026-05-10 00:00:00'`,
    `toDate(timestamp) = '2026-10-27'`,
    `toDate(timestamp) >= toDate('2026-10-20') + 3 AND event != 'name_1'`,
    `toStartOfMonth(timestamp) = '2026-05-01' AND toStartOfHour(timestamp) < '2026-05-02 07:00:00'`,
    `toStartOfWeek(timestamp, 1) = '2026-05-11'`,
    `toDate(timestamp, 'Pacific/Kiritimati') = '2026-05-12'`,
    `timestamp < toDateTime('2026-03-02 00:00:00', 'America/Los_Angeles')`,
    `timestamp >= toStartOfMonth(toDateTime('2026-10-20 11:11:11')) - INTERVAL 1 MONTH AND timestamp < toDateTime64('2026-10-02', 3) - INTERVAL 6 HOUR - 10`,
    `timestamp >= now() - INTERVAL 20 DAY AND timestamp < today() + 1 AND timestamp > yesterday() - toIntervalWeek(4)`,
    `timestamp < '2000-01-01'`,
    `timestamp > '2026-05-10' AND timestamp < '2026-05-09'`,
    `event = 'name_2' AND (timestamp >= '2026-09-01' AND (timestamp < '2026-09-03' AND user_id = 'user-7'))`,
  ] as const;
  const OTHERS = [
    `timestamp >= '2026-05-10' OR event = 'name_1'`,
    `NOT (timestamp >= '2026-05-10')`,
    `timestamp != '2026-05-10'`,
    `received_at >= '2026-10-10'`,
    `toDayOfMonth(timestamp) = 10`,
    `toUnixTimestamp(timestamp) < 1777000000`,
    `timestamp IN ('2026-05-10 00:00:00', '2026-10-20 00:00:00')`,
    `timestamp + INTERVAL 60 DAY < '2026-05-10'`,
  ] as const;

  const plainly = async (sql: string) => {
    const answer = await stores.clickhouse.query({ query: sql, format: 'JSONCompactEachRow' });
    return parsed((await answer.text()).split('\n').filter(Boolean));
  };
  const parsed = (rows: readonly string[]) => [...rows].sort().map((row) => JSON.parse(row) as unknown);
  const SHOWN = 'event, count(), min(timestamp), max(timestamp), groupBitXor(cityHash64(event_id))';

  test.each([...BY_DAYS.map((where) => [where, true] as const), ...OTHERS.map((where) => [where, false] as const)])(
    'where %s',
    async (where, byDays) => {
      for (const from of ['events', 'events_raw_v1']) {
        const sql = (more: string) => `SELECT ${SHOWN} FROM ${from} WHERE (${where}) ${more} GROUP BY event`;
        const given = await ask(YEAR, sql(''));
        expect(parsed(given.rows)).toEqual(await plainly(sql(`AND project_id = '${YEAR}'`)));
        expect(isByDays(given)).toBe(byDays);
      }
    },
  );

  test('whatever days they are about, and however they say so', async () => {
    const random = randomOf(SEED);
    const below = (limit: number) => Math.floor(random() * limit);
    const oneOf = <T>(choices: readonly T[]): T => choices[below(choices.length)]!;
    const instant = () => {
      const at = new Date(Date.UTC(2026, 2, 1) + below(250) * 86_400_000 + below(86_400_000));
      const text = at.toISOString().slice(0, 19).replace('T', ' ');
      const date = text.slice(0, 10);
      const constant = oneOf([
        `'${text}'`,
        `'${date}'`,
        `toDateTime('${text}')`,
        `toDate('${date}')`,
        `toStartOfWeek(toDate('${date}'))`,
      ]);
      const move = oneOf(['', '', ' - INTERVAL 2 DAY', ' + INTERVAL 1 MONTH', ' - toIntervalHour(30)']);
      return constant.startsWith("'") ? constant : constant + move;
    };
    const condition = () => {
      const [op, turned] = oneOf([
        ['>=', '<='],
        ['<', '>'],
        ['<=', '>='],
        ['>', '<'],
        ['=', '='],
      ] as const);
      const column = oneOf(['timestamp', 'timestamp', 'toStartOfDay(timestamp)', 'toStartOfMonth(timestamp)']);
      // A text is read as what it is compared with: only a time takes one of any kind.
      const constant = column === 'timestamp' ? instant() : `toDateTime('2026-06-0${1 + below(9)} 00:00:00')`;
      return below(2) === 0 ? `${column} ${op} ${constant}` : `${constant} ${turned} ${column}`;
    };
    let byDays = 0;
    for (let n = 0; n < 20; n += 1) {
      const where = [condition(), ...(below(2) === 0 ? [condition()] : [])].join(oneOf([' AND ', ' AND ', ' OR ']));
      const sql = (more: string) =>
        `SELECT count(), groupBitXor(cityHash64(event_id)) FROM events WHERE (${where}) ${more}`;
      const given = await ask(YEAR, sql(''));
      expect(parsed(given.rows), where).toEqual(await plainly(sql(`AND project_id = '${YEAR}'`)));
      byDays += Number(isByDays(given));
    }
    expect(byDays).toBeGreaterThan(5);
  });

  test.each([
    `SELECT count() FROM events WHERE event = 'name_1'`,
    `SELECT count() FROM persons WHERE first_seen < '2026-05-10'`,
    `SELECT count() FROM events WHERE ${HALF_A_DAY} AND user_id IN (SELECT user_id FROM events)`,
    `SELECT count() FROM events AS a JOIN events_raw_v1 AS b ON a.event_id = b.event_id WHERE a.timestamp < '2026-03-02' AND b.timestamp < '2026-03-02'`,
    `SELECT count() FROM events AS a RIGHT JOIN identities AS i ON a.anonymous_id = i.anonymous_id WHERE timestamp < '2026-03-02'`,
    `SELECT count(), max(received_at) AS timestamp FROM events WHERE toDate(events.timestamp) < '2026-03-02'`,
    `SELECT count() FROM events WHERE ${HALF_A_DAY} UNION ALL SELECT count() FROM events WHERE event = 'name_1'`,
    `SELECT event, count() OVER () AS n FROM events QUALIFY timestamp < '1999-02-01' LIMIT 10`,
    `SELECT (SELECT count() FROM events WHERE ${HALF_A_DAY}), 'user-1' IN (SELECT distinct_id FROM persons)`,
  ])('all is read for %s', async (sql) => {
    const answer = await ask(YEAR, sql);
    expect(isByDays(answer)).toBe(false);
  });

  test('several SELECTs are about all of their days', async () => {
    const days = (day: string) => `SELECT count() FROM events WHERE toDate(timestamp) = '${day}'`;
    const both = await ask(YEAR, `${days('2026-03-10')} UNION ALL ${days('2026-10-20')}`);
    expect(both.rows).toEqual(
      [...(await ask(YEAR, days('2026-03-10'))).rows, ...(await ask(YEAR, days('2026-10-20'))).rows].sort(),
    );
    expect(isByDays(both)).toBe(true);
  });
});

describe('an installation with events', () => {
  test('gets the index for what it has, and is read as before meanwhile', async () => {
    const installed = await startStores({ isMigrated: false });
    onTestFinished(() => installed.stop());
    const { clickhouse, postgres, database } = installed;
    const before = readMigrations().filter(({ name }) => name < '0014');
    // Without rows the table is rebuilt at once.
    await migrateClickHouse(
      clickhouse,
      database,
      before.filter(({ name }) => name !== '0011_views_by_the_key'),
    );
    const schema = createEventSchema(clickhouse, database);
    for (let { next } = await schema.rebuild.read(); next !== 'none'; { next } = await schema.rebuild.read()) {
      await schema.rebuild.take(next);
    }
    await migrateClickHouse(clickhouse, database, before);
    await insertMonths(installed, YEAR, 3);
    await clickhouse.command({ query: 'SYSTEM STOP MERGES events_raw_v1' });
    const askThere = createAsking(installed);
    const sql = `SELECT event, count() FROM events WHERE toDate(timestamp) = '2026-05-10' GROUP BY event`;
    const first = await askThere(YEAR, sql);
    expect(isByDays(first)).toBe(false);

    await migrateStores({ postgres: postgres.pool, events: schema }, createLog('silent'));
    const meanwhile = await askThere(YEAR, sql);
    expect([meanwhile.rows, meanwhile.readRows, isByDays(meanwhile)]).toEqual([first.rows, first.readRows, true]);
    await clickhouse.command({ query: 'SYSTEM START MERGES events_raw_v1' });
    await vi.waitUntil(
      async () =>
        (await installed.select(`SELECT 1 FROM system.mutations WHERE table = 'events_raw_v1' AND NOT is_done`))
          .length === 0,
      { timeout: 60_000, interval: 50 },
    );
    const after = await askThere(YEAR, sql);
    expect(after.rows).toEqual(first.rows);
    expect(after.readRows).toBeLessThan(first.readRows / 2);
    expect(await schema.check()).toEqual([]);
    expect((await schema.rebuild.read()).next).toBe('none');

    // An index that others add is about all projects' rows: no query of a project may use it.
    await clickhouse.command({
      query: 'ALTER TABLE events_raw_v1 ADD INDEX of_operator lower(source) TYPE bloom_filter GRANULARITY 1',
    });
    const ignored = (await askThere(YEAR, sql)).settings['ignore_data_skipping_indices'];
    expect(String(ignored).split(',')).toEqual(expect.arrayContaining(['user_id_bloom', 'of_operator']));
    expect(String(ignored).split(',')).not.toContain('day_set');
  });
});
