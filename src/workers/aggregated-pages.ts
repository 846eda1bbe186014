/**
 * Health and metrics of several workers as one: pure functions over their snapshots. Counts add up, including those of
 * workers that have ended; a shared fact is taken from the workers that answer now, and where they differ the worse one
 * counts.
 */
import type {
  ServiceHealth,
  SchemaFacts,
  JournalHealth,
  HealthSnapshot,
  TopicHealth,
  WorkerHealth,
} from '../http/health/health-snapshot.ts';
import { type MetricsPage, acceptedIn, mergePages } from '../metrics/pages.ts';
import type { BreakerState } from '../pipeline/breaker.ts';
import type { DeadLetterDepth, Intake } from '../pipeline/flags.ts';
import type { Moment, Progress } from '../pipeline/progress.ts';
import { mergeRejectingDoors } from '../pipeline/rejections.ts';
import type { RebuildState } from '../pipeline/storage-port.ts';
import type { Snapshot } from '../composition/pages.ts';

/** One worker as the supervisor sees it. */
export type WorkerMember = WorkerHealth & {
  /** Its latest snapshot, or that of the process before it; null before the first. */
  readonly snapshot: Snapshot | null;
};

/** All workers at one moment. */
export type WorkerSnapshots = {
  readonly members: readonly WorkerMember[];
  /** The counts of processes that have ended and were replaced. */
  readonly ended: MetricsPage;
};

const WORST_FIRST = {
  intake: ['draining', 'disabled', 'elsewhere', 'open'],
  breaker: ['open', 'half-open', 'closed'],
  journalRefusal: ['failed', 'full'],
} as const;

/** The health of all workers; `own` is the snapshot of the one that was asked. */
export function healthOf({ members, ended }: WorkerSnapshots, own: Snapshot): ServiceHealth {
  const healthSnapshot = mergeHealthSnapshots({
    listening: healthSnapshotsOf(members, 'listening') ?? [own.healthSnapshot],
    silent: healthSnapshotsOf(members, 'silent') ?? [],
    others: healthSnapshotsOf(members, 'starting', 'missing', 'delivering') ?? [],
    acceptedBefore: acceptedIn(ended),
  });
  const workers = members.map(({ worker, pid, state }) => ({ worker, pid, state }));
  return { healthSnapshot, reasons: members.flatMap(reasonOf), workers };
}

/** The metrics page of all workers. */
export function metricsOf({ members, ended }: WorkerSnapshots, own: Snapshot): Promise<string> {
  const current = snapshotsOf(members, 'listening') ?? [own];
  const absent = snapshotsOf(members, 'silent', 'starting', 'missing', 'delivering') ?? [];
  return mergePages(
    current.map(({ metrics }) => metrics),
    [...absent.map(({ metrics }) => metrics), ended],
  );
}

/** The snapshots of the members in one of the states; null instead of an empty list. */
function snapshotsOf(members: readonly WorkerMember[], ...states: WorkerMember['state'][]): Snapshot[] | null {
  const snapshots = members.filter(({ state }) => states.includes(state)).flatMap(({ snapshot }) => snapshot ?? []);
  return snapshots.length === 0 ? null : snapshots;
}

const healthSnapshotsOf = (...wanted: Parameters<typeof snapshotsOf>) =>
  snapshotsOf(...wanted)?.map(({ healthSnapshot }) => healthSnapshot);

function reasonOf({ worker, state }: WorkerMember): string[] {
  switch (state) {
    case 'listening':
      return [];
    case 'silent':
      return [`worker ${worker} does not answer`];
    case 'starting':
      return [`worker ${worker} is starting`];
    case 'missing':
      return [`worker ${worker} has ended and will be restarted`];
    case 'delivering':
      return [`the events that worker ${worker} left behind are being delivered`];
  }
}

export type Groups = {
  /** Workers that answer; at least one. Facts come from them. */
  readonly listening: readonly HealthSnapshot[];
  /** Workers that do not answer: their events are still in memory. */
  readonly silent: readonly HealthSnapshot[];
  /** Workers that do not listen: their events are on disk. */
  readonly others: readonly HealthSnapshot[];
  readonly acceptedBefore: number;
};

