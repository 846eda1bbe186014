import type { KeptAnswer } from '../src/pipeline/ports.ts';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { systemClock } from '../src/runtime/clock.ts';
import { nodeFiles } from '../src/journal/files.ts';
import { type JournalLimits, openJournal } from '../src/journal/journal.ts';
import { JournalLocked } from '../src/journal/lock.ts';
import { ENVELOPE_FIXED_BYTES } from '../src/journal/record.ts';
import { regroup } from '../src/journal/regroup.ts';
import {
  MARKER,
  RECORD_HEADER_BYTES,
  SEGMENT_HEADER_BYTES,
  encodeRecord,
  envelopeSize,
  readSegment,
  segmentHeader,
  sizeOf,
  totalSize,
} from '../src/journal/segment-format.ts';
import { JournalUnavailable } from '../src/pipeline/ports.ts';
import { createLog } from '../src/log/log.ts';
import type { BatchId } from '../src/pipeline/batch.ts';
import { createManualClock, type ManualClock, settled } from './support/clock.ts';
import { envelopeOf, OTHER_PROJECT, PROJECT, randomOf } from './support/factory.ts';
import { createFaultyFiles, type FaultyFiles } from './support/files.ts';
import { RECORDS_OF_VERSION_1 } from './fixtures/journal/version-1.ts';

const log = createLog('silent');
const LIMITS = { maxBytes: 100_000, segmentBytes: 2_000, maxKeys: 100, maxKeyBytes: 10_000 };
const batchId = (n: number) => `01890000-0000-7000-8000-${String(n).padStart(12, '0')}` as BatchId;
const keyOf = (n: number, at: number): KeptAnswer => ({
  projectId: PROJECT,
  key: `key ${n} — ü`,
  bodyHash: 'ab12',
  answer: '{"accepted":1}',
  at,
});

const dirs: string[] = [];
afterEach(() => {
  for (const dir of dirs.splice(0)) rmSync(dir, { recursive: true });
});
function newDir() {
  const dir = mkdtempSync(join(tmpdir(), 'weir-journal-'));
  dirs.push(dir);
  return dir;
}

function setup(limits: Partial<JournalLimits> = {}) {
  const clock = createManualClock();
  const files = createFaultyFiles(randomOf(1));
  const open = async (on: FaultyFiles = files) => {
    const { journal, recovered } = await openJournal(
      { dir: 'journal', files: on, clock, log },
      { ...LIMITS, ...limits },
    );
    return { ...journal, recovered };
  };
  return { clock, files, open };
}

/** Moves time until everything that is retried was retried. */
async function pass(clock: ManualClock, ms: number) {
  await clock.advance(ms);
  for (let turn = 0; turn < 20; turn++) await settled();
}

const reasonOf = (work: Promise<void>) =>
  work.then(
    () => null,
    (error: unknown) => (error instanceof JournalUnavailable ? error.reason : error),
  );

test('gives back what was written, cut or not, and nothing that was settled', async () => {
  const { files, open } = setup();
  const journal = await open();
  const envelopes = [
    envelopeOf(2),
    envelopeOf(1, { projectId: OTHER_PROJECT }),
    envelopeOf(3, { from: 7 }),
    envelopeOf(1),
  ];
  const sequences = envelopes.map((envelope) => journal.append(envelope).sequence);
  await journal.cut(batchId(1), [sequences[0]!]);
  await journal.cut(batchId(2), [sequences[2]!, sequences[1]!]);
  journal.settle(batchId(1));
  await journal.close();

  const { recovered } = await open(files.afterCrash());
  expect(recovered.batches).toMatchObject([{ id: batchId(2), eventCount: 4 }]);
  expect(recovered.batches[0]!.chunks).toEqual([envelopes[2]!.rows, envelopes[1]!.rows]);
  expect(recovered.envelopes).toEqual([{ sequence: sequences[3], envelope: envelopes[3] }]);
});

test('knows of a batch that a start before has put together that its rows may be elsewhere', async () => {
  const { files, open } = setup();
  const first = await open();
  const sequences = [2, 3].map((events) => first.append(envelopeOf(events)).sequence);
  await first.append(envelopeOf(1, { from: 9 })).written;
  await first.cut(batchId(1), sequences);
  await first.close();

  const crashed = files.afterCrash();
  const second = await open(crashed);
  const [batch] = regroup(second.recovered.envelopes);
  await second.cut(batch!.id, batch!.sequences!);
  await second.close();

  const { recovered } = await open(crashed.afterCrash());
  const doubts = new Map(recovered.batches.map(({ id, mayBeElsewhere }) => [id, mayBeElsewhere === true]));
  expect(doubts).toEqual(
    new Map([
      [batchId(1), false],
      [batch!.id, true],
    ]),
  );
});

