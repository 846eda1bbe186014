/**
 * The journal against a file system that crashes. Each seed is a story of a few
 * lives: random appends, cuts, settles, failing calls and full disks, a crash at
 * any call, and the next start. After every start, what was recovered is held
 * against what had been promised. `SEED=17` repeats one story.
 */
import type { KeptAnswer } from '../src/pipeline/ports.ts';
import { randomUUID } from 'node:crypto';
import { expect, test } from 'vitest';
import type { Envelope } from '../src/event/event.ts';
import { type Journal, openJournal } from '../src/journal/journal.ts';
import type { Recovered } from '../src/journal/recovered.ts';
import { createLog } from '../src/log/log.ts';
import type { BatchId } from '../src/pipeline/batch.ts';
import { createManualClock, settled as turn, type ManualClock } from './support/clock.ts';
import { OTHER_PROJECT, PROJECT, randomOf } from './support/factory.ts';
import { createFaultyFiles, type FaultyFiles } from './support/files.ts';
import { SEED } from './support/seed.ts';

/** How far something asked for has come: `durable` is a promise the next start must keep. */
type Progress = 'no' | 'asked' | 'durable';
type Item = {
  readonly rows: string;
  sequence: number;
  written: Progress;
  /** Settled, and only here because of its key. */
  isGone: boolean;
  batch: Cut | null;
  readonly key: KeptAnswer | null;
};
type Cut = { readonly id: BatchId; readonly items: Item[]; cut: Progress; settled: Progress };

const STORIES = 1_500;
const LIVES = 4;
const LIMITS = { maxBytes: 12_000, segmentBytes: 1_000, maxKeys: 1_000, maxKeyBytes: 100_000 };
const log = createLog('silent');
const isSeedGiven = process.env['SEED'] !== undefined;
const groups = isSeedGiven ? [[SEED]] : Array.from({ length: 30 }, (_, group) => seedsOf(group));

test.each(groups)(
  'keeps what it promised through crashes at any call (seeds from %i)',
  async (...seeds) => {
    for (const seed of seeds) {
      try {
        await story(seed);
      } catch (error) {
        throw new Error(`SEED=${seed}: ${error instanceof Error ? error.message : 'no Error'}`, { cause: error });
      }
    }
  },
  120_000,
);

function seedsOf(group: number) {
  return Array.from({ length: STORIES / 30 }, (_, index) => group * (STORIES / 30) + index + 1);
}

async function story(seed: number) {
  const random = randomOf(seed);
  const upTo = (n: number) => 1 + Math.floor(random() * n);
  const clock = createManualClock();
  const world = createWorld(random);
  let files = createFaultyFiles(random);

  for (let life = 0; life < LIVES; life++) {
    if (random() < 0.2) files.crashIn(upTo(8));
    if (random() < 0.2) files.failIn(upTo(8), { code: random() < 0.5 ? 'EIO' : 'ENOSPC' });
    const opened = await orCrash(openJournal({ dir: 'journal', files, clock, log }, LIMITS), files);
    if (opened) {
      world.check(opened.recovered);
      await live(opened.journal, { files, clock, world, random, upTo });
    }
    files = files.afterCrash();
  }
  const { journal, recovered } = await openJournal({ dir: 'journal', files, clock, log }, LIMITS);
  world.check(recovered);
  expect(journal.state()).toEqual({ kind: 'ok' });
}

type Scene = {
  readonly files: FaultyFiles;
  readonly clock: ManualClock;
  readonly world: ReturnType<typeof createWorld>;
  readonly random: () => number;
  readonly upTo: (n: number) => number;
};

/** Acts until the world ends or the story does; sometimes it ends with a proper close. */
async function live(journal: Journal, { files, clock, world, random, upTo }: Scene) {
  if (random() < 0.8) files.crashIn(upTo(60));
  for (let step = upTo(60); step > 0 && !files.hasCrashed(); step--) {
    const roll = random();
    if (roll < 0.4) world.append(journal);
    else if (roll < 0.55) world.cut(journal);
    else if (roll < 0.73) world.settle(journal);
    else if (roll < 0.76) files.failIn(upTo(6), { code: random() < 0.6 ? 'EIO' : 'ENOSPC' });
    else if (roll < 0.78) files.failIn(1, { code: 'EIO', on: 'write' });
    else if (roll < 0.79) files.setCapacity(files.bytes() + upTo(500));
    else if (roll < 0.81) files.setCapacity(Infinity);
    else if (roll < 0.86) await orCrash(clock.advance(upTo(5_000)), files);
    // A few steps of a round, so that what follows happens in the middle of one; or the whole of it.
    else if (roll < 0.95) for (let turns = upTo(12); turns > 0; turns--) await Promise.resolve();
    else await turn();
    expect(files.bytes()).toBeLessThanOrEqual(LIMITS.maxBytes);
  }
  if (!files.hasCrashed() && random() < 0.3) await orCrash(journal.close(), files);
}

