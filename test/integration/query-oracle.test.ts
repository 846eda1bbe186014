/**
 * What is not read tells as much as what is read. Where a condition fails on the
 * asker's own row, the question fails exactly when that row is looked at; and
 * whether it is looked at must not depend on what other projects have stored
 * in the same granule or part. So each question is asked of the asker's rows
 * alone and beside the victims' in one part, fresh and merged (which is when
 * ClickHouse makes its statistics), with a value that a victim has and with one
 * that nobody has.
 *
 * Under ClickHouse's own settings, 83 of the 592 that were tried first gave different
 * answers; with indexes off 51, with pruning by partition off too 57, with
 * statistics off too the 27 that are about columns of the sorting key (decision 11).
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ClickHouseError, type ClickHouseSettings } from '@clickhouse/client';
import { createClickHouse } from '../../src/clickhouse/connection/client.ts';
import { migrateClickHouse } from '../../src/clickhouse/migrations/migrate.ts';
import type { Days } from '../../src/clickhouse/reading/asked-days.ts';
import { DAY_EXPRESSION, otherIndexes } from '../../src/clickhouse/reading/day-index.ts';
import { readSettings } from '../../src/clickhouse/reading/reader-settings.ts';
import { filtersFor } from '../../src/clickhouse/reading/reader-tables.ts';
import { startClickHouseOnly } from '../support/stores.ts';
import { ATTACKER, DATABASE, SECRET, VICTIMS, eventId, rowOf } from '../support/two-projects.ts';

const EARLY = '2026-05-04 12:00:00.000';
const LATE = '2026-05-20 12:00:00.000';
const NEVER = '2031-07-07 12:00:00.000';

const OWN_ROWS = [
  rowOf({ project: ATTACKER, id: 1, event: 'mark', user: 'own', at: EARLY }),
  rowOf({ project: ATTACKER, id: 2, event: '$identify', user: 'own2', at: EARLY }),
];
const VICTIMS_ROWS = VICTIMS.flatMap((project) => [
  rowOf({ project, id: 1, event: 'mark', user: SECRET, at: LATE }),
  rowOf({ project, id: 2, event: '$identify', user: SECRET, at: LATE }),
  rowOf({ project, id: 3, event: 'zeal', user: `${SECRET}3`, at: LATE }),
]);
const TABLES = ['events_raw_v1', 'event_counts_hourly', 'identity_links', 'event_users'];

/** A question about some days passes over granules by what all projects have in them: of the asker's own days, of the victims', of both, of none's. */
const dayOf = (stamp: string) => Math.floor(Date.parse(`${stamp.slice(0, 10)}T00:00:00Z`) / 86_400_000) + 719_528;
const DAYS: Readonly<Record<string, Days | null>> = {
  'all days': null,
  'own days': { from: dayOf(EARLY), to: dayOf(EARLY) },
  'days of others': { from: dayOf(LATE), to: dayOf(LATE) },
  'own days and those of others': { from: dayOf(EARLY), to: null },
  'days of nobody': { from: dayOf(NEVER), to: dayOf(NEVER) },
};

/** A value that only victims have, and one that nobody has. */
type Values = readonly [theirs: string, nobodys: string];
const label = (suffix = ''): Values => [`'${SECRET}${suffix}'`, `'nobody${suffix}'`];
const instant: Values = [`'${LATE}'`, `'${NEVER}'`];
const second: Values = ["'2026-05-20 12:00:00'", "'2031-07-07 12:00:00'"];
const name: Values = ["'zeal'", "'yarn'"];

/** Columns with an index, or that partitions go by. */
const INDEXED: Record<string, Values> = {
  event_id: [`'${eventId(VICTIMS[0], 1)}'`, `'${eventId(VICTIMS[0], 77)}'`],
  user_id: label(),
  anonymous_id: label('-anon'),
  trace_id: label(),
  request_id: label(),
  job_id: label(),
  campaign_id: label(),
  received_at: instant,
};
const OTHERS: Record<string, Values> = {
  session_id: label('-session'),
  channel: label(),
  service: label('-service'),
  env: label(),
  level: label(),
  properties: [`'{"note":"${SECRET}"}'`, `'{"note":"nobody"}'`],
};
/** Of the sorting key: where the asker's rows begin and end in a granule is not hidden. */
const IN_ORDER: Record<string, Values> = { event: name, timestamp: instant };

type Condition = (column: string, value: string) => string;
const EQUAL: Condition = (column, value) => `${column} = ${value}`;
/** Each way a condition can reach an index, a partition or statistics. */
const EVERY_WAY: readonly Condition[] = [
  EQUAL,
  (column, value) => `${column} >= ${value}`,
  (column, value) => `${column} IN (${value})`,
  (column, value) => `(${column} = ${value} OR source = 'x')`,
];