export function mergeHealthSnapshots({ listening, silent, others, acceptedBefore }: Groups): HealthSnapshot {
  const all = [...listening, ...silent, ...others];
  return {
    role: listening[0]!.role,
    topic: mergeTopics(listening.flatMap(({ topic }) => topic ?? [])),
    facts: {
      intake: worst<Intake>(
        WORST_FIRST.intake,
        listening.map(({ facts }) => facts.intake),
      )!,
      ...(listening.some(({ facts }) => facts.isLeaving) && { isLeaving: true as const }),
      unhomed: sumOf([...listening, ...silent], ({ facts }) => facts.unhomed),
      deadLetters: mergeDepths(listening.flatMap(({ facts }) => facts.deadLetters ?? [])),
    },
    eventStore: listening[0]!.eventStore,
    channel: {
      events: sumOf(all, ({ channel }) => channel.events),
      bytes: sumOf(all, ({ channel }) => channel.bytes),
      reservedBytes: sumOf(all, ({ channel }) => channel.reservedBytes),
      isFull: listening.some(({ channel }) => channel.isFull),
    },
    accepted: acceptedBefore + sumOf(all, ({ accepted }) => accepted),
    breaker: worstBreaker(listening.map(({ breaker }) => breaker)),
    eventsUp: everyKnown(listening.map(({ eventsUp }) => eventsUp)),
    postgresUp: everyKnown(listening.map(({ postgresUp }) => postgresUp)),
    postgresReadOnly: listening.some(({ postgresReadOnly }) => postgresReadOnly),
    eventsTrouble: firstOf(listening.map(({ eventsTrouble }) => eventsTrouble)),
    postgresTrouble: firstOf(listening.map(({ postgresTrouble }) => postgresTrouble)),
    schema: mergeSchema(listening.map(({ schema }) => schema)),
    journal: mergeJournals(
      listening.flatMap(({ journal }) => journal ?? []),
      [...silent, ...others].flatMap(({ journal }) => journal ?? []),
    ),
    journalRefusal: worst(
      WORST_FIRST.journalRefusal,
      listening.map((healthSnapshot) => healthSnapshot.journalRefusal),
    ),
    noRoomSince: smallest(listening.flatMap(({ noRoomSince }) => noRoomSince ?? [])),
    knowsTokens: listening.every(({ knowsTokens }) => knowsTokens),
    rejecting: mergeRejectingDoors(all.flatMap(({ rejecting }) => rejecting)),
    progress: mergeProgress(listening.map(({ progress }) => progress)),
    notices: [...new Set(listening.flatMap(({ notices }) => notices))],
  };
}

const firstOf = (found: readonly (string | null)[]) => found.find((one) => one !== null) ?? null;

const sumOf = (all: readonly HealthSnapshot[], read: (healthSnapshot: HealthSnapshot) => number) =>
  all.reduce((sum, healthSnapshot) => sum + read(healthSnapshot), 0);

/** All workers measure the same table, at different moments: the highest measurement counts. */
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
    isEstimate: depths.some(({ isEstimate }) => isEstimate),
  };
}

/** The state that has lasted longest among the worst. */
function worstBreaker(states: readonly BreakerState[]): BreakerState {
  const kind = worst(
    WORST_FIRST.breaker,
    states.map((state) => state.kind),
  );
  const [first] = states.filter((state) => state.kind === kind).sort((a, b) => (a.openSince ?? 0) - (b.openSince ?? 0));
  return first!;
}

/**
 * The tables are the same for all: once one worker has found them ready, they are. A worker that has just started has
 * not checked yet.
 */
function mergeSchema(schemas: readonly SchemaFacts[]): SchemaFacts {
  const postgresReady = schemas.some((schema) => schema.postgresReady);
  const eventsReady = schemas.some((schema) => schema.eventsReady);
  return {
    postgresReady,
    eventsReady,
    problem: postgresReady && eventsReady ? null : firstOf(schemas.map(({ problem }) => problem)),
    drift: [...new Set(schemas.flatMap(({ drift }) => drift))],
    rebuild: mergeRebuilds(schemas.map(({ rebuild }) => rebuild)),
  };
}

