/**
 * What several workers come to together: pure functions over what each of them
 * says of itself. Counts add up, also those of workers that have ended; a fact
 * that all share is taken from those that answer now, and where they differ the
 * worse one counts.
 */
import type { ServiceHealth, SchemaFacts, JournalHealth, Vitals, WorkerHealth } from '../http/health.ts';
import { type MetricsPage, acceptedIn, mergePages } from '../metrics.ts';
import type { BreakerState } from '../pipeline/breaker.ts';
import type { DeadLetterDepth, Intake } from '../pipeline/flags.ts';
import type { Look } from '../weir.ts';

/** One worker, as the supervisor sees it. */
export type Member = WorkerHealth & {
  /** The latest that it, or the process before it, said of itself; null before that. */
  readonly look: Look | null;
};

/** All workers at one moment. */
export type Whole = {
  readonly members: readonly Member[];
  /** What processes counted whose successors speak for themselves. */
  readonly ended: MetricsPage;
};

const WORST_FIRST = {
  intake: ['draining', 'disabled', 'open'],
  breaker: ['open', 'half-open', 'closed'],
  journalRefusal: ['failed', 'full'],
} as const;

/** What `/health` and its kin say of all workers, `own` being the one that was asked. */
export function healthOf({ members, ended }: Whole, own: Look): ServiceHealth {
  const vitals = mergeVitals({
    listening: vitalsOf(members, 'listening') ?? [own.vitals],
    silent: vitalsOf(members, 'silent') ?? [],
    others: vitalsOf(members, 'starting', 'missing', 'delivering') ?? [],
    acceptedBefore: acceptedIn(ended),
  });
  const workers = members.map(({ worker, pid, state }) => ({ worker, pid, state }));
  return { vitals, reasons: members.flatMap(reasonOf), workers };
}

/** The metrics page of all workers. */
export function metricsOf({ members, ended }: Whole, own: Look): Promise<string> {
  const current = looksOf(members, 'listening') ?? [own];
  const absent = looksOf(members, 'silent', 'starting', 'missing', 'delivering') ?? [];
  return mergePages(
    current.map(({ metrics }) => metrics),
    [...absent.map(({ metrics }) => metrics), ended],
  );
}

/** null rather than empty. */
function looksOf(members: readonly Member[], ...states: Member['state'][]): Look[] | null {
  const looks = members.filter(({ state }) => states.includes(state)).flatMap(({ look }) => look ?? []);
  return looks.length === 0 ? null : looks;
}

const vitalsOf = (...wanted: Parameters<typeof looksOf>) => looksOf(...wanted)?.map(({ vitals }) => vitals);

function reasonOf({ worker, state }: Member): string[] {
  switch (state) {
    case 'listening':
      return [];
    case 'silent':
      return [`worker ${worker} does not answer`];
    case 'starting':
      return [`worker ${worker} is starting`];
    case 'missing':
      return [`worker ${worker} is missing and will be started again`];
    case 'delivering':
      return [`what worker ${worker} has left is being delivered`];
  }
}

export type Groups = {
  /** Those that speak for themselves; at least one. Facts are theirs. */
  readonly listening: readonly Vitals[];
  /** What they have is in their memory still. */
  readonly silent: readonly Vitals[];
  /** Those that do not listen: what they have is on disk. */
  readonly others: readonly Vitals[];
  readonly acceptedBefore: number;
};

