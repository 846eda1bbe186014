/**
 * The files that count no more since the latest base, until they are gone, and
 * those that were damaged, which are set aside for whoever wants to look. What an
 * earlier process left is among them from the start: the first base voids it.
 */
import { basename, join } from 'node:path';
import type { Log } from '../log.ts';
import { failureOf } from '../pipeline/outcome.ts';
import type { JournalFiles } from './files.ts';
import { fileName, type Found } from './recover.ts';
import { codeOf, ignore } from './trouble.ts';

type VoidFile = { readonly path: string; readonly number: number; readonly bytes: number };

export type Voided = {
  add(files: readonly VoidFile[]): void;
  /**
   * Removes what counted no more for the earlier process either, so that starts which are cut short do not add
   * up. Never throws: what stays is cleared with the rest.
   */
  clearEarlier(): Promise<void>;
  /**
   * Removes them, or sets them aside. Until this has succeeded, the latest base must
   * stay: without it the older files would count again. Never throws.
   */
  clear(): Promise<boolean>;
  /** With what was set aside. */
  bytes(): number;
};

/** Of files that were damaged, only the latest are kept, and never more than a quarter of what the journal may use. */
const MAX_DAMAGED_FILES = 4;

export function createVoided(
  { dir, files, log }: { dir: string; files: JournalFiles; log: Log },
  { maxBytes }: { maxBytes: number },
  found: Found['files'],
): Voided {
  let voided: (VoidFile & { readonly isDamaged: boolean })[] = found.filter(({ kind }) => kind !== 'damaged');
  const earlier = new Set<VoidFile>(found.filter(({ kind, isCurrent }) => kind !== 'damaged' && !isCurrent));
  let damaged: VoidFile[] = found.filter(({ kind }) => kind === 'damaged');
  let isClear = false;

  return {
    add(more) {
      for (const { path, number, bytes } of more) voided.push({ path, number, bytes, isDamaged: false });
      isClear = false;
    },
    clearEarlier,
    clear,
    bytes: () => bytesIn(voided) + bytesIn(damaged),
  };

  async function clearEarlier() {
    if (earlier.size === 0) return;
    // The base that replaced them must not lose its name after they are gone.
    if ((await failureOf(files.syncDirectory(dir))) !== null) return;
    for (const file of earlier) {
      const error = await failureOf(files.remove(file.path));
      if (error === null || codeOf(error) === 'ENOENT') voided = voided.filter((other) => other !== file);
    }
  }

  async function clear() {
    if (isClear) return true;
    const left: typeof voided = [];
    for (const file of voided) {
      const error = await failureOf(file.isDamaged ? setAside(file) : files.remove(file.path));
      if (error !== null && codeOf(error) !== 'ENOENT') left.push(file);
    }
    voided = left;
    await boundDamaged();
    const unsynced = await failureOf(files.syncDirectory(dir));
    isClear = left.length === 0 && unsynced === null;
    return isClear;
  }

  async function setAside({ path: from, number, bytes }: VoidFile) {
    const path = join(dir, fileName(number, 'damaged'));
    await files.rename(from, path);
    damaged.push({ path, number, bytes });
    log.warn({ file: basename(path), bytes }, 'journal file was damaged and is set aside');
  }

  async function boundDamaged() {
    damaged.sort((a, b) => a.number - b.number);
    while (damaged.length > MAX_DAMAGED_FILES || bytesIn(damaged) > maxBytes / 4) {
      await files.remove(damaged[0]!.path).catch(ignore);
      damaged = damaged.slice(1);
    }
  }
}

export const bytesIn = (files: readonly { readonly bytes: number }[]) =>
  files.reduce((sum, { bytes }) => sum + bytes, 0);
