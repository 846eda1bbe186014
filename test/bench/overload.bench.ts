/**
 * More is offered than fits. ClickHouse has a small part of a core, so that it is what limits, and not the machine
 * that the load runs on too: events stored a second while three times as much is offered, against what is stored when
 * nothing is asked for in vain, by clients that wait as they are told and by those that do not. Then what a few
 * clients get that obey `Retry-After`, and what a refusal costs.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { createHistogram } from 'node:perf_hooks';
import { type Bodies, createBodies } from './support/bodies.ts';
import { type Benched, type BenchedWeir, type Grounds, FLUSH_EVENTS, openGrounds } from './support/grounds.ts';
import { offer, percentilesOf, recordMs, saturate } from './support/load.ts';
import { createRoll, numberedLoad } from './support/roll.ts';
import type { BenchContext, Figure, Scenario } from './support/scenario.ts';
import { prepare, targetOf } from './support/sending.ts';
import { alternately, eachOf, figureOf, ratioOf } from './support/statistics.ts';
import { throttle } from './support/throttle.ts';

const BATCH_EVENTS = 500;
const POLL_MS = 25;
/** Of a core, for ClickHouse. */
const SHARE = 0.3;
const TOO_MUCH = 3;
/** A client that is not told to wait, or does not listen, but is not quite as rude as one that asks again at once. */
const REST_MS = 20;

type Kind = {
  readonly name: 'batches' | 'singles';
  readonly path: string;
  readonly body: (bodies: Bodies) => Buffer;
  readonly events: number;
  /** As many as keep ClickHouse busy, and as many as are too many. */
  readonly few: number;
  readonly many: number;
};

const BATCHES: Kind = {
  name: 'batches',
  path: '/api/v1/ingest/events',
  body: ({ nativeBatch }) => nativeBatch(BATCH_EVENTS),
  events: BATCH_EVENTS,
  few: 8,
  many: 512,
};
const SINGLES: Kind = {
  name: 'singles',
  path: '/events',
  body: ({ productEvent }) => productEvent(),
  events: 1,
  few: 64,
  many: 2_048,
};

const WAYS = { journal: { INGEST_JOURNAL: 'on' }, memory: { INGEST_JOURNAL: 'off' } } as const;
type Way = keyof typeof WAYS;

type Place = { readonly grounds: Grounds; readonly bodies: Bodies };
type Round = { readonly storedPerS: number; readonly refused: number; readonly p99: number; readonly cpuUs: number };

export const scenario: Scenario = {
  name: 'overload',
  about:
    'Three times as much as ClickHouse takes with a third of a core: events stored a second ÷ without overload, with ' +
    'the journal and without, by clients that obey Retry-After and by others. Eight clients that obey it, memory ÷ ' +
    'journal. Processor time of a refusal, also ÷ an answer of a bare node:http server.',
  async run(context) {
    const grounds = await openGrounds();
    const place = { grounds, bodies: createBodies(context.seed) };
    try {
      return [
        ...(await measureRefusals(place, context)),
        ...(await measureObeying(place, context)),
        ...(await measureOverload(place, context)),
      ];
    } finally {
      await grounds.stop();
    }
  },
};

async function measureOverload({ grounds, bodies }: Place, { isQuick, say }: BenchContext): Promise<Figure[]> {
  const figures: Figure[] = [];
  const forMs = isQuick ? 2_500 : 6_000;
  for (const way of isQuick ? (['journal'] as const) : (['journal', 'memory'] as const)) {
    const weir = await grounds.startBenched(WAYS[way]);
    for (const kind of isQuick ? [BATCHES] : [BATCHES, SINGLES]) {
      const round = (load: Load) => measureRound({ grounds, bodies }, { weir, kind, load });
      say(`${kind.name}, ${way}: warming up`);
      await round({ connections: kind.few, forMs: 1_000, restMs: REST_MS });
      const unpause = throttle(grounds.stores.clickhouseServer.pid(), { share: SHARE });
      let ratePerS = 0;
      const { within, told, untold } = await alternately(isQuick ? 1 : 2, {
        async within() {
          say(`${kind.name}, ${way}: as much as fits`);
          const measured = await round({ connections: kind.few, forMs, restMs: REST_MS });
          ratePerS = measured.storedPerS / kind.events;
          return measured;
        },
        told() {
          say(`${kind.name}, ${way}: too much, clients wait as they are told`);
          return round({ connections: kind.many, forMs, restMs: null });
        },
        untold() {
          say(`${kind.name}, ${way}: too much, whatever they are told`);
          return round({ connections: kind.many, forMs, perS: ratePerS * TOO_MUCH });
        },
      });
      await unpause();
      figures.push(...overloadFigures(`${kind.name}, ${way}`, within, { told, untold }, isQuick));
    }
    await weir.stop();
  }
  return figures;
}

