/**
 * Promoted properties, by the command line and through the query endpoint, beside a Weir that writes: new events and
 * stored ones, what each type holds, awkward names, and what is left when something is interrupted or changed by hand.
 */
import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { createEventStore } from '../../src/clickhouse/event-store/event-store.ts';
import { readMigrations } from '../../src/clickhouse/migrations/migrate.ts';
import { propertyViewsOf } from '../../src/clickhouse/migrations/property-views.ts';
import { createEventSchema } from '../../src/clickhouse/migrations/event-schema.ts';
import {
  PROPERTY_TYPES,
  type PromotedProperty,
  type PropertyType,
} from '../../src/clickhouse/migrations/promoted-properties.ts';
import { describeProperties, readProperties, setProperties } from '../../src/clickhouse/operations/property-columns.ts';
import { fillProperty } from '../../src/clickhouse/operations/property-filling.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { type OpenDoor, openDoor } from '../support/door.ts';
import { rawDocument } from '../support/raw-documents.ts';
import { rowOf } from '../support/rows.ts';
import { SEED } from '../support/seed.ts';
import { type Stores, startStores } from '../support/stores.ts';
import { commandWeir } from '../support/weir.ts';

/** Of a machine that is busy. */
const SETTLED = { timeout: 30_000, interval: 100 };

let stores: Stores;
let door: OpenDoor;
let cwd: string;
let project: string;
let headers: Record<string, string>;

beforeAll(async () => {
  cwd = mkdtempSync(join(tmpdir(), 'weir-properties-'));
  stores = await startStores();
  door = await openDoor(stores, { INGEST_FLUSH_INTERVAL: '50ms' });
  await door.weir.migrated;
});
afterAll(async () => {
  await door?.stop();
  await stores?.stop();
  rmSync(cwd, { recursive: true, force: true });
});
afterEach(async () => {
  await command('SYSTEM START MERGES events_raw_v1');
  await setProperties(stores.clickhouse, stores.database, []);
});

/** Beside whose events there are none: each part is worked on by itself. */
async function newProject() {
  await command('TRUNCATE TABLE events_raw_v1');
  project = (await door.weir.projects.create({ name: 'shop', retentionSeconds: null, allowedOrigins: [] })).id;
  const token = await door.weir.tokens.create({ projectId: project, kind: 'secret', name: null, imported: null });
  headers = { authorization: `Bearer ${token!.plaintext}` };
}

/** Stores events whose properties are these documents. The first is called e0. */
async function send(documents: readonly string[], members = '') {
  const events = documents.map(
    (document, n) =>
      `{"event":"e${n}","event_id":"${randomUUID()}","timestamp":${1_767_225_600 + n},"user_id":"u1","properties":${document}${members}}`,
  );
  const { status, text } = await door.send(`{"events":[${events.join(',')}]}`, headers, '?ack=stored');
  expect(status, text).toBe(202);
}

const ask = (sql: string) =>
  door.ask(`/api/v1/projects/${project}/query`, { method: 'POST', headers, body: JSON.stringify({ sql }) });

async function rowsOf(sql: string): Promise<unknown[][]> {
  const { status, text, json } = await ask(sql);
  expect(status, text).toBe(200);
  return (json as { rows: unknown[][] }).rows;
}

async function errorOf(sql: string): Promise<string> {
  const { json } = await ask(sql);
  return (json as { error: string }).error;
}

const weir = (...args: string[]) =>
  commandWeir(args, { cwd, env: { DATABASE_URL: stores.databaseUrl, CLICKHOUSE_URL: stores.clickhouseUrl } });

async function succeed(...args: string[]) {
  const { code, stdout, stderr } = await weir(...args);
  expect({ code, stderr }).toEqual({ code: 0, stderr: expect.any(String) });
  return { stdout, stderr };
}

const command = (query: string) => stores.clickhouse.command({ query, clickhouse_settings: { wait_end_of_query: 1 } });
const described = async () => (await describeProperties(stores.clickhouse, stores.database)).properties;

