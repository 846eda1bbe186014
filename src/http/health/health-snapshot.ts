/** Everything that the health paths report, at one moment, as a plain value. */
import type { Breaker, BreakerState } from '../../pipeline/breaker.ts';
import type { Channel, ChannelUsage } from '../../pipeline/channel-port.ts';
import { type Facts, type Flags, type Role } from '../../pipeline/flags.ts';
import type { Heartbeat } from '../../pipeline/heartbeat.ts';
import type { Ledger } from '../../pipeline/ledger.ts';
import type { Progress } from '../../pipeline/progress.ts';
import { mergeRejectingDoors, type RejectingDoor, type Rejections } from '../../pipeline/rejections.ts';
import type { EventStoreName, RebuildState } from '../../pipeline/storage-port.ts';
import type { Credentials } from '../access/credentials.ts';

/** What is known of a store's schema: null until it is known to be up to date. */
export type SchemaFacts = {
  readonly postgresReady: boolean;
  readonly eventsReady: boolean;
  /** Why the last migration failed; null when it succeeded. */
  readonly problem: string | null;
  /** Differences from what Weir expects, one sentence each, with the remedy. */
  readonly drift: readonly string[];
  /** How the rebuild of a large table stands; null until it has been looked. */
  readonly rebuild: RebuildState | null;
};

/** `kind` is `ok`, or the problem, with a system error code as `reason`. */
export type JournalHealth = {
  readonly kind: string;
  readonly reason?: string;
  readonly bytes: number;
  readonly maxBytes: number;
  /** The events it held at the start wait: the directory is a copy of one that a running process uses. */
  readonly isHeld: boolean;
};

/** The topic between intake and inserts, as this process sees it. */
export type TopicHealth = {
  readonly name: string;
  /** Whether brokers answer; null until they did or failed to. */
  readonly isUp: boolean | null;
  /** Why they do not, for a person; null where they do, or nothing more is known. */
  readonly trouble: string | null;
  /** What this process reads of it; null for one that only appends. */
  readonly reading: {
    readonly isMember: boolean;
    /** The partitions it holds. */
    readonly partitions: number;
    /** In those: records that were not stored yet. */
    readonly lagRecords: number;
    /** How long the oldest of them has waited. */
    readonly lagSeconds: number;
  } | null;
  /** What does not get on, one sentence each. */
  readonly problems: readonly string[];
};

/** Everything that the health paths report, at one moment. A plain value: workers send theirs to each other. */
export type HealthSnapshot = {
  readonly role: Role;
  /** null where this process's own channel stands between intake and inserts. */
  readonly topic: TopicHealth | null;
  readonly facts: Facts;
  readonly eventStore: EventStoreName;
  readonly channel: ChannelUsage & { readonly isFull: boolean };
  readonly accepted: number;
  readonly breaker: BreakerState;
  /** null until a store has answered or failed to. */
  readonly eventsUp: boolean | null;
  readonly postgresUp: boolean | null;
  /** Whether Postgres answers but accepts no writes: then it keeps no dead letter. */
  readonly postgresReadOnly: boolean;
  /** Why a store refuses connections, in its own words; null when it does or the reason is unknown. */
  readonly eventsTrouble: string | null;
  readonly postgresTrouble: string | null;
  readonly schema: SchemaFacts;
  /** The state of the journal; null without one. */
  readonly journal: JournalHealth | null;
  /** Why the journal, where it is required, could not keep a small body. */
  readonly journalRefusal: 'full' | 'failed' | null;
  /** Since when Postgres has had no room for dead letters, in epoch ms; null while it has. */
  readonly noRoomSince: number | null;
  /** Whether some tokens can be verified without Postgres. */
  readonly knowsTokens: boolean;
  readonly progress: Progress;
  /** The doors that have been rejecting events, those that reject most first. */
  readonly rejecting: readonly RejectingDoor[];
  /** Observations about the stores and what is in front of them, one sentence each. */
  readonly notices: readonly string[];
};

export type HealthSnapshotDeps = {
  readonly role: Role;
  readonly topic: () => TopicHealth | null;
  readonly flags: Flags;
  readonly channel: Pick<Channel, 'usage' | 'isFull'>;
  readonly ledger: Ledger;
  readonly rejections: Pick<Rejections, 'recent'>;
  readonly breaker: Breaker;
  readonly credentials: Credentials;
  readonly eventStore: EventStoreName;
  readonly events: Pick<Heartbeat, 'isUp'> & { trouble(): string | null };
  readonly postgres: Pick<Heartbeat, 'isUp'> & { isReadOnly(): boolean; trouble(): string | null };
  readonly schema: () => SchemaFacts;
  readonly journal: () => JournalHealth | null;
  readonly journalRefusal: (bytes: number) => 'full' | 'failed' | null;
  readonly noRoomSince: () => number | null;
  readonly progress: () => Progress;
  readonly notices: () => readonly string[];
};

/** One of several workers, as `/health` lists them. */
export type WorkerHealth = {
  readonly worker: number;
  readonly pid: number | null;
  readonly state: 'starting' | 'listening' | 'silent' | 'missing' | 'delivering';
};

/** What the pages describe: one process, or several workers together. */
export type ServiceHealth = {
  readonly healthSnapshot: HealthSnapshot;
  /** Deviations beyond those in the snapshot. */
  readonly reasons: readonly string[];
  /** null where one process does everything. */
  readonly workers: readonly WorkerHealth[] | null;
};

export function readHealthSnapshot(deps: HealthSnapshotDeps): HealthSnapshot {
  const { flags, channel, ledger, breaker, events, postgres } = deps;
  return {
    role: deps.role,
    topic: deps.topic(),
    facts: flags.facts(),
    eventStore: deps.eventStore,
    channel: { ...channel.usage(), isFull: channel.isFull(1) },
    accepted: ledger.accepted,
    breaker: breaker.state(),
    eventsUp: events.isUp(),
    postgresUp: postgres.isUp(),
    postgresReadOnly: postgres.isReadOnly(),
    eventsTrouble: events.trouble(),
    postgresTrouble: postgres.trouble(),
    schema: deps.schema(),
    journal: deps.journal(),
    journalRefusal: deps.journalRefusal(1),
    noRoomSince: deps.noRoomSince(),
    knowsTokens: deps.credentials.hasUsable(),
    progress: deps.progress(),
    rejecting: mergeRejectingDoors(deps.rejections.recent()),
    notices: deps.notices(),
  };
}
