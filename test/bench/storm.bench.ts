/**
 * What bad events of one project cost the others: some of its events are refused
 * by ClickHouse, or by somebody's view, while another project waits for `stored`.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { eventIdOf } from '../support/rows.ts';
import { readDeadLetters } from '../support/load.ts';
import { type BenchedWeir, type Grounds, openGrounds } from './support/grounds.ts';
import { newNeighbour, post, whileWaiting } from './support/neighbour.ts';
import type { BenchContext, Figure, Scenario } from './support/scenario.ts';
import { rounded } from './support/statistics.ts';

const TABLE = 'analytics.events_raw_v1';
const EVENTS_A_REQUEST = 100;
const EVENTS_PER_S = 5_000;
const LANDED_WITHIN_MS = 120_000;
const POLL_MS = 100;

type Storm = {
  readonly name: string;
  readonly change: readonly string[];
  readonly repair: readonly string[];
  /** Of a hundred events, so many are bad. */
  readonly badOfHundred: number;
  readonly good: object;
  readonly bad: object;
  /** Whether ClickHouse refuses the bad ones; otherwise they land like the others. */
  readonly isRefused: boolean;
};

const CONSTRAINT = {
  change: [`ALTER TABLE ${TABLE} ADD CONSTRAINT tame CHECK event != 'wild'`],
  repair: [`ALTER TABLE ${TABLE} DROP CONSTRAINT tame`],
  good: { event: 'visit' },
  bad: { event: 'wild' },
  isRefused: true,
};

const STORMS: readonly Storm[] = [
  { name: 'constraint, 1 %', badOfHundred: 1, ...CONSTRAINT },
  { name: 'constraint, 10 %', badOfHundred: 10, ...CONSTRAINT },
  {
    name: 'type changed, 1 %',
    change: [`ALTER TABLE ${TABLE} MODIFY COLUMN session_id Nullable(UInt64)`],
    repair: [`ALTER TABLE ${TABLE} MODIFY COLUMN session_id Nullable(String)`],
    badOfHundred: 1,
    good: { event: 'visit', session_id: '5' },
    bad: { event: 'visit', session_id: 'five' },
    isRefused: true,
  },
  {
    name: 'view of others, 1 %',
    change: [
      'CREATE TABLE analytics.others (x UInt8) ENGINE = MergeTree ORDER BY x',
      `CREATE MATERIALIZED VIEW analytics.others_mv TO analytics.others AS SELECT throwIf(event = 'wild') AS x FROM ${TABLE}`,
    ],
    repair: ['DROP TABLE analytics.others_mv', 'DROP TABLE analytics.others'],
    badOfHundred: 1,
    good: { event: 'visit' },
    bad: { event: 'wild' },
    isRefused: false,
  },
];

export const scenario: Scenario = {
  name: 'storm',
  about: 'Bad events of one project for a minute, 5 000 events/s; another waits for `stored`. Full runs only.',
  async run({ isQuick, say }: BenchContext) {
    if (isQuick) return [];
    const figures: Figure[] = [];
    for (const storm of STORMS) {
      const grounds = await openGrounds();
      try {
        figures.push(...(await runStorm(grounds, storm, say)));
      } finally {
        await grounds.stop();
      }
    }
    return figures;
  },
};