test('starts a lone append at once, and lets everything that waits share the next write', async () => {
  const { files, open } = setup();
  const journal = await open();
  const writes = () => files.calls.filter((call) => call === 'write').length;
  const before = writes();
  const first = journal.append(envelopeOf(1)).written;
  while (writes() === before) await Promise.resolve();
  const others = Array.from({ length: 5 }, () => journal.append(envelopeOf(1)).written);
  await Promise.all([first, ...others]);
  expect(writes() - before).toBe(2);
});

test('lets requests that arrive one turn after the other share a write, and waits no longer than they come', async () => {
  const { clock, files, open } = setup();
  const journal = await open();
  const before = files.calls.filter((call) => call === 'write').length;
  const written: Promise<void>[] = [];
  let turns = 0;
  const inTurn = vi.spyOn(clock, 'turn').mockImplementation(async () => {
    await Promise.resolve();
    turns += 1;
    if (turns <= 3) written.push(journal.append(envelopeOf(10)).written);
  });

  written.push(journal.append(envelopeOf(10)).written);
  await settled();
  await Promise.all(written);

  expect(written).toHaveLength(4);
  expect(files.calls.filter((call) => call === 'write').length - before).toBe(1);
  expect(turns).toBe(4);
  inTurn.mockRestore();
});

test('waits for others for a moment only, and not at all where there is enough to write', async () => {
  const { clock, files, open } = setup({ maxBytes: 10_000_000, segmentBytes: 1_000_000 });
  const journal = await open();
  const writes = () => files.calls.filter((call) => call === 'write').length;
  const before = writes();
  let turns = 0;
  vi.spyOn(clock, 'turn').mockImplementation(async () => {
    await Promise.resolve();
    turns += 1;
    // More come for as long as it waits, and each turn takes a while.
    if (writes() === before) void journal.append(envelopeOf(10)).written;
    await clock.advance(0.4);
  });

  await journal.append(envelopeOf(10)).written;
  expect([writes() - before, turns]).toEqual([1, 3]);

  await settled();
  turns = 0;
  await journal.append(envelopeOf(70_000)).written;
  expect(turns).toBe(0);
});

test('reads the rows of a settled batch no more once that is on disk, and says so', async () => {
  const { clock, files, open } = setup();
  const journal = await open();
  const { sequence, written } = journal.append(envelopeOf(10));
  await written;
  await journal.cut(batchId(1), [sequence]);
  let isForgotten = false;

  files.failIn(1, { code: 'EIO', on: 'write' });
  journal.settle(batchId(1), () => (isForgotten = true));
  await settled();
  expect(isForgotten).toBe(false);

  const later = journal.append(envelopeOf(10));
  await expect(reasonOf(later.written)).resolves.toBe('failed');
  await pass(clock, 2_000);
  const next = journal.append(envelopeOf(10));
  await next.written;
  await journal.cut(batchId(2), [next.sequence]);
  journal.settle(batchId(2), () => (isForgotten = true));
  expect(isForgotten).toBe(false);
  await settled();
  expect(isForgotten).toBe(true);
});

test('is full before its files exceed the limit, and not any more once batches settle', async () => {
  const { files, open } = setup({ maxBytes: 20_000 });
  const journal = await open();
  const sequences: number[] = [];
  while (!journal.isFull(500)) {
    const { sequence, written } = journal.append(envelopeOf(20));
    await written;
    sequences.push(sequence);
  }
  const most = Array.from({ length: 50 }, () => journal.append(envelopeOf(20)).written);
  expect(await Promise.all(most.map(reasonOf))).toContain('full');
  for (const [n, sequence] of sequences.entries()) {
    await journal.cut(batchId(n), [sequence]);
    journal.settle(batchId(n));
  }
  await settled();
  await journal.append(envelopeOf(1)).written;
  expect(files.bytes()).toBeLessThanOrEqual(20_000);
  expect(journal.isFull(500)).toBe(false);
});

