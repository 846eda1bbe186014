/**
 * Events of a request that asked for memory only are acknowledged before the journal has them, and queued when it has
 * answered. A process that ends in between must not forget them.
 */
import { beforeEach, expect, test } from 'vitest';
import type { JournalFiles } from '../src/journal/files.ts';
import { openJournal } from '../src/journal/journal.ts';
import { createLog } from '../src/log/log.ts';
import { createAccept } from '../src/pipeline/accept.ts';
import type { Batch } from '../src/pipeline/batch.ts';
import type { Channel } from '../src/pipeline/channel-port.ts';
import { journaledChannel } from '../src/pipeline/journaled-channel.ts';
import { createLedger } from '../src/pipeline/ledger.ts';
import { saveLeftovers } from '../src/pipeline/shutdown.ts';
import { createWaitingRoom } from '../src/pipeline/waiting-room.ts';
import { type ManualClock, createManualClock, settled } from './support/clock.ts';
import { channelOn, envelopeOf, randomOf } from './support/factory.ts';
import { createFaultyFiles } from './support/files.ts';

const log = createLog('silent');
const LIMITS = { maxBytes: 10_000_000, segmentBytes: 100_000, maxKeys: 10, maxKeyBytes: 1_000 };

let clock: ManualClock;
let channel: Channel;
/** Ends the write that hangs. */
let endWrite: (error?: Error) => void;
let saved: Batch[];

beforeEach(async () => {
  clock = createManualClock();
  saved = [];
  const disk = createFaultyFiles(randomOf(1));
  let hanging: Promise<void> | null = null;
  const files: JournalFiles = {
    ...disk,
    async create(path) {
      const file = await disk.create(path);
      return {
        ...file,
        async write(bytes, position) {
          await hanging;
          await file.write(bytes, position);
        },
      };
    },
  };
  const { journal } = await openJournal({ dir: 'journal', files, clock, log }, LIMITS);
  channel = journaledChannel({ channel: channelOn(clock), journal, clock, log });
  const waitingRoom = createWaitingRoom({ channel, clock });
  const accept = createAccept({ waitingRoom, journal, ledger: createLedger() }, { isRequired: true });
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  hanging = promise;
  endWrite = (error) => {
    hanging = null;
    if (error) reject(error);
    else resolve();
  };
  const acceptance = { level: 'queued', answer: undefined, onSettled: undefined } as const;
  expect(await accept(envelopeOf(5), { ...acceptance, reservation: channel.reserve() })).toBe('queued');
});

const save = () =>
  saveLeftovers({ channel, flusher: { held: () => [] }, save: (batch) => void saved.push(batch), log });

test('a second signal saves them, as events that the journal may have as well', () => {
  expect(save()).toEqual({ saved: 5, lost: 0 });
  expect(saved).toMatchObject([{ eventCount: 5, mayBeElsewhere: true, sequences: [] }]);
});

test('what was saved is not queued once more when the journal answers', async () => {
  save();
  endWrite();
  for (let turn = 0; turn < 20; turn++) await settled();
  expect([channel.takeAll(), saved.length]).toEqual([[], 1]);
});

test.each([
  ['has them', undefined, true],
  ['fails', Object.assign(new Error('EIO'), { code: 'EIO' }), false],
] as const)('an orderly end waits until the journal %s, and delivers them', async (_, error, isJournaled) => {
  channel.close();
  const taking = channel.take();
  let hasEnded = false;
  void taking.then(() => (hasEnded = true));
  await clock.advance(5_000);
  expect(hasEnded).toBe(false);
  endWrite(error);
  await clock.advance(5_000);
  const batch = await taking;
  expect([batch?.eventCount, (batch?.sequences ?? []).length > 0]).toEqual([5, isJournaled]);
  expect(await channel.take()).toBeNull();
});