export function mergeVitals({ listening, silent, others, acceptedBefore }: Groups): Vitals {
  const all = [...listening, ...silent, ...others];
  return {
    facts: {
      intake: worst<Intake>(
        WORST_FIRST.intake,
        listening.map(({ facts }) => facts.intake),
      )!,
      unhomed: sumOf([...listening, ...silent], ({ facts }) => facts.unhomed),
      deadLetters: mergeDepths(listening.flatMap(({ facts }) => facts.deadLetters ?? [])),
    },
    channel: {
      events: sumOf(all, ({ channel }) => channel.events),
      bytes: sumOf(all, ({ channel }) => channel.bytes),
      reservedBytes: sumOf(all, ({ channel }) => channel.reservedBytes),
      isFull: listening.some(({ channel }) => channel.isFull),
    },
    accepted: acceptedBefore + sumOf(all, ({ accepted }) => accepted),
    breaker: worstBreaker(listening.map(({ breaker }) => breaker)),
    clickhouseUp: everyKnown(listening.map(({ clickhouseUp }) => clickhouseUp)),
    postgresUp: everyKnown(listening.map(({ postgresUp }) => postgresUp)),
    schema: mergeSchema(listening.map(({ schema }) => schema)),
    journal: mergeJournals(
      listening.flatMap(({ journal }) => journal ?? []),
      [...silent, ...others].flatMap(({ journal }) => journal ?? []),
    ),
    journalRefusal: worst(
      WORST_FIRST.journalRefusal,
      listening.map((vitals) => vitals.journalRefusal),
    ),
    knowsTokens: listening.every(({ knowsTokens }) => knowsTokens),
  };
}

const sumOf = (all: readonly Vitals[], read: (vitals: Vitals) => number) =>
  all.reduce((sum, vitals) => sum + read(vitals), 0);

/** Everybody measures the same table, each a moment later than another: the most that anybody saw. */
function mergeDepths(depths: readonly DeadLetterDepth[]): DeadLetterDepth | null {
  if (depths.length === 0) return null;
  const most = (read: (depth: DeadLetterDepth) => number) => Math.max(...depths.map(read));
  const oldest = depths.flatMap(({ oldestAt }) => oldestAt ?? []);
  return {
    rows: most(({ rows }) => rows),
    events: most(({ events }) => events),
    bytes: most(({ bytes }) => bytes),
    oldestAt: oldest.length === 0 ? null : Math.min(...oldest),
    quarantinedRows: most(({ quarantinedRows }) => quarantinedRows),
    quarantinedEvents: most(({ quarantinedEvents }) => quarantinedEvents),
  };
}

/** Of those that are as bad as the worst, the one that has been so for longest. */
function worstBreaker(states: readonly BreakerState[]): BreakerState {
  const kind = worst(
    WORST_FIRST.breaker,
    states.map((state) => state.kind),
  );
  const [first] = states.filter((state) => state.kind === kind).sort((a, b) => (a.openSince ?? 0) - (b.openSince ?? 0));
  return first!;
}

/** The tables are the same for all: once one has found them ready, they are. A worker that has just started has not looked yet. */
function mergeSchema(schemas: readonly SchemaFacts[]): SchemaFacts {
  return {
    postgresReady: schemas.some(({ postgresReady }) => postgresReady),
    clickhouseReady: schemas.some(({ clickhouseReady }) => clickhouseReady),
    drift: [...new Set(schemas.flatMap(({ drift }) => drift))],
  };
}

function mergeJournals(listening: readonly JournalHealth[], others: readonly JournalHealth[]): JournalHealth | null {
  const told = listening.find(({ kind }) => kind !== 'ok') ?? listening[0];
  if (told === undefined) return null;
  const all = [...listening, ...others];
  return {
    ...told,
    bytes: all.reduce((sum, { bytes }) => sum + bytes, 0),
    maxBytes: all.reduce((sum, { maxBytes }) => sum + maxBytes, 0),
  };
}

/** False when any says so; null while nobody knows. A worker that has just started has no opinion. */
function everyKnown(opinions: readonly (boolean | null)[]): boolean | null {
  const known = opinions.filter((opinion) => opinion !== null);
  return known.length === 0 ? null : known.every(Boolean);
}

function worst<Kind extends string>(worstFirst: readonly Kind[], found: readonly (Kind | null)[]): Kind | null {
  return worstFirst.find((kind) => found.includes(kind)) ?? null;
}
