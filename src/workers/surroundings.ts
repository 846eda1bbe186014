import type { Config } from '../config/config.ts';
import type { Surroundings } from '../operations/examination/surroundings.ts';
import { workerDirectoryOf } from './worker-directories.ts';

/** What a Weir with this configuration has on its machine. */
export function surroundingsOf({ effective, dataDir, journal, workers }: Config): Surroundings {
  const dirs = Array.from({ length: workers }, (_, index) => workerDirectoryOf(dataDir, index + 1).journalDir);
  return {
    changedSettings: effective.filter(({ source }) => source !== 'default').length,
    dataDir,
    journal: journal.mode === 'off' ? null : { maxBytes: journal.maxBytes, workers, dirs },
  };
}
