import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { type Durability, durableDirs, openDurability } from '../src/composition/durability.ts';
import { saveBatch } from '../src/journal/spill-files.ts';
import { createLog } from '../src/log/log.ts';
import { type Batch, type BatchId, freezeBatch } from '../src/pipeline/batch.ts';
import type { Channel } from '../src/pipeline/channel-port.ts';
import { journaledChannel } from '../src/pipeline/journaled-channel.ts';
import { createLedger } from '../src/pipeline/ledger.ts';
import { saveLeftovers } from '../src/pipeline/shutdown.ts';
import { systemClock } from '../src/runtime/clock.ts';
import { channelOn, envelopeOf } from './support/factory.ts';
import { heldBytes } from './support/garbage.ts';
import { startPipeline } from './support/pipeline.ts';
import { batchIdAt, envelopeOfRows, rowOf } from './support/rows.ts';

const MIB = 1024 * 1024;
const ENVELOPES = 64;

const batchId = (n: number) => `01890000-0000-7000-8000-${String(n).padStart(12, '0')}` as BatchId;

type Mode = 'on' | 'off';

function setup() {
  const dir = mkdtempSync(join(tmpdir(), 'weir-durability-'));
  const dirs = durableDirs(dir);
  const lines: unknown[] = [];
  const log = createLog('warn', { write: (line: string) => void lines.push(JSON.parse(line)) });
  const open = (name: string, mode: Mode = 'on') =>
    openDurability({
      config: { journal: { mode, maxBytes: 256 * MIB }, workers: 1 },
      dirs,
      name,
      clock: systemClock,
      log,
      onSynced: () => {},
    });
  return { dirs, open, lines, remove: () => rmSync(dir, { recursive: true }) };
}

const log = createLog('silent');

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

test('a saved batch that was stored and whose file cannot be removed is said, and ends nothing', async () => {
  const { dirs, open, lines, remove } = setup();
  saveBatch(dirs.savedDir, freezeBatch(batchId(1), [envelopeOf(10)]));
  saveBatch(dirs.savedDir, freezeBatch(batchId(2), [envelopeOf(5)]));
  const durability = await open('later', 'off');
  const { channel, recovered, settleAll } = deliveredBy(durability);
  expect(recovered).toBe(15);
  // Removing it fails for every user.
  const [kept] = readdirSync(dirs.savedDir);
  rmSync(join(dirs.savedDir, kept!));
  mkdirSync(join(dirs.savedDir, kept!));
  await settleAll();
  expect(channel.usage().events).toBe(0);
  expect(readdirSync(dirs.savedDir)).toEqual([kept]);
  // Who only delivers what is here has nothing left to wait for.
  expect(durability.isEmpty()).toBe(true);
  expect(lines).toMatchObject([{ level: 40, batchId: batchId(1), msg: expect.stringContaining('cannot be removed') }]);
  await durability.close();
  remove();
});

test('a damaged saved batch that cannot be set aside is reported where it is, and keeps no other from being taken up', async () => {
  const { dirs, open, lines, remove } = setup();
  saveBatch(dirs.savedDir, freezeBatch(batchId(2), [envelopeOf(5)]));
  const damaged = join(dirs.savedDir, `${batchId(1)}.batch`);
  writeFileSync(damaged, 'half a ro');
  // Renaming it fails for every user.
  mkdirSync(`${damaged}.unreadable`);
  const durability = await open('later', 'off');
  expect(deliveredBy(durability).recovered).toBe(5);
  expect(existsSync(damaged)).toBe(true);
  expect(lines).toMatchObject([{ level: 50, file: damaged, bytes: 9 }]);
  await durability.close();
  remove();
});

