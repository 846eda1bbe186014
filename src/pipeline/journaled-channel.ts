import type { Clock } from '../clock.ts';
import type { Log } from '../log.ts';
import type { Channel } from './channel.ts';
import { failureOf } from './outcome.ts';
import type { Journal } from './ports.ts';

/** A disk that takes longer than this to note where a batch begins and ends is not waited for. */
const MAX_CUT_WAIT_MS = 2_000;

/**
 * The channel as the flusher sees it when there is a journal: a batch is handed
 * out once the journal knows its boundaries, so that after a crash the same
 * bytes go out under the same id, and the journal hears when it has a home.
 */
export function journaledChannel({
  channel,
  journal,
  clock,
  log,
}: {
  channel: Channel;
  journal: Journal;
  clock: Clock;
  log: Log;
}): Channel {
  return {
    ...channel,
    async take() {
      const batch = await channel.take();
      if (batch?.sequences && batch.sequences.length > 0) {
        const answered = new AbortController();
        const late = clock.sleep(MAX_CUT_WAIT_MS, answered.signal).then(() => new Error('the disk is too slow'));
        const error = await Promise.race([failureOf(journal.cut(batch.id, batch.sequences)), late]);
        answered.abort('answered');
        // Sent all the same: only a crash before the journal is well again could store it twice.
        if (error !== null) log.warn({ batchId: batch.id, err: error }, 'batch is sent before the journal knows it');
      }
      return batch;
    },
    settle(batch, home) {
      channel.settle(batch, home);
      journal.settle(batch.id);
    },
  };
}