test('compacts when one old batch holds back everything that was settled behind it', async () => {
  const { open, files } = setup({ maxBytes: 40_000 });
  const journal = await open();
  const pinned = journal.append(envelopeOf(1));
  await journal.cut(batchId(0), [pinned.sequence]);
  for (let n = 1; n < 500; n++) {
    const { sequence, written } = journal.append(envelopeOf(20));
    await written;
    await journal.cut(batchId(n), [sequence]);
    journal.settle(batchId(n));
  }
  await journal.close();
  const { recovered } = await open(files.afterCrash());
  expect(recovered.batches.map(({ id }) => id)).toEqual([batchId(0)]);
});

/** A journal with a cut batch and a loose envelope, on a disk that has just become full. */
async function setupFull() {
  const bundle = setup();
  const journal = await bundle.open();
  const [kept, done] = [journal.append(envelopeOf(1)), journal.append(envelopeOf(1))];
  await Promise.all([kept.written, done.written, journal.cut(batchId(1), [done.sequence])]);
  bundle.files.setCapacity(bundle.files.bytes() + 10);
  expect(await reasonOf(journal.append(envelopeOf(50)).written)).toBe('disk-full');
  return { ...bundle, journal, kept };
}

test('settles on a full disk: what makes room must not need any', async () => {
  const { clock, files, open, journal, kept } = await setupFull();
  expect(journal.state()).toEqual({ kind: 'disk-full', reason: 'ENOSPC' });
  expect(journal.isFull(1)).toBe(true);
  journal.settle(batchId(1));
  await pass(clock, 1_000);
  const { recovered } = await open(files.afterCrash());
  expect(recovered.batches).toEqual([]);
  expect(recovered.envelopes.map(({ sequence }) => sequence)).toEqual([kept.sequence]);
});

test('goes on by itself when a full disk has room again, and what follows is readable', async () => {
  const { clock, files, open, journal, kept } = await setupFull();
  files.setCapacity(Infinity);
  await pass(clock, 1_000);
  expect(journal.state()).toEqual({ kind: 'ok' });
  const later = journal.append(envelopeOf(50));
  await later.written;
  const { recovered } = await open(files.afterCrash());
  expect(recovered.batches).toHaveLength(1);
  expect(recovered.envelopes.map(({ sequence }) => sequence)).toEqual([kept.sequence, later.sequence]);
  expect(recovered.damaged).toEqual([]);
});

