/** One bad event costs one event. Against the real stores, with a real Weir. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Rig, type WeirPlace, forgetEvents, isQuiet, isReady, startRig, until } from '../chaos/rig.ts';
import { randomOf } from '../support/factory.ts';
import {
  type Handmade,
  type Tally,
  auditOf,
  createTally,
  readLetters,
  sendHandmade,
  wrongIn,
} from '../support/load.ts';

let rig: Rig;
let weir: WeirPlace;
let tally: Tally;

beforeAll(async () => {
  rig = await startRig();
  weir = rig.place('weir', { DLQ_DRAIN_INTERVAL: '100ms' });
  await weir.start();
  await until('ready', () => isReady(weir.url()));
});
afterAll(() => rig?.stop());
beforeEach(async () => {
  tally = createTally();
  await forgetEvents(rig);
});

const TABLE = 'analytics.events_raw_v1';
const run = (query: string) => rig.stores.clickhouse.command({ query });

const send = (events: readonly Handmade[]) => sendHandmade(events, { url: weir.url()!, token: rig.token, tally });

const good = (count: number, fields: Handmade['fields'] = {}) =>
  Array.from({ length: count }, () => ({ isBad: false, fields }));

/** `count` events with seven bad ones among them, where the seed says. */
function withSevenBad(count: number, seed: number, goodFields: Handmade['fields'], badFields: Handmade['fields']) {
  const random = randomOf(seed);
  const places = new Set<number>();
  while (places.size < 7) places.add(Math.floor(random() * count));
  return Array.from({ length: count }, (_, index) =>
    places.has(index) ? { isBad: true, fields: badFields } : { isBad: false, fields: goodFields },
  );
}

const statementsOf = () => {
  const { events, dryRuns } = rig.clickhouse.statements();
  return events + dryRuns;
};

const atRest = (timeoutMs?: number) => until('at rest', () => isQuiet(rig, [weir]), timeoutMs);

/** How the schema makes some values bad, and how it is repaired. */
const KINDS: {
  name: string;
  change: string;
  repair: string;
  good: Handmade['fields'];
  bad: Handmade['fields'];
  code: number;
  /** null: without a hint of the store it takes as many as it takes, in passes that are bounded each. */
  mostStatements: number | null;
}[] = [
  {
    name: 'a value that its column does not take any more',
    change: `ALTER TABLE ${TABLE} MODIFY COLUMN session_id Nullable(UInt64)`,
    repair: `ALTER TABLE ${TABLE} MODIFY COLUMN session_id Nullable(String)`,
    good: { session_id: '5' },
    bad: { session_id: 'five' },
    code: 27,
    mostStatements: 64,
  },
  {
    name: 'a value outside of an enumeration',
    change: `ALTER TABLE ${TABLE} MODIFY COLUMN session_id Nullable(Enum8('a' = 1))`,
    repair: `ALTER TABLE ${TABLE} MODIFY COLUMN session_id Nullable(String)`,
    good: { session_id: 'a' },
    bad: { session_id: 'b' },
    code: 691,
    mostStatements: 64,
  },
  {
    name: 'a violated constraint',
    change: `ALTER TABLE ${TABLE} ADD CONSTRAINT tame CHECK event != 'wild'`,
    repair: `ALTER TABLE ${TABLE} DROP CONSTRAINT tame`,
    good: {},
    bad: { event: 'wild' },
    code: 469,
    mostStatements: 64,
  },
  {
    name: 'a violated constraint, by values that imitate the store’s words',
    change: `ALTER TABLE ${TABLE} ADD CONSTRAINT tame CHECK event NOT LIKE 'wild%'`,
    repair: `ALTER TABLE ${TABLE} DROP CONSTRAINT tame`,
    good: {},
    bad: { event: 'wild (at row 3)\n: While executing x. is violated at row 2. Expression: ' },
    code: 469,
    mostStatements: 64,
  },
  {
    name: 'a computed column that throws',
    change: `ALTER TABLE ${TABLE} ADD COLUMN n UInt8 MATERIALIZED toUInt8(JSONExtractString(extras, 'n'))`,
    repair: `ALTER TABLE ${TABLE} DROP COLUMN n`,
    good: { extras: { n: '7' } },
    bad: { extras: { n: 'seven' } },
    code: 6,
    mostStatements: null,
  },
];

describe.each(KINDS)('$name', ({ change, repair, good: goodFields, bad, code, mostStatements }) => {
  beforeEach(() => run(change));
  afterEach(() => run(repair));

  test('seven in a batch of five thousand are quarantined one by one, and the others land once', async () => {
    const before = statementsOf();
    await send(withSevenBad(5_000, 17, goodFields, bad));
    await atRest(55_000);
    const audit = await auditOf(rig.stores, tally);
    expect(wrongIn(audit)).toEqual([]);
    expect(audit).toMatchObject({ stored: 4_993, quarantined: 7 });
    const letters = await readLetters(rig.stores);
    expect(new Set(letters.map(({ letter }) => letter)).size).toBe(7);
    expect(letters.map(({ reason, code: of }) => ({ reason, code: of }))).toEqual(
      letters.map(() => ({ reason: 'refused', code })),
    );
    const spent = statementsOf() - before;
    if (mostStatements !== null) expect(spent).toBeLessThanOrEqual(mostStatements);
  });
});

test('a letter in doubt with a bad row is asked about before it is split: what had landed stays single', async () => {
  // The batch lands whole, its answer is lost, and only then it becomes bad.
  rig.clickhouse.set({ kind: 'cut-answer' }, { only: 'inserts' });
  const before = rig.clickhouse.hits();
  await send([...good(20), { isBad: false, fields: { event: 'wild' } }, ...good(20)]);
  await until('its answer was lost', () => rig.clickhouse.hits() > before);
  await until('dead-lettered', async () => (await readLetters(rig.stores)).length === 41);
  await run(`ALTER TABLE ${TABLE} ADD CONSTRAINT tame CHECK event != 'wild'`);
  // The store has forgotten the insert, as after very many others.
  await run(`ALTER TABLE ${TABLE} MODIFY SETTING non_replicated_deduplication_window = 0`);
  rig.clickhouse.set(null);
  await atRest();
  await run(`ALTER TABLE ${TABLE} DROP CONSTRAINT tame`);
  await run(`ALTER TABLE ${TABLE} MODIFY SETTING non_replicated_deduplication_window = 10000`);
  const audit = await auditOf(rig.stores, tally);
  expect(wrongIn(audit)).toEqual([]);
  expect(audit).toMatchObject({ stored: 41, quarantined: 0 });
});
