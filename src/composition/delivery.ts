/** From a batch to a store: the flusher, and the drain that replays dead letters. */
import type { Clock } from '../runtime/clock.ts';
import type { Config } from '../config/config.ts';
import type { Log } from '../log/log.ts';
import { createDrain } from '../pipeline/drain.ts';
import type { DeadLetterDepth } from '../pipeline/flags.ts';
import { createFlusher, type FlusherDeps } from '../pipeline/flusher.ts';
import type { InsertObservation } from '../pipeline/insert-attempt.ts';
import { createIsolate } from '../pipeline/isolate.ts';
import type { DeadLetterStore } from '../pipeline/dead-letter-port.ts';
import type { UsageSink } from '../pipeline/ports.ts';
import { createReplayer } from '../pipeline/replay.ts';
import type { Connectivity } from './connectivity.ts';
import type { Intake } from './intake.ts';
import type { PipelineState } from './state.ts';
import type { EventStorage } from '../pipeline/storage-port.ts';
import type { ControlStorage } from './storage.ts';

type DeliveryParts = {
  readonly config: Config;
  readonly storage: EventStorage;
  readonly control: ControlStorage;
  readonly connectivity: Connectivity;
  readonly intake: Pick<Intake, 'sizeLimit'>;
  /** From which the flusher takes batches. */
  readonly source: FlusherDeps['channel'];
  readonly state: PipelineState;
  readonly usage: UsageSink;
  readonly onInsert: (observation: InsertObservation) => void;
  readonly onStored: FlusherDeps['onStored'];
  /** Whether an operator stopped the drain. */
  readonly isPaused: () => boolean;
};

export function createDelivery(
  { config, storage, control, connectivity, intake, source, state, usage, onInsert, onStored, isPaused }: DeliveryParts,
  { clock, log, random }: { clock: Clock; log: Log; random: () => number },
) {
  const { events } = storage;
  const { deadLetters, lockedDeadLetters: locked, leaseMs } = control;
  const { flags, ledger, progress, breaker } = state;
  const shared = {
    events,
    isolate: createIsolate({ events, clock }),
    breaker,
    heartbeat: connectivity.events,
    ledger,
    clock,
    random,
    log,
    usage,
    onInsert: (observation: InsertObservation) => {
      onInsert(observation);
      progress.tried(observation);
      intake.sizeLimit.observe(observation);
    },
  };
  const flusher = createFlusher(
    { ...shared, channel: source, onStored, flags, deadLetters: { ...deadLetters, add: spill } },
    { maxInFlight: config.maxInFlight, batchEvents: config.flush.maxEvents },
  );
  const replayerOn = (store: DeadLetterStore) =>
    createReplayer(
      { ...shared, deadLetters: store, maxInsertBytes: intake.sizeLimit.bytes },
      { ...config.deadLetters, leaseMs },
    );
  const drain = createDrain(
    {
      deadLetters,
      replayer: replayerOn(deadLetters),
      locked: { ...locked, replayer: replayerOn({ ...deadLetters, ...locked.store }) },
      breaker,
      flags: { measured },
      isFreshBusy: flusher.isBusy,
      isPaused,
      onPass: progress.passEnded,
      clock,
      random,
      log,
    },
    {
      intervalMs: config.deadLetters.drainIntervalMs,
      maxRows: config.deadLetters.drainBatchLimit,
      maxInFlight: config.maxInFlight,
      leaseMs,
    },
  );
  return { flusher, drain };

  /** Do not wait for a Postgres that is known to be down: the batch's next try of ClickHouse comes sooner. */
  async function spill(...letter: Parameters<DeadLetterStore['add']>): Promise<void> {
    if (connectivity.postgres.downSignal().aborted) throw new Error('postgres does not answer');
    await deadLetters.add(...letter);
  }

  function measured(depth: DeadLetterDepth) {
    flags.measured(depth);
    progress.measured(depth);
  }
}