/** What was asked of the journals so far, and how far they said it had come. */
function createWorld(random: () => number) {
  let items = new Map<string, Item>();
  const pick = <T>(from: readonly T[]) => from[Math.floor(random() * from.length)];
  const isAfter = new Set<Cut>();
  let made = 0;

  return { append, cut, settle, check };

  function append(journal: Journal) {
    const rows = `{"n":${++made},"x":"${'x'.repeat(Math.floor(random() ** 3 * 1_500))}"}\n`;
    const projectId = random() < 0.5 ? PROJECT : OTHER_PROJECT;
    const envelope: Envelope = { projectId, eventCount: 1, rows: Buffer.from(rows) };
    const key =
      random() < 0.3 ? { projectId, key: `k${made}`, bodyHash: 'h', answer: '{}', at: Date.UTC(2026, 0, 1) } : null;
    const item: Item = { rows, sequence: 0, written: 'asked', isGone: false, batch: null, key };
    items.set(rows, item);
    const earlier = [...isAfter];
    const { sequence, written } = key ? journal.append(envelope, key) : journal.append(envelope);
    item.sequence = sequence;
    written.then(
      () => {
        item.written = 'durable';
        // Written in the order asked: what was settled before is on disk too.
        for (const before of earlier) before.settled = 'durable';
      },
      () => {
        item.written = 'no';
      },
    );
  }

  function cut(journal: Journal) {
    const free = [...items.values()].filter(({ written, batch, isGone }) => written === 'durable' && !batch && !isGone);
    const start = random() < 0.8 ? 0 : Math.floor(random() * free.length);
    const chosen = free.sort((a, b) => a.sequence - b.sequence).slice(start, start + 1 + Math.floor(random() * 4));
    if (chosen.length === 0) return;
    const batch: Cut = { id: randomUUID() as BatchId, items: chosen, cut: 'asked', settled: 'no' };
    for (const item of chosen) item.batch = batch;
    journal
      .cut(
        batch.id,
        chosen.map(({ sequence }) => sequence),
      )
      .then(
        () => {
          batch.cut = 'durable';
        },
        () => {},
      );
  }

  function settle(journal: Journal) {
    const batch = pick([...items.values()].flatMap((item) => (item.batch?.settled === 'no' ? item.batch : [])));
    if (!batch) return;
    batch.settled = 'asked';
    isAfter.add(batch);
    journal.settle(batch.id);
  }

  /** Holds what a start found against what was promised; what it found is a promise from here on. */
  function check(recovered: Recovered) {
    const batches = new Map(recovered.batches.map(({ id, chunks }) => [id, chunks.map(String)]));
    const loose = recovered.envelopes.map(({ envelope }) => String(envelope.rows));
    const found = [...[...batches.values()].flat(), ...loose];
    const present = new Set(found);
    expect(found, 'twice').toHaveLength(present.size);
    for (const rows of found) expect(items.has(rows), 'never appended').toBe(true);
    const keys = new Set(recovered.keys.map(({ key }) => key));

    for (const item of items.values()) {
      const { rows, written, isGone, batch, key } = item;
      const isOwed = written === 'durable' && !isGone && (batch?.settled ?? 'no') === 'no';
      if (isOwed) expect(present.has(rows), 'acknowledged and lost').toBe(true);
      if (isGone || batch?.settled === 'durable') expect(present.has(rows), 'settled and back').toBe(false);
      if (batch && present.has(rows) && (batch.cut === 'durable' || batches.has(batch.id))) {
        expect(batches.get(batch.id), 'another batch').toEqual(batch.items.map((each) => each.rows));
      }
      if (key && written === 'durable') expect(keys.has(key.key), 'key lost').toBe(true);
      if (key && keys.has(key.key) && written !== 'durable') expect(present.has(rows), 'key without events').toBe(true);
    }
    for (const [id, chunks] of batches) {
      for (const rows of chunks) expect(items.get(rows)?.batch?.id, 'never cut so').toBe(id);
    }
    takeUp(recovered, present, batches);
  }

  function takeUp(recovered: Recovered, present: Set<string>, batches: Map<BatchId, string[]>) {
    isAfter.clear();
    const kept = new Map<string, Item>();
    const sequences = new Map(recovered.envelopes.map(({ sequence, envelope }) => [String(envelope.rows), sequence]));
    for (const item of items.values()) {
      // A key whose events are settled is still a promise; its events are not.
      if (!present.has(item.rows)) {
        if (item.key && item.written === 'durable') kept.set(item.rows, { ...item, isGone: true });
        continue;
      }
      const { batch } = item;
      if (batch && !batches.has(batch.id)) item.batch = null;
      else if (batch) Object.assign(batch, { cut: 'durable', settled: 'no' });
      Object.assign(item, { written: 'durable', isGone: false, sequence: sequences.get(item.rows) ?? item.sequence });
      kept.set(item.rows, item);
    }
    items = kept;
  }
}

/** The result, or null when the world ended first. */
async function orCrash<T>(work: Promise<T>, { crashed }: FaultyFiles): Promise<T | null> {
  return Promise.race([work, crashed.then(() => null)]);
}