async function runStorm(grounds: Grounds, storm: Storm, say: (progress: string) => void): Promise<Figure[]> {
  const { stores } = grounds;
  const neighbour = await newNeighbour(grounds);
  const weir = await grounds.startBenched();
  const sender = createSender(grounds, weir, storm);
  const calm = await whileWaiting(weir, neighbour, () => sender.send({ seconds: 20, isStorm: false }));
  for (const query of storm.change) await stores.clickhouse.command({ query });
  say(`${storm.name}: begins`);
  const stormy = await whileWaiting(weir, neighbour, () => sender.send({ seconds: 60, isStorm: true }));
  const endedAt = performance.now();
  const landed = await goodLanded(grounds, sender);
  const landedAfterS = landed ? (performance.now() - endedAt) / 1_000 : Number.POSITIVE_INFINITY;
  await weir.settled();
  const letters = await readDeadLetters(stores);
  const isBad = new Set(storm.isRefused ? sender.badIds() : []);
  const quarantined = new Set(letters.filter(({ isQuarantined }) => isQuarantined).map(({ eventId }) => eventId));
  say(`${storm.name}: ${quarantined.size} quarantined in ${new Set(letters.map(({ letter }) => letter)).size} letters`);
  await weir.stop();
  for (const query of storm.repair) await stores.clickhouse.command({ query });
  return [
    { name: `${storm.name}: all good landed after`, value: rounded(landedAfterS), unit: 's', bar: { atMost: 10 } },
    { name: `${storm.name}: sent`, value: sender.ids().length, unit: 'events' },
    { name: `${storm.name}: refused by ClickHouse`, value: isBad.size, unit: 'events' },
    { name: `${storm.name}: letters`, value: new Set(letters.map(({ letter }) => letter)).size, unit: 'letters' },
    {
      name: `${storm.name}: wrongly quarantined`,
      value: [...quarantined].filter((id) => !isBad.has(id)).length,
      unit: 'events',
      bar: { atMost: 0 },
    },
    {
      name: `${storm.name}: bad and not quarantined`,
      value: [...isBad].filter((id) => !quarantined.has(id)).length,
      unit: 'events',
      bar: { atMost: 0 },
    },
    {
      name: `${storm.name}: p99 of a neighbour's stored ÷ without`,
      value: rounded(stormy.p99 / calm.p99),
      unit: 'ratio',
      bar: { atMost: 3 },
    },
    { name: `${storm.name}: p99 of a neighbour's stored`, value: rounded(stormy.p99), unit: 'ms' },
    {
      name: `${storm.name}: a neighbour's answers other than stored`,
      value: stormy.odd,
      unit: 'requests',
      bar: { atMost: 0 },
    },
  ];
}

/** Sends at the rate of the storm, whatever the answers take, and knows what was acknowledged. */
function createSender({ token }: Grounds, weir: BenchedWeir, storm: Storm) {
  const acknowledged: { id: string; isBad: boolean }[] = [];
  let made = 0;

  return {
    send,
    ids: () => acknowledged.map(({ id }) => id),
    badIds: () => idsWhere(true),
    goodIds: () => (storm.isRefused ? idsWhere(false) : acknowledged.map(({ id }) => id)),
  };

  function idsWhere(wanted: boolean) {
    return acknowledged.flatMap(({ id, isBad }) => (isBad === wanted ? [id] : []));
  }

  async function send({ seconds, isStorm }: { seconds: number; isStorm: boolean }) {
    const everyMs = (EVENTS_A_REQUEST * 1_000) / EVENTS_PER_S;
    const startedAt = performance.now();
    const sending: Promise<void>[] = [];
    for (let n = 0; n * everyMs < seconds * 1_000; n++) {
      await sleep(Math.max(0, startedAt + n * everyMs - performance.now()));
      sending.push(request(isStorm));
    }
    await Promise.all(sending);
  }

  async function request(isStorm: boolean): Promise<void> {
    const batch = Array.from({ length: EVENTS_A_REQUEST }, (_, index) => {
      const isBad = isStorm && index % 100 < storm.badOfHundred;
      return { id: eventIdOf(made++), isBad };
    });
    const timestamp = new Date().toISOString();
    const events = batch.map(({ id, isBad }) => ({
      ...(isBad ? storm.bad : storm.good),
      event_id: id,
      user_id: 'u1',
      timestamp,
    }));
    const status = await post(weir, token, events, '');
    if (status === 202) acknowledged.push(...batch);
  }
}

/** Whether everything that should be in the table is within two minutes; each once. */
async function goodLanded({ stores, projectId }: Grounds, sender: ReturnType<typeof createSender>): Promise<boolean> {
  const expected = sender.goodIds();
  for (const until = performance.now() + LANDED_WITHIN_MS; performance.now() < until; await sleep(POLL_MS)) {
    const [found] = await stores.select<{ rows: string }>(
      `SELECT toString(count()) AS rows FROM ${TABLE} WHERE project_id = '${projectId}'`,
    );
    if (Number(found!.rows) < expected.length) continue;
    const rows = await stores.select<{ id: string }>(
      `SELECT toString(event_id) AS id FROM ${TABLE} WHERE project_id = '${projectId}'`,
    );
    const there = new Set(rows.map(({ id }) => id));
    if (there.size !== rows.length) throw new Error(`${rows.length - there.size} rows are doubled`);
    if (expected.every((id) => there.has(id))) return true;
  }
  return false;
}