type Finding = { name: string; outcome: string; detail: string; remedy: string | null };
const findings = async () => {
  const checks = JSON.parse((await weir('doctor', '--json')).stdout) as Finding[];
  return checks.filter(({ name }) => name === 'promoted properties' || name === 'ClickHouse schema');
};

describe('a promoted property', () => {
  beforeAll(async () => {
    await newProject();
    await send(['{"plan":"pro","page":{"url":"/a"}}', '{"plan":"free","page.url":"/b"}'], ',"service":"shop"');
  });

  test('can be asked for wherever the property could be, of events from before and after', async () => {
    expect((await succeed('property', 'promote', 'plan')).stderr).toMatch(/is promoted as String, and stored for all/);
    await succeed('property', 'promote', 'properties.page.url');
    await send(['{"plan":"team","page":{"url":"/c"}}'], ',"service":"shop"');
    const all = [
      ['free', '/b'],
      ['pro', '/a'],
      ['team', '/c'],
    ];
    for (const sql of [
      'SELECT properties.plan AS p, properties.page.url FROM events ORDER BY p',
      'SELECT properties.plan AS p, properties.page.url FROM events_raw_v1 ORDER BY p',
      'SELECT properties.plan AS p, properties.page.url FROM events_raw_v1 FINAL ORDER BY p',
      'SELECT `properties.plan` AS p, properties.`page`.url FROM events ORDER BY p',
      'SELECT e.properties.plan AS p, e.properties.page.url FROM events AS e ORDER BY p',
      'SELECT analytics.events.properties.plan AS p, events.properties.page.url FROM analytics.events ORDER BY p',
      'SELECT a.properties.plan AS p, b.properties.page.url FROM events a JOIN events_raw_v1 b ON a.event_id = b.event_id ORDER BY p',
      'SELECT a.properties.plan AS p, b.properties.page.url FROM events a JOIN events b USING (event_id) ORDER BY a.properties.plan',
      'WITH x AS (SELECT properties.plan, properties.page.url FROM events) SELECT * FROM x ORDER BY properties.plan',
      'SELECT properties.plan, properties.page.url FROM (SELECT * FROM events) ORDER BY properties.plan',
      'SELECT data.plan AS p, data.page.url FROM monitor.events ORDER BY p',
      "SELECT COLUMNS('plan|url') FROM events ORDER BY 1",
    ]) {
      expect(await rowsOf(sql), sql).toEqual(all);
    }
    expect(
      await rowsOf(
        "SELECT properties.plan, count() FROM events WHERE properties.plan IN ('pro', 'team') GROUP BY properties.plan ORDER BY 1",
      ),
    ).toEqual([
      ['pro', '1'],
      ['team', '1'],
    ]);
    expect(
      await rowsOf("SELECT properties::JSON.plan::String, properties FROM events WHERE properties.plan = 'pro'"),
    ).toEqual([['pro', '{"plan":"pro","page":{"url":"/a"}}']]);
  });

  test('is listed in the schema, with its type', async () => {
    await succeed('property', 'promote', 'plan');
    await succeed('property', 'promote', 'amount', '--type', 'Float64');
    const { json } = await door.ask(`/api/v1/projects/${project}/schema`, { headers });
    const { tables } = json as {
      tables: { name: string; columns: { name: string; type: string; comment: string }[] }[];
    };
    const columnsOf = (table: string) =>
      tables
        .find(({ name }) => name === table)!
        .columns.filter(({ name }) => name.includes('.'))
        .map(({ name, type }) => `${name} ${type}`)
        .sort();
    const columns = ['properties.amount Nullable(Float64)', 'properties.plan Nullable(String)'];
    expect(columnsOf('events')).toEqual(columns);
    expect(columnsOf('events_raw_v1')).toEqual(columns);
    expect(columnsOf('monitor.events')).toEqual(columns.map((column) => column.replace('properties', 'data')));
  });

  test('is listed by the command line; promoting it again finds nothing to do', async () => {
    expect((await succeed('property', 'ls')).stderr).toBe(
      'No property is promoted. To promote one: weir property promote NAME\n',
    );
    expect(JSON.parse((await succeed('property', 'ls', '--json')).stdout)).toEqual([]);
    const promoted = JSON.parse((await succeed('property', 'promote', 'plan', '--json')).stdout) as { rows: number };
    expect(promoted).toEqual({
      name: 'plan',
      column: 'properties.plan',
      type: 'String',
      new: true,
      rows: expect.any(Number),
      stored: promoted.rows,
    });
    expect((await succeed('property', 'promote', 'plan')).stderr).toBe(
      'properties.plan is promoted as String already, and stored for all events.\n',
    );
    expect((await succeed('property', 'ls')).stdout).toBe(
      'COLUMN           TYPE    STORED FOR\nproperties.plan  String  all events\n',
    );
    expect(JSON.parse((await succeed('property', 'ls', '--json')).stdout)).toMatchObject([
      { name: 'plan', column: 'properties.plan', type: 'String', altered: false },
    ]);
  });

  test('that is not one is named in the error, with the remedy', async () => {
    await succeed('property', 'promote', 'plan');
    const sentences = [
      [
        'SELECT properties.foo FROM events',
        "JSONExtractString(properties, 'foo'), or let an operator promote it: weir property promote foo",
      ],
      [
        'SELECT e.properties.foo.bar FROM events AS e',
        "JSONExtractString(properties, 'foo', 'bar'), or let an operator promote it: weir property promote foo.bar",
      ],
      [
        'SELECT e.properties.foo FROM events e JOIN events f USING (event_id)',
        "JSONExtractString(properties, 'foo'), or ",
      ],
      [
        "SELECT count() FROM events WHERE properties.`$os` = 'x'",
        "JSONExtractString(properties, '$os'), or let an operator promote it: weir property promote '$os'",
      ],
      [
        'SELECT properties.plam FROM events',
        "there is no column properties.plam; ask for JSONExtractString(properties, 'plam'), or ",
      ],
    ] as const;
    for (const [sql, sentence] of sentences) expect(await errorOf(sql), sql).toContain(sentence);
    // What is no property is ClickHouse's to explain.
    expect(await errorOf('SELECT evnt FROM events')).toContain('Unknown expression identifier `evnt`');
  });

  test('is taken away, and may come back as another type', async () => {
    await succeed('property', 'promote', 'plan');
    expect((await weir('property', 'demote', 'plan')).code).toBe(1);
    expect((await succeed('property', 'demote', 'plan', '--yes')).stderr).toBe('properties.plan is removed.\n');
    expect(await errorOf('SELECT properties.plan FROM events')).toContain('weir property promote plan');
    expect(await rowsOf("SELECT count() > 1 FROM events WHERE properties LIKE '%plan%'")).toEqual([[1]]);
    const again = await weir('property', 'demote', 'plan', '--yes');
    expect(again).toMatchObject({ code: 1, stderr: 'properties.plan is not promoted. See `weir property ls`.\n' });
    await succeed('property', 'promote', 'plan', '--type', 'Bool');
    expect(await rowsOf('SELECT DISTINCT properties.plan FROM events')).toEqual([[null]]);
    const other = await weir('property', 'promote', 'plan', '--type', 'String');
    expect(other).toMatchObject({ code: 1, stderr: expect.stringMatching(/is promoted as Bool\. To change that: /) });
  });
});

