/**
 * Who answers at ClickHouse's address, and whose word is taken. Behind a real
 * port and the real driver: what counts is what comes over the wire.
 */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { ClickHouseClient } from '@clickhouse/client';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createClickHouse } from '../src/clickhouse/connection/client.ts';
import { countStored } from '../src/clickhouse/operations/stored-counts.ts';
import { createCountEvents } from '../src/clickhouse/reading/event-counts.ts';
import { createEventStore } from '../src/clickhouse/event-store/event-store.ts';
import { countRows, eraseProject } from '../src/clickhouse/operations/erase-project.ts';
import { isAnswering } from '../src/clickhouse/connection/ping.ts';
import { migrateClickHouse } from '../src/clickhouse/migrations/migrate.ts';
import { mutate } from '../src/clickhouse/operations/mutation.ts';
import { createProjectReader } from '../src/clickhouse/reading/project-reader.ts';
import { queryNdjson, queryTable } from '../src/clickhouse/operations/operator-query.ts';
import { askClickHouse, checkConnectivity } from '../src/clickhouse/operations/connectivity-check.ts';
import { createReads } from '../src/clickhouse/reading/bounded-reads.ts';
import { measureRetentionState } from '../src/clickhouse/operations/retention-rewrite.ts';
import { checkSchema } from '../src/clickhouse/migrations/schema-check.ts';
import { NotClickHouse } from '../src/clickhouse/connection/verified-answers.ts';
import { explainFailure } from '../src/clickhouse/connection/connection-errors.ts';
import { systemClock } from '../src/runtime/clock.ts';
import { ORDINARY_ROW } from '../src/event/rows.ts';
import type { BatchId } from '../src/pipeline/batch.ts';
import { failureOf } from '../src/pipeline/outcome.ts';
import { PROJECT } from './support/factory.ts';
import { type ImitatedAnswer, imitate } from './support/fault-proxy.ts';
import { NO_VERDICTS, STRANGERS } from './support/foreign-answers.ts';

const NEVER_STOP = new AbortController().signal;
const ID = '0198c0de-0000-7000-8000-000000000001' as BatchId;

let answer: ImitatedAnswer;
let asked = 0;
const server = createServer((incoming, outgoing) => {
  asked++;
  incoming.resume().once('end', () => imitate(incoming, outgoing, answer));
});
const seen: NotClickHouse[] = [];
let client: ClickHouseClient;

beforeAll(async () => {
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  client = createClickHouse({ url, database: 'analytics', onForeignAnswer: (stranger) => seen.push(stranger) });
});
afterAll(async () => {
  await client.close();
  server.closeAllConnections();
  server.close();
});
beforeEach(() => {
  seen.length = 0;
  asked = 0;
});

const storeOf = () => createEventStore({ client, clock: systemClock }, { database: 'analytics', timeoutMs: 10_000 });
const insert = () => storeOf().insert({ id: ID, chunks: [ORDINARY_ROW] });
const readsOf = () =>
  createReads(
    { client, downSignal: () => NEVER_STOP, clock: systemClock },
    { maxAtOnce: 1, maxWaiting: 1, timeoutMs: 10_000, maxMemoryBytes: 1e9, maxThreads: 1 },
  );
const question = {
  projectId: PROJECT,
  event: 'visit',
  fromMs: 0,
  toMs: 3_600_000,
  groupBy: null,
  isExact: false,
};

/** Everything that is asked of ClickHouse and fails by throwing. */
const QUESTIONS: Readonly<Record<string, () => Promise<unknown>>> = {
  'the migrations': () => migrateClickHouse(client, 'analytics'),
  'the check of the schema': () => checkSchema(client, 'analytics'),
  'a checkConnectivity': () => checkConnectivity(client),
  'what doctor asks': () => askClickHouse(client),
  'what reconciling counts': () => countStored(client, null),
  'what deleting a project counts': () => countRows(client, PROJECT),
  'deleting a project': () => eraseProject({ client, clock: systemClock }, PROJECT, () => {}),
  'a mutation': () =>
    mutate(
      { client, clock: systemClock },
      { table: 'events_raw_v1', change: 'DELETE WHERE 0', projectId: PROJECT, doing: 'delete' },
      () => {},
    ),
  'what a changed retention measures': () => measureRetentionState(client, PROJECT, 60),
  'a person’s query for a table': () => queryTable(client, 'SELECT 1'),
  'a person’s query for JSON': () => queryNdjson(client, 'SELECT 1'),
  'counting events': () => createCountEvents(readsOf())(question, NEVER_STOP),
};

/** What the event store is asked besides storing. */
const STORE_QUESTIONS: Readonly<Record<string, () => Promise<unknown>>> = {
  'a dry run': () => storeOf().dryRun([ORDINARY_ROW]),
  'which rows are stored': () => storeOf().findStored([ORDINARY_ROW]),
  'how many inserts there were': () => storeOf().countInserts(1_000),
};