describe('on a volume that the journal alone fills, and that is smaller than what it may use', () => {
  type Setup = ReturnType<typeof setup>;

  /** Appends and settles more than the disk holds, without a refusal. */
  async function fillUp({ files, clock, open }: Setup, each: (n: number) => KeptAnswer | undefined = () => undefined) {
    files.setCapacity(64_000);
    const journal = await open();
    const pinned = journal.append(envelopeOf(1));
    await Promise.all([pinned.written, journal.cut(batchId(0), [pinned.sequence])]);
    let appended = 0;
    for (let n = 1; appended < 3 * 64_000; n++) {
      const envelope = envelopeOf(20);
      const { sequence, written } = journal.append(envelope, each(n));
      await written;
      appended += envelope.rows.length;
      void journal.cut(batchId(n), [sequence]);
      journal.settle(batchId(n));
      for (let turn = 0; turn < 20; turn++) await settled();
    }
    expect(journal.state().kind).toBe('ok');
    return { journal, clock, pinned };
  }

  /** It takes as much again as the disk holds, and more, and then has what is not settled and nothing else. */
  async function expectWorks({ journal, clock }: Awaited<ReturnType<typeof fillUp>>) {
    for (let n = 10_000; n < 10_400; n++) {
      let appended = journal.append(envelopeOf(20));
      for (let tries = 0; (await reasonOf(appended.written)) !== null; tries++) {
        expect(tries).toBeLessThan(10);
        await pass(clock, 30_000);
        appended = journal.append(envelopeOf(20));
      }
      void journal.cut(batchId(n), [appended.sequence]).catch(() => {});
      journal.settle(batchId(n));
      for (let turn = 0; turn < 20; turn++) await settled();
    }
    await pass(clock, 60_000);
    expect(journal.state()).toEqual({ kind: 'ok' });
  }

  test.each([
    ['one file', 1_000_000],
    ['several files', 10_000],
  ])('everything that settled is given back while it runs, in %s', async (_files, segmentBytes) => {
    const bundle = setup({ maxBytes: 640_000, segmentBytes });
    const full = await fillUp(bundle);
    full.journal.settle(batchId(0));
    await expectWorks(full);
    const { recovered } = await bundle.open(bundle.files.afterCrash());
    expect([recovered.batches, recovered.envelopes]).toEqual([[], []]);
  });

  test.each([
    ['one file', 1_000_000],
    ['several files', 10_000],
  ])('everything but the one that has not settled, in %s', async (_files, segmentBytes) => {
    const bundle = setup({ maxBytes: 640_000, segmentBytes });
    await expectWorks(await fillUp(bundle));
    const { recovered } = await bundle.open(bundle.files.afterCrash());
    expect(recovered.batches.map(({ id }) => id)).toEqual([batchId(0)]);
  });

  test('with keys to keep', async () => {
    const bundle = setup({ maxBytes: 640_000, segmentBytes: 10_000, maxKeyBytes: 5_000 });
    const now = bundle.clock.now();
    await expectWorks(await fillUp(bundle, (n) => (n % 10 === 0 ? keyOf(n, now) : undefined)));
    const { recovered } = await bundle.open(bundle.files.afterCrash());
    expect(recovered.keys.length).toBeGreaterThan(5);
    expect(recovered.batches.map(({ id }) => id)).toEqual([batchId(0)]);
  });

  test.each([
    ['everything settled', true],
    ['all but one settled', false],
  ])('others take the very last byte, %s: what comes next is taken at once, and survives', async (_what, isSettled) => {
    const bundle = setup({ maxBytes: 640_000, segmentBytes: 1_000_000 });
    const { journal } = await fillUp(bundle);
    if (isSettled) journal.settle(batchId(0));
    for (let turn = 0; turn < 20; turn++) await settled();
    bundle.files.setCapacity(bundle.files.bytes());
    const sequences: number[] = [];
    for (let n = 1; n <= 3; n++) {
      const { sequence, written } = journal.append(envelopeOf(20));
      await written;
      sequences.push(sequence);
    }
    expect(journal.state()).toEqual({ kind: 'ok' });
    const { recovered } = await bundle.open(bundle.files.afterCrash());
    expect(recovered.envelopes.map(({ sequence }) => sequence)).toEqual(sequences);
    expect(recovered.batches.map(({ id }) => id)).toEqual(isSettled ? [] : [batchId(0)]);
  });

  test('others take the very last byte and nothing has settled: refused, and settling still finds room', async () => {
    const bundle = setup({ maxBytes: 640_000, segmentBytes: 80_000 });
    const journal = await bundle.open();
    const held = Array.from({ length: 5 }, () => journal.append(envelopeOf(20)));
    await Promise.all(held.map(({ written }) => written));
    bundle.files.setCapacity(bundle.files.bytes());
    // More than the room behind the records has.
    expect(await reasonOf(journal.append(envelopeOf(1, { rowBytes: 21_000 })).written)).toBe('disk-full');
    void journal.cut(
      batchId(1),
      held.map(({ sequence }) => sequence),
    );
    journal.settle(batchId(1));
    await pass(bundle.clock, 60_000);
    expect(journal.state()).toEqual({ kind: 'ok' });
    await journal.append(envelopeOf(1)).written;
  });

  test('also when others have taken the very last byte', async () => {
    const bundle = setup({ maxBytes: 640_000, segmentBytes: 1_000_000 });
    const full = await fillUp(bundle);
    bundle.files.setCapacity(bundle.files.bytes());
    full.journal.settle(batchId(0));
    await expectWorks(full);
  });
});

test.each(['EIO', 'EROFS'] as const)(
  'writes everything anew after a write failed with %s, and trusts no second one',
  async (code) => {
    const { clock, files, open } = setup();
    const journal = await open();
    const before = journal.append(envelopeOf(1));
    await before.written;
    files.failIn(1, { code, on: 'write' });
    expect(await reasonOf(journal.append(envelopeOf(2)).written)).toBe('failed');
    expect(journal.state()).toEqual({ kind: 'failed', reason: code });
    expect(await reasonOf(journal.append(envelopeOf(2)).written)).toBe('failed');
    expect(await reasonOf(journal.cut(batchId(1), [before.sequence]))).toBe('failed');

    await pass(clock, 1_000);
    expect(journal.state()).toEqual({ kind: 'ok' });
    const after = journal.append(envelopeOf(3));
    await after.written;
    const { recovered } = await open(files.afterCrash());
    expect(recovered.batches.map(({ id, eventCount }) => [id, eventCount])).toEqual([[batchId(1), 1]]);
    expect(recovered.envelopes.map(({ sequence }) => sequence)).toEqual([after.sequence]);
  },
);