function overloadFigures(
  name: string,
  within: readonly Round[],
  over: Readonly<Record<'told' | 'untold', readonly Round[]>>,
  isQuick: boolean,
): Figure[] {
  // One short round says too little to be compared with another.
  const guard = isQuick ? {} : ({ guard: 'more is better' } as const);
  return [
    figureOf(`${name}: stored`, eachOf(within, 'storedPerS'), 'events/s'),
    figureOf(`${name}: p99`, eachOf(within, 'p99'), 'ms'),
    ...(['told', 'untold'] as const).flatMap((kind) => [
      ratioOf(
        `${name}, ${kind}: stored ÷ without overload`,
        eachOf(over[kind], 'storedPerS'),
        eachOf(within, 'storedPerS'),
        { bar: { atLeast: 0.95 }, ...guard },
      ),
      figureOf(`${name}, ${kind}: refused`, eachOf(over[kind], 'refused'), 'requests'),
      figureOf(`${name}, ${kind}: p99 of what was accepted`, eachOf(over[kind], 'p99'), 'ms'),
    ]),
  ];
}

/** `restMs`: how long a connection rests after a refusal; null: as it is told. Or so many requests a second. */
type Load = { readonly connections: number; readonly forMs: number } & (
  | { readonly restMs: number | null }
  | { readonly perS: number }
);

/** Everything that was accepted counts, until the last of it is stored. */
async function measureRound(
  { grounds, bodies }: Place,
  { weir, kind, load }: { weir: BenchedWeir; kind: Kind; load: Load },
): Promise<Round> {
  const roll = createRoll();
  const target = targetOf(weir, kind.path, { token: grounds.token, 'content-type': 'application/json' });
  const numbered = numberedLoad(
    roll,
    target,
    Array.from({ length: 32 }, () => kind.body(bodies)),
  );
  const latency = createHistogram();
  /** The answer before was to the same connection: nothing comes between it and its next request. */
  let restMs = 0;
  const onAnswer: typeof numbered.onAnswer = (status, sent, detail) => {
    numbered.onAnswer(status, sent, detail);
    if (status === 202) recordMs(latency, detail.tookMs);
    const rest = 'restMs' in load ? (load.restMs ?? detail.retryAfterS * 1_000) : 0;
    restMs = status === 202 ? 0 : rest;
  };
  const [cpuBefore, startedAt] = [weir.cpuMs(), performance.now()];
  const { port } = weir;
  const { connections, forMs } = load;
  const next = () => (performance.now() - startedAt < forMs ? numbered.next() : null);
  const nextAfterRest = async (forMs: number) => {
    await sleep(forMs);
    return next();
  };
  const { failures, untaken, statuses } = await ('perS' in load
    ? offer({
        port,
        maxConnections: connections,
        durationMs: forMs,
        rateAt: () => load.perS,
        next: numbered.next,
        onAnswer,
      })
    : saturate({ port, connections, next: () => (restMs > 0 ? nextAfterRest(restMs) : next()), onAnswer }));
  // More is offered than so many connections can ask for: whoever got none has given up.
  const unanswered = failures - untaken;
  if (unanswered > 0) throw new Error(`${unanswered} requests had no answer: ${JSON.stringify([...statuses])}`);
  const left = await untilLessThanABatch(weir);
  const elapsedMs = performance.now() - startedAt;
  await weir.settled();
  const cpuMs = weir.cpuMs() - cpuBefore;
  await grounds.expectStored(roll.acknowledged());
  await grounds.forget();
  return {
    storedPerS: ((roll.acknowledged() - left) * 1_000) / elapsedMs,
    refused: roll.refused() / kind.events,
    p99: percentilesOf(latency).p99,
    cpuUs: (cpuMs * 1_000) / roll.acknowledged(),
  };
}

