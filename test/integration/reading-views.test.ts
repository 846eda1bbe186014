/** The views of what was stored: what they show, as one that sorts all events of a project by id would, and what they read for it. */
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { createEventSchema } from '../../src/clickhouse/migrations/event-schema.ts';
import { isAfterRebuild, migrateClickHouse, readMigrations } from '../../src/clickhouse/migrations/migrate.ts';
import { createProjectReader } from '../../src/clickhouse/reading/project-reader.ts';
import { migrateStores } from '../../src/composition/migrate-stores.ts';
import { finishRebuild } from '../../src/composition/table-rebuild.ts';
import { createLog } from '../../src/log/log.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { randomOf } from '../support/factory.ts';
import { type Stores, startStores } from '../support/stores.ts';
import { SEED } from '../support/seed.ts';

const PROJECTS = ['01890000-0000-7000-8000-000000000001', '01890000-0000-7000-8000-000000000002'] as const;
const HOUR_MS = 3_600_000;
const START = Date.parse('2026-03-30T22:00:00Z');

let stores: Stores;

beforeAll(async () => {
  stores = await startStores();
  await sortingViews();
  for (const rows of partsOf(randomEvents(600))) await insert(rows);
});
afterAll(() => stores.stop());

/** The views as they were before the sorting key could say which rows are copies, under other names. */
async function sortingViews(): Promise<void> {
  const textOf = (file: string) =>
    readFileSync(new URL(`../../clickhouse-migrations/${file}.sql`, import.meta.url), 'utf8');
  const viewOf = (text: string, name: string) => {
    const start = text.indexOf(`CREATE OR REPLACE VIEW ${name} AS`);
    return text
      .slice(start, text.indexOf(';\n', start))
      .replace(`VIEW ${name} AS`, `VIEW sorted_${name} AS`)
      .replace('FROM events AS e', 'FROM sorted_events AS e');
  };
  const last = textOf('0009_ids_of_nobody');
  for (const text of [viewOf(last, 'events'), viewOf(last, 'persons'), viewOf(textOf('0004_views'), 'sessions')]) {
    await stores.clickhouse.command({ query: text });
  }
}

type Row = Record<string, unknown>;

/** Events of two projects over two months, with copies: the same bytes again, corrected clocks, late ones; back-dated and expired ones. */
function randomEvents(count: number): Row[] {
  const { below, oneOf } = dice(SEED);
  return Array.from({ length: count }, (_, index) => {
    const at = START + below(40) * 24 * HOUR_MS + below(HOUR_MS - 10_000);
    const receivedAt = at + below(5_000) + (below(10) === 0 ? 20 * 24 * HOUR_MS : 0);
    const person = below(30);
    // Another event about the same thing, under its id.
    const isRelated = below(12) === 0;
    const event: Row = {
      project_id: oneOf(PROJECTS),
      event_id: `01890000-0000-7000-8000-${String(isRelated ? index : index + 1).padStart(12, '0')}`,
      event: isRelated ? 'followed' : oneOf(['page_viewed', 'signed_up', '$identify', 'order_paid']),
      anonymous_id: oneOf([`a${person}`, `a${person}`, 'undefined', '', null]),
      user_id: oneOf([`u${person}`, null, null, 'null']),
      timestamp: stampOf(at),
      session_id: oneOf([`s${below(60)}`, null]),
      properties: JSON.stringify({ n: below(1_000) }),
      extras: oneOf(['{}', '{"service":"mail","level":"info"}']),
      source: 'native',
      received_at: stampOf(receivedAt),
      ...(below(15) === 0 && { expires_at: '2026-01-01 00:00:00' }),
    };
    const again = { ...event, received_at: stampOf(receivedAt + 1 + below(40) * 24 * HOUR_MS) };
    const corrected = {
      ...again,
      timestamp: stampOf(at + below(10_000)),
      properties: '{"n":-1}',
      user_id: oneOf([event['user_id'], event['user_id'], `u${below(30)}`]),
    };
    return [event, ...oneOf<Row[]>([[], [], [], [event], [again], [corrected]])];
  }).flat();
}