test('opens on a directory that has become read-only, with what it holds, and works when it may', async () => {
  const { clock, files, open } = setup();
  const journal = await open();
  await journal.append(envelopeOf(1)).written;
  const next = files.afterCrash();
  for (let call = 1; call < 6; call++) next.failIn(call, { code: 'EROFS' });
  const reopened = await open(next);
  expect(reopened.recovered.envelopes).toHaveLength(1);
  expect(reopened.state()).toEqual({ kind: 'failed', reason: 'EROFS' });
  await pass(clock, 10_000);
  expect(reopened.state()).toEqual({ kind: 'ok' });
});

test('keeps keys for a day, through removed segments, restarts and in bounds', async () => {
  const { clock, files, open } = setup({ maxKeys: 3 });
  const journal = await open();
  for (let n = 1; n <= 4; n++) await journal.append(envelopeOf(1), keyOf(n, clock.now())).written;
  await journal.remember(keyOf(4, clock.now() - 60_000));
  for (let n = 0; n < 100; n++) {
    const { sequence, written } = journal.append(envelopeOf(20));
    await written;
    await journal.cut(batchId(n), [sequence]);
    journal.settle(batchId(n));
  }
  await journal.close();
  const reopened = await open(files.afterCrash());
  expect(reopened.recovered.keys).toEqual(
    [2, 3].map((n) => keyOf(n, clock.now())).concat(keyOf(4, clock.now() - 60_000)),
  );
  await reopened.close();
  await clock.advance(24 * 60 * 60_000);
  expect((await open(files.afterCrash())).recovered.keys).toEqual([]);
});

describe('room behind the records', () => {
  const ROOMY = { maxBytes: 10_000_000, segmentBytes: 400_000 };
  const names = (files: FaultyFiles) => [...files.contents().keys()].filter((name) => name !== 'reserve');
  const sizeOfLast = (files: FaultyFiles) => files.contents().get(names(files).at(-1)!)!.length;

  test('comes with a small write, so that those after it do not make the file larger', async () => {
    const { files, open } = setup(ROOMY);
    const journal = await open();
    await journal.append(envelopeOf(1)).written;
    const size = sizeOfLast(files);
    expect(size).toBeGreaterThan(100_000);
    for (let n = 1; n < 50; n++) await journal.append(envelopeOf(1)).written;
    expect(sizeOfLast(files)).toBe(size);
    expect(journal.usage().bytes).toBe(files.bytes());
    const { recovered } = await open(files.afterCrash());
    expect(recovered.envelopes).toHaveLength(50);
    expect(recovered.damaged).toEqual([]);
  });

  test('does not come with a write that is large by itself', async () => {
    const { files, open } = setup(ROOMY);
    const journal = await open();
    await journal.append(envelopeOf(1, { rowBytes: 60_000 })).written;
    expect(sizeOfLast(files)).toBeLessThan(61_000);
  });

  test('is cut off when the next file begins: there, zeros are damage', async () => {
    const { files, open } = setup({ segmentBytes: 2_000 });
    const journal = await open();
    for (let n = 0; n < 20; n++) {
      await journal.append(envelopeOf(1, { rowBytes: 300 })).written;
      // No more than records of this file can use.
      expect(sizeOfLast(files)).toBeLessThanOrEqual(2_000);
    }
    const [first, ...others] = names(files);
    expect(others.length).toBeGreaterThan(1);
    for (const name of [first!, ...others.slice(0, -1)]) {
      const { unreadable } = readSegment(files.contents().get(name)!, Number.parseInt(name));
      expect(unreadable).toEqual([]);
    }
    const next = files.afterCrash();
    next.damage(first!, (content) => Buffer.concat([content, Buffer.alloc(500)]));
    const { recovered } = await open(next);
    expect(recovered.envelopes).toHaveLength(20);
    expect(recovered.damaged).toMatchObject([{ kind: 'bytes', file: first, bytes: 500, torn: false }]);
  });

  test.each([500, 1_550, 1_750, 2_000, 2_300])(
    'counts towards the limit, also while all is written once more and nothing can be removed (rows of %i)',
    async (rowBytes) => {
      const { clock, files, open } = setup({ segmentBytes: 56_000 });
      const journal = await open();
      let refusal: unknown = null;
      const held: number[] = [];
      while (refusal === null) {
        const { sequence, written } = journal.append(envelopeOf(1, { rowBytes }));
        refusal = await reasonOf(written);
        if (refusal === null) held.push(sequence);
      }
      expect(refusal).toBe('full');
      files.failIn(1, { code: 'EIO', on: 'write' });
      for (let removals = 0; removals < 10; removals++) files.failIn(1, { code: 'EIO', on: 'remove' });
      expect(await reasonOf(journal.cut(batchId(1), held))).toBe('failed');
      await pass(clock, 1_000);
      expect(journal.state()).toEqual({ kind: 'ok' });
      expect(names(files).length).toBeGreaterThan(1);
      expect(journal.usage().bytes).toBe(files.bytes());
      expect(files.bytes()).toBeLessThanOrEqual(LIMITS.maxBytes);
    },
  );

  test('is given up where the disk has none but for the record', async () => {
    const { files, open } = setup(ROOMY);
    const journal = await open();
    files.setCapacity(files.bytes() + 2_000);
    for (let n = 0; n < 3; n++) await journal.append(envelopeOf(1)).written;
    expect(journal.state()).toEqual({ kind: 'ok' });
    expect(journal.usage().bytes).toBe(files.bytes());
    const { recovered } = await open(files.afterCrash());
    expect(recovered.envelopes).toHaveLength(3);
  });

  test('does not hide what a crash tore in the middle of it', async () => {
    const { files, open } = setup(ROOMY);
    const journal = await open();
    for (let n = 0; n < 3; n++) await journal.append(envelopeOf(1)).written;
    const next = files.afterCrash();
    next.damage(names(files).at(-1)!, (content) => {
      content[content.lastIndexOf('0\n')] = 0x78;
      return content;
    });
    const { recovered } = await open(next);
    expect(recovered.envelopes).toHaveLength(2);
    expect(recovered.damaged).toMatchObject([{ kind: 'bytes', torn: true }]);
  });
});

