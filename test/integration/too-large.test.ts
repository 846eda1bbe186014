/** Something between Weir and ClickHouse takes no body above its limit, as nginx does at 1 MiB. */
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { type WeirPlace, healthOf, until } from '../chaos/rig.ts';
import { type Grounds, logOf, startGrounds } from '../support/grounds.ts';

const LIMIT = 20_000;

let grounds: Grounds;
let rig: Grounds['rig'];
let weir: WeirPlace;

beforeAll(async () => {
  grounds = await startGrounds();
  rig = grounds.rig;
  weir = await grounds.newWeir();
});
afterAll(() => rig?.stop());
beforeEach(() => grounds.clear());
afterEach(() => grounds.heal());

const limitTo = (bytes: number) => rig.clickhouse.set({ kind: 'limit-body', maxBytes: bytes });
const notices = async () =>
  (await healthOf(weir.url()))?.reasons.filter((reason) => reason.includes('rejects inserts of')) ?? [];

test('a request many times as large is divided until it fits, and everything lands once; health and log say why', async () => {
  limitTo(LIMIT);
  expect(await grounds.accept(weir, 1_000, 'stored')).toMatchObject({ ack: 'dead-lettered' });
  expect(await grounds.expectKept(weir)).toMatchObject({ acknowledged: 1_000, stored: 1_000, quarantined: 0 });
  expect(await notices()).toEqual([expect.stringContaining('client_max_body_size')]);
  expect(logOf(weir)).toContain('a proxy in front of ClickHouse rejects inserts of this size');
});

test('later batches of small requests are cut below it', async () => {
  limitTo(LIMIT);
  await grounds.accept(weir, 1_000, 'stored');
  await grounds.rest(weir);
  const hitsBefore = rig.clickhouse.hits();
  const refusedBefore = logOf(weir).split('"class":"too_large"').length;
  for (let n = 0; n < 40; n++) await grounds.accept(weir, 20);
  expect(await grounds.expectKept(weir)).toMatchObject({ acknowledged: 1_800, stored: 1_800, quarantined: 0 });
  expect(rig.clickhouse.hits()).toBeGreaterThan(hitsBefore);
  expect(logOf(weir).split('"class":"too_large"').length).toBe(refusedBefore);
});

test('a single event that is too large is quarantined with its reason once others land, and replayed when it may', async () => {
  limitTo(LIMIT);
  await grounds.send(weir, [{ isBad: true, fields: { properties: { pad: 'x'.repeat(2 * LIMIT) } } }]);
  const apart = async () =>
    (
      await rig.stores.postgres.pool.query<{ last_error: string }>(
        'SELECT last_error FROM failed_events WHERE quarantined_at IS NOT NULL',
      )
    ).rows;
  await until('it is quarantined', async () => {
    await grounds.accept(weir, 1, 'stored');
    return (await apart()).length === 1;
  });
  expect((await apart())[0]!.last_error).toMatch(
    /an event of \d+ bytes is too large for a proxy in front of ClickHouse/,
  );
});
