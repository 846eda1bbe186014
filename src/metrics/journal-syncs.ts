import type { MetricsPage } from './pages.ts';
import { type Tally, createTally, histogramOf } from './tally.ts';

const SYNCS = {
  name: 'weir_journal_sync_duration_seconds',
  help: 'How long the disk took to make the journal’s writes durable: what a journaled acknowledgement waits for.',
  bounds: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5],
};

/**
 * How long each sync of the journal took, in seconds. Created before the journal, which already syncs while it opens.
 */
export const createJournalSyncs = (): Tally => createTally(SYNCS.bounds);

export const journalSyncsOf = (tally: Tally): MetricsPage[number] => histogramOf(SYNCS, [{ labels: {}, tally }]);
