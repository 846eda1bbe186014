/**
 * ClickHouse away under full load: once stopped, so that connections are refused,
 * and once frozen, so that they hang. Clients go on all the while, as fast as they
 * are answered, and come back a moment after a refusal with something new.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { createBodies } from './support/bodies.ts';
import { type BenchedWeir, type Grounds, openGrounds } from './support/grounds.ts';
import { saturate } from './support/load.ts';
import { createRoll, numberedLoad } from './support/roll.ts';
import type { BenchContext, Figure, Scenario } from './support/scenario.ts';
import { targetOf } from './support/sending.ts';
import { allStored, conservationOf } from './support/settling.ts';
import { rounded } from './support/statistics.ts';

const PATH = '/api/v1/ingest/events';
const BATCH_EVENTS = 500;
const BODIES = 32;
const CONNECTIONS = 16;
const AFTER_REFUSAL_MS = 200;
const RECOVERED_WITHIN_MS = 300_000;
const POLL_MS = 50;

type Kind = {
  readonly name: 'stopped' | 'frozen';
  readonly begin: (grounds: Grounds) => Promise<void> | void;
  readonly end: (grounds: Grounds) => Promise<void> | void;
  readonly fullMs: number;
  readonly quickMs: number;
};

/** What a Weir has been told and has told, so far. */
type Count = { readonly atMs: number; readonly acknowledged: number };

const KINDS: readonly Kind[] = [
  {
    name: 'stopped',
    begin: ({ stores }) => stores.clickhouseServer.stop(),
    end: ({ stores }) => stores.clickhouseServer.start(),
    fullMs: 40_000,
    quickMs: 1_500,
  },
  {
    name: 'frozen',
    begin: ({ stores }) => stores.clickhouseServer.pause(),
    end: ({ stores }) => stores.clickhouseServer.resume(),
    fullMs: 30_000,
    // Too short to be known for an outage, which may take nine seconds: everybody waits.
    quickMs: 2_000,
  },
];

export const scenario: Scenario = {
  name: 'outage',
  about: 'ClickHouse is away under full load, stopped and frozen: memory, refusals, dead letters, recovery.',
  async run(context) {
    const grounds = await openGrounds();
    try {
      const figures: Figure[] = [];
      for (const kind of KINDS) {
        figures.push(...(await runOutage(kind, grounds, context)));
        await grounds.forget();
      }
      return figures;
    } finally {
      await grounds.stop();
    }
  },
};

async function runOutage(kind: Kind, grounds: Grounds, { isQuick, seed, say }: BenchContext): Promise<Figure[]> {
  const { stores, token } = grounds;
  const weir = await grounds.startBenched();
  const { nativeBatch } = createBodies(seed);
  const roll = createRoll();
  const bodies = Array.from({ length: BODIES }, () => nativeBatch(BATCH_EVENTS));
  const { next, onAnswer } = numberedLoad(roll, targetOf(weir, PATH, { token }), bodies);
  const refusals = new Map<string, number>();
  let isAway = false;
  let isOver = false;
  let isRefused = false;
  const loading = saturate({
    port: weir.port,
    connections: CONNECTIONS,
    async next() {
      // The answer before was to the same connection: nothing comes between it and its next request.
      if (isRefused) await sleep(AFTER_REFUSAL_MS);
      return isOver ? null : next();
    },
    onAnswer(status, sent, detail) {
      onAnswer(status, sent, detail);
      isRefused = status !== 202;
      if (!isRefused || !isAway) return;
      const why = `${status} ${detail.code}`;
      refusals.set(why, (refusals.get(why) ?? 0) + 1);
    },
  });
  const count = (): Count => ({ atMs: performance.now(), acknowledged: roll.acknowledged() });

  const warmUpMs = isQuick ? 1_000 : 5_000;
  await sleep(warmUpMs);
  const before = count();
  await sleep(warmUpMs);
  const begun = count();
  isAway = true;
  await kind.begin(grounds);
  await sleep(isQuick ? kind.quickMs : kind.fullMs);
  const ended = count();
  isOver = true;
  const { failures } = await loading;
  const letters = await sizeOfLetters(grounds);
  say(`${kind.name}: ${Math.round(perSecond(begun, ended))} events/s acknowledged while away`);
  await kind.end(grounds);
  const recovery = await recover(grounds, weir);
  say(`${kind.name}: everything is stored after ${Math.round(recovery.emptyMs)} ms`);

  const name = (what: string) => `${kind.name}: ${what}`;
  const conservation = await conservationOf(roll, stores, name(''));
  const peakRss = weir.peakRssMiB();
  await weir.stop();
  return [
    { name: name('acknowledged before'), value: Math.round(perSecond(before, begun)), unit: 'events/s' },
    { name: name('acknowledged while away'), value: Math.round(perSecond(begun, ended)), unit: 'events/s' },
    {
      name: name('while away ÷ before'),
      value: rounded(perSecond(begun, ended) / perSecond(before, begun)),
      unit: 'ratio',
    },
    ...[...refusals].map(([why, value]) => ({ name: name(`refused, ${why}`), value, unit: 'requests' })),
    { name: name('requests without an answer'), value: failures, unit: 'requests', bar: { atMost: 0 } },
    { name: name('dead letters'), value: letters.rows, unit: 'letters' },
    { name: name('their rows'), value: rounded(letters.rawBytes / 2 ** 20), unit: 'MiB' },
    { name: name('their table'), value: rounded(letters.tableBytes / 2 ** 20), unit: 'MiB' },
    { name: name('inserts go on after'), value: rounded(recovery.closedMs / 1_000), unit: 's' },
    { name: name('everything stored after'), value: rounded(recovery.emptyMs / 1_000), unit: 's' },
    { name: name('replayed'), value: Math.round((letters.events * 1_000) / recovery.emptyMs), unit: 'events/s' },
    ...conservation,
    { name: name('peak RSS'), value: Math.round(peakRss), unit: 'MiB', bar: { atMost: 512 } },
  ];
}

const perSecond = (from: Count, to: Count) => ((to.acknowledged - from.acknowledged) * 1_000) / (to.atMs - from.atMs);

/** How long after the store's return inserts go on, and until everything is in it. */
async function recover({ stores }: Grounds, weir: BenchedWeir): Promise<{ closedMs: number; emptyMs: number }> {
  const startedAt = performance.now();
  const empty = allStored(stores, weir, { withinMs: RECOVERED_WITHIN_MS });
  while ((await weir.health())['breaker'] !== 'closed') await sleep(POLL_MS);
  const closedMs = performance.now() - startedAt;
  await empty;
  return { closedMs, emptyMs: performance.now() - startedAt };
}

async function sizeOfLetters({ stores }: Grounds) {
  const { rows } = await stores.postgres.pool.query<Record<'rows' | 'events' | 'rawBytes' | 'tableBytes', string>>(
    `SELECT count(*) AS rows, coalesce(sum(event_count), 0) AS events, coalesce(sum(raw_bytes), 0) AS "rawBytes",
       pg_total_relation_size('failed_events') AS "tableBytes" FROM failed_events`,
  );
  const [size] = rows;
  return {
    rows: Number(size!.rows),
    events: Number(size!.events),
    rawBytes: Number(size!.rawBytes),
    tableBytes: Number(size!.tableBytes),
  };
}
