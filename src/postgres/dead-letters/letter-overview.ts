/**
 * Causes and states of the dead letters for people who wait for a page: in bounded time, however many there are. A small
 * table is counted. In a large one causes are found along their index, and those with few letters are counted; of the
 * others the letters in quarantine are counted where there are few, and what remains is estimated from a sample.
 */
import type { Database } from '../connection/pool.ts';
import { type Group, type Stats, readGroups, readStats, statsOf } from './dead-letter-statistics.ts';
import {
  type Tally,
  findCauses,
  oldestReplayed,
  shareOfTable,
  tallyCauses,
  tallyFirst,
  tallySample,
} from './letter-tallies.ts';

export type EstimatedGroup = Group & { readonly isEstimate: boolean };

export type Overview = {
  /** Largest first. */
  readonly groups: readonly EstimatedGroup[];
  readonly stats: Stats & { readonly isEstimate: boolean };
};

export type OverviewLimits = {
  /** A table of at most so many pages of 8 KiB is counted; of a larger one a sample of this size is read. */
  readonly pages: number;
  /** Up to this many letters are counted, of those in quarantine, of the others, and of a cause. */
  readonly letters: number;
  /** Of all causes together. */
  readonly lettersOfCauses: number;
  /** Beyond, only those are known that the sample meets. */
  readonly causes: number;
};

const LIMITS: OverviewLimits = { pages: 2_000, letters: 2_000, lettersOfCauses: 20_000, causes: 1_000 };

/** Throws `PostgresFailure`. */
export async function readOverview(db: Database, limits: OverviewLimits = LIMITS): Promise<Overview> {
  const share = await shareOfTable(db, limits.pages);
  if (share < 1) return estimate(db, limits, share);
  const groups = await readGroups(db);
  const stats = await readStats(db);
  return {
    groups: groups.map((group) => ({ ...group, isEstimate: false })),
    stats: { ...stats, isEstimate: false },
  };
}

async function estimate(db: Database, limits: OverviewLimits, share: number): Promise<Overview> {
  const replayed = await tallyFirst(db, { isApart: false, most: limits.letters });
  const apart = await tallyFirst(db, { isApart: true, most: limits.letters });
  const exact = [replayed, apart].filter((some) => lettersIn(some) <= limits.letters);
  if (exact.length === 2) return overviewOf(exact.flat(), { uncertain: new Set(), oldestAt: null });

  const causes = await findCauses(db, limits.causes);
  const ofEach = Math.max(1, Math.min(limits.letters, Math.floor(limits.lettersOfCauses / Math.max(1, causes.length))));
  const counted = byGroup(await tallyCauses(db, causes, ofEach));
  const sampled = byGroup(await tallySample(db, share));
  const uncertain = new Set<string>();
  const tallies = [...new Set([...counted.keys(), ...sampled.keys()])].flatMap((group) => {
    const known = counted.get(group) ?? [];
    if (known.length > 0 && lettersIn(known) <= ofEach) return known;
    uncertain.add(group);
    const ofGroup = exact.flat().filter((one) => one.group === group);
    const guessed = atLeast(known, sampled.get(group) ?? []);
    return [
      ...(exact.includes(replayed) ? ofGroup : guessed).filter((one) => !isApart(one)),
      ...(exact.includes(apart) ? ofGroup : guessed).filter(isApart),
    ];
  });
  return overviewOf(tallies, { uncertain, oldestAt: await oldestReplayed(db) });
}

const isApart = ({ state }: Tally) => state === 'quarantined';
const byGroup = (tallies: readonly Tally[]) => Map.groupBy(tallies, ({ group }) => group);
const lettersIn = (tallies: readonly Tally[]) => tallies.reduce((sum, { letters }) => sum + letters, 0);

/** Letters that were counted exist, whatever the sample suggests. */
function atLeast(counted: readonly Tally[], guessed: readonly Tally[]): Tally[] {
  const states = Map.groupBy([...counted, ...guessed], ({ state }) => state);
  return [...states.values()].map((alike) => alike.reduce((so, next) => joined(so, next, Math.max)));
}

function joined(one: Tally, other: Tally, join: (one: number, other: number) => number): Tally {
  return {
    ...one,
    letters: join(one.letters, other.letters),
    events: join(one.events, other.events),
    bytes: join(one.bytes, other.bytes),
    firstSeen: one.firstSeen < other.firstSeen ? one.firstSeen : other.firstSeen,
    lastSeen: one.lastSeen > other.lastSeen ? one.lastSeen : other.lastSeen,
  };
}

const summed = (tallies: readonly Tally[]) =>
  tallies.reduce((so, next) => joined(so, next, (one, other) => one + other));

/** `uncertain`: the causes that were estimated; `oldestAt`: of the letters in no quarantine, where it is known. */
function overviewOf(
  tallies: readonly Tally[],
  { uncertain, oldestAt }: { uncertain: ReadonlySet<string>; oldestAt: Date | null },
): Overview {
  const groups = [...byGroup(tallies).values()].map((own) => {
    const { state: _, bytes: __, ...group } = summed(own);
    const quarantined = lettersIn(own.filter(isApart));
    const waiting = group.letters - quarantined;
    return { ...group, waiting, quarantined, isEstimate: uncertain.has(group.group) };
  });
  const kinds = [...Map.groupBy(tallies, ({ errorClass, state }) => `${errorClass} ${state}`)]
    .toSorted(([one], [other]) => (one < other ? -1 : 1))
    .map(([, alike]) => summed(alike));
  const stats = statsOf(kinds.map(({ firstSeen, ...kind }) => ({ ...kind, oldestAt: firstSeen })));
  return {
    groups: groups.toSorted((a, b) => b.letters - a.letters || b.lastSeen.getTime() - a.lastSeen.getTime()),
    stats: { ...stats, oldestAt: oldestAt ?? stats.oldestAt, isEstimate: uncertain.size > 0 },
  };
}