test('a saved batch that cannot be read stays where it is, and keeps no other from being taken up', async () => {
  const { dirs, open, lines, remove } = setup();
  saveBatch(dirs.savedDir, freezeBatch(batchId(2), [envelopeOf(5)]));
  // Reading it fails for every user.
  const unread = join(dirs.savedDir, `${batchId(1)}.batch`);
  mkdirSync(unread);
  const durability = await open('later', 'off');
  expect(durability.isEmpty()).toBe(false);
  const { recovered, settleAll } = deliveredBy(durability);
  expect(recovered).toBe(5);
  await settleAll();
  expect([existsSync(unread), durability.isEmpty()]).toEqual([true, true]);
  expect(lines).toMatchObject([{ level: 50, file: unread, err: { code: 'EISDIR' } }]);
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

describe('events that a stop saved while the journal wrote them, and that both have', () => {
  const envelopes = [[1], [2, 3], [4], [5, 6]].map((numbers) => envelopeOfRows(numbers.map((n) => rowOf({ n }))));
  const once = new Map([1, 2, 3, 4, 5, 6].map((n) => [n, 1]));

  /** The journal came to have all of them but the last; only the first was not saved. */
  async function leftBehind() {
    const { dirs, open, remove } = setup();
    const earlier = await open('earlier');
    await Promise.all(envelopes.slice(0, 3).map((envelope) => earlier.journal!.append(envelope).written));
    await earlier.close();
    saveBatch(dirs.savedDir, { ...freezeBatch(batchIdAt(0, 1), envelopes.slice(1)), mayBeElsewhere: true });
    return { dirs, open, remove };
  }

  /** They were asked about at once, and inserted before either knew of the other. */
  function startSlowPipeline() {
    const pipeline = startPipeline({ isDraining: true });
    pipeline.events.latencyMs = () => 10;
    return pipeline;
  }

  test('are stored once, with those that only one of them has', async () => {
    const { open, remove } = await leftBehind();
    const durability = await open('later');
    const pipeline = startSlowPipeline();
    durability.takeUp(pipeline);
    expect(pipeline.ledger.recovered).toBe(6);
    await pipeline.clock.advance(1_000);
    expect(pipeline.events.stored).toEqual(once);
    await durability.close();
    remove();
  });

  test('are stored once when they become a dead letter after ClickHouse was asked about them', async () => {
    const { open, remove } = await leftBehind();
    const durability = await open('later');
    const pipeline = startSlowPipeline();
    pipeline.events.failInserts = 'ambiguous';
    durability.takeUp(pipeline);
    await pipeline.clock.advance(1_000);
    expect(pipeline.deadLetters.alive()).not.toEqual([]);
    pipeline.events.failInserts = null;
    await pipeline.clock.advance(60_000);
    expect(pipeline.events.stored).toEqual(once);
    await durability.close();
    remove();
  });

  test.each([
    ['before any was settled', 0],
    ['when all were settled', 6],
  ])('are stored once when the process is killed %s', async (_when, settledEvents) => {
    const { dirs, open, remove } = await leftBehind();
    const first = await open('first');
    const { channel } = deliveredBy(first);
    const pipeline = startSlowPipeline();
    while (channel.usage().events > 6 - settledEvents) {
      const batch = (await channel.take())!;
      await Promise.all([pipeline.events.insert(batch), pipeline.clock.advance(10)]);
      channel.settle(batch, 'stored');
    }
    // As it is on disk at that moment.
    const copy = setup();
    cpSync(dirs.journalDir, copy.dirs.journalDir, { recursive: true });
    if (existsSync(dirs.savedDir)) cpSync(dirs.savedDir, copy.dirs.savedDir, { recursive: true });
    rmSync(join(copy.dirs.journalDir, 'lock'), { force: true, recursive: true });
    await first.close();

    const second = await copy.open('second');
    second.takeUp(pipeline);
    await pipeline.clock.advance(60_000);
    expect(pipeline.events.stored).toEqual(once);
    await second.close();
    copy.remove();
    remove();
  });

  test('keep their file until the journal has forgotten them, on disk', async () => {
    const { dirs, open, remove } = await leftBehind();
    const durability = await open('later');
    const settled: (() => void)[] = [];
    const channel = { adopt: (_batch: Batch, onSettled: () => void) => settled.push(onSettled) };
    durability.takeUp({ channel: channel as unknown as Channel, ledger: createLedger() });
    for (const settle of settled) settle();
    expect(readdirSync(dirs.savedDir)).toHaveLength(1);
    await durability.close();
    expect(readdirSync(dirs.savedDir)).toEqual([]);
    remove();
  });

  test('leave the disk when they are stored', async () => {
    const { open, remove } = await leftBehind();
    const first = await open('first');
    await deliveredBy(first).settleAll();
    await first.close();
    const second = await open('second');
    expect([deliveredBy(second).recovered, second.isEmpty()]).toEqual([0, true]);
    await second.close();
    remove();
  });
});
