/** Two replicas that share the tables: each takes inserts, and either may be asked, lag or be away. */
import type { ClickHouseClient } from '@clickhouse/client';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { createClickHouse } from '../../src/clickhouse/connection/client.ts';
import { type InsertQuorum, createEventStore } from '../../src/clickhouse/event-store/event-store.ts';
import { createEventSchema } from '../../src/clickhouse/migrations/event-schema.ts';
import { checkLayout } from '../../src/operations/examination/layout-check.ts';
import { describeLayout } from '../../src/clickhouse/operations/described-layout.ts';
import { createEventOperations } from '../../src/clickhouse/operations/event-operations.ts';
import { setProperties } from '../../src/clickhouse/operations/property-columns.ts';
import { catchUp } from '../../src/clickhouse/reading/caught-up.ts';
import { checkSomeHours } from '../../src/clickhouse/reading/counted-copies.ts';
import { failureOf } from '../../src/pipeline/outcome.ts';
import type { InsertFailure } from '../../src/pipeline/ports.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { type Cluster, CLUSTER, type Replica, startCluster } from '../support/clickhouse-cluster.ts';
import { OTHER_PROJECT } from '../support/factory.ts';
import { startHttpProxy } from '../support/fault-proxy.ts';
import { batchOf, eventIdOf, goodRows, type RowSpec, rowOf } from '../support/rows.ts';
import { hasZooKeeper } from '../support/zookeeper.ts';

const DATABASE = 'analytics';
const VIEWS = ['event_counts_hourly', 'event_users', 'identity_links'];
const SETTLED = { timeout: 30_000, interval: 50 };
const HOUR_MS = 3_600_000;

const isRequired = Boolean(process.env['CI']);
if (!hasZooKeeper() && !isRequired) {
  console.warn('NOT RUN: replicas of ClickHouse. Install what they need first (Debian: apt-get install zookeeper).');
}