/** What each type holds of a value as it was sent; null is not listed. */
const HELD: readonly [sent: string, held: Partial<Record<PropertyType, unknown>>][] = [
  ['"pro"', { String: 'pro' }],
  ['""', { String: '' }],
  ['"12"', { String: '12', Float64: 12, Int64: '12' }],
  ['"1"', { String: '1', Float64: 1, Int64: '1', Bool: true }],
  ['"3.5"', { String: '3.5', Float64: 3.5, Int64: '3' }],
  ['5', { String: '5', Float64: 5, Int64: '5' }],
  ['1', { String: '1', Float64: 1, Int64: '1', Bool: true }],
  ['0', { String: '0', Float64: 0, Int64: '0', Bool: false }],
  ['-1', { String: '-1', Float64: -1, Int64: '-1' }],
  ['1.50', { String: '1.5', Float64: 1.5, Int64: '1' }],
  [
    '9223372036854775807',
    { String: '9223372036854775807', Float64: 9223372036854776000, Int64: '9223372036854775807' },
  ],
  ['18446744073709551615', { String: '18446744073709551615', Float64: 18446744073709552000 }],
  // Beyond 64 bits: a text, in the readable form.
  ['123456789012345678901234567890', { String: '123456789012345678901234567890', Float64: 1.2345678901234568e29 }],
  ['true', { String: 'true', Float64: 1, Int64: '1', Bool: true }],
  ['false', { String: 'false', Float64: 0, Int64: '0', Bool: false }],
  ['"true"', { String: 'true', Bool: true }],
  ['null', {}],
  ['[1, "a" ]', { String: '[1,"a"]' }],
  ['{ "b" : 1 }', { String: '{"b":1}' }],
  [
    '"2026-05-04T12:00:00.123+02:00"',
    { String: '2026-05-04T12:00:00.123+02:00', DateTime64: '2026-05-04 10:00:00.123' },
  ],
  ['"2026-05-04"', { String: '2026-05-04', DateTime64: '2026-05-04 00:00:00.000' }],
  [
    '1767225600',
    {
      String: '1767225600',
      Float64: 1767225600,
      Int64: '1767225600',
      DateTime64: '2026-01-01 00:00:00.000',
    },
  ],
  [
    '1767225600123',
    {
      String: '1767225600123',
      Float64: 1767225600123,
      Int64: '1767225600123',
      DateTime64: '2026-01-01 00:00:00.123',
    },
  ],
  // What only the present day would complete.
  ['"10:00"', { String: '10:00' }],
  ['"2026-13-45"', { String: '2026-13-45' }],
];

