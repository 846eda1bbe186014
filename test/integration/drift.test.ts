/** A schema that changed costs no event: all of them wait for its repair. Against the real stores, with a real Weir. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type WeirPlace, until } from '../chaos/rig.ts';
import { type Grounds, startGrounds } from '../support/grounds.ts';
import { goodEvents } from '../support/load.ts';

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

/** Changes that make every ordinary event impossible. */
const DRIFTS: { name: string; change: string[]; repair: string[] }[] = [
  {
    name: 'a column changed its type',
    change: [`ALTER TABLE ${TABLE} MODIFY COLUMN session_id Nullable(UInt64)`],
    repair: [`ALTER TABLE ${TABLE} MODIFY COLUMN session_id Nullable(String)`],
  },
  {
    name: 'a constraint that nothing meets',
    change: [`ALTER TABLE ${TABLE} ADD CONSTRAINT never CHECK event = ''`],
    repair: [`ALTER TABLE ${TABLE} DROP CONSTRAINT never`],
  },
  {
    name: 'a computed column that always throws',
    change: [`ALTER TABLE ${TABLE} ADD COLUMN n UInt8 MATERIALIZED toUInt8(concat('x', event))`],
    repair: [`ALTER TABLE ${TABLE} DROP COLUMN n`],
  },
  {
    name: 'a column is gone',
    change: [`ALTER TABLE ${TABLE} DROP COLUMN session_id`],
    repair: [`ALTER TABLE ${TABLE} ADD COLUMN session_id Nullable(String)`],
  },
  {
    name: 'a view of Weir’s own has lost its target',
    change: ['RENAME TABLE analytics.event_users TO analytics.event_users_away'],
    repair: ['RENAME TABLE analytics.event_users_away TO analytics.event_users'],
  },
];

describe.each(DRIFTS)('$name', ({ change, repair }) => {
  let isRepaired = false;
  afterEach(async () => {
    if (!isRepaired) for (const query of repair) await run(query);
  });

  test('quarantines no event, even a moment after the last one landed; all land after the repair', async () => {
    await grounds.send(weir, goodEvents(10, { session_id: 'five' }));
    await grounds.rest(weir);
    for (const query of change) await run(query);
    await grounds.send(weir, goodEvents(30, { session_id: 'five' }));
    await until('dead-lettered', async () => (await waitingLetters()).events === 30);
    await grounds.send(weir, goodEvents(1, { session_id: 'six' }));
    const before = grounds.insertsTried();
    // Every letter several times, as a night of it would.
    await until('tried again and again', () => grounds.insertsTried() > before + 3);
    const { quarantined, generation } = await waitingLetters();
    expect(quarantined).toBe(0);
    expect(generation).toBe(0);

    for (const query of repair) await run(query);
    isRepaired = true;
    expect(await grounds.expectKept(weir)).toMatchObject({ stored: 41, quarantined: 0 });
  });
});

async function waitingLetters() {
  const { rows } = await grounds.rig.stores.postgres.pool.query<{
    events: number;
    quarantined: number;
    generation: number;
  }>(
    `SELECT coalesce(sum(event_count), 0)::int AS events, coalesce(max(generation), 0)::int AS generation,
       count(*) FILTER (WHERE quarantined_at IS NOT NULL)::int AS quarantined
     FROM failed_events`,
  );
  return rows[0]!;
}
