/**
 * `weir copy`: what Postgres stores gets into ClickHouse as if it had been stored there from the start. Against both
 * real stores; a second database of ClickHouse has what ought to be there.
 */
import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ClickHouseClient } from '@clickhouse/client';
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { openClickHouse } from '../../src/clickhouse/event-storage.ts';
import { createEventStore } from '../../src/clickhouse/event-store/event-store.ts';
import { hasEventTable } from '../../src/clickhouse/operations/stored-events.ts';
import type { ProjectId } from '../../src/event/event.ts';
import { withReadable } from '../../src/event/readable.ts';
import { rowEncoder } from '../../src/event/row.ts';
import { createLog } from '../../src/log/log.ts';
import { copyEvents, type CopiedEvents } from '../../src/operations/copy-events.ts';
import type { BatchId } from '../../src/pipeline/batch.ts';
import { type EventStore, InsertFailure } from '../../src/pipeline/ports.ts';
import type { EventStorage } from '../../src/pipeline/storage-port.ts';
import { openPostgresEvents } from '../../src/postgres/event-storage.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { randomOf } from '../support/factory.ts';
import { startHttpProxy } from '../support/fault-proxy.ts';
import { type Stores, startStores } from '../support/stores.ts';
import { commandWeir, startWeir } from '../support/weir.ts';

const REFERENCE = 'reference';
const log = createLog('silent');
const sizes = { maxInFlight: 2, insertTimeoutMs: 30_000, maxQueries: 2, workers: 1 };

let stores: Stores;
let postgres: EventStorage;
let reference: EventStorage;
let proxy: Awaited<ReturnType<typeof startHttpProxy>>;
let cwd: string;
let env: Record<string, string>;

beforeAll(async () => {
  stores = await startStores();
  postgres = openPostgresEvents({ url: stores.databaseUrl, ...sizes }, { clock: systemClock, log });
  const access = { url: stores.clickhouseUrl, username: 'default', password: '', key: null };
  reference = openClickHouse({ access, database: REFERENCE, ...sizes }, { clock: systemClock, log });
  await Promise.all([postgres.schema.migrate(), reference.schema.migrate()]);
  proxy = await startHttpProxy(stores.clickhouseUrl);
  cwd = mkdtempSync(join(tmpdir(), 'weir-copy-'));
  env = { DATABASE_URL: stores.databaseUrl, CLICKHOUSE_URL: proxy.url };
});
afterAll(async () => {
  await Promise.all([postgres.close(), reference.close(), proxy.stop()]);
  await stores.stop();
  rmSync(cwd, { recursive: true, force: true });
});

/** Of this test alone. */
let projects: readonly [ProjectId, ProjectId];

beforeEach(async () => {
  proxy.set(null);
  projects = [randomUUID() as ProjectId, randomUUID() as ProjectId];
  await stores.postgres.pool.query('TRUNCATE analytics.events_raw, analytics.event_batches');
});

type Wanted = {
  readonly projectId: ProjectId;
  readonly eventId: string;
  readonly event: string;
  readonly receivedAt: number;
  readonly retentionSeconds: number | null;
  readonly user: string | null;
  readonly anonymous: string | null;
  /** Raw JSON. */
  readonly properties: string;
  readonly extras: string;
};

const DAY_S = 86_400;
const NOW = Date.now();

/** As a front door encodes it. */
function rowOf(wanted: Wanted): Buffer {
  const { projectId, receivedAt, retentionSeconds } = wanted;
  const raw = (text: string | null) => (text === null ? null : bytes(JSON.stringify(text)));
  const encode = rowEncoder({ projectId, source: 'native', receivedAt, retentionSeconds });
  const parts = withReadable({
    eventId: wanted.eventId,
    event: raw(wanted.event)!,
    anonymousId: raw(wanted.anonymous),
    userId: raw(wanted.user),
    timestamp: receivedAt - 1_234,
    sessionId: null,
    properties: bytes(wanted.properties),
    extras: bytes(wanted.extras),
  });
  return Buffer.from(encode(parts), 'latin1');
}

const bytes = (text: string) => Buffer.from(text, 'utf8').toString('latin1');