test('each type holds what fits it, the same of stored events and of new ones', async () => {
  await newProject();
  // One name for each type.
  const documents = HELD.map(([sent]) => `{${PROPERTY_TYPES.map((type) => `"of ${type}":${sent}`).join(',')}}`);
  await send(documents);
  for (const type of PROPERTY_TYPES) await succeed('property', 'promote', `of ${type}`, '--type', type);
  await send(documents);
  const columns = PROPERTY_TYPES.map((type) => `properties.\`of ${type}\``).join(', ');
  const rows = await rowsOf(`SELECT ${columns} FROM events ORDER BY timestamp, received_at`);
  const held = HELD.flatMap(([, byType]) => [byType, byType]);
  expect(rows).toEqual(held.map((byType) => PROPERTY_TYPES.map((type) => byType[type] ?? null)));
});

const RANDOM = ['v', 'a.b', 'n', 'i', 'o', 't'] as const;
const TYPE_OF: Record<(typeof RANDOM)[number], PropertyType> = {
  v: 'String',
  'a.b': 'String',
  n: 'Float64',
  i: 'Int64',
  o: 'Bool',
  t: 'DateTime64',
};

test('of any document a column holds what JSONExtract finds, whether it is stored or computed when asked for', async () => {
  await newProject();
  const value = fc.oneof(
    rawDocument(),
    rawDocument().map((document) => `[${document}]`),
    rawDocument().map((document) => JSON.stringify(document)),
    fc.constantFrom(...HELD.map(([sent]) => sent)),
  );
  const member = fc.tuple(fc.constantFrom('v', 'a.b', 'a', 'n', 'i', 'o', 't', 'x'), value);
  const nested = value.map((inside) => ['a', `{"b":${inside}}`] as const);
  const document = fc
    .uniqueArray(fc.oneof({ weight: 5, arbitrary: member }, { weight: 1, arbitrary: nested }), {
      maxLength: 6,
      selector: ([name]) => name,
    })
    .map((members) => `{${members.map(([name, text]) => `"${name}":${text}`).join(',')}}`);
  const known = HELD.map(([sent]) => `{${RANDOM.map((name) => `"${name}":${sent}`).join(',')}}`);
  const documents = [...known, ...fc.sample(document, { seed: SEED, numRuns: 1_000 })];
  // A merge stores the column, too.
  await command('SYSTEM STOP MERGES events_raw_v1');
  for (let from = 0; from < documents.length; from += 250) await send(documents.slice(from, from + 250));

  await setProperties(
    stores.clickhouse,
    stores.database,
    RANDOM.map((name) => ({ name, type: TYPE_OF[name] })),
  );
  const extracted: Record<(typeof RANDOM)[number], string> = {
    v: "JSONExtract(properties, 'v', 'Nullable(String)')",
    'a.b':
      "ifNull(JSONExtract(properties, 'a.b', 'Nullable(String)'), JSONExtract(properties, 'a', 'b', 'Nullable(String)'))",
    n: "JSONExtract(properties, 'n', 'Nullable(Float64)')",
    i: "JSONExtract(properties, 'i', 'Nullable(Int64)')",
    o: "if(JSONExtractString(properties, 'o') IN ('true', '1', 'false', '0'), JSONExtractString(properties, 'o') IN ('true', '1'), NULL)::Nullable(Bool)",
    t: 'properties.t',
  };
  const different = async () =>
    rowsOf(
      `SELECT ${RANDOM.map((name) => `countIf(properties.${name} IS DISTINCT FROM ${extracted[name]}), count(properties.${name}) > 0`).join(', ')} FROM events_raw_v1`,
    );
  const same = [RANDOM.flatMap(() => ['0', 1])];
  expect(await different(), `SEED=${SEED}`).toEqual(same);
  const times = await rowsOf('SELECT event_id, properties.t FROM events ORDER BY event_id');
  expect((await described()).map(({ stored }) => stored)).toEqual(RANDOM.map(() => 0));
  await command('SYSTEM START MERGES events_raw_v1');
  for (const name of RANDOM) await succeed('property', 'promote', name, '--type', TYPE_OF[name]);
  expect((await described()).every(({ stored, rows }) => stored === rows)).toBe(true);
  expect(await different(), `SEED=${SEED}`).toEqual(same);
  expect(await rowsOf('SELECT event_id, properties.t FROM events ORDER BY event_id')).toEqual(times);
});

