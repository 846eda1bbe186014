/** Each fault singly: a real Weir, real stores, and every event accounted for by its id. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createLog } from '../../src/log/log.ts';
import { createPostgres } from '../../src/postgres/connection/pool.ts';
import { type WeirPlace, until } from '../chaos/rig.ts';
import { type HttpFault, type TcpProxy, startTcpProxy } from '../support/fault-proxy.ts';
import { type Grounds, startGrounds } from '../support/grounds.ts';
import { type Load, auditOf } from '../support/load.ts';

let grounds: Grounds;
let rig: Grounds['rig'];
let weir: WeirPlace;
let load: Load;

beforeAll(async () => {
  grounds = await startGrounds();
  rig = grounds.rig;
  weir = await grounds.newWeir({ INGEST_INSERT_TIMEOUT: '1s' });
});
afterAll(() => rig?.stop());
beforeEach(async () => {
  await grounds.clear();
  load = grounds.sender(weir);
});
afterEach(() => grounds.heal());

const sendMany = async (requests: number, events = 50) => {
  const sent = await Promise.all(Array.from({ length: requests }, () => load.send(events)));
  expect(sent).toEqual(sent.map(() => 'acknowledged'));
};

test('without a fault every event is stored once', async () => {
  await sendMany(20);
  expect(await grounds.expectKept(weir)).toMatchObject({ acknowledged: 1_000, stored: 1_000, quarantined: 0 });
});

test('a copy that was inserted behind Weir’s back is found by the audit', async () => {
  await sendMany(1, 10);
  await grounds.rest(weir);
  const { clickhouse, database } = rig.stores;
  await clickhouse.command({
    query: `INSERT INTO ${database}.events_raw_v1 SELECT * FROM ${database}.events_raw_v1 LIMIT 1 SETTINGS insert_deduplicate = 0`,
  });
  const audit = await auditOf(rig.stores, grounds.tally());
  expect(audit.doubledInTable.length + audit.rollupExcess).toBeGreaterThan(0);
});

describe('inserts', () => {
  const faults: [string, HttpFault][] = [
    ['done, their answer cut', { kind: 'cut-answer' }],
    ['cut half-way', { kind: 'cut-request' }],
    ['reset', { kind: 'reset' }],
    ['hung', { kind: 'hang' }],
    ['slow', { kind: 'slow', bytesPerSecond: 4_000 }],
    ['lost behind a gateway', { kind: 'answer', status: 504 }],
  ];

  test.each(faults)('%s once', async (_, fault) => {
    rig.clickhouse.set(fault, { only: 'inserts', times: 1 });
    await sendMany(4);
    expect(await grounds.expectKept(weir)).toMatchObject({ acknowledged: 200, stored: 200 });
  });

  test.each(faults)('%s again and again for a while', async (_, fault) => {
    const before = rig.clickhouse.hits();
    rig.clickhouse.set(fault, { only: 'inserts' });
    await sendMany(4);
    await until('the fault has struck', () => rig.clickhouse.hits() > before + 1);
    rig.clickhouse.set(null);
    expect(await grounds.expectKept(weir)).toMatchObject({ acknowledged: 200, stored: 200 });
  });
});

test('every number ClickHouse may answer with, one after the other: nothing lost, doubled or quarantined', async () => {
  const codes = [
    202, 203, 242, 279, 159, 209, 210, 236, 319, 394, 241, 243, 252, 16, 47, 60, 497, 516, 1, 48, 999, 1002,
  ];
  for (const code of codes) {
    const before = rig.clickhouse.hits();
    rig.clickhouse.set({ kind: 'answer', status: 500, code, text: 'in trouble' }, { only: 'inserts', times: 1 });
    await sendMany(1, 20);
    await until(`an insert was answered with ${code}`, () => rig.clickhouse.hits() > before);
    // One that lands closes the breaker, so that the next number is met without its pause.
    await load.send(1, { ack: 'stored' });
  }
  expect(await grounds.expectKept(weir)).toMatchObject({ stored: 21 * codes.length, quarantined: 0 });
});

test('an answer of 200 with an error number in its header is an error', async () => {
  rig.clickhouse.set({ kind: 'answer', status: 200, code: 202 }, { only: 'inserts', times: 2 });
  await sendMany(2);
  expect(await grounds.expectKept(weir)).toMatchObject({ stored: 100 });
});

test('kill -9 of ClickHouse under load', async () => {
  await sendMany(3);
  const sending = sendMany(10);
  await rig.stores.clickhouseServer.kill();
  await rig.clickhouse.refuse();
  await sending;
  await sendMany(3);
  await rig.stores.clickhouseServer.start();
  await rig.clickhouse.accept();
  expect(await grounds.expectKept(weir)).toMatchObject({ acknowledged: 800, stored: 800 });
});

test('a frozen ClickHouse under load', async () => {
  const sending = sendMany(10);
  rig.stores.clickhouseServer.pause();
  await sending;
  await sendMany(3);
  await until('the events have another home', async () => (await waitingEvents()) > 0);
  rig.stores.clickhouseServer.resume();
  expect(await grounds.expectKept(weir)).toMatchObject({ acknowledged: 650, stored: 650 });
});

async function waitingEvents(): Promise<number> {
  const { rows } = await rig.stores.postgres.pool.query<{ events: string }>(
    'SELECT coalesce(sum(event_count), 0) AS events FROM failed_events',
  );
  return Number(rows[0]!.events);
}

describe('the pool of Postgres connections', () => {
  // A way of its own: Weir's own statements must not use up the faults.
  let proxy: TcpProxy;
  beforeAll(async () => {
    proxy = await startTcpProxy(rig.stores.postgresServer.port);
  });
  afterAll(() => proxy?.stop());

  const openPool = (maxConnections: number) => {
    const url = rig.stores.databaseUrl.replace(`:${rig.stores.postgresServer.port}/`, `:${proxy.port}/`);
    return createPostgres({ url, maxConnections }, createLog('silent'));
  };

  test('outlives a connection that breaks between two statements of a transaction', async () => {
    const { pool } = openPool(1);
    const connection = await pool.connect();
    await connection.query('BEGIN');
    const ended = new Promise<void>((resolve) => connection.once('end', resolve));
    proxy.cut();
    // An error that nobody listens to would fail the whole run here.
    await ended;
    connection.release(true);
    expect((await pool.query<{ one: number }>('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
    await pool.end();
  });

  test.each(['begin', 'select', 'commit\\b'])(
    'loses no connection to transactions that break at %s',
    async (statement) => {
      const { pool, db } = openPool(2);
      proxy.set({ kind: 'commit-then-cut', message: new RegExp(statement, 'i') }, { times: 3 });
      for (let broken = 0; broken < 3; broken++) {
        await expect(db.transaction((tx) => tx.execute('select 1'))).rejects.toThrow();
      }
      expect(await db.transaction(async (tx) => (await tx.execute('select 1 AS one')).rows)).toEqual([{ one: 1 }]);
      // Would wait for ever for a connection that was never given back.
      await pool.end();
    },
  );

  test('gives the reason of a refused statement, and the connection back', async () => {
    const { pool, db } = openPool(1);
    await expect(db.transaction((tx) => tx.execute('select 1 / 0'))).rejects.toThrow();
    expect(await db.transaction(async (tx) => (await tx.execute('select 1 AS one')).rows)).toEqual([{ one: 1 }]);
    await pool.end();
  });
});