/** What can be asked, with a condition that fails on the asker's own row. */
const RELATIONS: readonly { from: string; failing: string; columns: Record<string, Values> }[] = [
  { from: 'events_raw_v1', failing: "intDiv(1, event != 'mark') = 1", columns: { ...INDEXED, ...OTHERS, ...IN_ORDER } },
  { from: 'events_raw_v1 FINAL', failing: "intDiv(1, event != 'mark') = 1", columns: { ...INDEXED, ...IN_ORDER } },
  {
    from: 'events',
    failing: "intDiv(1, event != 'mark') = 1",
    columns: { ...INDEXED, ...IN_ORDER, distinct_id: label() },
  },
  {
    from: 'persons',
    failing: "intDiv(1, distinct_id != 'own') = 1",
    columns: { distinct_id: label(), first_seen: instant, last_seen: instant },
  },
  {
    from: 'sessions',
    failing: "intDiv(1, session_id != 'own-session') = 1",
    columns: { session_id: label('-session'), distinct_id: label(), started_at: instant, ended_at: instant },
  },
  {
    from: 'identities',
    failing: "intDiv(1, user_id != 'own2') = 1",
    columns: { user_id: label(), anonymous_id: label('-anon') },
  },
  {
    from: 'event_counts_hourly',
    failing: "intDiv(1, event != 'mark') = 1",
    columns: { channel: label(), event: name, hour: second },
  },
  {
    from: 'monitor.events',
    failing: "intDiv(1, name != 'mark') = 1",
    columns: {
      trace_id: label(),
      request_id: label(),
      job_id: label(),
      service: label('-service'),
      name,
      timestamp: instant,
    },
  },
];

type Question = { readonly sql: string; readonly otherwise: string; readonly isInOrder: boolean };
const QUESTIONS: readonly Question[] = [
  ...RELATIONS.flatMap(({ from, failing, columns }) =>
    Object.entries(columns).map(([column, values]) => questionOf(from, { failing, column, values, condition: EQUAL })),
  ),
  ...Object.entries({ user_id: label(), received_at: instant, expires_at: second, timestamp: instant }).flatMap(
    ([column, values]) =>
      EVERY_WAY.map((condition, way) =>
        questionOf(way % 2 === 0 ? '(SELECT * FROM events_raw_v1)' : 'events_raw_v1', {
          failing: "intDiv(1, event != 'mark') = 1",
          column,
          values,
          condition,
        }),
      ),
  ),
];

function questionOf(
  from: string,
  {
    failing,
    column,
    values: [theirs, nobodys],
    condition,
  }: { failing: string; column: string; values: Values; condition: Condition },
): Question {
  const asked = (value: string) => `SELECT count() FROM ${from} WHERE ${failing} AND ${condition(column, value)}`;
  return { sql: asked(theirs), otherwise: asked(nobodys), isInOrder: isSorted(from, column) };
}

function isSorted(from: string, column: string) {
  if (from === 'event_counts_hourly') return true;
  if (from === 'identities') return column === 'anonymous_id';
  return ['event', 'timestamp', 'event_id', 'name'].includes(column);
}

let server: Awaited<ReturnType<typeof startClickHouseOnly>>;
let client: ReturnType<typeof createClickHouse>;
/** The answers by the days that are asked about, and by what was stored, and how. */
const answers = new Map(Object.keys(DAYS).map((days) => [days, new Map<string, ReadonlyMap<string, string>>()]));
/** All indexes but that of days. */
let others: string | null = null;
/** By the wall that was taken away, the answers for a value that a victim has and for one that nobody has. */
const controls = new Map<string, readonly [string, string]>();
let known: string[] = [];
const RELATIONS_THERE = TABLES.map((table) => ({
  database: DATABASE,
  name: table,
  engine: 'MergeTree',
  hasProjectId: true,
  hasExpiry: table === 'events_raw_v1',
  isReadable: table !== 'identity_links',
}));

async function store(values: readonly object[]) {
  for (const table of TABLES) await client.command({ query: `TRUNCATE TABLE ${table}` });
  await client.insert({ table: 'events_raw_v1', format: 'JSONEachRow', values });
}
async function merge() {
  for (const table of TABLES) await client.command({ query: `OPTIMIZE TABLE ${table} FINAL` });
}
/** As the reader asks once its guard has nothing against it; `change` takes walls away. */
async function outcome(
  query: string,
  change: (settings: ClickHouseSettings) => void = () => {},
  days: Days | null = null,
): Promise<string> {
  const filters = filtersFor(ATTACKER, RELATIONS_THERE, { days });
  const settings = readSettings(filters, known, days === null ? null : others);
  change(settings);
  try {
    const answer = await client.query({ query, format: 'JSONCompactEachRow', clickhouse_settings: settings });
    return await answer.text();
  } catch (error) {
    return String(error instanceof ClickHouseError ? error.code : error);
  }
}