test('keeps everything around a damaged record, and sets the file aside', async () => {
  const { files, open } = setup({ segmentBytes: 40_000 });
  const journal = await open();
  const sequences = Array.from({ length: 5 }, (_, n) => journal.append(envelopeOf(1, { from: n * 1_000 })).sequence);
  await journal.cut(batchId(1), sequences.slice(0, 3));
  await journal.close();
  const next = files.afterCrash();
  next.damage('000000000001.base', (content) => {
    content[content.indexOf('1000\n')] = 0x39;
    return content;
  });
  const { recovered } = await open(next);
  expect(recovered.batches).toMatchObject([{ id: batchId(1), eventCount: 2 }]);
  expect(recovered.envelopes.map(({ sequence }) => sequence)).toEqual(sequences.slice(3));
  expect(recovered.damaged).toMatchObject([
    { kind: 'bytes', file: '000000000001.base', torn: false, events: 1 },
    { kind: 'batch', batchId: batchId(1), missing: 1 },
  ]);
  expect([...next.contents().keys()]).toContain('000000000001.damaged');
});

describe('of damaged records it is told how many events are lost', () => {
  /** Four envelopes of seven events each, the first of them settled; then bytes of the file are changed. */
  async function lostBy(change: (content: Buffer, recordsAt: readonly number[]) => void) {
    const { files, open } = setup({ segmentBytes: 100_000 });
    const journal = await open();
    const sequences = [0, 1, 2, 3].map((n) => journal.append(envelopeOf(7, { from: n * 1_000 })).sequence);
    await journal.cut(batchId(1), sequences.slice(0, 1));
    journal.settle(batchId(1));
    await journal.close();
    const next = files.afterCrash();
    next.damage('000000000001.base', (content) => {
      const at: number[] = [];
      for (let found = content.indexOf(MARKER); found !== -1; found = content.indexOf(MARKER, found + 1))
        at.push(found);
      change(content, at);
      return content;
    });
    const { recovered } = await open(next);
    const bytes = recovered.damaged.flatMap((damage) => (damage.kind === 'bytes' ? damage : []));
    return {
      torn: bytes.map(({ torn }) => torn),
      events: bytes.map(({ events }) => events),
      kept: recovered.envelopes.length,
    };
  }
  const flip = (content: Buffer, at: number) => (content[at]! ^= 0xff);
  const ROWS = RECORD_HEADER_BYTES + ENVELOPE_FIXED_BYTES + 10;

  test('by its head, when only its rows are bad', async () => {
    expect(await lostBy((content, at) => flip(content, at[1]! + ROWS))).toEqual({
      torn: [false],
      events: [7],
      kept: 2,
    });
  });

  test('of several one after the other, the sum', async () => {
    const both = (content: Buffer, at: readonly number[]) => {
      flip(content, at[1]! + ROWS);
      flip(content, at[2]! + ROWS);
    };
    expect(await lostBy(both)).toEqual({ torn: [false], events: [14], kept: 1 });
  });

  test('none, when it was settled', async () => {
    expect(await lostBy((content, at) => flip(content, at[0]! + ROWS))).toEqual({
      torn: [false],
      events: [0],
      kept: 3,
    });
  });

  test('none that can be counted, when the head is bad as well', async () => {
    const length = (content: Buffer, at: readonly number[]) => flip(content, at[1]! + 6);
    expect(await lostBy(length)).toEqual({ torn: [false], events: [0], kept: 2 });
    const count = (content: Buffer, at: readonly number[]) => flip(content, at[1]! + RECORD_HEADER_BYTES + 26);
    expect(await lostBy(count)).toEqual({ torn: [false], events: [0], kept: 2 });
  });
});

