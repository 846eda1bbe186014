/**
 * Disk set aside while there is some, given up when there is none: settling
 * makes room, but must be written first. Thousands of records.
 */
import { join } from 'node:path';
import type { JournalFiles } from './files.ts';
import { ignore } from './trouble.ts';

export type Reserve = {
  /** What it takes when there is room. */
  readonly size: number;
  /** What it takes now: nothing when it was given up. */
  bytes(): number;
  /** Never throws: without it settling may have to wait for room; nothing is lost. */
  refill(): Promise<void>;
  giveUp(): Promise<void>;
};

const MAX_BYTES = 256 * 1024;
const NAME = 'reserve';

export function createReserve(
  { dir, files }: { dir: string; files: JournalFiles },
  { maxBytes }: { maxBytes: number },
): Reserve {
  const path = join(dir, NAME);
  const size = Math.min(MAX_BYTES, Math.floor(maxBytes / 64));
  let held = 0;

  return { size, bytes: () => held, refill, giveUp };

  async function refill() {
    if (held > 0) return;
    await files.remove(path).catch(ignore);
    try {
      const file = await files.create(path);
      await file.write(Buffer.alloc(size), 0);
      await file.sync();
      await file.close();
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
