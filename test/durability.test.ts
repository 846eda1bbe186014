import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { durableDirs, openDurability } from '../src/composition/durability.ts';
import { createLog } from '../src/log/log.ts';
import type { BatchId } from '../src/pipeline/batch.ts';
import { journaledChannel } from '../src/pipeline/journaled-channel.ts';
import { createLedger } from '../src/pipeline/ledger.ts';
import { systemClock } from '../src/runtime/clock.ts';
import { channelOn, envelopeOf } from './support/factory.ts';
import { heldBytes } from './support/garbage.ts';

const MIB = 1024 * 1024;
const ENVELOPES = 64;

test('what an earlier process left is not held once it has settled', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'weir-durability-'));
  const log = createLog('silent');
  const open = (name: string) =>
    openDurability({
      config: { journal: { mode: 'on', maxBytes: 256 * MIB }, workers: 1 },
      dirs: durableDirs(dir),
      name,
      clock: systemClock,
      log,
      onSynced: () => {},
    });
  const earlier = await open('earlier');
  for (let n = 0; n < ENVELOPES; n++) {
    const { sequence, written } = earlier.journal!.append(envelopeOf(1, { rowBytes: MIB }));
    await written;
    // A half of them in batches, the others loose.
    const batchId = `01890000-0000-7000-8000-${String(n).padStart(12, '0')}` as BatchId;
    if (n % 2 === 0) await earlier.journal!.cut(batchId, [sequence]);
  }
  await earlier.close();

  const before = heldBytes();
  const durability = await open('later');
  const journal = durability.journal!;
  const inMemory = channelOn(systemClock, { maxBytes: 256 * MIB });
  const channel = journaledChannel({ channel: inMemory, journal, clock: systemClock, log });
  const ledger = createLedger();
  durability.takeUp({ channel, ledger });
  expect(ledger.recovered).toBe(ENVELOPES);
  while (channel.usage().events > 0) channel.settle((await channel.take())!, 'stored');
  expect(heldBytes() - before).toBeLessThan((ENVELOPES / 4) * MIB);
  expect(durability.isEmpty()).toBe(true);
  await durability.close();
  rmSync(dir, { recursive: true });
});