/** All look at the same table at some moment: whoever has seen it further knows more. */
function mergeRebuilds(states: readonly (RebuildState | null)[]): RebuildState | null {
  const known = states.filter((state) => state !== null);
  const running = known.filter((state) => state.kind === 'running');
  const further = (state: (typeof running)[number]) => REBUILDING.indexOf(state.doing) * 1e15 + state.rows;
  const [furthest] = running.sort((a, b) => further(b) - further(a));
  return known.find(({ kind }) => kind === 'done') ?? furthest ?? known[0] ?? null;
}

const REBUILDING = ['copying', 'checking', 'finishing'] as const;

/** Each worker holds other partitions of the same topic. */
function mergeTopics(topics: readonly TopicHealth[]): TopicHealth | null {
  const [first] = topics;
  if (first === undefined) return null;
  const readings = topics.flatMap(({ reading }) => reading ?? []);
  return {
    name: first.name,
    isUp: everyKnown(topics.map(({ isUp }) => isUp)),
    trouble: firstOf(topics.map(({ trouble }) => trouble)),
    reading:
      readings.length === 0
        ? null
        : {
            isMember: readings.every(({ isMember }) => isMember),
            partitions: readings.reduce((sum, { partitions }) => sum + partitions, 0),
            lagRecords: readings.reduce((sum, { lagRecords }) => sum + lagRecords, 0),
            lagSeconds: Math.max(...readings.map(({ lagSeconds }) => lagSeconds)),
          },
    problems: [...new Set(topics.flatMap(({ problems }) => problems))],
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
    isHeld: all.some(({ isHeld }) => isHeld),
  };
}

/**
 * A batch that landed proves the store for all: earlier failures of other workers
 * no longer count. Draining works only when it does in every worker, since the
 * failing one may hold letters of any project.
 */
function mergeProgress(all: readonly Progress[]): Progress {
  const landed = latest(all.map((progress) => progress.landed));
  const refused = all
    .flatMap((progress) => progress.refused ?? [])
    .filter(({ last }) => landed === null || last.agoMs < landed.agoMs);
  const last = refused.toSorted((a, b) => a.last.agoMs - b.last.agoMs)[0];
  const first = earliest(refused.map((tries) => tries.first));
  const [failingPasses] = all
    .flatMap((progress) => progress.failingPasses ?? [])
    .sort((a, b) => b.first.agoMs - a.first.agoMs);
  const waits = all.flatMap(({ oldestDeadLetterForMs }) => oldestDeadLetterForMs ?? []);
  return {
    landed,
    refused:
      last === undefined ? null : { ...last, first: first!, tries: refused.reduce((sum, { tries }) => sum + tries, 0) },
    passed: latest(all.map((progress) => progress.passed)),
    failingPasses: failingPasses ?? null,
    oldestDeadLetterForMs: waits.length === 0 ? null : Math.max(...waits),
    pause: all.find(({ pause }) => pause !== null)?.pause ?? null,
  };
}

const latest = (moments: readonly (Moment | null)[]): Moment | null =>
  moments.filter((moment) => moment !== null).toSorted((a, b) => a.agoMs - b.agoMs)[0] ?? null;

const earliest = (moments: readonly Moment[]): Moment | null =>
  moments.toSorted((a, b) => b.agoMs - a.agoMs)[0] ?? null;

/**
 * False when it is false for any worker; null while it is unknown to all. A worker that has just started does not know
 * yet.
 */
function everyKnown(opinions: readonly (boolean | null)[]): boolean | null {
  const known = opinions.filter((opinion) => opinion !== null);
  return known.length === 0 ? null : known.every(Boolean);
}

function worst<Kind extends string>(worstFirst: readonly Kind[], found: readonly (Kind | null)[]): Kind | null {
  return worstFirst.find((kind) => found.includes(kind)) ?? null;
}

const smallest = (numbers: readonly number[]) => (numbers.length === 0 ? null : Math.min(...numbers));
