/**
 * From a request's rows to a batch: the channel, the journal that makes its content survive this process, and the way
 * into both. This is the one place that chooses the channel.
 */
import { randomUUIDv7 } from 'node:crypto';
import type { Clock } from '../runtime/clock.ts';
import { type Config, FLUSH_MAX_BYTES } from '../config/config.ts';
import type { Log } from '../log/log.ts';
import { createAccept } from '../pipeline/accept.ts';
import type { BatchId } from '../pipeline/batch.ts';
import { createChannel } from '../pipeline/channel.ts';
import { journaledChannel } from '../pipeline/journaled-channel.ts';
import type { Ledger } from '../pipeline/ledger.ts';
import { memoryChannel } from '../pipeline/memory-channel.ts';
import { createWaitingRoom } from '../pipeline/waiting-room.ts';
import { type WatchPoint, watchedChannel } from '../pipeline/watch-port.ts';
import { createSizeLimit } from '../pipeline/size-limit.ts';
import { type DurableDirs, openDurability } from './durability.ts';

export type Intake = Awaited<ReturnType<typeof openIntake>>;

/** Frames for a topic instead of batches for a store: what is queued when the last one has left. */
export type Frames = { readonly newFrameId: () => BatchId; readonly maxEvents: number; readonly maxBytes: number };

type IntakeOptions = {
  readonly config: Config;
  readonly dirs: DurableDirs;
  /** Identifies this process and no other. */
  readonly name: string;
  readonly ledger: Ledger;
  /** null where the flusher takes batches from the channel itself. */
  readonly frames: Frames | null;
  /** Called with the duration of each sync of the journal. */
  readonly onSynced: (elapsedMs: number) => void;
};

/** Opens the journal as configured. Throws `JournalUnusable` when it is required and cannot be opened. */
export async function openIntake(
  { config, dirs, name, ledger, frames, onSynced }: IntakeOptions,
  { clock, log }: { clock: Clock; log: Log },
) {
  const durability = await openDurability({ config, dirs, name, clock, log, onSynced });
  const { journal, delivered } = durability;
  const newBatchId = frames?.newFrameId ?? (() => randomUUIDv7() as BatchId);
  const limits = frames ? { ...frames, maxWaitMs: 0 } : { ...config.flush, maxBytes: FLUSH_MAX_BYTES };
  const inMemory = createChannel({ clock, newBatchId }, config.channel, limits);
  /** Whoever looks at the events. */
  const watch: WatchPoint = { watcher: null };
  const kept = delivered
    ? journaledChannel({ channel: inMemory, journal: delivered, clock, log })
    : memoryChannel(inMemory);
  const channel = watchedChannel(kept, watch);
  const waitingRoom = createWaitingRoom({ channel, clock });
  return {
    durability,
    channel,
    watch,
    waitingRoom,
    accept: createAccept({ waitingRoom, journal, ledger }, { isRequired: config.journal.mode === 'on' }),
    sizeLimit: createSizeLimit({ clock, log }, channel.setBatchBytes),
  };
}