describe.each(STRANGERS)('%s answers', (_, stranger) => {
  beforeEach(() => void (answer = stranger));

  test('an insert: it may have landed, and nobody says that it did', async () => {
    expect(await failureOf(insert())).toMatchObject({
      name: 'InsertFailure',
      failureClass: 'ambiguous',
      mayHaveLanded: true,
      message: expect.stringMatching(/^the server at CLICKHOUSE_URL is not ClickHouse \(HTTP \d{3}, /),
    });
    expect(seen).toHaveLength(1);
  });

  test.each(Object.entries(STORE_QUESTIONS))('%s: nothing was learned', async (_name, ask) => {
    const failure = await failureOf(ask());
    expect(failure).toMatchObject({ name: 'InsertFailure', message: expect.stringContaining('is not ClickHouse') });
    expect((failure as { failureClass?: string }).failureClass).toMatch(/^(unavailable|ambiguous)$/);
  });

  test.each(Object.entries(QUESTIONS))('%s: it fails', async (_name, ask) => {
    expect(await failureOf(ask())).not.toBe(null);
    expect(seen.length).toBeGreaterThan(0);
  });

  test('a project’s query and its tables cannot be had', async () => {
    const reader = createProjectReader({ client, clock: systemClock, stopping: NEVER_STOP }, { database: 'analytics' });
    const unavailable = { kind: 'unavailable', isForOperator: false };
    expect(await reader.query(PROJECT, 'SELECT 1', { queryId: ID, signal: NEVER_STOP })).toMatchObject(unavailable);
    expect(await reader.schema(PROJECT, NEVER_STOP)).toMatchObject(unavailable);
  });

  test('the heartbeat: ClickHouse is not up', async () => {
    expect(await isAnswering(client, NEVER_STOP)).toBe(false);
  });

  test('an insert by the driver itself: it fails', async () => {
    expect(await failureOf(client.insert({ table: 't', values: [{ x: 1 }], format: 'JSONEachRow' }))).not.toBe(null);
  });

  test('the migrations stop at the first statement', async () => {
    await failureOf(migrateClickHouse(client, 'analytics'));
    expect(asked).toBe(1);
  });
});

describe.each(NO_VERDICTS)('ClickHouse answers an insert with %s', (_, said) => {
  test('it may have landed, and nobody says that it did', async () => {
    answer = said;
    const failure = await failureOf(insert());
    expect(failure).toMatchObject({ name: 'InsertFailure', failureClass: 'ambiguous', mayHaveLanded: true });
    expect(seen).toEqual([]);
  });
});

test('an empty 200 under the id of the query says that the rows are there', async () => {
  answer = { status: 200, id: 'right' };
  await insert();
  expect(seen).toEqual([]);
});

describe('an error number without an id', () => {
  test.each([
    [516, 'operator', false],
    [81, 'operator', false],
    [115, 'operator', false],
    [745, 'capacity', true],
  ])('%i is believed: the rows wait', async (code, failureClass, mayHaveLanded) => {
    answer = { status: 403, code, id: 'none' };
    expect(await failureOf(insert())).toMatchObject({ failureClass, mayHaveLanded, code });
  });

  test.each([[27], [469], [389], [4_711]])(
    '%i is not: it neither blames rows nor says that they are there',
    async (code) => {
      answer = { status: 400, code, id: 'none', text: `Code: ${code}. DB::Exception: so it seems` };
      expect(await failureOf(insert())).toMatchObject({ failureClass: 'ambiguous', mayHaveLanded: true });
    },
  );

  test('counts as ClickHouse answering', async () => {
    answer = { status: 403, code: 516, id: 'none' };
    expect(await isAnswering(client, NEVER_STOP)).toBe(true);
  });
});

describe('something in front refuses an insert', () => {
  test.each([
    [401, 'operator', true],
    [403, 'operator', true],
    [407, 'operator', true],
    [411, 'operator', true],
    [414, 'operator', true],
    [431, 'operator', true],
    [408, 'ambiguous', true],
    [413, 'too_large', false],
    [425, 'unavailable', true],
    [429, 'capacity', true],
    [500, 'unavailable', true],
    [502, 'unavailable', true],
    [503, 'unavailable', true],
    [504, 'unavailable', true],
    [520, 'unavailable', true],
    [599, 'unavailable', true],
    [405, 'ambiguous', true],
  ] as const)('with %i: %s', async (status, failureClass, mayHaveLanded) => {
    answer = { status, headers: { 'content-type': 'text/html' }, text: '<h1>No</h1>' };
    expect(await failureOf(insert())).toMatchObject({ failureClass, mayHaveLanded, code: null });
  });
});

describe('what is said of a stranger', () => {
  test.each([
    ['text/html; charset=utf-8', 'text/html; charset=utf-8'],
    [`text/${'x'.repeat(200)}`, `text/${'x'.repeat(35)}`],
    ['', 'no Content-Type'],
  ])('its Content-Type %j, a little of it', async (type, shown) => {
    answer = { status: 200, headers: type === '' ? {} : { 'content-type': type }, text: 'secret' };
    const failure = (await failureOf(checkConnectivity(client)))!;
    expect(failure).toBeInstanceOf(NotClickHouse);
    expect(failure.message).toBe(`the server at CLICKHOUSE_URL is not ClickHouse (HTTP 200, ${shown})`);
  });

  test('that it changes query ids', async () => {
    answer = { status: 200, id: 'wrong' };
    expect(await failureOf(checkConnectivity(client))).toMatchObject({
      message: 'the server at CLICKHOUSE_URL is not ClickHouse (HTTP 200, with a query id other than the one sent)',
    });
  });

  test('what to do, on the command line', async () => {
    answer = { status: 200, headers: { 'content-type': 'text/html' } };
    const failure = await failureOf(checkConnectivity(client));
    expect(explainFailure(failure)).toBe(
      'the server at CLICKHOUSE_URL is not ClickHouse (HTTP 200, text/html): check the address, and any proxy in front of it',
    );
  });
});
