/** What `weir doctor` looks at on the machine of a Weir: its settings, its directory, its journal. */
import { existsSync } from 'node:fs';
import { bytesIn, volumeOf } from '../../journal/volume.ts';
import { type Check, checkDirectory, checkJournalVolume, ok } from './checks.ts';

export type Surroundings = {
  /** How many settings differ from their defaults. */
  readonly changedSettings: number;
  readonly dataDir: string;
  /** null where there is none. */
  readonly journal: {
    /** What each of the `workers` may use. */
    readonly maxBytes: number;
    readonly workers: number;
    readonly dirs: readonly string[];
  } | null;
};

/** Reads the file system, and nothing else. */
export function examineSurroundings({ changedSettings, dataDir, journal }: Surroundings): Check[] {
  return [
    ok('configuration', `${changedSettings} settings changed`),
    checkDirectory(`disk of ${dataDir}`, dataDir),
    ...examineJournal(dataDir, journal),
  ];
}

function examineJournal(dataDir: string, journal: Surroundings['journal']): Check[] {
  // A directory that does not exist yet is created at the first start, so its future disk is checked instead.
  const volume = journal === null || !existsSync(dataDir) ? null : volumeOf(dataDir);
  if (journal === null || volume === null) return [];
  const used = { maxBytes: journal.maxBytes, workers: journal.workers, ownBytes: bytesIn(journal.dirs) };
  return [checkJournalVolume('volume of the journal', volume, used)];
}