function dice(seed: number) {
  const random = randomOf(seed);
  const below = (limit: number) => Math.floor(random() * limit);
  return { below, oneOf: <T>(choices: readonly T[]): T => choices[below(choices.length)]! };
}

const stampOf = (ms: number) => new Date(ms).toISOString().replace('T', ' ').replace('Z', '');

/** As inserts of their own, in no order. */
function partsOf(rows: readonly Row[]): Row[][] {
  const { below } = dice(SEED + 1);
  const parts: Row[][] = Array.from({ length: 7 }, () => []);
  for (const row of rows) parts[below(parts.length)]!.push(row);
  return parts;
}

async function insert(values: Row[]): Promise<void> {
  await stores.clickhouse.insert({ table: 'events_raw_v1', values, format: 'JSONEachRow' });
}

async function rowsOf(query: string): Promise<string[]> {
  const answer = await stores.clickhouse.query({ query, format: 'JSONCompactEachRow' });
  return (await answer.text()).split('\n').sort();
}

describe('what they show', () => {
  test.each(['events', 'persons', 'sessions'])('%s: the same rows as by sorting all of a project', async (view) => {
    for (const project of PROJECTS) {
      const of = `WHERE project_id = '${project}'`;
      const shown = await rowsOf(`SELECT * FROM ${view} ${of}`);
      expect(shown.length).toBeGreaterThan(20);
      expect(shown).toEqual(await rowsOf(`SELECT * FROM sorted_${view} ${of}`));
    }
    expect(await rowsOf(`SELECT * FROM ${view}`)).toEqual(await rowsOf(`SELECT * FROM sorted_${view}`));
  });

  test.each([
    `event = 'order_paid' AND timestamp >= '2026-04-01' AND timestamp < '2026-04-20 12:00:00'`,
    `timestamp >= '2026-04-10' AND timestamp < '2026-04-11'`,
    `user_id = 'u3'`,
    `distinct_id = 'u3'`,
    `distinct_id = 'a7' OR session_id = 's9'`,
    `JSONExtractInt(properties, 'n') = -1`,
    `received_at >= '2026-05-01'`,
  ])('events where %s', async (condition) => {
    const where = `WHERE project_id = '${PROJECTS[0]}' AND (${condition})`;
    expect(await rowsOf(`SELECT * FROM events ${where}`)).toEqual(await rowsOf(`SELECT * FROM sorted_events ${where}`));
  });

  test('the events of one person, asked for through the endpoint, are those that all of them together show', async () => {
    const stopping = new AbortController();
    const asked = vi.spyOn(stores.clickhouse, 'query');
    onTestFinished(() => asked.mockRestore());
    const reader = createProjectReader(
      { client: stores.clickhouse, clock: systemClock, stopping: stopping.signal },
      { database: stores.database },
    );
    /** What was read of the events for the last answer. */
    const filter = () => JSON.stringify(asked.mock.lastCall?.[0].clickhouse_settings?.['additional_table_filters']);
    const ask = async (sql: string) => {
      const answer = await reader.query(PROJECTS[0], sql, { queryId: randomUUID(), signal: stopping.signal });
      if (answer.kind !== 'answer') expect.fail(JSON.stringify(answer));
      const rows: string[] = [];
      for await (const some of answer.rows) rows.push(...some);
      return rows.sort();
    };
    const people = Array.from({ length: 12 }, (_, n) => [`u${n}`, `a${n}`]).flat();
    let found = 0;
    for (const person of [...people, 'undefined', 'null', 'it is nobody', "o'n"]) {
      const of = `WHERE distinct_id = '${person.replace("'", String.raw`\'`)}'`;
      const shown = await ask(`SELECT * FROM events ${of}`);
      if (!person.includes("'")) expect(filter()).toContain(`user_id = \\\\'${person}\\\\'`);
      const sorted = await rowsOf(`SELECT * FROM sorted_events ${of} AND project_id = '${PROJECTS[0]}'`);
      expect(shown, person).toEqual(sorted.filter(Boolean));
      const [mail] = await ask(`SELECT count() FROM events ${of} AND (service = 'mail' OR user_id = 'u3')`);
      // Not plainly one person's, so everybody's are read.
      expect(mail).toBe(
        (await ask(`SELECT count() FROM events ${of} AND (service = 'mail' OR user_id = 'u3') HAVING 1`))[0],
      );
      found += shown.length;
    }
    expect(found).toBeGreaterThan(40);
  });

  test('they have the columns, and the types, that they had', async () => {
    const columns = (view: string) =>
      rowsOf(`SELECT name, type FROM system.columns WHERE database = 'analytics' AND table = '${view}'`);
    for (const view of ['events', 'persons', 'sessions']) {
      expect(await columns(view)).toEqual(await columns(`sorted_${view}`));
    }
  });

  test('one event of two copies whose timestamps lie in two hours is shown twice, and no other', async () => {
    const [first, second] = ['2026-06-01 09:59:59.999', '2026-06-01 10:00:00.000'];
    const event = { project_id: PROJECTS[0], event_id: '01890000-0000-7000-8000-00000000ffff', event: 'at_the_hour' };
    const rest = { properties: '{}', extras: '{}', source: 'native', received_at: '2026-06-01 10:00:01' };
    for (const timestamp of [first, second, second]) await insert([{ ...event, ...rest, timestamp }]);
    const shown = await rowsOf(
      `SELECT timestamp FROM events WHERE project_id = '${PROJECTS[0]}' AND event = 'at_the_hour'`,
    );
    expect(shown.filter(Boolean)).toEqual([`["${first}"]`, `["${second}"]`]);
  });
});

describe('what they read', () => {
  test('conditions on project, name and time reach the primary key of events', async () => {
    const plan = await rowsOf(
      `EXPLAIN indexes = 1 SELECT count() FROM events WHERE project_id = '${PROJECTS[0]}' AND event = 'order_paid'
       AND timestamp >= '2026-04-01' AND timestamp < '2026-04-02'`,
    );
    const keys = plan.join('\n');
    for (const key of ['project_id', 'event', 'toStartOfHour(timestamp)']) expect(keys).toContain(`  ${key}"`);
  });
});

test('an installation with events keeps its views until the table is rebuilt, and answers alike before and after', async () => {
  const installed = await startStores({ isMigrated: false });
  onTestFinished(() => installed.stop());
  const { clickhouse, postgres, database } = installed;
  await migrateClickHouse(
    clickhouse,
    database,
    readMigrations().filter((migration) => !isAfterRebuild(migration)),
  );
  const answers = async () => {
    const shown = await Promise.all(
      ['events', 'persons', 'sessions'].map((view) =>
        clickhouse.query({ query: `SELECT * FROM ${view}`, format: 'JSONCompactEachRow' }),
      ),
    );
    return Promise.all(shown.map(async (answer) => (await answer.text()).split('\n').sort()));
  };
  const isByKey = async () =>
    (
      await installed.select(
        `SELECT 1 FROM system.tables WHERE database = 'analytics' AND name = 'events' AND as_select LIKE '% FINAL%'`,
      )
    ).length === 1;
  await clickhouse.insert({ table: 'events_raw_v1', values: randomEvents(300), format: 'JSONEachRow' });
  const before = await answers();

  const deps = { postgres: postgres.pool, events: createEventSchema(clickhouse, database), clock: systemClock };
  await migrateStores(deps, createLog('silent'));
  expect(await isByKey()).toBe(false);
  expect(await answers()).toEqual(before);

  expect(await finishRebuild(deps, () => {})).toEqual({ kind: 'done' });
  expect(await isByKey()).toBe(true);
  expect(await answers()).toEqual(before);
});
