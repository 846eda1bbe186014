/** Dead letters on their way back: drained by two, by one that is killed, and byte for byte. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { type Rig, forgetEvents, healthOf, isQuiet, isReady, startRig, until } from '../chaos/rig.ts';
import { randomOf } from '../support/factory.ts';
import { endCleanly } from '../support/grounds.ts';
import { auditOf, createLoad, createTally, wrongIn } from '../support/load.ts';
import { readableOf } from '../support/sent-documents.ts';

let rig: Rig;

beforeAll(async () => {
  rig = await startRig();
});
afterAll(() => rig?.stop());
beforeEach(() => forgetEvents(rig));

/** Small batches, so that there is much to drain; the shortest leases there are. */
const MANY_LETTERS = { INGEST_INSERT_TIMEOUT: '100ms', INGEST_FLUSH_INTERVAL: '20ms', DLQ_DRAIN_INTERVAL: '50ms' };

async function letters(): Promise<number> {
  const { rows } = await rig.stores.postgres.pool.query<{ rows: number }>(
    'SELECT count(*)::int AS rows FROM failed_events',
  );
  return rows[0]!.rows;
}

test('two Weirs drain one table: every letter lands once', async () => {
  const [one, two] = [
    rig.place('one', { ...MANY_LETTERS, INGEST_INSERT_TIMEOUT: '3s' }),
    rig.place('two', { ...MANY_LETTERS, INGEST_INSERT_TIMEOUT: '3s' }),
  ];
  await Promise.all([one.start(), two.start()]);
  await until('ready', async () => (await isReady(one.url())) && (await isReady(two.url())));
  const tally = createTally();
  const load = createLoad({ tally, urls: () => [one.url()!, two.url()!], random: randomOf(2) }, rig);
  await rig.clickhouse.refuse();
  for (let i = 0; i < 60; i++) await load.send(20);
  await until(
    'all dead-lettered',
    async () => (await healthOf(one.url()))?.pending_bytes === 0 && (await healthOf(two.url()))?.pending_bytes === 0,
  );
  expect(await letters()).toBeGreaterThan(5);

  // Answers are lost now and then, so that the same letter is tried by both.
  rig.clickhouse.set({ kind: 'cut-answer' }, { only: 'inserts', times: 4 });
  await rig.clickhouse.accept();
  await until('at rest', () => isQuiet(rig, [one, two]), 50_000);
  const audit = await auditOf(rig.stores, tally);
  expect(wrongIn(audit)).toEqual([]);
  expect(audit).toMatchObject({ stored: 1_200, quarantined: 0 });
  expect(rig.clickhouse.rewrittenTokens()).toEqual([]);
  expect(await Promise.all([one.terminate(), two.terminate()])).toEqual([0, 0]);
});

test(
  'kill -9 while draining, one insert done and its answer not heard: the next Weir lands it once',
  { timeout: 120_000 },
  async () => {
    const first = rig.place('first', { ...MANY_LETTERS, INGEST_INSERT_TIMEOUT: '2s' });
    await first.start();
    await until('ready', () => isReady(first.url()));
    const tally = createTally();
    const load = createLoad({ tally, urls: () => [first.url()!], random: randomOf(3) }, rig);
    await rig.clickhouse.refuse();
    for (let i = 0; i < 10; i++) await load.send(30);
    await until('all dead-lettered', async () => (await healthOf(first.url()))?.pending_bytes === 0);

    const before = rig.clickhouse.hits();
    // The store does everything, and the answer is on its way when the process ends.
    rig.clickhouse.set({ kind: 'slow', bytesPerSecond: 50_000 }, { only: 'inserts' });
    await rig.clickhouse.accept();
    await until('an insert is running', () => rig.clickhouse.hits() > before);
    await first.kill();
    rig.clickhouse.set(null);
    const { rows } = await rig.stores.postgres.pool.query('SELECT 1 FROM failed_events WHERE lease_token IS NOT NULL');
    expect(rows.length).toBeGreaterThan(0);

    // Time enough for an insert on a machine that is busy.
    const next = rig.place('next', { ...MANY_LETTERS, INGEST_INSERT_TIMEOUT: '3s' });
    await next.start();
    await until('at rest after the leases ran out', () => isQuiet(rig, [next]), 80_000);
    const audit = await auditOf(rig.stores, tally);
    expect(wrongIn(audit)).toEqual([]);
    expect(audit).toMatchObject({ stored: 300 });
    await endCleanly(next);
  },
);

/** As raw JSON: what `JSON.stringify` would change on the way is the point. */
const HARD_PROPERTIES = [
  String.raw`{"nul":"\u0000"}`,
  String.raw`{"lone":"\ud800","order":[3,1,2],"b":1,"a":2}`,
  '{"big":1e200000,"exact":0.10000000000000000000000000000000000001,"id":12345678901234567890123}',
  '{"text":"Code: 60. DB::Exception: (at row 1)\\n: while pushing to view x. (UNKNOWN_TABLE) (version 26.7)"}',
  `${'{"a":'.repeat(63)}{}${'}'.repeat(63)}`,
  '{"same":1,"same":2,"":"","ключ":"значение 🎉"}',
];

test('what is hard to store comes out of the dead letters bit for bit (I10)', async () => {
  const weir = rig.place('exact');
  await weir.start();
  await until('ready', () => isReady(weir.url()));
  await rig.clickhouse.refuse();
  const events = HARD_PROPERTIES.map((properties, index) => ({
    id: randomUUID(),
    properties,
    timestamp: 1_760_000_000_000 + index,
  }));
  const body = `{"events":[${events.map(({ id, properties, timestamp }) => `{"event":"hard","event_id":"${id}","timestamp":${timestamp},"properties":${properties}}`).join(',')}]}`;
  const answer = await fetch(`${weir.url()}/api/v1/ingest/events`, {
    method: 'POST',
    body,
    headers: { authorization: `Bearer ${rig.token}` },
  });
  expect(await answer.json()).toEqual({ accepted: events.length, rejected: 0 });
  await until('dead-lettered', async () => (await letters()) > 0);
  await rig.clickhouse.accept();
  await until('at rest', () => isQuiet(rig, [weir]));
  const stored = await rig.stores.select<{ id: string; properties: string; sent: string }>(
    `SELECT toString(event_id) AS id, properties, properties_sent AS sent FROM ${rig.stores.database}.events_raw_v1 ORDER BY timestamp`,
  );
  // Of what ClickHouse cannot read, the bytes as sent stand beside a readable form.
  expect(stored).toEqual(
    events.map(({ id, properties }) => {
      const readable = readableOf(properties);
      return { id, properties: readable, sent: readable === properties ? '' : properties };
    }),
  );
  expect(stored.some(({ sent }) => sent !== '')).toBe(true);
  await endCleanly(weir);
});