test('cannot be made to take rows for a record', () => {
  const forged = Buffer.alloc(100);
  const record = { type: 'settled', batchId: batchId(1), ranges: [] } as const;
  const size = encodeRecord(record, forged, 0, { segment: 1, offset: 24 });
  const rows = Buffer.concat([forged.subarray(0, size), Buffer.from('\n')]);
  const outer = {
    type: 'envelope',
    sequence: 1,
    envelope: { projectId: PROJECT, eventCount: 1, rows },
    key: null,
  } as const;
  const content = Buffer.concat([segmentHeader(1)], 24 + sizeOf(outer));
  encodeRecord(outer, content, 24, { segment: 1, offset: 24 });
  expect(readSegment(content, 1).records).toEqual([outer]);
  content[30] = 0xff;
  expect(readSegment(content, 1)).toEqual({ records: [], unreadable: [{ offset: 24, bytes: content.length - 24 }] });
});

test('an envelope without a key counts as what its record takes', () => {
  const envelope = envelopeOf(3);
  expect(envelopeSize(envelope)).toBe(sizeOf({ type: 'envelope', sequence: 1, envelope, key: null }));
});

test('reads a journal of version 1 for ever', () => {
  const content = readFileSync(new URL('fixtures/journal/version-1.segment', import.meta.url));
  expect(readSegment(content, 7)).toEqual({ records: RECORDS_OF_VERSION_1, unreadable: [] });
});

test('knows that an envelope is in no batch where version 1 says so', async () => {
  const records = [
    { type: 'envelope', sequence: 1, envelope: envelopeOf(1), key: null },
    { type: 'envelope', sequence: 2, envelope: envelopeOf(1), key: null },
    { type: 'withdrawn', sequence: 1 },
    { type: 'withdrawn', sequence: 9 },
  ] as const;
  const content = Buffer.concat([segmentHeader(7)], SEGMENT_HEADER_BYTES + totalSize(records));
  let offset = SEGMENT_HEADER_BYTES;
  for (const record of records) offset += encodeRecord(record, content, offset, { segment: 7, offset });
  const { open } = setup();
  const { recovered, append } = await open(createFaultyFiles(randomOf(1), new Map([['000000000007.log', content]])));
  expect(recovered.envelopes.map(({ sequence }) => sequence)).toEqual([2]);
  expect(append(envelopeOf(1)).sequence).toBe(10);
});

test('works on real files, and survives being opened again', async () => {
  const dir = newDir();
  const deps = { dir, files: nodeFiles, clock: systemClock, log };
  const { journal } = await openJournal(deps, LIMITS);
  const envelopes = Array.from({ length: 50 }, (_, n) => envelopeOf(10, { from: n * 10 }));
  const appended = envelopes.map((envelope) => journal.append(envelope));
  await Promise.all(appended.map(({ written }) => written));
  expect(journal.usage().unsettled).toBe(50);
  await journal.close();
  const again = await openJournal(deps, LIMITS);
  expect(again.recovered.envelopes.map(({ envelope }) => envelope)).toEqual(envelopes);
  expect(again.recovered.damaged).toEqual([]);
  await again.journal.close();
});