describe.skipIf(!hasZooKeeper() && !isRequired)('replicas', () => {
  let cluster: Cluster;
  let clients: ClickHouseClient[];
  let first: Replica;
  let second: Replica;
  let next = 0;
  const fresh = (count: number): RowSpec[] => goodRows(count, (next += 1_000));

  beforeAll(async () => {
    cluster = await startCluster();
    [first, second] = cluster.replicas;
    clients = [first, second].map(({ front }) =>
      createClickHouse({ url: front, database: DATABASE, maxConnections: 8 }),
    );
    expect(await schemaOn(0).migrate()).not.toEqual([]);
  });
  afterAll(async () => {
    await Promise.all(clients.map((client) => client.close()));
    await cluster.stop();
  });

  const schemaOn = (index: number) => createEventSchema(clients[index]!, DATABASE, { cluster: CLUSTER });
  const storeOn = (index: number, quorum: InsertQuorum | null = null, timeoutMs = 20_000) =>
    createEventStore(
      { client: clients[index]!, clock: systemClock },
      { database: DATABASE, cluster: CLUSTER, timeoutMs, quorum },
    );
  const doctorOn = async (index: number, name: string | null = CLUSTER) =>
    checkLayout(
      'tables',
      await describeLayout({ client: clients[index]!, clock: systemClock }, { database: DATABASE, cluster: name }),
    );
  const range = (specs: readonly RowSpec[]) =>
    `event_id >= toUUID('${eventIdOf(specs[0]!.n)}') AND event_id < toUUID('${eventIdOf(specs[0]!.n + specs.length)}')`;
  const numberOf = async ({ ask }: Replica, query: string) => (await ask<{ n: number }>(query))[0]!.n;
  const storedOn = (replica: Replica, specs: readonly RowSpec[], of = 'events_raw_v1') =>
    numberOf(replica, `SELECT count() AS n FROM ${DATABASE}.${of} WHERE ${range(specs)}`);
  const countedOn = (replica: Replica) =>
    numberOf(replica, `SELECT sum(events) AS n FROM ${DATABASE}.event_counts_hourly`);
  const settled = async () => {
    for (const table of ['events_raw_v1', ...VIEWS]) await cluster.settled(`${DATABASE}.${table}`);
  };

  test('all have the tables and views, whichever one was migrated, and find them as they should be', async () => {
    expect(await schemaOn(1).migrate()).toEqual([]);
    for (const index of [0, 1]) {
      expect(await schemaOn(index).check()).toEqual([]);
      expect(await schemaOn(index).rebuild.read()).toEqual({ state: { kind: 'done' }, next: 'none' });
    }
    const tables = async ({ ask }: Replica) =>
      ask<{ name: string; engine: string }>(
        `SELECT name, engine FROM system.tables WHERE database IN ('${DATABASE}', 'monitor') ORDER BY name`,
      );
    const there = await tables(first);
    expect(await tables(second)).toEqual(there);
    const engines = there.map(({ engine }) => engine);
    expect(engines.filter((engine) => engine.endsWith('MergeTree') && !engine.startsWith('Replicated'))).toEqual([]);
    expect(engines.filter((engine) => engine.startsWith('Replicated'))).toHaveLength(6);
    expect(await storeOn(0).readMemory()).toEqual({ inserts: 10_000, forMs: 7 * 24 * HOUR_MS });
    expect((await doctorOn(1)).map(({ outcome, detail }) => `${outcome}: ${detail}`)).toEqual([
      'ok: replicated on 2 servers of the cluster weir_both',
      'ok: the last 10,000 inserts are recognised when they are repeated, of the last 168 hours',
    ]);
  });

  test('what is remembered of inserts is read from the table, whoever made it', async () => {
    const memoryOf = async (database: string, settings: string) => {
      await clients[0]!.command({ query: `CREATE DATABASE ${database} ON CLUSTER '${CLUSTER}'` });
      await clients[0]!.command({
        query: `CREATE TABLE ${database}.events_raw_v1 ON CLUSTER '${CLUSTER}' (x UInt8) ENGINE = ReplicatedMergeTree ORDER BY x ${settings}`,
      });
      const options = { database, cluster: CLUSTER, timeoutMs: 10_000 };
      return createEventStore({ client: clients[0]!, clock: systemClock }, options).readMemory();
    };
    const window = 'replicated_deduplication_window = 500, replicated_deduplication_window_seconds = 1800';
    expect(await memoryOf('short', `SETTINGS ${window}`)).toEqual({ inserts: 500, forMs: HOUR_MS / 2 });
    const [server] = await first.ask<{ inserts: string; seconds: string }>(
      `SELECT anyIf(value, name = 'replicated_deduplication_window') AS inserts, anyIf(value, name = 'replicated_deduplication_window_seconds') AS seconds
       FROM system.replicated_merge_tree_settings`,
    );
    expect(await memoryOf('usual', '')).toEqual({
      inserts: Number(server!.inserts),
      forMs: Number(server!.seconds) * 1_000,
    });
  });

  test('says what to do where the cluster is not named, or tables of one server are there', async () => {
    await first.ask('CREATE DATABASE alone');
    await first.ask('CREATE TABLE alone.events_raw_v1 (x UInt8) ENGINE = MergeTree ORDER BY x');
    const client = createClickHouse({ url: first.front, database: 'alone' });
    const refused = await failureOf(createEventSchema(client, 'alone', { cluster: CLUSTER }).migrate());
    expect(createEventSchema(client, 'alone').explain(refused)).toMatch(/set CLICKHOUSE_DATABASE to a new database/);
    const unknown = await failureOf(createEventSchema(clients[0]!, DATABASE, { cluster: 'nowhere' }).migrate());
    expect(schemaOn(0).explain(unknown)).toMatch(/knows no cluster nowhere .*weir_both/);
    expect(await doctorOn(0, 'nowhere')).toMatchObject([{ outcome: 'fail' }]);
    // What has been migrated works without the name, and is not changed without it.
    expect(await doctorOn(0, null)).toMatchObject([{ outcome: 'warn' }, { outcome: 'ok' }]);
    expect(await createEventSchema(clients[0]!, DATABASE).migrate()).toEqual([]);
    await first.ask(
      `ALTER TABLE ${DATABASE}.schema_migrations DELETE WHERE name LIKE '0013%' SETTINGS mutations_sync = 2`,
    );
    const unnamed = await failureOf(createEventSchema(clients[0]!, DATABASE).migrate());
    expect(schemaOn(0).explain(unnamed)).toMatch(/set CLICKHOUSE_CLUSTER to the name of their cluster/);
    expect(await schemaOn(1).migrate()).toEqual(['0013_event_copies']);
    await client.close();
  });

  test('an insert that was cut before its answer is one on another replica, in the table and behind the views', async () => {
    const specs = fresh(20);
    const before = await countedOn(first);
    const proxy = await startHttpProxy(first.url);
    const cut = createClickHouse({ url: proxy.url, database: DATABASE });
    proxy.set({ kind: 'cut-answer' }, { only: 'inserts', times: 1 });
    const events = createEventStore(
      { client: cut, clock: systemClock },
      { database: DATABASE, cluster: CLUSTER, timeoutMs: 20_000 },
    );
    expect(await failureOf(events.insert(batchOf(next, specs)))).toMatchObject({ failureClass: 'ambiguous' });
    await vi.waitFor(async () => expect(await storedOn(first, specs)).toBe(20), SETTLED);
    for (const index of [1, 0, 1]) await storeOn(index).insert({ ...batchOf(next, specs), mayHaveLanded: true });
    await settled();
    for (const replica of [first, second]) {
      expect(await storedOn(replica, specs)).toBe(20);
      expect((await countedOn(replica)) - before).toBe(20);
    }
    await cut.close();
    await proxy.stop();
  });

  test('a replica that lags is no reason to store anything again, or to take it for missing', async () => {
    const specs = fresh(10);
    first.holdParts('all');
    await storeOn(0).insert(batchOf(next, specs));
    expect(await storedOn(second, specs)).toBe(0);
    expect(await storeOn(1).findStored(specs.map(rowOf))).toEqual(specs.map(() => true));
    await storeOn(1).insert({ ...batchOf(next, specs), mayHaveLanded: true });
    expect(await storedOn(second, specs)).toBe(0);
    first.holdParts(null);
    await settled();
    for (const replica of [first, second]) expect(await storedOn(replica, specs)).toBe(10);
  });

  test('inserts of all replicas are counted, also by one that lags, and months apart', async () => {
    for (const index of [0, 1]) await storeOn(index).insert(batchOf(next, fresh(1)));
    await settled();
    // Old enough to be counted from, for the margin of a minute less.
    for (const replica of [first, second]) await replica.ask(`SYSTEM STOP MERGES ${DATABASE}.events_raw_v1`);
    await systemClock.sleep(8_000);
    const startedAt = systemClock.elapsed();
    const stores = [storeOn(0), storeOn(1)];
    const sinceStart = (index: number) =>
      stores[index]!.countInserts(systemClock.elapsed() - startedAt + 5_000 - 60_000);
    first.holdParts('all');
    for (let n = 0; n < 3; n++) await storeOn(0).insert(batchOf(next, fresh(1)));
    await storeOn(1).insert(batchOf(next, fresh(1)));
    expect(await sinceStart(1)).toBe(4);
    expect(await sinceStart(0)).toBe(4);
    // An insert of two months is two blocks, one of which is the first of its partition.
    const turn = Date.UTC(2026, 1, 1);
    const specs = fresh(6).map((spec, index) => ({ ...spec, receivedAt: turn + (index - 3) * 1_000 }));
    for (const index of [0, 1, 0]) await storeOn(index).insert(batchOf(next, specs));
    first.holdParts(null);
    await settled();
    for (const index of [0, 1]) expect(await sinceStart(index)).toBe(6);
    for (const replica of [first, second]) {
      expect(await storedOn(replica, specs)).toBe(6);
      expect(
        await numberOf(
          replica,
          `SELECT uniqExact(_partition_id) AS n FROM ${DATABASE}.events_raw_v1 WHERE ${range(specs)}`,
        ),
      ).toBe(2);
      await replica.ask(`SYSTEM START MERGES ${DATABASE}.events_raw_v1`);
    }
  });

  test('a change of rows or columns is made on all replicas before it is said to be', async () => {
    const specs = fresh(8).map((spec, index) => ({
      ...spec,
      projectId: OTHER_PROJECT,
      properties: `{"plan":"${index % 2 === 0 ? 'pro' : 'free'}"}`,
    }));
    await storeOn(0).insert(batchOf(next, specs));
    await settled();
    await setProperties(clients[1]!, DATABASE, [{ name: 'plan', type: 'String' }], { cluster: CLUSTER });
    for (const replica of [first, second]) {
      expect(
        await numberOf(
          replica,
          `SELECT countIf(properties.plan = 'pro') AS n FROM ${DATABASE}.events WHERE ${range(specs)}`,
        ),
      ).toBe(4);
    }
    await setProperties(clients[0]!, DATABASE, [], { cluster: CLUSTER });
    for (const index of [0, 1]) expect(await schemaOn(index).check()).toEqual([]);

    const operations = createEventOperations(
      { client: clients[1]!, clock: systemClock },
      { database: DATABASE, cluster: CLUSTER },
    );
    const confirmWanted = () => Promise.resolve();
    const retention = { projectId: OTHER_PROJECT, retentionSeconds: 10 * 365 * 86_400, confirmWanted };
    expect(await operations.rewriteRetention(retention, () => {})).toEqual({ changed: 8, expired: 0, left: 0 });
    const rewritten = `SELECT countIf(toYear(expires_at) = 2035) AS n FROM ${DATABASE}.events_raw_v1 WHERE ${range(specs)}`;
    for (const replica of [first, second]) expect(await numberOf(replica, rewritten)).toBe(8);
    const erased = await operations.eraseProject(OTHER_PROJECT, () => {});
    expect(erased.map(({ left }) => left)).toEqual([0, 0, 0, 0, 0]);
    for (const replica of [first, second]) expect(await storedOn(replica, specs)).toBe(0);
  });

  test('a replica that has the counts and not the events takes none of them for copies', async () => {
    const specs = fresh(5).map((spec) => ({ ...spec, receivedAt: Date.UTC(2026, 2, 4, 4) }));
    const place = { database: DATABASE, cluster: CLUSTER };
    first.holdParts({ table: 'events_raw_v1' });
    await storeOn(0).insert(batchOf(next, specs));
    await cluster.settled(`${DATABASE}.event_counts_hourly`);
    expect(await storedOn(second, specs)).toBe(0);
    let isCaughtUp = false;
    const catching = catchUp(clients[1]!, place).then(() => (isCaughtUp = true));
    await first.ask('SELECT sleep(1)');
    expect(isCaughtUp).toBe(false);
    first.holdParts(null);
    await catching;
    expect(await storedOn(second, specs)).toBe(5);
  });

  test('copies that clients sent are taken off once, whichever replica looks', async () => {
    const specs = fresh(5).map((spec) => ({ ...spec, receivedAt: Date.UTC(2026, 2, 3, 4) }));
    await storeOn(0).insert(batchOf(next, specs));
    await storeOn(1).insert(batchOf(next + 1, specs));
    await settled();
    await vi.waitFor(async () => {
      for (const client of clients) while ((await checkSomeHours(client, { sinceS: 3_600, quietS: 1 })) > 0);
      await cluster.settled(`${DATABASE}.event_copies`);
      for (const replica of [first, second]) {
        const copies = `SELECT sum(copies) AS n FROM ${DATABASE}.event_copies FINAL WHERE hour = '2026-03-03 04:00:00'`;
        expect(await numberOf(replica, copies)).toBe(5);
      }
    }, SETTLED);
  });

  test('a replica that is lost with what only it had costs nothing that is sent again', async () => {
    const specs = fresh(10);
    first.holdParts('all');
    await storeOn(0).insert(batchOf(next, specs));
    const before = await countedOn(second);
    await first.kill();
    // The keeper knows the batch, and no server has its rows: they are put where the views do not see them again.
    await storeOn(1).insert({ ...batchOf(next, specs), mayHaveLanded: true });
    expect(await storedOn(second, specs)).toBe(10);
    expect(await storeOn(1).findStored(specs.map(rowOf))).toEqual(specs.map(() => true));
    expect((await doctorOn(1))[0]).toMatchObject({ outcome: 'warn', detail: expect.stringMatching(/1 of 2 answer/) });
    // Changes of tables reach it when it is back.
    expect(await schemaOn(1).migrate()).toEqual([]);
    await first.start();
    first.holdParts(null);
    await vi.waitFor(settled, SETTLED);
    for (const replica of [first, second]) {
      expect(await storedOn(replica, specs, 'events')).toBe(10);
      expect((await countedOn(replica)) - before).toBe(10);
    }
    expect(await numberOf(second, `SELECT count() AS n FROM system.tables WHERE name LIKE '%put_back%'`)).toBe(0);
  });

  test('with a quorum an insert is stored when the others have it, and in doubt until then', async () => {
    const specs = fresh(3);
    await storeOn(0, 'auto').insert(batchOf(next, specs));
    expect(await storedOn(second, specs)).toBe(3);

    const waiting = fresh(3);
    first.holdParts('all');
    const late = await failureOf(storeOn(0, 2, 3_000).insert(batchOf(next, waiting)));
    expect(late).toMatchObject({ failureClass: 'ambiguous', mayHaveLanded: true });
    first.holdParts(null);
    await storeOn(0, 2).insert({ ...batchOf(next, waiting), mayHaveLanded: true });
    expect(await storedOn(second, waiting)).toBe(3);

    const alone = fresh(3);
    await second.kill();
    const codes = new Set<number | null>();
    try {
      await vi.waitFor(async () => {
        const failure = (await failureOf(storeOn(0, 2, 3_000).insert(batchOf(next, alone)))) as InsertFailure;
        expect(['ambiguous', 'unavailable']).toContain(failure.failureClass);
        codes.add(failure.code);
        expect([...codes]).toContain(285);
      }, SETTLED);
    } finally {
      await second.start();
    }
    await vi.waitFor(() => storeOn(0, 2).insert({ ...batchOf(next, alone), mayHaveLanded: true }), SETTLED);
    await settled();
    for (const replica of [first, second]) {
      for (const some of [specs, waiting, alone]) expect(await storedOn(replica, some)).toBe(3);
    }
  });

  test('a keeper that does not answer is never the fault of rows', async () => {
    const specs = fresh(4);
    cluster.keeper.pause();
    const seen = new Set<string>();
    for (const timeoutMs of [1_000, 6_000]) {
      const failure = (await failureOf(storeOn(0, null, timeoutMs).insert(batchOf(next, specs)))) as InsertFailure;
      seen.add(failure.failureClass);
    }
    expect([...seen].filter((failureClass) => !['ambiguous', 'unavailable'].includes(failureClass))).toEqual([]);
    cluster.keeper.resume();
    await vi.waitFor(() => storeOn(1).insert({ ...batchOf(next, specs), mayHaveLanded: true }), SETTLED);
    await vi.waitFor(settled, SETTLED);
    for (const replica of [first, second]) expect(await storedOn(replica, specs)).toBe(4);
  });
});
