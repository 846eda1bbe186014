/**
 * What a property costs that has a column of its own: ClickHouse's processor time for an insert, and how long a question
 * about it takes over the endpoint, where events carry 2 kB of properties as those of browsers do.
 */
import { randomUUID } from 'node:crypto';
import type { PromotedProperty } from '../../src/clickhouse/migrations/promoted-properties.ts';
import { setProperties } from '../../src/clickhouse/operations/property-columns.ts';
import { fillProperty } from '../../src/clickhouse/operations/property-filling.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { type OpenDoor, openDoor } from '../support/door.ts';
import { randomOf } from '../support/factory.ts';
import { type Stores, startStores } from '../support/stores.ts';
import { cpuMsOf } from './support/process-usage.ts';
import type { BenchContext, Figure, Scenario } from './support/scenario.ts';
import { alternately, eachOf, figureOf, ratioOf } from './support/statistics.ts';

const INSERT_EVENTS = 10_000;
const PROPERTY_BYTES = 2_000;
/** Processor time is counted in hundredths of a second. */
const INSERTS_A_ROUND = 3;
/** A question takes milliseconds where there is a column. */
const QUESTIONS_A_ROUND = 5;
const PLAN: PromotedProperty = { name: 'plan', type: 'String' };

export const scenario: Scenario = {
  name: 'promoted',
  about:
    'Half a million events with 2 kB of properties each (60 000 when quick): time of a question about the promoted properties.plan over the endpoint ÷ the ' +
    'same with JSONExtractString, and ClickHouse’s processor time for an insert with promoted properties ÷ with none.',
  async run({ isQuick, seed, say }) {
    const stores = await startStores();
    const door = await openDoor(stores);
    try {
      await door.weir.migrated;
      const { id, ask } = await newProject(door);
      const insert = inserting(stores, id, randomOf(seed));
      return [
        ...(await measureInserts(stores, insert, { isQuick, say })),
        ...(await measureQuestions(stores, { insert, ask }, { isQuick, say })),
      ];
    } finally {
      await door.stop();
      await stores.stop();
    }
  },
};

type Insert = () => Promise<void>;
type Ask = (sql: string) => Promise<void>;
type Telling = Pick<BenchContext, 'isQuick' | 'say'>;

/** Without merges, which come when they like. */
async function measureInserts(stores: Stores, insert: Insert, { isQuick, say }: Telling): Promise<Figure[]> {
  const { clickhouse, database } = stores;
  const run = (query: string) => clickhouse.command({ query, clickhouse_settings: { wait_end_of_query: 1 } });
  const cpuWith = async (count: number) => {
    await setProperties(clickhouse, database, PROPERTIES.slice(0, count));
    const before = cpuMsOf(stores.clickhouseServer.pid());
    for (let n = 0; n < INSERTS_A_ROUND; n += 1) await insert();
    const usedMs = cpuMsOf(stores.clickhouseServer.pid()) - before;
    await run('TRUNCATE TABLE events_raw_v1');
    return (usedMs * 1_000) / (INSERTS_A_ROUND * INSERT_EVENTS);
  };
  await run('SYSTEM STOP MERGES');
  say('inserts');
  await cpuWith(1);
  const { none, one, five } = await alternately(isQuick ? 4 : 9, {
    none: () => cpuWith(0),
    one: () => cpuWith(1),
    five: () => cpuWith(5),
  });
  const figures = [
    ratioOf('insert with 1 promoted ÷ with none, CPU', one, none, { guard: 'less is better', bar: { atMost: 1.15 } }),
    ratioOf('insert with 5 promoted ÷ with none, CPU', five, none, { guard: 'less is better' }),
    figureOf('insert with none', none, 'µs/event'),
  ];
  if (!isQuick) {
    const most = await alternately(5, { none: () => cpuWith(0), twenty: () => cpuWith(20) });
    figures.push(ratioOf('insert with 20 promoted ÷ with none, CPU', most.twenty, most.none));
  }
  await run('SYSTEM START MERGES');
  return figures;
}

