/** One bad event costs one event. Against the real stores, with a real Weir. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type WeirPlace, until } from '../chaos/rig.ts';
import { randomOf } from '../support/factory.ts';
import { type Grounds, startGrounds } from '../support/grounds.ts';
import { type Handmade, goodEvents, readDeadLetters } from '../support/load.ts';

let grounds: Grounds;
let weir: WeirPlace;

beforeAll(async () => {
  grounds = await startGrounds();
  weir = await grounds.newWeir({ DLQ_DRAIN_INTERVAL: '100ms' });
});
afterAll(() => grounds?.rig.stop());
beforeEach(() => grounds.clear());

const TABLE = 'analytics.events_raw_v1';
const run = (query: string) => grounds.rig.stores.clickhouse.command({ query });

/** `count` events with seven bad ones among them, where the seed says. */
function withSevenBad(count: number, seed: number, goodFields: Handmade['fields'], badFields: Handmade['fields']) {
  const random = randomOf(seed);
  const places = new Set<number>();
  while (places.size < 7) places.add(Math.floor(random() * count));
  return Array.from({ length: count }, (_, index) =>
    places.has(index) ? { isBad: true, fields: badFields } : { isBad: false, fields: goodFields },
  );
}

/** How the schema makes some values bad, and how it is repaired. */
const KINDS: {
  name: string;
  change: string;
  repair: string;
  good: Handmade['fields'];
  bad: Handmade['fields'];
  code: number;
  /** Whether looking at the rows shows which; otherwise they are searched for, in passes that are bounded each. */
  isExplained: boolean;
}[] = [
  {
    name: 'a value that its column does not take any more',
    change: `ALTER TABLE ${TABLE} MODIFY COLUMN session_id Nullable(UInt64)`,
    repair: `ALTER TABLE ${TABLE} MODIFY COLUMN session_id Nullable(String)`,
    good: { session_id: '5' },
    bad: { session_id: 'five' },
    code: 27,
    isExplained: true,
  },
  {
    name: 'a value outside of an enumeration',
    change: `ALTER TABLE ${TABLE} MODIFY COLUMN session_id Nullable(Enum8('a' = 1))`,
    repair: `ALTER TABLE ${TABLE} MODIFY COLUMN session_id Nullable(String)`,
    good: { session_id: 'a' },
    bad: { session_id: 'b' },
    code: 691,
    isExplained: true,
  },
  {
    name: 'a violated constraint',
    change: `ALTER TABLE ${TABLE} ADD CONSTRAINT tame CHECK event != 'wild'`,
    repair: `ALTER TABLE ${TABLE} DROP CONSTRAINT tame`,
    good: {},
    bad: { event: 'wild' },
    code: 469,
    isExplained: true,
  },
  {
    name: 'a violated constraint, by values that imitate the store’s words',
    change: `ALTER TABLE ${TABLE} ADD CONSTRAINT tame CHECK event NOT LIKE 'wild%'`,
    repair: `ALTER TABLE ${TABLE} DROP CONSTRAINT tame`,
    good: {},
    bad: { event: 'wild (at row 3)\n: While executing x. is violated at row 2. Expression: ' },
    code: 469,
    isExplained: true,
  },
  {
    name: 'a computed column that throws',
    change: `ALTER TABLE ${TABLE} ADD COLUMN n UInt8 MATERIALIZED toUInt8(JSONExtractString(extras, 'n'))`,
    repair: `ALTER TABLE ${TABLE} DROP COLUMN n`,
    good: { extras: { n: '7' } },
    bad: { extras: { n: 'seven' } },
    code: 6,
    isExplained: false,
  },
];

describe.each(KINDS)('$name', ({ change, repair, good: goodFields, bad, code, isExplained }) => {
  beforeEach(() => run(change));
  afterEach(() => run(repair));

  test('seven in a batch of five thousand are quarantined together, and the others land once', async () => {
    const before = grounds.insertsTried();
    await grounds.send(weir, withSevenBad(5_000, 17, goodFields, bad));
    expect(await grounds.expectKept(weir)).toMatchObject({ stored: 4_993, quarantined: 7 });
    const letters = await readDeadLetters(grounds.rig.stores);
    if (isExplained) expect(new Set(letters.map(({ letter }) => letter)).size).toBe(1);
    expect(letters.map(({ reason, code: of }) => ({ reason, code: of }))).toEqual(
      letters.map(() => ({ reason: 'refused', code })),
    );
    const spent = grounds.insertsTried() - before;
    // The batch, an example of a row, the others; once more where the batch was in doubt at first.
    if (isExplained) expect(spent).toBeLessThanOrEqual(4);
  });
});

test('a letter in doubt with a bad row is asked about before it is split: what had landed stays single', async () => {
  // The batch lands whole, its answer is lost, and only then it becomes bad.
  grounds.rig.clickhouse.set({ kind: 'cut-answer' }, { only: 'inserts' });
  const before = grounds.rig.clickhouse.hits();
  await grounds.send(weir, [...goodEvents(20), { isBad: false, fields: { event: 'wild' } }, ...goodEvents(20)]);
  await until('its answer was lost', () => grounds.rig.clickhouse.hits() > before);
  await until('dead-lettered', async () => (await readDeadLetters(grounds.rig.stores)).length === 41);
  // No insert may begin before the change and end behind it.
  grounds.rig.clickhouse.set({ kind: 'answer', status: 503 }, { only: 'inserts' });
  const inserts = "SELECT query_id FROM system.processes WHERE query_kind = 'Insert'";
  await until('no insert runs', async () => (await grounds.rig.stores.select(inserts)).length === 0);
  await run(`ALTER TABLE ${TABLE} ADD CONSTRAINT tame CHECK event != 'wild'`);
  // The store has forgotten the insert, as after very many others.
  await run(`ALTER TABLE ${TABLE} MODIFY SETTING non_replicated_deduplication_window = 0`);
  grounds.rig.clickhouse.set(null);
  await grounds.rest(weir);
  await run(`ALTER TABLE ${TABLE} DROP CONSTRAINT tame`);
  await run(`ALTER TABLE ${TABLE} MODIFY SETTING non_replicated_deduplication_window = 10000`);
  expect(await grounds.expectKept(weir)).toMatchObject({ stored: 41, quarantined: 0 });
});
