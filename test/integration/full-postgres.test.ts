/** A Weir whose Postgres has a full disk: letters leave it, and the room comes back. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { type Rig, forgetEvents, healthOf, isReady, startRig, until } from '../chaos/rig.ts';
import { randomOf } from '../support/factory.ts';
import { endCleanly } from '../support/grounds.ts';
import { auditOf, createLoad, createTally, wrongIn } from '../support/load.ts';
import { type SmallDisk, isSkipped, warnOf } from '../support/small-disk.ts';

warnOf('a Postgres whose disk is full');

let rig: Rig;
let disk: SmallDisk;

beforeAll(async () => {
  if (isSkipped) return;
  rig = await startRig({ diskMiB: 24 });
  disk = rig.disk!;
});
beforeEach(async () => {
  if (!isSkipped) await forgetEvents(rig);
});
afterAll(() => rig?.stop());

const query = async (text: string) => (await rig.stores.postgres.pool.query<Record<string, unknown>>(text)).rows;
const QUICK = { DLQ_DRAIN_INTERVAL: '100ms', INGEST_FLUSH_INTERVAL: '100ms' };

test.skipIf(isSkipped)(
  'with ballast: it is given up, the letters land, nothing is added meanwhile, and the ballast comes back',
  { timeout: 120_000 },
  async () => {
    const weir = rig.place('ballast', { ...QUICK, DLQ_BALLAST_BYTES: '2MiB' });
    await weir.start();
    await until('ready', () => isReady(weir.url()));
    const ballast = async () => {
      const [row] = await query(`SELECT pg_total_relation_size(to_regclass('dead_letter_ballast')) AS bytes`);
      return row!['bytes'];
    };
    await until('ballast', async () => Number(await ballast()) >= 2 * 1024 ** 2);
    const { tally, load } = await deadLetter(weir.url()!);
    await disk.fill();
    expect(disk.freeMiB()).toBeLessThan(1);

    // The next letter finds no room; what was acknowledged stays with Weir, and it says why.
    const sent = Array.from({ length: 20 }, () => load.send(100));
    await until('short', () => isSaid(weir.url(), 'Postgres has had no room'));
    expect(await ballast()).toBeNull();
    await rig.clickhouse.accept();
    await query(`DELETE FROM settings WHERE key = 'drain'`);
    await until(
      'no letter waits',
      async () => Number((await query('SELECT count(*) AS n FROM failed_events'))[0]!['n']) === 0,
      60_000,
    );
    await disk.clear();
    await until('room again', async () => Number(await ballast()) >= 2 * 1024 ** 2, 60_000);
    await until('said', async () => (await healthOf(weir.url()))?.reasons?.length === 0, 60_000);
    await Promise.all(sent);
    const audit = await auditOf(rig.stores, tally);
    expect(wrongIn(audit)).toEqual([]);
    await endCleanly(weir);
  },
);

test.skipIf(isSkipped)(
  'without ballast: letters are locked instead of claimed, land once and leave',
  { timeout: 120_000 },
  async () => {
    const weir = rig.place('bare', { ...QUICK, DLQ_BALLAST_BYTES: '0' });
    await weir.start();
    await until('ready', () => isReady(weir.url()));
    await query('DROP TABLE IF EXISTS dead_letter_ballast');
    const { tally } = await deadLetter(weir.url()!);
    await disk.fill();
    const claim = await query('UPDATE failed_events SET visible_at = now()').catch(
      (error: { code: string }) => error.code,
    );
    expect(claim).toBe('53100');

    await rig.clickhouse.accept();
    await query(`DELETE FROM settings WHERE key = 'drain'`);
    await until(
      'no letter waits',
      async () => Number((await query('SELECT count(*) AS n FROM failed_events'))[0]!['n']) === 0,
      90_000,
    );
    const audit = await auditOf(rig.stores, tally);
    expect(wrongIn(audit)).toEqual([]);
    expect(await query(`SELECT 1 FROM failed_events_audit WHERE action = 'quarantine'`)).toEqual([]);
    await disk.clear();
    await endCleanly(weir);
  },
);

test.skipIf(isSkipped)(
  'with letters that wait: room on the disk is noticed soon, before they have left',
  { timeout: 180_000 },
  async () => {
    const weir = rig.place('waiting', { ...QUICK, DLQ_BALLAST_BYTES: '2MiB' });
    await weir.start();
    await until('ready', () => isReady(weir.url()));
    await until('ballast', async () => (await query(BALLAST))[0]!['is_there'] === true);
    const { tally, load } = await deadLetter(weir.url()!);
    await disk.fill();
    const sent = Array.from({ length: 5 }, () => load.send(100));
    await until('short', () => isSaid(weir.url(), 'Postgres has had no room'));
    await disk.clear();
    await until('room again', async () => (await query(BALLAST))[0]!['is_there'] === true, 60_000);
    expect(Number((await query('SELECT count(*) AS n FROM failed_events'))[0]!['n'])).toBeGreaterThan(0);

    await rig.clickhouse.accept();
    await query(`DELETE FROM settings WHERE key = 'drain'`);
    await Promise.all(sent);
    const waiting = async () => Number((await query('SELECT count(*) AS n FROM failed_events'))[0]!['n']);
    await until(
      'nothing waits',
      async () => (await waiting()) === 0 && (await healthOf(weir.url()))?.pending === 0,
      60_000,
    );
    expect(wrongIn(await auditOf(rig.stores, tally))).toEqual([]);
    await endCleanly(weir);
  },
);

const BALLAST = `SELECT to_regclass('dead_letter_ballast') IS NOT NULL AS is_there`;

const isSaid = async (url: string | null, words: string) =>
  (await healthOf(url))?.reasons?.some((reason) => reason.includes(words)) ?? false;

/** Some letters, ClickHouse away. The drain is paused, so that it leases none when the disk gets full. */
async function deadLetter(url: string) {
  const tally = createTally();
  const load = createLoad({ tally, urls: () => [url], random: randomOf(9) }, rig);
  await query(`INSERT INTO settings (key, value) VALUES ('drain', '"paused"')`);
  await until('paused', () => isSaid(url, 'paused'));
  await rig.clickhouse.refuse();
  for (let i = 0; i < 5; i++) {
    await load.send(30);
    await until('dead-lettered', async () => (await healthOf(url))?.pending_bytes === 0);
  }
  return { tally, load };
}
