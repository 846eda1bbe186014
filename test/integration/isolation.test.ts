/** One bad event costs one event; a schema that changed costs none. Against the real stores, with a real Weir. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Rig, type WeirPlace, forgetEvents, isQuiet, isReady, startRig, until } from '../chaos/rig.ts';
import { randomOf } from '../support/factory.ts';
import { type Tally, auditOf, createTally, readLetters, wrongIn } from '../support/load.ts';

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

type Fields = Record<string, unknown>;

/** One request, so that it becomes one batch. */
async function send(events: readonly { isBad: boolean; fields: Fields }[]): Promise<void> {
  const sent = events.map(({ isBad, fields }, index) => {
    const id = tally.newId(isBad);
    return { event: 'visit', event_id: id, timestamp: 1_760_000_000_000 + index, properties: { id }, ...fields };
  });
  const answer = await fetch(`${weir.url()}/api/v1/ingest/events`, {
    method: 'POST',
    body: JSON.stringify({ events: sent }),
    headers: { authorization: `Bearer ${rig.token}` },
  });
  expect(await answer.json()).toEqual({ accepted: events.length, rejected: 0 });
  tally.acknowledge(
    sent.map(({ event_id: id }) => id),
    'queued',
  );
}

const good = (count: number, fields: Fields = {}) => Array.from({ length: count }, () => ({ isBad: false, fields }));

/** `count` events with seven bad ones among them, where the seed says. */
function withSevenBad(count: number, seed: number, goodFields: Fields, badFields: Fields) {
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
  good: Fields;
  bad: Fields;
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

/**
 * Changes that make every ordinary event impossible. What only shows while
 * storing has to be tried on rows of their own, so those letters are split.
 */
const DRIFTS: { name: string; change: string[]; repair: string[]; mostGenerations: number; leastTries: number }[] = [
  {
    name: 'a column changed its type',
    change: [`ALTER TABLE ${TABLE} MODIFY COLUMN session_id Nullable(UInt64)`],
    repair: [`ALTER TABLE ${TABLE} MODIFY COLUMN session_id Nullable(String)`],
    mostGenerations: 0,
    leastTries: 3,
  },
  {
    name: 'a constraint that nothing meets',
    change: [`ALTER TABLE ${TABLE} ADD CONSTRAINT never CHECK event = ''`],
    repair: [`ALTER TABLE ${TABLE} DROP CONSTRAINT never`],
    mostGenerations: Infinity,
    leastTries: 40,
  },
  {
    name: 'a computed column that always throws',
    change: [`ALTER TABLE ${TABLE} ADD COLUMN n UInt8 MATERIALIZED toUInt8(concat('x', event))`],
    repair: [`ALTER TABLE ${TABLE} DROP COLUMN n`],
    mostGenerations: Infinity,
    leastTries: 40,
  },
  {
    name: 'a column is gone',
    change: [`ALTER TABLE ${TABLE} DROP COLUMN source`],
    repair: [`ALTER TABLE ${TABLE} ADD COLUMN source LowCardinality(String)`],
    mostGenerations: 0,
    leastTries: 3,
  },
  {
    name: 'a view is broken',
    change: [
      'CREATE TABLE analytics.extra (x UInt8) ENGINE = MergeTree ORDER BY x',
      `CREATE MATERIALIZED VIEW analytics.broken TO analytics.extra AS SELECT throwIf(event != '') AS x FROM ${TABLE}`,
    ],
    repair: ['DROP TABLE analytics.broken', 'DROP TABLE analytics.extra'],
    mostGenerations: 0,
    leastTries: 3,
  },
];

describe.each(DRIFTS)('$name', ({ change, repair, mostGenerations, leastTries }) => {
  let isRepaired = false;
  afterEach(async () => {
    if (!isRepaired) for (const query of repair) await run(query);
  });

  // Known to fail where the drift only shows while storing: what landed up to a minute earlier is taken for proof
  // that the schema takes events. It must be something that landed after these events were refused.
  const check = mostGenerations > 0 ? test.fails : test;
  check('quarantines no event, even a moment after the last one landed; all land after the repair', async () => {
    await send(good(10, { session_id: 'five' }));
    await atRest();
    for (const query of change) await run(query);
    await send(good(30, { session_id: 'five' }));
    await until('dead-lettered', async () => (await waitingLetters()).events === 30);
    await send(good(1, { session_id: 'six' }));
    const before = statementsOf();
    // Every letter several times, as a night of it would.
    await until('tried again and again', () => statementsOf() > before + leastTries);
    if (mostGenerations > 0) await until('single rows came back a second time', hasBeenTriedAgain);
    const { quarantined, generation } = await waitingLetters();
    expect(quarantined).toBe(0);
    expect(generation).toBeLessThanOrEqual(mostGenerations);

    for (const query of repair) await run(query);
    isRepaired = true;
    await atRest(55_000);
    const audit = await auditOf(rig.stores, tally);
    expect(wrongIn(audit)).toEqual([]);
    expect(audit).toMatchObject({ stored: 41, quarantined: 0 });
  });
});

/** A row alone that was refused twice, or was given up. */
async function hasBeenTriedAgain(): Promise<boolean> {
  const { rows } = await rig.stores.postgres.pool.query(
    `SELECT 1 FROM failed_events WHERE quarantined_at IS NOT NULL
     OR event_count = 1 AND last_attempt_at - created_at > interval '4 seconds'`,
  );
  return rows.length > 0;
}

async function waitingLetters() {
  const { rows } = await rig.stores.postgres.pool.query<{ events: number; quarantined: number; generation: number }>(
    `SELECT coalesce(sum(event_count), 0)::int AS events, coalesce(max(generation), 0)::int AS generation,
       count(*) FILTER (WHERE quarantined_at IS NOT NULL)::int AS quarantined
     FROM failed_events`,
  );
  return rows[0]!;
}

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