async function askAll(situation: string) {
  for (const [name, days] of Object.entries(DAYS)) {
    const given = new Map<string, string>();
    const waiting = QUESTIONS.flatMap(({ sql, otherwise }) => [sql, otherwise]);
    const askInTurn = async () => {
      for (let sql = waiting.pop(); sql !== undefined; sql = waiting.pop()) {
        given.set(sql, await outcome(sql, undefined, days));
      }
    };
    await Promise.all([askInTurn(), askInTurn(), askInTurn(), askInTurn()]);
    answers.get(name)!.set(situation, given);
    // So that all of this speaks of something.
    const isOwn = days === null || days.from === dayOf(EARLY);
    expect(await outcome('SELECT count() FROM events_raw_v1', undefined, days)).toContain(isOwn ? '2' : '0');
    if (isOwn) expect([...given.values()]).toContain('153');
  }
}

beforeAll(async () => {
  server = await startClickHouseOnly();
  client = createClickHouse({ url: server.url, database: DATABASE, maxConnections: 8 });
  await migrateClickHouse(client, DATABASE);
  const settings = client.query({
    query: 'SELECT name FROM system.settings WHERE NOT is_obsolete',
    format: 'JSONCompactEachRow',
  });
  known = (await (await settings).json<[string]>()).map(([setting]) => setting);
  const found = client.query({
    query: `SELECT name, expr FROM system.data_skipping_indices WHERE database = '${DATABASE}' AND table = 'events_raw_v1'`,
    format: 'JSONCompactEachRow',
  });
  const indexes = await (await found).json<[string, string]>();
  others = otherIndexes({ indexes: indexes.map((index) => index.join(' ')), columns: [] });
  expect(others).not.toBeNull();
  await store(OWN_ROWS);
  await askAll('alone');
  await store([...OWN_ROWS, ...VICTIMS_ROWS]);
  await askAll('in one part');
  await merge();
  await askAll('in one part, merged');
  await askControls();
}, 600_000);
afterAll(async () => {
  await client.close();
  await server.discard();
});

async function askControls() {
  for (const [wall, names, column, [theirs, nobodys]] of [
    ['indexes', ['use_skip_indexes'], 'user_id', label()],
    ['partitions', ['use_partition_pruning'], 'received_at', instant],
    ['statistics', ['use_statistics', 'use_statistics_for_part_pruning'], 'timestamp', instant],
  ] as const) {
    const asked = (value: string) =>
      outcome(
        `SELECT count() FROM events_raw_v1 WHERE intDiv(1, event != 'mark') = 1 AND ${column} = ${value}`,
        (settings) => {
          for (const name of names) delete settings[name];
        },
      );
    controls.set(wall, [await asked(theirs), await asked(nobodys)]);
  }
  const named = (stamp: string) =>
    outcome(
      `SELECT count() FROM events_raw_v1 WHERE intDiv(1, event != 'mark') = 1 AND ${DAY_EXPRESSION} = ${dayOf(stamp)}`,
      undefined,
      { from: null, to: dayOf(NEVER) },
    );
  controls.set('days, if a query could name their index,', [await named(LATE), await named(NEVER)]);
}

/** Without a wall: ClickHouse passes over the asker's row or not, by what others have stored. */
test.each(['indexes', 'partitions', 'statistics', 'days, if a query could name their index,'])(
  'control: the %s tell',
  (wall) => {
    const [theirs, nobodys] = controls.get(wall)!;
    expect(theirs).not.toBe(nobodys);
  },
);

describe.each(QUESTIONS)('$sql', ({ sql, otherwise }) => {
  test('is answered alike whether or not anybody has the value', () => {
    for (const [days, situations] of answers) {
      for (const [situation, given] of situations) {
        expect(given.get(sql), `${days}, ${situation}`).toBe(given.get(otherwise));
      }
    }
  });
});

describe.each(QUESTIONS.filter(({ isInOrder }) => !isInOrder))('$sql', ({ sql }) => {
  test('is answered alike beside and without others', () => {
    for (const [days, situations] of answers) {
      expect(new Set([...situations.values()].map((given) => given.get(sql))), days).toHaveLength(1);
    }
  });
});