const PROPERTIES = [
  '{}',
  '{"plan":"pro","seats":3}',
  '{ "spaced" :  [ 1 , 2.50 , 1e2 ] , "twice":1, "twice":2 }',
  '{"large":123456789012345678901234567890,"far":1e999,"id":18446744073709551615}',
  '{"half":"\\ud83d","whole":"\\ud83d\\ude00","nothing":"a\\u0000b"}',
  '{"both":"\\u0000","large":99999999999999999999}',
  '{"written":"\\\\u0000 is no NUL","quote":"\\"","line":"\\n"}',
  '{"text":"日本語 é 😀","escaped":"\\u00e9"}',
];
const EXTRAS = [
  '{}',
  '{"channel":"web","tags":["a","b"]}',
  '{"channel":"mobile","trace_id":"t\\u00001","n":1e400}',
  '{ "channel" : 7 }',
];

/** Events of two projects, over three months and with everything that may be in a row. */
function eventsOf(count: number, seed: number): Wanted[] {
  const random = randomOf(seed);
  const pick = <T>(from: readonly T[]) => from[Math.floor(random() * from.length)]!;
  return Array.from({ length: count }, () => ({
    projectId: pick(projects),
    eventId: randomUUID(),
    event: pick(['visit', '$identify', 'näme "quoted"', 'line\nend']),
    receivedAt: NOW - Math.floor(random() * 70 * DAY_S) * 1_000,
    // Some have expired, some will.
    retentionSeconds: pick([null, null, 40 * DAY_S, 36_500 * DAY_S]),
    user: pick([null, 'user', 'üser']),
    anonymous: pick([null, 'a', 'b', 'c', 'undefined']),
    properties: pick(PROPERTIES),
    extras: pick(EXTRAS),
  }));
}

const hasExpired = ({ receivedAt, retentionSeconds }: Wanted) =>
  retentionSeconds !== null && receivedAt + retentionSeconds * 1_000 <= Date.now();

async function insert(store: EventStore, events: readonly Wanted[]): Promise<void> {
  for (let from = 0; from < events.length; from += 500) {
    const chunks = events.slice(from, from + 500).map(rowOf);
    await store.insert({ id: randomUUID() as BatchId, chunks });
  }
}

/** What a database of ClickHouse holds of this test: raw, so that copies would be seen. */
async function contentOf(database: string) {
  const ours = `project_id IN ('${projects.join("', '")}')`;
  const rows = await stores.select(
    `SELECT project_id, event_id, event, anonymous_id, user_id, timestamp, session_id, properties, extras, properties_sent,
       extras_sent, source, received_at, expires_at, channel, trace_id, tags
     FROM ${database}.events_raw_v1 WHERE ${ours} ORDER BY event_id, event, project_id`,
  );
  const counts = await stores.select(
    `SELECT project_id, event, hour, channel, sum(events) AS events FROM ${database}.event_counts_hourly
     WHERE ${ours} GROUP BY ALL ORDER BY ALL`,
  );
  const links = await stores.select(`SELECT * FROM ${database}.identities WHERE ${ours} ORDER BY ALL`);
  return { rows, counts, links };
}

const expectCopied = async () => expect(await contentOf(stores.database)).toEqual(await contentOf(REFERENCE));

const copy = (...args: string[]) => commandWeir(['copy', '--to', 'clickhouse', ...args], { env, cwd });
const summaryOf = ({ stdout }: { stdout: string }) =>
  JSON.parse(stdout) as CopiedEvents & { missing: number; dryRun?: boolean };

/** The operation itself, with an event store in between. */
function copyThrough(
  around: (events: EventStore) => Pick<EventStore, 'insert' | 'inspect'>,
  clickhouse: ClickHouseClient = stores.clickhouse,
) {
  const events = createEventStore(
    { client: stores.clickhouse, clock: systemClock },
    { database: stores.database, timeoutMs: 30_000 },
  );
  return copyEvents(
    {
      pool: stores.postgres.pool,
      clickhouse,
      events: around(events),
      clock: systemClock,
      random: () => 0,
    },
    { projectId: null },
  );
}

test('brings every event as if it had been stored in ClickHouse: bytes, counts, links, expiry', async () => {
  const events = eventsOf(1_500, 1);
  await insert(postgres.events, events);
  // Clients send again, in whatever order, and one id has two names.
  await insert(postgres.events, events.slice(0, 700).toReversed());
  const namesake = { ...events[5]!, event: 'another name' };
  await insert(postgres.events, [namesake]);
  const kept = [...events, namesake].filter((event) => !hasExpired(event));
  await insert(reference.events, kept);

  const done = await copy('--json');
  expect(done).toMatchObject({ code: 0 });
  const { months, ...sums } = summaryOf(done);
  expect(sums).toEqual({ copied: kept.length, found: 0, refused: 0, examples: [], missing: 0 });
  expect(months.length).toBeGreaterThan(4);
  expect(months.every((month) => month.postgres === month.clickhouse)).toBe(true);
  expect(months.reduce((sum, month) => sum + month.postgres, 0)).toBe(kept.length);
  await expectCopied();

  // Once more finds everything there.
  const again = await copy();
  expect(again).toMatchObject({ code: 0 });
  expect(again.stderr).toContain('EVENT_STORE=clickhouse');
  expect(again.stdout).toMatch(/PROJECT +MONTH +POSTGRES +CLICKHOUSE/);
  await expectCopied();
});