test('is kept from a second process while the first lives, and only then', async () => {
  const dir = newDir();
  const holder = spawn(process.execPath, [new URL('fixtures/journal/hold.ts', import.meta.url).pathname, dir], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(holder.stdout, 'data');
  const deps = { dir, files: nodeFiles, clock: systemClock, log };
  const refused = openJournal(deps, LIMITS);
  await expect(refused).rejects.toThrow(JournalLocked);
  await expect(refused).rejects.toThrow(new RegExp(`pid ${holder.pid} .*WEIR_DATA_DIR`));
  holder.kill('SIGKILL');
  await once(holder, 'exit');
  const { journal, recovered } = await openJournal(deps, LIMITS);
  expect(recovered.envelopes).toHaveLength(1);
  await journal.close();
});

describe('a segment that was removed without a clean answer', () => {
  async function eightSegments({ open }: ReturnType<typeof setup>) {
    const journal = await open();
    for (let n = 1; n <= 8; n++) {
      const { sequence, written } = journal.append(envelopeOf(30));
      await written;
      await journal.cut(batchId(n), [sequence]);
    }
    return journal;
  }

  /** A disk that is full, and two segments that may be removed. */
  async function fullDisk(bundle: ReturnType<typeof setup>) {
    const journal = await eightSegments(bundle);
    bundle.files.setCapacity(bundle.files.bytes() + 10);
    expect(await reasonOf(journal.append(envelopeOf(50)).written)).toBe('disk-full');
    for (const n of [1, 2]) journal.settle(batchId(n));
    return journal;
  }

  test.each(['EIO', 'ENOSPC'] as const)('the directory could not be synced: %s', async (code) => {
    const bundle = setup();
    const journal = await fullDisk(bundle);
    bundle.files.failIn(1, { code, on: 'syncDirectory' });
    bundle.files.setCapacity(Infinity);
    await pass(bundle.clock, 600_000);
    expect(journal.state()).toEqual({ kind: 'ok' });
    await journal.append(envelopeOf(1)).written;
  });

  test('it is gone already', async () => {
    const bundle = setup();
    const journal = await fullDisk(bundle);
    const { remove } = bundle.files;
    vi.spyOn(bundle.files, 'remove').mockImplementationOnce(async (path) => {
      await remove(path);
      throw Object.assign(new Error('ENOENT'), { code: 'ENOENT' });
    });
    bundle.files.setCapacity(Infinity);
    await pass(bundle.clock, 600_000);
    expect(journal.state()).toEqual({ kind: 'ok' });
  });

  test('while there was room', async () => {
    const bundle = setup();
    const journal = await eightSegments(bundle);
    bundle.files.failIn(1, { code: 'ENOSPC', on: 'syncDirectory' });
    for (let n = 1; n <= 8; n++) journal.settle(batchId(n));
    await pass(bundle.clock, 600_000);
    expect(journal.state()).toEqual({ kind: 'ok' });
  });
});

describe('a file that cannot be read', () => {
  test('keeps the journal from being opened, and is there for the next start', async () => {
    const { clock, files, open } = setup();
    const journal = await open();
    for (let n = 0; n < 40; n++) await journal.append(envelopeOf(20)).written;
    await journal.close();
    const before = [...files.contents().keys()];
    const unreadable: FaultyFiles = {
      ...files,
      read: (path) =>
        path.endsWith('.log')
          ? Promise.reject(Object.assign(new Error('EACCES'), { code: 'EACCES' }))
          : files.read(path),
    };
    const opening = openJournal({ dir: 'journal', files: unreadable, clock, log }, LIMITS);
    await expect(opening).rejects.toMatchObject({ name: 'JournalFileUnreadable', code: 'EACCES' });
    expect([...files.contents().keys()]).toEqual(before);
    expect((await open()).recovered.envelopes).toHaveLength(40);
  });

  test('is not one that is large', async () => {
    const path = join(newDir(), 'large');
    // Sparse: nothing but its end is on the disk.
    const size = 2 ** 31 + 10;
    const file = openSync(path, 'w');
    writeSync(file, 'end', size - 3);
    closeSync(file);
    const content = await nodeFiles.read(path);
    expect([content.length, content.toString('latin1', size - 3)]).toEqual([size, 'end']);
  });
});