test('names may be awkward, as long as they can be asked for', async () => {
  await newProject();
  const names = [
    "it's",
    'a "b" `c` \\d',
    '日本語 é',
    '$browser',
    '1',
    'http.request.method',
    'Plan',
    'plan',
    'event',
    'n'.repeat(100),
  ];
  await send([JSON.stringify(Object.fromEntries(names.map((name) => [name, `value of ${name}`])))]);
  await setProperties(
    stores.clickhouse,
    stores.database,
    names.map((name) => ({ name, type: 'String' })),
  );
  for (const name of names.slice(0, 4)) await succeed('property', 'promote', name);
  const quotedName = (name: string) => `properties.\`${name.replaceAll(/[\\`]/g, String.raw`\$&`)}\``;
  const selected = names.map(quotedName).join(', ');
  expect(await rowsOf(`SELECT ${selected} FROM events`)).toEqual([names.map((name) => `value of ${name}`)]);
  for (const name of names.slice(0, 4)) await succeed('property', 'demote', name, '--yes');
  expect((await described()).map(({ name }) => name).sort()).toEqual(names.slice(4).sort());
});

test.each([['size'], ['_id'], ['a..b'], ['prewhere'], ['x'.repeat(101)]])(
  '%s is refused, and what to do instead is said',
  async (name) => {
    const { code, stderr } = await weir('property', 'promote', name);
    expect(code).toBe(1);
    expect(stderr).toContain(`properties.${name} cannot be promoted: `);
    expect(stderr).toContain('Ask for JSONExtractString(properties, ');
    expect(await described()).toEqual([]);
  },
);