test('U+0000 in a name or an id is the symbol that Postgres has for it', async () => {
  const [event] = eventsOf(1, 2);
  const odd = { ...event!, retentionSeconds: null, event: 'a\u0000b', user: 'u\u0000' };
  await insert(postgres.events, [odd]);
  await insert(reference.events, [{ ...odd, event: 'a\u2400b', user: 'u\u2400' }]);
  expect(await copy()).toMatchObject({ code: 0 });
  await expectCopied();
});

describe.each([
  ['before ClickHouse has an insert', { kind: 'hang' }],
  ['when ClickHouse has an insert, and did not say so', { kind: 'cut-answer' }],
] as const)('killed %s', (_, fault) => {
  test('the next run brings what is missing, once', async () => {
    const events = eventsOf(1_500, 3).map((event) => ({ ...event, retentionSeconds: null }));
    await insert(postgres.events, events);
    await insert(reference.events, events);
    const [before, hits] = [proxy.statements().events, proxy.hits()];
    proxy.set(fault, { only: 'inserts', hits: () => proxy.statements().events > before + 2 });
    const { child, finished } = startWeir(['copy', '--to', 'clickhouse'], { env, cwd });
    await vi.waitFor(() => expect(proxy.hits()).toBeGreaterThan(hits), { timeout: 100_000, interval: 5 });
    child.kill('SIGKILL');
    await finished;
    proxy.set(null);

    const { rows } = await contentOf(stores.database);
    expect(rows.length).toBeGreaterThan(0);
    // Where inserts land, it may have brought all of them before it was killed.
    if (fault.kind === 'hang') expect(rows.length).toBeLessThan(1_500);
    const done = await copy('--json');
    expect(done).toMatchObject({ code: 0 });
    const { copied, found, missing } = summaryOf(done);
    expect({ all: copied + found, missing }).toEqual({ all: 1_500, missing: 0 });
    expect(found).toBeGreaterThanOrEqual(rows.length);
    await expectCopied();
  });
});

test('what arrives meanwhile is copied too, also into a month that is done', async () => {
  const events = eventsOf(1_500, 4).map((event) => ({ ...event, retentionSeconds: null }));
  const oldest = Math.min(...events.map(({ receivedAt }) => receivedAt));
  const late = eventsOf(300, 5).map((event, index) => ({
    ...event,
    retentionSeconds: null,
    receivedAt: index % 2 === 0 ? oldest : NOW,
  }));
  await insert(postgres.events, events);
  await insert(reference.events, [...events, ...late]);
  let inserts = 0;
  const done = await copyThrough((store) => ({
    ...store,
    async insert(batch) {
      await store.insert(batch);
      inserts += 1;
      if (inserts === 3) await insert(postgres.events, late);
    },
  }));
  expect(done.copied).toBe(1_800);
  expect(done.months.every(({ postgres: here, clickhouse: there }) => here === there)).toBe(true);
  await expectCopied();
});

test('what is stored in ClickHouse directly, after the switch, is nobody’s fault', async () => {
  const events = eventsOf(200, 6).map((event) => ({ ...event, retentionSeconds: null }));
  const later = eventsOf(50, 7).map((event) => ({ ...event, retentionSeconds: null, receivedAt: NOW + 60_000 }));
  await insert(postgres.events, events);
  await insert(reference.events, [...events, ...later]);
  expect(await copy()).toMatchObject({ code: 0 });
  const store = createEventStore(
    { client: stores.clickhouse, clock: systemClock },
    { database: stores.database, timeoutMs: 30_000 },
  );
  await insert(store, later);
  const again = await copy('--json');
  expect(again).toMatchObject({ code: 0 });
  expect(summaryOf(again)).toMatchObject({ copied: 0, found: 200, missing: 0 });
  await expectCopied();
});

