/** Both stores away, and Postgres in trouble: the events stay in memory until one of the two takes them. */
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { type WeirPlace, healthOf, isReady, until } from '../chaos/rig.ts';
import { type Grounds, endCleanly, startGrounds } from '../support/grounds.ts';
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
  // The token is known from now on, whatever becomes of Postgres.
  expect(await load.send(1, { ack: 'stored' })).toBe('acknowledged');
  // On a slow machine it may have become a dead letter first, its insert in doubt.
  await grounds.rest(weir);
});
afterEach(() => grounds.heal());

const sendMany = (requests: number) => Promise.all(Array.from({ length: requests }, () => load.send(50)));

/** A thousand acknowledged events that no store takes. */
async function makeHomeless(): Promise<void> {
  await rig.clickhouse.refuse();
  await rig.postgres.refuse();
  await sendMany(20);
  await until('fatal', async () => (await healthOf(weir.url()))?.status === 'down');
  expect(await isReady(weir.url())).toBe(false);
}

const settle = async (stored: number) => {
  expect(await grounds.expectKept(weir)).toMatchObject({ stored, quarantined: 0 });
};

test('when Postgres alone returns, fatal clears without traffic and the events are dead letters', async () => {
  await makeHomeless();
  await rig.postgres.accept();
  await until('ready without traffic', () => isReady(weir.url()));
  const audit = () => auditOf(rig.stores, grounds.tally());
  // Those that had not been tried when the first batch found no home take a moment more.
  await until('all are dead letters', async () => (await audit()).waiting === 1_000);
  expect(await audit()).toMatchObject({ acknowledged: 1_001, waiting: 1_000, stored: 1, lost: [] });
  await rig.clickhouse.accept();
  await settle(1_001);
});

test('when ClickHouse alone returns, fatal clears without traffic and the events are stored', async () => {
  await makeHomeless();
  await rig.clickhouse.accept();
  await until('ready without traffic', () => isReady(weir.url()));
  const audit = () => auditOf(rig.stores, grounds.tally());
  await until('all are stored', async () => (await audit()).stored === 1_001);
  expect(await audit()).toMatchObject({ acknowledged: 1_001, waiting: 0, stored: 1_001, lost: [] });
  await rig.postgres.accept();
  await settle(1_001);
});

test('SIGTERM while both are away: the next start brings everything home', async () => {
  await makeHomeless();
  await endCleanly(weir);
  await weir.start();
  await rig.postgres.accept();
  await rig.clickhouse.accept();
  await until('ready', () => isReady(weir.url()));
  await settle(1_001);
});

test('both frozen and thawed', async () => {
  rig.stores.clickhouseServer.pause();
  rig.stores.postgresServer.pause();
  await sendMany(20);
  await until('fatal', async () => (await healthOf(weir.url()))?.status === 'down');
  rig.stores.postgresServer.resume();
  rig.stores.clickhouseServer.resume();
  await settle(1_001);
});

test('kill -9 of Postgres while dead letters are written', async () => {
  await rig.clickhouse.refuse();
  const sending = sendMany(10);
  await rig.stores.postgresServer.kill();
  await rig.postgres.refuse();
  await sending;
  await rig.stores.postgresServer.start();
  await rig.postgres.accept();
  await until('ready', () => isReady(weir.url()));
  await rig.clickhouse.accept();
  await settle(501);
});

test('a spill whose answer is lost is one dead letter', async () => {
  await rig.clickhouse.refuse();
  rig.postgres.set({ kind: 'commit-then-cut', message: /insert into "failed_events"/ }, { times: 3 });
  const before = rig.postgres.hits();
  await sendMany(10);
  await until('the answer was lost', () => rig.postgres.hits() > before);
  await until('dead-lettered', async () => (await healthOf(weir.url()))?.pending_bytes === 0);
  const { rows } = await rig.stores.postgres.pool.query('SELECT sum(event_count)::int AS events FROM failed_events');
  expect(rows).toEqual([{ events: 500 }]);
  await rig.clickhouse.accept();
  await settle(501);
});

test('every answer of Postgres lost for a while, while it drains', async () => {
  await rig.clickhouse.refuse();
  await sendMany(10);
  await until('dead-lettered', async () => (await healthOf(weir.url()))?.pending_bytes === 0);
  rig.postgres.set({ kind: 'commit-then-cut', message: /delete from "failed_events"/ }, { times: 2 });
  const before = rig.postgres.hits();
  await rig.clickhouse.accept();
  await until('an answer was lost', () => rig.postgres.hits() > before);
  await settle(501);
});