test('there may be twenty, and not one more', async () => {
  const twenty = Array.from({ length: 20 }, (_, n): PromotedProperty => ({ name: `p${n}`, type: 'String' }));
  await setProperties(stores.clickhouse, stores.database, twenty);
  await succeed('property', 'promote', 'p7');
  const { code, stderr } = await weir('property', 'promote', 'p20');
  expect({ code, stderr }).toEqual({
    code: 1,
    stderr: expect.stringMatching(/^20 properties are promoted, .*Demote one first/),
  });
});

/** The client, which tells of each of its commands after it. */
const watched = (after: (query: string) => Promise<void>) =>
  new Proxy(stores.clickhouse, {
    get(client, key) {
      if (key !== 'command') return Reflect.get(client, key) as unknown;
      return async (asked: { query: string }) => {
        const answer = await client.command(asked);
        await after(asked.query);
        return answer;
      };
    },
  });

const UNREADABLE = 'cannot be read: it shows properties.plan, which events_raw_v1 does not have';

describe('what is left half done', () => {
  test('answers alike, is found by doctor, and is finished by the same command', async () => {
    await newProject();
    await command('SYSTEM STOP MERGES events_raw_v1');
    await send(['{"plan":"pro"}', '{"plan":"free"}']);
    await command(
      `INSERT INTO events_raw_v1 (project_id, event_id, event, timestamp, properties, extras, source, received_at)
       SELECT '${project}', generateUUIDv4(), 'older', '2026-01-01', '{"plan":"older"}', '{}', 'native', toDateTime64('2026-01-01', 3) + INTERVAL number MONTH FROM numbers(3)`,
    );
    await setProperties(stores.clickhouse, stores.database, [{ name: 'plan', type: 'String' }]);
    const answer = async () => rowsOf('SELECT properties.plan, count() FROM events GROUP BY 1 ORDER BY 1');
    const counts = await answer();
    expect(counts).toEqual([
      ['free', '1'],
      ['older', '3'],
      ['pro', '1'],
    ]);
    const [half] = await described();
    expect(half!.stored).toBeLessThan(half!.rows);
    expect(await findings()).toMatchObject([
      { outcome: 'ok' },
      {
        outcome: 'warn',
        detail: expect.stringMatching(/^properties\.plan is stored for \d/),
        remedy: 'To store it for all, run: weir property promote plan',
      },
    ]);
    expect((await succeed('property', 'ls')).stdout).toMatch(
      /properties\.plan {2}String {2}[\d,]+ of [\d,]+ events\n$/,
    );
    await command('SYSTEM START MERGES events_raw_v1');
    // One month of several was done.
    await command(
      "ALTER TABLE events_raw_v1 MATERIALIZE COLUMN `properties.plan` IN PARTITION ID '202601' SETTINGS mutations_sync = 1",
    );
    await succeed('property', 'promote', 'plan');
    expect(await answer()).toEqual(counts);
    const [whole] = await described();
    expect(whole!.stored).toBe(whole!.rows);
    expect(await findings()).toMatchObject([{ outcome: 'ok' }, { outcome: 'ok', detail: '1, stored for all events' }]);
  });

  test('a column or a view that somebody has changed is found, and mended', async () => {
    await newProject();
    await succeed('property', 'promote', 'plan');
    await command("ALTER TABLE events_raw_v1 MODIFY COLUMN `properties.plan` Nullable(String) MATERIALIZED 'mine'");
    await command("ALTER TABLE events_raw_v1 ADD COLUMN `properties.own` String MATERIALIZED 'x'");
    const remedy = expect.stringContaining('weir property demote plan');
    expect(await findings()).toMatchObject([
      { outcome: 'ok' },
      { outcome: 'warn', detail: expect.stringContaining('changed how the column properties.plan'), remedy },
      { outcome: 'warn', detail: expect.stringContaining("properties.own of events_raw_v1 is not Weir's") },
    ]);
    expect(await weir('property', 'promote', 'seats')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('demote plan'),
    });
    expect(await weir('property', 'demote', 'own', '--yes')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("not Weir's"),
    });
    await succeed('property', 'demote', 'plan', '--yes');
    expect(await weir('property', 'promote', 'own')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("not Weir's"),
    });
    await command('ALTER TABLE events_raw_v1 DROP COLUMN `properties.own`');
    await succeed('property', 'promote', 'plan');
    expect(await findings()).toMatchObject([{ outcome: 'ok' }, { outcome: 'ok' }]);
    // Without asking: the view cannot be read then.
    await command('ALTER TABLE events_raw_v1 DROP COLUMN `properties.plan`');
    expect(await findings()).toMatchObject([
      { outcome: 'warn', detail: `events: ${UNREADABLE}` },
      { outcome: 'warn', detail: `monitor.events: ${UNREADABLE}` },
    ]);
    await succeed('migrate');
    expect(await findings()).toMatchObject([{ outcome: 'ok' }, { outcome: 'ok', detail: 'none' }]);
    await rowsOf('SELECT * FROM events LIMIT 1');
    // Created anew by somebody else: everything works, and one shows less than it could.
    await succeed('property', 'promote', 'plan');
    await command(propertyViewsOf(readMigrations()).find(({ view }) => view === 'monitor.events')!.create);
    expect(await findings()).toMatchObject([
      { outcome: 'ok' },
      { outcome: 'warn', detail: 'the view monitor.events does not show properties.plan', remedy: 'Run: weir migrate' },
    ]);
    await succeed('migrate');
    expect(await findings()).toMatchObject([{ outcome: 'ok' }, { outcome: 'ok' }]);
  });

  test('what ClickHouse cannot store for older events is said, and demoting ends it', async () => {
    await newProject();
    await send(['{"plan":"pro"}']);
    await setProperties(stores.clickhouse, stores.database, [{ name: 'plan', type: 'String' }]);
    await command(
      'ALTER TABLE events_raw_v1 MODIFY COLUMN `properties.plan` Nullable(String) MATERIALIZED throwIf(1)::String',
    );
    const filling = fillProperty(
      { client: stores.clickhouse, clock: systemClock },
      { database: stores.database, name: 'plan' },
    );
    await expect(filling).rejects.toThrow('ClickHouse cannot store properties.plan for older events (code 395)');
    await succeed('property', 'demote', 'plan', '--yes');
    expect(
      await stores.select("SELECT command FROM system.mutations WHERE NOT is_done AND table = 'events_raw_v1'"),
    ).toEqual([]);
    await succeed('property', 'promote', 'plan');
    expect(await rowsOf('SELECT properties.plan FROM events')).toEqual([['pro']]);
  });

  test('a migration that creates the views again keeps what they show', async () => {
    await newProject();
    await send(['{"plan":"pro"}']);
    await succeed('property', 'promote', 'plan');
    const shown: unknown[][] = [];
    const schema = createEventSchema(
      watched(async (query) => {
        if (query.startsWith('CREATE OR REPLACE VIEW events'))
          shown.push(...(await rowsOf('SELECT properties.plan FROM events')));
      }),
      stores.database,
    );
    // As though they were new.
    await command(
      "ALTER TABLE schema_migrations DELETE WHERE name IN ('0007_unreadable_extras', '0011_views_by_the_key') SETTINGS mutations_sync = 1",
    );
    expect(await schema.migrate()).toEqual(['0007_unreadable_extras', '0011_views_by_the_key']);
    // At every moment, not only in the end.
    expect(shown).toEqual([['pro']]);
    expect(await schema.check()).toEqual([]);
    expect(await rowsOf('SELECT properties.plan FROM events')).toEqual([['pro']]);
    expect(await rowsOf('SELECT count() FROM monitor.events WHERE data.plan = 1::String')).toEqual([['0']]);
  });
});

