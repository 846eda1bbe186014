/** The size of the journal's volume, and how much of it the journal may use. */
import { mkdirSync, readdirSync, statSync, statfsSync } from 'node:fs';
import { join } from 'node:path';

export type Volume = {
  /** The bytes that an ordinary user could use of it, were it empty. */
  readonly totalBytes: number;
  readonly freeBytes: number;
};

/** The rest is for the file system's own data and for the other files of the data directory. */
const SHARE = 0.9;

/** The volume of the directory, which is created if necessary; null when that cannot be determined. */
export function volumeOf(dir: string): Volume | null {
  try {
    mkdirSync(dir, { recursive: true });
    const { blocks, bfree, bavail, bsize } = statfsSync(dir);
    return { totalBytes: (blocks - bfree + bavail) * bsize, freeBytes: bavail * bsize };
  } catch {
    // A directory that cannot be created or read: opening the journal reports why.
    return null;
  }
}

/**
 * The limit for each of several journals on the volume: the configured one, unless all together would not fit. A
 * journal that knows its limit makes room in time; one that meets the end of its disk has to do so without any.
 */
export function boundedBy(
  volume: Volume | null,
  wanted: { readonly maxBytes: number; readonly workers: number },
): number {
  const { maxBytes, workers } = wanted;
  return volume === null ? maxBytes : Math.min(maxBytes, Math.floor((volume.totalBytes * SHARE) / workers));
}

/** The size of the files directly in the directories. */
export function bytesIn(dirs: readonly string[]): number {
  return dirs.flatMap(filesOf).reduce((sum, path) => sum + (statSync(path, { throwIfNoEntry: false })?.size ?? 0), 0);
}

function filesOf(dir: string): string[] {
  try {
    return readdirSync(dir).map((name) => join(dir, name));
  } catch {
    return []; // Not there yet.
  }
}
