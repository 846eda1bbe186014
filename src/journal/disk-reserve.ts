/**
 * Disk space reserved while there is some and released when there is none: settling makes room, but has to be written
 * first. Enough for thousands of records.
 */
import { join } from 'node:path';
import type { JournalFiles } from './files.ts';
import { ignore } from './disk-failures.ts';

export type DiskReserve = {
  /** Its size when there is room. */
  readonly size: number;
  /** Its current size: 0 when it was released. */
  bytes(): number;
  /** Never throws: without a reserve settling may have to wait for room; nothing is lost. */
  refill(): Promise<void>;
  giveUp(): Promise<void>;
};

const MAX_BYTES = 256 * 1024;
const NAME = 'reserve';

export function createDiskReserve(
  { dir, files }: { dir: string; files: JournalFiles },
  { maxBytes }: { maxBytes: number },
): DiskReserve {
  const path = join(dir, NAME);
  const size = Math.min(MAX_BYTES, Math.floor(maxBytes / 64));
  let held = 0;

  return { size, bytes: () => held, refill, giveUp };

  async function refill() {
    if (held > 0) return;
    await files.remove(path).catch(ignore);
    try {
      const file = await files.create(path);
      try {
        await file.write(Buffer.alloc(size), 0);
      } finally {
        // Open, it would keep its bytes after its removal.
        await file.close();
      }
      held = size;
    } catch {
      await files.remove(path).catch(ignore);
    }
  }

  async function giveUp() {
    await files.remove(path).catch(ignore);
    held = 0;
  }
}
