import { expect, test } from 'vitest';
import { createDiskReserve } from '../src/journal/disk-reserve.ts';
import type { JournalFiles } from '../src/journal/files.ts';
import { createFaultyFiles, type FileCall } from './support/files.ts';

/** A reserve, and how many of its files are open: an open file keeps its room on the disk although it is removed. */
function setup() {
  const disk = createFaultyFiles(() => 0.5);
  let open = 0;
  const files: JournalFiles = {
    ...disk,
    async create(path) {
      const file = await disk.create(path);
      open++;
      return {
        ...file,
        async close() {
          open--;
          await file.close();
        },
      };
    },
  };
  const reserve = createDiskReserve({ dir: '/journal', files }, { maxBytes: 64 * 1024 });
  return { disk, reserve, open: () => open };
}

test.each<FileCall>(['create', 'write'])('that finds no room while it is filled keeps none: %s', async (call) => {
  const { disk, reserve, open } = setup();
  for (let i = 0; i < 3; i++) {
    disk.failIn(1, { code: 'ENOSPC', on: call });
    await reserve.refill();
    expect([open(), disk.bytes(), reserve.bytes()]).toEqual([0, 0, 0]);
  }
  await reserve.refill();
  expect([open(), disk.bytes(), reserve.bytes()]).toEqual([0, reserve.size, reserve.size]);
});
