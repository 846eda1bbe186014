import type { Clock } from '../runtime/clock.ts';
import { freeMemory } from '../runtime/freed-memory.ts';
import type { Log } from '../log/log.ts';
import type { Batch } from './batch.ts';
import type { Channel } from './channel-port.ts';
import { failureOf } from './outcome.ts';
import type { Journal } from './ports.ts';

export type JournaledChannelDeps = {
  readonly channel: Channel;
  readonly journal: Journal;
  readonly clock: Clock;
  readonly log: Log;
};

/** The longest wait for a disk to record where a batch begins and ends. */
const MAX_CUT_WAIT_MS = 2_000;

/**
 * The channel as the flusher sees it when there is a journal: a batch is handed out once the journal knows its
 * boundaries, so that after a crash the same bytes go out under the same id, and settling it settles it in the journal
 * too.
 */
export function journaledChannel({ channel, journal, clock, log }: JournaledChannelDeps): Channel {
  return {
    ...channel,
    async take() {
      const batch = await channel.take();
      if (batch !== null) await cut(batch);
      return batch;
    },
    settle(batch, destination, takenOut) {
      channel.settle(batch, destination, takenOut);
      journal.settle(batch.id, () => freeMemory(batch.chunks));
    },
  };

  async function cut({ id, sequences = [] }: Batch): Promise<void> {
    if (sequences.length === 0) return;
    const answered = new AbortController();
    const late = clock.sleep(MAX_CUT_WAIT_MS, answered.signal).then(() => new Error('the disk is too slow'));
    const error = await Promise.race([failureOf(journal.cut(id, sequences)), late]);
    answered.abort('answered');
    // Sent all the same: only a crash before the journal recovers could store it twice.
    if (error !== null) log.warn({ batchId: id, err: error }, 'batch is sent before its journal record is on disk');
  }
}
