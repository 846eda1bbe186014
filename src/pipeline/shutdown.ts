/**
 * Stops in the order the data flows: intake, requests, channel, what is left.
 * Work has its own abort controllers and never hears the signal that announced
 * the end, so nothing is cancelled that could still land.
 */
import type { Clock } from '../clock.ts';
import type { Log } from '../log.ts';
import type { Batch } from './batch.ts';
import type { Breaker } from './breaker.ts';
import type { Channel } from './channel.ts';
import type { Flags } from './flags.ts';
import type { Flusher } from './flusher.ts';

export type ShutdownDeps = {
  readonly flags: Flags;
  readonly server: { close(): Promise<void>; cut(): void };
  readonly channel: Channel;
  readonly flusher: Flusher;
  /** Resolves when the flusher has come to its end. */
  readonly flusherDone: Promise<void>;
  readonly breaker: Breaker;
  /** Writes a batch where the next start finds it. Throws when it could not. */
  readonly save: (batch: Batch) => void;
  readonly clock: Clock;
  readonly log: Log;
};

/** Events written to files, and events that no home was found for at all. */
export type Residue = { readonly saved: number; readonly lost: number };

/** The dead letters get the last five seconds of the time allowed, the files the last one. */
const FOR_DEAD_LETTERS_MS = 5_000;
const FOR_FILES_MS = 1_000;

/** Ends intake and gives every accepted event a durable home within `graceMs`. */
export async function shutDown(deps: ShutdownDeps, { graceMs }: { graceMs: number }): Promise<Residue> {
  const { flags, server, channel, flusher, flusherDone, breaker, clock, log } = deps;
  const startedAt = clock.elapsed();
  // A grace shorter than the reserves is split in the same order.
  const insertUntil = startedAt + Math.max(graceMs - FOR_DEAD_LETTERS_MS, graceMs / 2);
  const spillUntil = startedAt + Math.max(graceMs - FOR_FILES_MS, graceMs * 0.8);

  flags.beginDraining();
  log.info({ pending: channel.usage().events }, 'shutting down');
  // Whoever waits for ack=stored is served now rather than at the next interval.
  channel.hurry();
  const closed = server.close();
  if (!(await endsBy(closed, (startedAt + insertUntil) / 2))) server.cut();

  channel.close();
  if (breaker.state().kind !== 'closed') flusher.stopInserting();
  if (!(await endsBy(flusherDone, insertUntil))) {
    flusher.stopInserting();
    if (!(await endsBy(flusherDone, spillUntil))) flusher.giveUp();
  }
  return saveResidue(deps);

  /** Whether `work` ends before the deadline. */
  async function endsBy(work: Promise<void>, deadline: number): Promise<boolean> {
    const timer = new AbortController();
    const ended = await Promise.race([
      // A flusher that ended in a bug has ended: what it held is saved below.
      work.then(
        () => true,
        () => true,
      ),
      clock.sleep(Math.max(0, deadline - clock.elapsed()), timer.signal).then(() => false),
    ]);
    timer.abort();
    return ended;
  }
}

/**
 * Writes everything still in memory to files. Synchronous, so that a second
 * signal or an expired deadline can run it as the process's last act.
 */
export function saveResidue({
  channel,
  flusher,
  save,
  log,
}: Pick<ShutdownDeps, 'channel' | 'flusher' | 'save' | 'log'>): Residue {
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
        'batch lost: no store and no disk takes it',
      );
    }
  }
  if (saved > 0) log.warn({ events: saved }, 'events saved to disk; the next start takes them up');
  return { saved, lost };
}
