/**
 * Stops in the order in which the data flows: intake, requests, channel, what is left. Work has its own abort
 * controllers and does not depend on the signal that announced the end, so nothing is cancelled that could still land.
 */
import type { Clock } from '../runtime/clock.ts';
import type { Log } from '../log/log.ts';
import type { Batch } from './batch.ts';
import type { Breaker } from './breaker.ts';
import type { Channel } from './channel-port.ts';
import type { Flags } from './flags.ts';
import type { Flusher } from './flusher.ts';

export type EndingDelivery = {
  readonly channel: Pick<Channel, 'close'>;
  readonly flusher: Flusher;
  /** Resolves when the flusher has ended. */
  readonly flusherDone: Promise<void>;
  readonly breaker: Pick<Breaker, 'state'>;
  readonly clock: Clock;
};

export type ShutdownDeps = EndingDelivery & {
  readonly flags: Flags;
  readonly server: { close(): Promise<void>; cut(): void };
  readonly channel: Channel;
  /** Writes a batch where the next start finds it. Throws on failure. */
  readonly save: (batch: Batch) => void;
  readonly log: Log;
};

/** Events written to files, and events that neither a store nor a disk took. */
export type Leftovers = { readonly saved: number; readonly lost: number };

/** The dead letters get the last five seconds of the allowed time, the files the last one. */
const FOR_DEAD_LETTERS_MS = 5_000;
const FOR_FILES_MS = 1_000;

/** Ends intake and brings every accepted event to a store or a file within `graceMs`. */
export async function shutDown(deps: ShutdownDeps, { graceMs }: { graceMs: number }): Promise<Leftovers> {
  const { flags, server, channel, clock, log } = deps;
  const startedAt = clock.elapsed();

  flags.beginDraining();
  log.info({ pending: channel.usage().events }, 'shutting down');
  // Requests that wait for ack=stored are served now rather than at the next interval.
  channel.hurry();
  const closed = server.close();
  if (!(await endsBy(closed, startedAt + insertingMs(graceMs) / 2, clock))) server.cut();

  await endDelivery(deps, startedAt, graceMs);
  return saveLeftovers(deps);
}

/**
 * Closes the channel and ends its flusher: until five seconds before the end of the time it may insert, then only spill.
 * Resolves when it has ended, or was told to give up.
 */
export async function endDelivery(
  { channel, flusher, flusherDone, breaker, clock }: EndingDelivery,
  startedAt: number,
  graceMs: number,
): Promise<void> {
  // A grace shorter than the reserves is split in the same order.
  const insertUntil = startedAt + insertingMs(graceMs);
  const spillUntil = startedAt + Math.max(graceMs - FOR_FILES_MS, graceMs * 0.8);
  channel.close();
  if (breaker.state().kind !== 'closed') flusher.stopInserting();
  if (await endsBy(flusherDone, insertUntil, clock)) return;
  flusher.stopInserting();
  if (!(await endsBy(flusherDone, spillUntil, clock))) flusher.giveUp();
}

const insertingMs = (graceMs: number) => Math.max(graceMs - FOR_DEAD_LETTERS_MS, graceMs / 2);

/** Whether `work` ends, in whatever way, before the deadline, of `clock.elapsed()`. Never rejects. */
export async function endsBy(work: Promise<unknown>, deadline: number, clock: Clock): Promise<boolean> {
  const timer = new AbortController();
  const ended = await Promise.race([
    // A flusher that ended with a bug has ended: its batches are saved below.
    work.then(
      () => true,
      () => true,
    ),
    clock.sleep(Math.max(0, deadline - clock.elapsed()), timer.signal).then(() => false),
  ]);
  timer.abort();
  return ended;
}

/**
 * Writes everything still in memory to files. Synchronous, so that a second signal or an expired deadline can run it as
 * the process's last act.
 */
export function saveLeftovers({
  channel,
  flusher,
  save,
  log,
}: Pick<ShutdownDeps, 'channel' | 'save' | 'log'> & { readonly flusher: Pick<Flusher, 'held'> }): Leftovers {
  let saved = 0;
  let lost = 0;
  for (const batch of [...flusher.held(), ...channel.takeAll()]) {
    try {
      save(batch);
      saved += batch.eventCount;
    } catch (error) {
      lost += batch.eventCount;
      log.fatal(
        { batchId: batch.id, events: batch.eventCount, err: error },
        'batch lost: neither the stores nor the disk accepted it',
      );
    }
  }
  if (saved > 0) log.warn({ events: saved }, 'events saved to disk; the next start recovers them');
  return { saved, lost };
}
