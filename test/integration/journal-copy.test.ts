/** A data directory that is copied, or restored from a copy, while the stores go on. */
import { randomUUIDv7 } from 'node:crypto';
import { cpSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { nodeFiles } from '../../src/journal/files.ts';
import { recover } from '../../src/journal/recover.ts';
import { saveBatch } from '../../src/journal/spill-files.ts';
import { type BatchId, freezeBatch } from '../../src/pipeline/batch.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { type WeirPlace, healthOf, isQuiet, isReady, until } from '../chaos/rig.ts';
import { randomOf } from '../support/factory.ts';
import { type Grounds, NEVER, endCleanly, filesIn, startGrounds } from '../support/grounds.ts';
import { auditOf, wrongIn } from '../support/load.ts';

const SEED = Number(process.env['WEIR_COPY_SEED'] ?? 1);
const ROUNDS = Number(process.env['WEIR_COPY_ROUNDS'] ?? 1);

let grounds: Grounds;
let rig: Grounds['rig'];
let used: WeirPlace[] = [];

beforeAll(async () => {
  grounds = await startGrounds();
  rig = grounds.rig;
});
afterAll(() => rig?.stop());
beforeEach(() => grounds.clear());
afterEach(async () => {
  await grounds.heal();
  for (const place of used.splice(0)) await place.kill();
});

async function newWeir(env?: Record<string, string>): Promise<WeirPlace> {
  const place = await grounds.newWeir(env);
  used.push(place);
  return place;
}

/** As `cp -a` makes it, in a place where nothing runs yet. Whoever copies a live directory may miss its locks. */
function copyOf(original: WeirPlace, env?: Record<string, string>): WeirPlace {
  const copy = grounds.newPlace(env);
  cpSync(original.dataDir, copy.dataDir, { recursive: true, preserveTimestamps: true });
  // It names a process that runs on this machine: in another container it would tell nobody anything.
  rmSync(`${copy.dataDir}/runtime.json`, { force: true });
  used.push(copy);
  return copy;
}

/** Whether it waits with what it holds. */
async function isHeld({ url }: WeirPlace): Promise<boolean> {
  const health = await healthOf(url());
  return health === null || health.reasons.some((reason) => reason.startsWith('this data directory is a copy'));
}

async function expectKeptBy(...places: WeirPlace[]) {
  await until('taken up', async () => (await Promise.all(places.map(isHeld))).every((held) => !held));
  await until('at rest', () => isQuiet(rig, places), 90_000);
  const audit = await auditOf(rig.stores, grounds.tally());
  expect({ seed: SEED, wrong: wrongIn(audit) }).toEqual({ seed: SEED, wrong: [] });
  return audit;
}

/** Two copies of a Weir that was killed: of 120 events the first had 60, and has brought them home. */
async function partlyHome() {
  const weir = await newWeir(NEVER);
  for (let n = 0; n < 3; n++) await grounds.accept(weir, 20);
  const before = copyOf(weir);
  for (let n = 0; n < 3; n++) await grounds.accept(weir, 20);
  const after = copyOf(weir);
  await weir.kill();
  await grounds.startAt(before);
  await until('a part is home', async () => (await auditOf(rig.stores, grounds.tally())).stored === 60);
  return { before, after };
}

test(
  'killed under load, copied, and both started at once: nothing is lost, nothing counts twice',
  { timeout: 120_000 * ROUNDS },
  async () => {
    const random = randomOf(SEED);
    for (let round = 0; round < ROUNDS; round++) {
      const weir = await newWeir();
      const stop = new AbortController();
      const load = grounds.load(weir, { seed: SEED + round, stop: stop.signal });
      await until('some were taken', () => load.acknowledged() > 10);
      // Batches that were cut, and events that were not.
      await rig.clickhouse.refuse();
      await sleep(random() * 500);
      await weir.kill();
      stop.abort();
      await load.done;
      const copy = copyOf(weir);
      await Promise.all([weir.start(), copy.start()]);
      await sleep(random() * 300);
      await grounds.heal();
      await until('both ready', async () => (await isReady(weir.url())) && (await isReady(copy.url())));
      await expectKeptBy(weir, copy);
    }
  },
);

test('restored after the original went on and brought its events home: nothing counts twice', async () => {
  const weir = await newWeir(NEVER);
  for (let n = 0; n < 5; n++) await grounds.accept(weir, 20);
  const copy = copyOf(weir);
  // Together with others, under ids that no copy can know.
  await grounds.accept(weir, 7);
  await endCleanly(weir);
  await grounds.startAt(copy);
  const { stored } = await expectKeptBy(copy);
  expect(stored).toBe(107);
});

test.each([0, 2, 4, 6])(
  'restored, and killed after %i answers of ClickHouse: nothing counts twice at the start after',
  async (answers) => {
    const weir = await newWeir(NEVER);
    for (let n = 0; n < 5; n++) await grounds.accept(weir, 20);
    const copy = copyOf(weir);
    await grounds.accept(weir, 7);
    await endCleanly(weir);
    let asked = 0;
    rig.clickhouse.set({ kind: 'hang' }, { only: 'everything', hits: () => asked++ >= answers });
    await copy.start();
    await sleep(1_500);
    await copy.kill();
    await grounds.heal();
    await grounds.startAt(copy);
    const { stored } = await expectKeptBy(copy);
    expect(stored).toBe(107);
  },
);

async function isDeadLetter(): Promise<boolean> {
  const { rows } = await rig.stores.postgres.pool.query('SELECT 1 FROM failed_events');
  return rows.length > 0;
}

/** A first start that comes to put loose events into batches, and not to an answer about them. */
async function startInVain(place: WeirPlace) {
  rig.clickhouse.set({ kind: 'hang' });
  await place.start();
  await sleep(1_500);
  await place.kill();
  rig.clickhouse.set(null);
}

describe('restored, and killed at its first start', () => {
  test('before ClickHouse is away: the dead letters of the second count nothing twice', async () => {
    const weir = await newWeir(NEVER);
    for (let n = 0; n < 5; n++) await grounds.accept(weir, 20);
    const copy = copyOf(weir);
    await grounds.accept(weir, 7);
    await endCleanly(weir);
    await startInVain(copy);
    await rig.clickhouse.refuse();
    await copy.start();
    await until('a dead letter', isDeadLetter);
    await grounds.heal();
    const { stored } = await expectKeptBy(copy);
    expect(stored).toBe(107);
  });

  test('with events of which a part came home: the rest does at the second, and nothing counts twice', async () => {
    const { before, after } = await partlyHome();
    await endCleanly(before);
    await startInVain(after);
    await grounds.startAt(after);
    const { stored } = await expectKeptBy(after);
    expect(stored).toBe(120);
  });
});

test('restored after a part of its events came home: the rest does too', { timeout: 120_000 }, async () => {
  const { before, after } = await partlyHome();
  await grounds.startAt(after);
  const { stored } = await expectKeptBy(before, after);
  expect(stored).toBe(120);
});

test('saved by a stop whose last write the journal came to have all the same: nothing counts twice', async () => {
  const weir = await newWeir(NEVER);
  for (let n = 0; n < 5; n++) await grounds.accept(weir, 20);
  await weir.kill();
  // As a second signal leaves it while the disk hangs, and then does not.
  const { envelopes } = await recover({ files: nodeFiles, clock: systemClock }, join(weir.dataDir, 'journal'));
  const acknowledged = [...envelopes.values()].slice(1);
  const saved = { ...freezeBatch(randomUUIDv7() as BatchId, acknowledged), mayBeElsewhere: true };
  saveBatch(join(weir.dataDir, 'saved'), saved);
  await grounds.startAt(weir);
  const { stored } = await expectKeptBy(weir);
  expect(stored).toBe(100);
  expect(filesIn(join(weir.dataDir, 'saved'))).toEqual([]);
});

test(
  'started beside the original, it takes new events and waits with what it holds until the original has ended',
  { timeout: 120_000 },
  async () => {
    const weir = await newWeir(NEVER);
    for (let n = 0; n < 3; n++) await grounds.accept(weir, 20);
    const copy = copyOf(weir);
    await grounds.startAt(copy);
    expect(await isHeld(copy)).toBe(true);
    expect((await grounds.accept(copy, 5, 'stored')).ack).toBe('stored');
    // Longer than a process that has died counts as there.
    await sleep(17_000);
    expect(await isHeld(copy)).toBe(true);
    expect((await auditOf(rig.stores, grounds.tally())).stored).toBe(5);
    // A start anew changes nothing about it.
    await endCleanly(copy);
    await grounds.startAt(copy);
    expect(await isHeld(copy)).toBe(true);
    await endCleanly(weir);
    await until('taken up', async () => !(await isHeld(copy)));
    const { stored } = await expectKeptBy(copy);
    expect(stored).toBe(65);
  },
);
