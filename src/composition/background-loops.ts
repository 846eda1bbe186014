/**
 * What a Weir does apart from the flow of events, until it stops: heartbeats, migrations, the drain, switches, disk
 * room.
 */
import type { Clock } from '../runtime/clock.ts';
import type { Log } from '../log/log.ts';
import type { Drain } from '../pipeline/drain.ts';
import { failureOf } from '../pipeline/outcome.ts';
import type { StoreUpkeep } from '../pipeline/storage-port.ts';
import { PRESENCE_MS } from '../postgres/accounts/presence.ts';
import type { Connectivity } from './connectivity.ts';
import type { Intake } from './intake.ts';
import type { OperatorSwitches } from './operator-switches.ts';
import type { SchemaKeeper } from './schema-keeper.ts';
import type { RejectedEvents } from './rejected-events.ts';
import type { PipelineState } from './state.ts';
import { keepStoreUp } from './store-upkeep.ts';
import type { ControlStorage } from './storage.ts';

type LoopParts = {
  /** Identifies this process and no other. */
  readonly name: string;
  readonly schema: SchemaKeeper;
  readonly connectivity: Connectivity;
  readonly control: Pick<ControlStorage, 'presence' | 'room'>;
  /** null for a process that does not insert. */
  readonly drain: Drain | null;
  readonly switches: OperatorSwitches;
  readonly intake: Intake;
  readonly upkeep: StoreUpkeep;
  readonly state: PipelineState;
  readonly rejectedEvents: Pick<RejectedEvents, 'run' | 'keep'>;
  readonly listens: boolean;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
};

type BackgroundLoops = {
  /** Resolves when Postgres is migrated. */
  readonly postgresReady: Promise<void>;
  /** Resolves when both stores are. */
  readonly migrated: Promise<void>;
  /** Resolves when every loop has ended. Never rejects. */
  ended(): Promise<void>;
};

/** How soon this process notices that another one released the ballast: before much is added to the freed space. */
const ROOM_MS = 5_000;

export function startBackgroundLoops(
  parts: LoopParts,
  { stopping, stopDraining }: { stopping: AbortSignal; stopDraining: AbortSignal },
): BackgroundLoops {
  const { name, schema, connectivity, control, drain, switches, intake, upkeep, state, listens } = parts;
  const { clock, random, log } = parts;
  const { presence, room } = control;
  const { channel, durability } = intake;
  const isPostgresDown = () => connectivity.postgres.downSignal().aborted;
  const migrated = schema.run(stopping).then(() => state.breaker.allowProbe());
  const postgresReady = Promise.race([schema.postgresReady, migrated]);
  const loops = [
    // One and the same where Postgres stores the events.
    ...[...new Set([connectivity.events, connectivity.postgres])].map((store) => store.run(stopping)),
    migrated,
    migrated.then(() => schema.watch(stopping)),
    migrated.then(() => keepStoreUp({ upkeep, clock, random, log }, stopping)),
    ...(drain ? [postgresReady.then(() => drain.run(stopDraining))] : []),
    postgresReady.then(() => switches.watch(stopping)),
    postgresReady.then(maintainDiskRoom),
    parts.rejectedEvents.run(stopping),
    postgresReady.then(() => parts.rejectedEvents.keep(stopping)),
  ];
  if (durability.journal) loops.push(postgresReady.then(stayPresent));
  if (durability.others.length > 0) loops.push(takeUpLater());
  return { postgresReady, migrated, ended: async () => void (await Promise.allSettled(loops)) };

  /** Maintains the disk room for dead letters. */
  async function maintainDiskRoom() {
    while (!stopping.aborted) {
      await room.tend(state.flags.facts().deadLetters?.rows ?? null);
      await clock.sleep(ROOM_MS, stopping);
    }
  }

  /** Registers this process as running, and as ended at the end. */
  async function stayPresent() {
    await failureOf(presence.forgetOld());
    while (!stopping.aborted) {
      // A process that is not registered counts as ended: the other one checks ClickHouse before it sends anything.
      if (!isPostgresDown()) await failureOf(presence.register(name));
      await clock.sleep(PRESENCE_MS, stopping);
    }
    // Do not wait for a store that does not answer.
    if (!isPostgresDown()) await failureOf(presence.leave(name));
  }

  /** In a copied directory: events that the original may also send wait until the original has ended. */
  async function takeUpLater(): Promise<void> {
    log.warn({}, 'data directory is a copy: its events wait until the Weir that owns the original has stopped');
    await postgresReady;
    await othersEnded();
    if (stopping.aborted) return;
    durability.takeUp({ channel, ledger: state.ledger });
    if (!listens) channel.hurry();
  }

  /** Without Postgres nothing tells whether they run. */
  async function othersEnded() {
    while (!stopping.aborted) {
      let isRunning = true;
      await failureOf(presence.areRunning(durability.others).then((answer) => (isRunning = answer)));
      if (!isRunning) return;
      await clock.sleep(PRESENCE_MS, stopping);
    }
  }
}