async function measureQuestions(
  stores: Stores,
  { insert, ask }: { insert: Insert; ask: Ask },
  { isQuick, say }: Telling,
): Promise<Figure[]> {
  const { clickhouse, database } = stores;
  const events = isQuick ? 60_000 : 500_000;
  await setProperties(clickhouse, database, []);
  for (let from = 0; from < events; from += INSERT_EVENTS) {
    say(`${from} of ${events} events`);
    await insert();
  }
  await clickhouse.command({
    query: 'OPTIMIZE TABLE events_raw_v1 FINAL',
    clickhouse_settings: { wait_end_of_query: 1 },
  });
  say('storing the property for them');
  await setProperties(clickhouse, database, [PLAN]);
  const before = cpuMsOf(stores.clickhouseServer.pid());
  await fillProperty({ client: clickhouse, clock: systemClock }, { database, name: PLAN.name });
  const filledUs = ((cpuMsOf(stores.clickhouseServer.pid()) - before) * 1_000) / events;
  const ways = { column: () => costOf('properties.plan'), text: () => costOf("JSONExtractString(properties, 'plan')") };
  say('questions');
  await alternately(1, ways);
  const { column, text } = await alternately(isQuick ? 5 : 7, ways);
  const [columnMs, textMs] = [eachOf(column, 'elapsedMs'), eachOf(text, 'elapsedMs')];
  return [
    // On a machine that is busy the few milliseconds of the one are mostly waiting.
    ratioOf('values of a property: promoted ÷ from the text, CPU', eachOf(column, 'cpuMs'), eachOf(text, 'cpuMs'), {
      guard: 'less is better',
    }),
    ratioOf(
      'values of a property: promoted ÷ from the text, time',
      columnMs,
      textMs,
      isQuick ? {} : { bar: { atMost: 0.2 } },
    ),
    figureOf('values of a promoted property', columnMs, 'ms'),
    figureOf('values of a property from the text', textMs, 'ms'),
    figureOf('to store a property for older events', [filledUs], 'µs/event'),
  ];

  /** Of one question: how long it takes, and ClickHouse's processor time. */
  async function costOf(value: string) {
    const usedBefore = cpuMsOf(stores.clickhouseServer.pid());
    const startedAt = performance.now();
    for (let n = 0; n < QUESTIONS_A_ROUND; n += 1) {
      await ask(`SELECT ${value} AS plan, count() FROM events GROUP BY plan`);
    }
    return {
      elapsedMs: (performance.now() - startedAt) / QUESTIONS_A_ROUND,
      cpuMs: (cpuMsOf(stores.clickhouseServer.pid()) - usedBefore) / QUESTIONS_A_ROUND,
    };
  }
}

async function newProject(door: OpenDoor): Promise<{ id: string; ask: Ask }> {
  const { id } = await door.weir.projects.create({ name: 'bench', retentionSeconds: null, allowedOrigins: [] });
  const token = await door.weir.tokens.create({ projectId: id, kind: 'secret', name: null, imported: null });
  const headers = { authorization: `Bearer ${token!.plaintext}` };
  return {
    id,
    async ask(sql) {
      const body = JSON.stringify({ sql });
      const { status, text } = await door.ask(`/api/v1/projects/${id}/query`, { method: 'POST', headers, body });
      if (status !== 200) throw new Error(`${sql}: ${text}`);
    },
  };
}

const PLANS = ['free', 'pro', 'team'] as const;
/** Other properties than the one that is asked for, some of them long texts. */
const OTHERS = 28;
const DOCUMENTS = 40_000;
const PROPERTIES: readonly PromotedProperty[] = [
  PLAN,
  ...Array.from({ length: 19 }, (_, n): PromotedProperty => ({ name: `property_${n}`, type: 'String' })),
];

/** Inserts as many new events as Weir does at once. Their documents come again after a while: what takes time is to make them up. */
function inserting({ clickhouse }: Stores, projectId: string, random: () => number): Insert {
  const word = () => Math.floor(random() * 2 ** 40).toString(36);
  const documents = Array.from({ length: DOCUMENTS }, () => documentOf(word, random));
  let made = 0;
  return async () => {
    const values = Array.from({ length: INSERT_EVENTS }, () => ({
      project_id: projectId,
      event_id: randomUUID(),
      event: random() < 0.5 ? 'page_viewed' : 'order_paid',
      user_id: `user-${Math.floor(random() * 50_000)}`,
      timestamp: 1_767_225_600 + (made += 1),
      properties: documents[made % DOCUMENTS],
      extras: '{}',
      source: 'bench',
      received_at: 1_767_225_600,
    }));
    await clickhouse.insert({ table: 'events_raw_v1', values, format: 'JSONEachRow' });
  };
}

function documentOf(word: () => string, random: () => number): string {
  const members: Record<string, unknown> = {};
  for (let n = 0; n < OTHERS; n += 1) {
    const text = n % 4 === 0 ? `https://example.com/${word()}/${word()}?q=${word()}` : word();
    members[`property_${n}`] = n % 5 === 0 ? Math.floor(random() * 1_000) : text;
  }
  members['plan'] = PLANS[Math.floor(random() * PLANS.length)];
  const missing = PROPERTY_BYTES - JSON.stringify(members).length;
  return JSON.stringify({ ...members, note: `${word()} `.repeat(100).slice(0, Math.max(0, missing)) });
}