test('an insert without an answer, and ClickHouse away for a moment, cost time alone', async () => {
  const events = eventsOf(1_000, 8).map((event) => ({ ...event, retentionSeconds: null }));
  await insert(postgres.events, events);
  await insert(reference.events, events);
  const failures: InsertFailure[] = [
    new InsertFailure('not there', { failureClass: 'unavailable' }),
    new InsertFailure('no answer', { failureClass: 'ambiguous' }),
  ];
  // Every question has to be asked twice.
  let questions = 0;
  const hesitant = Object.assign(Object.create(stores.clickhouse) as ClickHouseClient, {
    async query(asked: Parameters<ClickHouseClient['query']>[0]) {
      questions += 1;
      if (questions % 2 === 1) throw Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' });
      return stores.clickhouse.query(asked);
    },
  });
  const { months } = await copyThrough(
    (store) => ({
      ...store,
      async insert(batch) {
        const failure = failures.pop();
        if (failure?.failureClass === 'ambiguous') await store.insert(batch);
        if (failure) throw failure;
        await store.insert(batch);
      },
    }),
    hesitant,
  );
  expect(failures).toEqual([]);
  expect(months.every(({ postgres: here, clickhouse: there }) => here === there)).toBe(true);
  await expectCopied();
});

test('events that ClickHouse refuses are named, and cost no other event', async () => {
  const events = eventsOf(400, 9).map((event) => ({ ...event, retentionSeconds: null }));
  const [first, second] = [events[17]!, events[301]!].map((event) => ({ ...event, event: 'forbidden' }));
  const good = events.filter((_, index) => index !== 17 && index !== 301);
  await insert(postgres.events, [...good, first!, second!]);
  await insert(reference.events, good);
  await stores.clickhouse.command({
    query: `ALTER TABLE events_raw_v1 ADD CONSTRAINT nothing_forbidden CHECK event != 'forbidden'`,
  });
  onTestFinished(
    async () =>
      void (await stores.clickhouse.command({ query: 'ALTER TABLE events_raw_v1 DROP CONSTRAINT nothing_forbidden' })),
  );
  const done = await copy('--json');
  expect(done.code).toBe(1);
  const { copied, refused, examples, missing } = summaryOf(done);
  expect({ copied, refused, missing }).toEqual({ copied: 398, refused: 2, missing: 2 });
  expect(examples.map(({ eventId }) => eventId).toSorted()).toEqual([first!.eventId, second!.eventId].toSorted());
  expect((await copy()).stderr).toContain(first!.eventId);
  await expectCopied();
});

test('--project copies that project alone', async () => {
  const events = eventsOf(300, 10).map((event) => ({ ...event, retentionSeconds: null }));
  await insert(postgres.events, events);
  await insert(
    reference.events,
    events.filter(({ projectId }) => projectId === projects[0]),
  );
  expect(await copy('--project', projects[0])).toMatchObject({ code: 0 });
  await expectCopied();
});

test('--dry-run compares, and changes nothing, not even tables', async () => {
  const events = eventsOf(100, 11).map((event) => ({ ...event, retentionSeconds: null }));
  await insert(postgres.events, events);
  const unborn = { env: { ...env, CLICKHOUSE_DATABASE: 'unborn' }, cwd };
  const dryRun = ['copy', '--to', 'clickhouse', '--dry-run', '--json'];
  const done = await commandWeir(dryRun, unborn);
  expect(done).toMatchObject({ code: 0 });
  expect(summaryOf(done)).toMatchObject({ dryRun: true, missing: 100 });
  expect(await hasEventTable(stores.clickhouse, 'unborn')).toBe(false);

  expect(await commandWeir(['copy', '--to', 'clickhouse'], unborn)).toMatchObject({ code: 0 });
  expect(summaryOf(await commandWeir(dryRun, unborn)).missing).toBe(0);
});

test('only one runs at a time', async () => {
  await insert(postgres.events, eventsOf(10, 12));
  let second: Awaited<ReturnType<typeof copy>> | null = null;
  await copyThrough((store) => ({
    ...store,
    async insert(batch) {
      second ??= await copy();
      await store.insert(batch);
    },
  }));
  expect(second).toMatchObject({ code: 1, stderr: expect.stringContaining('Another `weir copy` is running') });
});

test('a Postgres without events says so', async () => {
  await stores.postgres.pool.query('CREATE DATABASE empty');
  const databaseUrl = stores.databaseUrl.replace(/\/weir$/, '/empty');
  const { code, stderr } = await commandWeir(['copy', '--to', 'clickhouse'], {
    env: { ...env, DATABASE_URL: databaseUrl },
    cwd,
  });
  expect(code).toBe(1);
  expect(stderr).toContain('EVENT_STORE=postgres');
});
