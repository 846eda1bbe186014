import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { type Durability, durableDirs, openDurability } from '../src/composition/durability.ts';
import { saveBatch } from '../src/journal/spill-files.ts';
import { createLog } from '../src/log/log.ts';
import { type BatchId, freezeBatch } from '../src/pipeline/batch.ts';
import type { Channel } from '../src/pipeline/channel-port.ts';
import { journaledChannel } from '../src/pipeline/journaled-channel.ts';
import { createLedger } from '../src/pipeline/ledger.ts';
import { saveLeftovers } from '../src/pipeline/shutdown.ts';
import { systemClock } from '../src/runtime/clock.ts';
import { channelOn, envelopeOf } from './support/factory.ts';
import { heldBytes } from './support/garbage.ts';

const MIB = 1024 * 1024;
const ENVELOPES = 64;

const batchId = (n: number) => `01890000-0000-7000-8000-${String(n).padStart(12, '0')}` as BatchId;
const log = createLog('silent');

type Mode = 'on' | 'off';

function setup() {
  const dir = mkdtempSync(join(tmpdir(), 'weir-durability-'));
  const dirs = durableDirs(dir);
  const open = (name: string, mode: Mode = 'on') =>
    openDurability({
      config: { journal: { mode, maxBytes: 256 * MIB }, workers: 1 },
      dirs,
      name,
      clock: systemClock,
      log,
      onSynced: () => {},
    });
  return { dirs, open, remove: () => rmSync(dir, { recursive: true }) };
}

/** As the flusher sees it. */
function deliveredBy({ delivered, takeUp }: Durability) {
  const inMemory = channelOn(systemClock, { maxBytes: 256 * MIB });
  const channel = delivered
    ? journaledChannel({ channel: inMemory, journal: delivered, clock: systemClock, log })
    : inMemory;
  const ledger = createLedger();
  takeUp({ channel, ledger });
  const settleAll = async () => {
    while (channel.usage().events > 0) channel.settle((await channel.take())!, 'stored');
  };
  return { channel, recovered: ledger.recovered, settleAll };
}

const leftoversOf = (channel: Channel, { save }: Durability) =>
  saveLeftovers({ channel, flusher: { held: () => [] }, save, log });

test('a journal that is switched off is emptied, and takes nothing new', async () => {
  const { open, remove } = setup();
  const earlier = await open('earlier');
  const { written } = earlier.journal!.append(envelopeOf(10));
  const { sequence, written: alsoWritten } = earlier.journal!.append(envelopeOf(5));
  await Promise.all([written, alsoWritten]);
  await earlier.journal!.cut(batchId(1), [sequence]);
  await earlier.close();

  const first = await open('first', 'off');
  expect([first.journal, first.isEmpty()]).toEqual([null, false]);
  const { channel, recovered } = deliveredBy(first);
  expect(recovered).toBe(15);
  // No store took them; they are on disk.
  expect(leftoversOf(channel, first)).toEqual({ saved: 15, lost: 0 });
  await first.close();

  const second = await open('second', 'off');
  const again = deliveredBy(second);
  expect(again.recovered).toBe(15);
  await again.settleAll();
  expect(second.isEmpty()).toBe(true);
  await second.close();

  const third = await open('third', 'off');
  expect(deliveredBy(third).recovered).toBe(0);
  await third.close();
  remove();
});

test('a journal that was never there is not made by switching it off', async () => {
  const { dirs, open, remove } = setup();
  const durability = await open('first', 'off');
  expect([durability.delivered, existsSync(dirs.journalDir)]).toEqual([null, false]);
  await durability.close();
  remove();
});

test('a batch that is on disk already needs no room to be saved again', async () => {
  const { dirs, open, remove } = setup();
  saveBatch(dirs.savedDir, freezeBatch(batchId(1), [envelopeOf(10)]));
  const durability = await open('later', 'off');
  const { channel } = deliveredBy(durability);
  const before = statSync(dirs.savedDir).mtimeMs;
  expect(leftoversOf(channel, durability)).toEqual({ saved: 10, lost: 0 });
  expect(statSync(dirs.savedDir).mtimeMs).toBe(before);
  await durability.close();
  remove();
});

test('what an earlier process left is not held once it has settled', async () => {
  const { open, remove } = setup();
  const earlier = await open('earlier');
  for (let n = 0; n < ENVELOPES; n++) {
    const { sequence, written } = earlier.journal!.append(envelopeOf(1, { rowBytes: MIB }));
    await written;
    // A half of them in batches, the others loose.
    if (n % 2 === 0) await earlier.journal!.cut(batchId(n), [sequence]);
  }
  await earlier.close();

  const before = heldBytes();
  const durability = await open('later');
  const { recovered, settleAll } = deliveredBy(durability);
  expect(recovered).toBe(ENVELOPES);
  await settleAll();
  expect(heldBytes() - before).toBeLessThan((ENVELOPES / 4) * MIB);
  expect(durability.isEmpty()).toBe(true);
  await durability.close();
  remove();
});