/** How many are pending then. The rest, too small for a batch, waits for the flush interval, which is not what is measured. */
async function untilLessThanABatch(weir: BenchedWeir): Promise<number> {
  for (;;) {
    const { pending } = (await weir.health()) as { pending: number };
    if (pending < FLUSH_EVENTS) return pending;
    await sleep(POLL_MS);
  }
}

/** Eight clients that obey, all of the machine: what is refused is not sent for a second. */
async function measureObeying({ grounds, bodies }: Place, { isQuick, say }: BenchContext): Promise<Figure[]> {
  const weirs = { journal: await grounds.startBenched(WAYS.journal), memory: await grounds.startBenched(WAYS.memory) };
  const round = (way: Way) =>
    measureRound(
      { grounds, bodies },
      {
        weir: weirs[way],
        kind: BATCHES,
        load: { connections: BATCHES.few, forMs: isQuick ? 1_500 : 4_000, restMs: null },
      },
    );
  say('eight clients that obey');
  const ways = { journal: () => round('journal'), memory: () => round('memory') };
  await alternately(1, ways);
  const { journal, memory } = await alternately(isQuick ? 3 : 9, ways);
  await weirs.journal.stop();
  await weirs.memory.stop();
  const name = `${BATCH_EVENTS} × ${BATCHES.few}, obeying`;
  return [
    ratioOf(`${name}: stored, memory ÷ journal`, eachOf(memory, 'storedPerS'), eachOf(journal, 'storedPerS'), {
      bar: { atLeast: 1 },
    }),
    ...Object.entries({ journal, memory }).flatMap(([way, rounds]) => [
      figureOf(`${name}, ${way}: stored`, eachOf(rounds, 'storedPerS'), 'events/s'),
      figureOf(`${name}, ${way}: p99`, eachOf(rounds, 'p99'), 'ms'),
      figureOf(`${name}, ${way}: refused`, eachOf(rounds, 'refused'), 'requests'),
    ]),
  ];
}

/** Intake is closed, which is found out in the same place, and in the same way, as that there is no room. */
async function measureRefusals({ grounds, bodies }: Place, { isQuick, say }: BenchContext): Promise<Figure[]> {
  const bare = await grounds.startBare();
  const closed = await grounds.startBenched({ INGEST_DISABLED: 'true' });
  const count = isQuick ? 10_000 : 40_000;
  const refusals = (at: Benched, kind: Kind, asked: number) => () =>
    measureAnswers({ grounds, bodies }, { at, kind, asked });
  const ways = {
    bare: refusals(bare, SINGLES, count),
    singles: refusals(closed, SINGLES, count),
    batches: refusals(closed, BATCHES, count / 10),
  };
  say('refusals');
  await alternately(1, ways);
  const of = await alternately(isQuick ? 5 : 9, ways);
  await bare.stop();
  await closed.stop();
  return [
    figureOf('refusal of a single: CPU', eachOf(of.singles, 'cpuUs'), 'µs', { bar: { atMost: 10 } }),
    ratioOf('refusal of a single: CPU ÷ an answer of bare', eachOf(of.singles, 'cpuUs'), eachOf(of.bare, 'cpuUs'), {
      guard: 'less is better',
    }),
    figureOf('refusal of a single: requests', eachOf(of.singles, 'perS'), '1/s'),
    figureOf('refusal of a batch: CPU', eachOf(of.batches, 'cpuUs'), 'µs'),
    figureOf('refusal of a batch: requests', eachOf(of.batches, 'perS'), '1/s'),
    figureOf('an answer of bare: CPU', eachOf(of.bare, 'cpuUs'), 'µs'),
  ];
}

async function measureAnswers(
  { grounds, bodies }: Place,
  { at, kind, asked }: { at: Benched; kind: Kind; asked: number },
): Promise<{ cpuUs: number; perS: number }> {
  const target = targetOf(at, kind.path, { token: grounds.token, 'content-type': 'application/json' });
  const some = Array.from({ length: 32 }, () => prepare(target, kind.body(bodies), kind.events));
  let left = asked;
  const before = at.cpuMs();
  const { elapsedMs } = await saturate({
    port: at.port,
    connections: SINGLES.few,
    next: () => (left-- > 0 ? some[left % some.length]! : null),
  });
  return { cpuUs: ((at.cpuMs() - before) * 1_000) / asked, perS: (asked * 1_000) / elapsedMs };
}