describe('beside a Weir that writes', () => {
  test('no event is kept out while properties are promoted and demoted, and all have them in the end', async () => {
    await newProject();
    const over = new AbortController();
    let sent = 0;
    const sending = (async () => {
      for (; !over.signal.aborted; sent += 1) await send([`{"plan":"p${sent}","seats":${sent}}`]);
    })();
    try {
      for (let round = 0; round < 3; round += 1) {
        await succeed('property', 'promote', 'plan');
        await succeed('property', 'promote', 'seats', '--type', 'Int64');
        if (round < 2) await succeed('property', 'demote', 'plan', '--yes');
      }
    } finally {
      over.abort();
      await sending;
    }
    await succeed('property', 'promote', 'plan');
    await vi.waitFor(async () => {
      const counts = await rowsOf(
        'SELECT count(), uniqExact(properties.plan), uniqExact(properties.seats) FROM events',
      );
      expect(counts).toEqual([[String(sent), String(sent), String(sent)]]);
    }, SETTLED);
    expect(await stores.postgres.pool.query('select 1 from failed_events')).toMatchObject({ rowCount: 0 });
  });

  test('one may be promoted while another is being stored, and taken away again', async () => {
    await newProject();
    await send(['{"plan":"pro","seats":5}']);
    // Nothing is rewritten until merges go on.
    await command('SYSTEM STOP MERGES events_raw_v1');
    await setProperties(stores.clickhouse, stores.database, [{ name: 'plan', type: 'String' }]);
    const filling = succeed('property', 'promote', 'plan');
    await vi.waitFor(async () => {
      const open = await stores.select(
        "SELECT 1 FROM system.mutations WHERE NOT is_done AND position(command, 'properties.plan') > 0",
      );
      expect(open).toHaveLength(1);
    }, SETTLED);
    await setProperties(stores.clickhouse, stores.database, [
      { name: 'plan', type: 'String' },
      { name: 'seats', type: 'Int64' },
    ]);
    expect(await rowsOf('SELECT properties.plan, properties.seats FROM events')).toEqual([['pro', '5']]);
    await command('SYSTEM START MERGES events_raw_v1');
    expect((await filling).stderr).toContain('stored for all events');
    await setProperties(stores.clickhouse, stores.database, [{ name: 'seats', type: 'Int64' }]);
    expect(await rowsOf('SELECT properties.seats FROM events')).toEqual([['5']]);
  });

  test('two who promote at once agree', async () => {
    await newProject();
    await send(['{"a":"1","b":"2"}']);
    await Promise.all([
      succeed('property', 'promote', 'a'),
      succeed('property', 'promote', 'b'),
      succeed('property', 'promote', 'a'),
    ]);
    expect(await rowsOf('SELECT properties.a, properties.b FROM events')).toEqual([['1', '2']]);
    expect(await readProperties(stores.clickhouse, stores.database)).toMatchObject({ altered: [], foreign: [] });
    expect((await described()).map(({ stored, rows }) => rows - stored)).toEqual([0, 0]);
  });

  test('rows that are looked at are judged as before', async () => {
    await setProperties(
      stores.clickhouse,
      stores.database,
      PROPERTY_TYPES.map((type) => ({ name: `of.${type}`, type })),
    );
    const store = createEventStore(
      { client: stores.clickhouse, clock: systemClock },
      { database: stores.database, timeoutMs: 20_000 },
    );
    const rows = [1, 2, 3].map((n) =>
      rowOf({ n, kind: n === 2 ? 'unreadable' : 'good', properties: '{"of":[1],"of.Int64":"x"}' }),
    );
    const { refusals } = await store.inspect(rows);
    expect(refusals.flatMap(({ rows: refused }) => refused)).toEqual([1]);
  });
});

test('without the tables, promoting says what to do', async () => {
  const env = {
    DATABASE_URL: stores.databaseUrl,
    CLICKHOUSE_URL: stores.clickhouseUrl,
    CLICKHOUSE_DATABASE: 'nowhere',
  };
  const { code, stderr } = await commandWeir(['property', 'promote', 'plan'], { cwd, env });
  expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining('weir migrate') });
  expect((await commandWeir(['property', 'ls'], { cwd, env })).code).toBe(0);
});
