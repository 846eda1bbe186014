/**
 * Somebody else answers at ClickHouse's address, with a real Weir before and the
 * real ClickHouse behind: nothing counts as stored that is not there, and what
 * was acknowledged lands once when ClickHouse is back.
 */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type WeirPlace, healthOf, until } from '../chaos/rig.ts';
import type { ImitatedAnswer } from '../support/fault-proxy.ts';
import { type Grounds, logOf, startGrounds } from '../support/grounds.ts';
import { NO_VERDICTS, STRANGERS } from '../support/foreign-answers.ts';
import { commandWeir } from '../support/weir.ts';

let grounds: Grounds;
let rig: Grounds['rig'];

beforeAll(async () => {
  grounds = await startGrounds();
  rig = grounds.rig;
});
afterAll(() => rig?.stop());
beforeEach(() => grounds.clear());

const answerAll = (answer: ImitatedAnswer) => rig.clickhouse.set({ kind: 'answer', ...answer });
const answerInserts = (answer: ImitatedAnswer) =>
  rig.clickhouse.set({ kind: 'answer', ...answer }, { only: 'inserts' });
const reasonsOf = async ({ url }: WeirPlace) => (await healthOf(url()))?.reasons ?? [];
const hasReason = async (weir: WeirPlace, text: string) =>
  (await reasonsOf(weir)).some((reason) => reason.includes(text));
const storedRows = async () => {
  const [counted] = await rig.stores.select<{ rows: string }>(
    `SELECT toString(count()) AS rows FROM ${rig.stores.database}.events_raw_v1`,
  );
  return Number(counted!.rows);
};

describe('that takes over in the middle', () => {
  let weir: WeirPlace;
  beforeAll(async () => {
    weir = await grounds.newWeir();
  });
  afterAll(() => weir?.kill());
  afterEach(() => grounds.heal());

  const answers = [...STRANGERS, ...NO_VERDICTS];

  test.each(answers)(
    '%s, whether the rows were passed on or not: not "stored", and they land once',
    async (_, answer) => {
      answerInserts(answer);
      expect(await grounds.accept(weir, 20, 'stored')).toMatchObject({ ack: 'dead-lettered' });
      expect(await storedRows()).toBe(0);
      answerInserts({ ...answer, isForwarded: true });
      expect(await grounds.accept(weir, 20, 'stored')).toMatchObject({ ack: 'dead-lettered' });
      rig.clickhouse.set(null);
      expect(await grounds.expectKept(weir)).toMatchObject({ acknowledged: 40, stored: 40, quarantined: 0 });
    },
  );

  test('an empty 200 to every question does not mean that nothing is stored', async () => {
    // In doubt, and old: it has to be asked about.
    answerInserts({ status: 200, isForwarded: true });
    await grounds.accept(weir, 20, 'stored');
    await rig.stores.postgres.pool.query(
      "UPDATE failed_events SET id = overlay(id::text placing '4' from 15 for 1)::uuid, last_attempt_at = now() - interval '1 day', visible_at = now() + interval '1 second'",
    );
    answerAll({ status: 200 });
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    rig.clickhouse.set(null);
    expect(await grounds.expectKept(weir)).toMatchObject({ acknowledged: 20, stored: 20, quarantined: 0 });
  });

  test('it is named in health and log', async () => {
    answerAll({ status: 200, headers: { 'content-type': 'text/html' }, text: '<html>secret</html>' });
    const sentence = 'the server at CLICKHOUSE_URL is not ClickHouse (HTTP 200, text/html)';
    await until('health names it', () => hasReason(weir, sentence));
    expect(await healthOf(weir.url())).toMatchObject({ status: 'degraded', clickhouse_connected: false });
    expect(logOf(weir)).toContain(sentence);
    expect(logOf(weir)).not.toContain('secret');
  });
});

test('that is there from the start: nothing is migrated, nothing counts as stored; all lands once ClickHouse is back', async () => {
  await rig.stores.clickhouse.command({ query: `DROP DATABASE IF EXISTS ${rig.stores.database} SYNC` });
  answerAll({ status: 200, headers: { 'content-type': 'text/html' } });
  const weir = grounds.newPlace();
  await grounds.startAt(weir);
  await grounds.accept(weir, 20, 'stored');
  await until('health names it', () => hasReason(weir, 'is not ClickHouse'));
  const ready = await fetch(`${weir.url()}/ready`);
  expect(await ready.json()).toMatchObject({ status: 'not_ready', missing: ['clickhouse'] });
  rig.clickhouse.set(null);
  // Events land once their own table is there; the other tests need them all.
  await until('migrated', async () => (await fetch(`${weir.url()}/ready`)).ok);
  expect(await grounds.expectKept(weir)).toMatchObject({ acknowledged: 20, stored: 20, quarantined: 0 });
  await weir.kill();
});

describe('the command line', () => {
  const env = () => ({ CLICKHOUSE_URL: rig.clickhouse.url, DATABASE_URL: rig.stores.databaseUrl });
  beforeAll(() => answerAll({ status: 200, headers: { 'content-type': 'text/html' } }));
  afterAll(() => grounds.heal());

  test.each([[['doctor']], [['migrate']], [['query', 'SELECT 1']], [['doctor', '--reconcile']]])(
    'weir %j',
    async (args) => {
      const { code, stdout, stderr } = await commandWeir(args, { env: env(), cwd: grounds.newPlace().dataDir });
      expect(code).toBe(1);
      expect(stdout + stderr).toMatch(/he server at CLICKHOUSE_URL is not ClickHouse \(HTTP 200, text\/html\)/);
    },
  );
});
