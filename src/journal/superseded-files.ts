/**
 * The files that the latest base has superseded, until they are removed, and damaged ones, which are set aside for
 * inspection. From the start they include the files of an earlier process: the first base supersedes them.
 */
import { basename, join } from 'node:path';
import type { Log } from '../log/log.ts';
import { failureOf } from '../pipeline/outcome.ts';
import type { JournalFiles } from './files.ts';
import { fileName, type FoundJournal } from './recover.ts';
import { codeOf, ignore } from './disk-failures.ts';

type SupersededFile = { readonly path: string; readonly number: number; readonly bytes: number };

export type SupersededFiles = {
  add(files: readonly SupersededFile[]): void;
  /**
   * Removes files that the earlier process had already superseded, so that interrupted starts do not accumulate them.
   * Never throws: the rest is removed later.
   */
  clearEarlier(): Promise<void>;
  /**
   * Removes them, or sets them aside. Until this has succeeded, the latest base must stay: without it the older files
   * would count again. Never throws.
   */
  clear(): Promise<boolean>;
  /** Includes the files that were set aside. */
  bytes(): number;
};

/** Only the latest damaged files are kept, and never more than a quarter of what the journal may use. */
const MAX_DAMAGED_FILES = 4;

export function createSupersededFiles(
  { dir, files, log }: { dir: string; files: JournalFiles; log: Log },
  { maxBytes }: { maxBytes: number },
  found: FoundJournal['files'],
): SupersededFiles {
  let superseded: (SupersededFile & { readonly isDamaged: boolean })[] = found.filter(({ kind }) => kind !== 'damaged');
  const earlier = new Set<SupersededFile>(found.filter(({ kind, isCurrent }) => kind !== 'damaged' && !isCurrent));
  let damaged: SupersededFile[] = found.filter(({ kind }) => kind === 'damaged');
  let isClear = false;

  return {
    add(more) {
      for (const { path, number, bytes } of more) superseded.push({ path, number, bytes, isDamaged: false });
      isClear = false;
    },
    clearEarlier,
    clear,
    bytes: () => bytesIn(superseded) + bytesIn(damaged),
  };

  async function clearEarlier() {
    if (earlier.size === 0) return;
    // The base that replaced them must not lose its name after they are gone.
    if ((await failureOf(files.syncDirectory(dir))) !== null) return;
    for (const file of earlier) {
      const error = await failureOf(files.remove(file.path));
      if (error === null || codeOf(error) === 'ENOENT') superseded = superseded.filter((other) => other !== file);
    }
  }

  async function clear() {
    if (isClear) return true;
    const left: typeof superseded = [];
    for (const file of superseded) {
      const error = await failureOf(file.isDamaged ? setAside(file) : files.remove(file.path));
      if (error !== null && codeOf(error) !== 'ENOENT') left.push(file);
    }
    superseded = left;
    await boundDamaged();
    const unsynced = await failureOf(files.syncDirectory(dir));
    isClear = left.length === 0 && unsynced === null;
    return isClear;
  }

  async function setAside({ path: from, number, bytes }: SupersededFile) {
    const path = join(dir, fileName(number, 'damaged'));
    await files.rename(from, path);
    damaged.push({ path, number, bytes });
    log.warn({ file: basename(path), bytes }, 'journal file is damaged and was set aside');
  }

  async function boundDamaged() {
    damaged.sort((a, b) => a.number - b.number);
    while (damaged.length > MAX_DAMAGED_FILES || bytesIn(damaged) > maxBytes / 4) {
      await files.remove(damaged[0]!.path).catch(ignore);
      damaged = damaged.slice(1);
    }
  }
}

export function bytesIn(files: readonly { readonly bytes: number }[]): number {
  let sum = 0;
  for (const { bytes } of files) sum += bytes;
  return sum;
}
