import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { nodeFiles } from '../src/journal/files.ts';
import {
  recordLoss,
  readSavedBatches,
  removeSavedBatch,
  saveBatch,
  takeRecordedLosses,
} from '../src/journal/spill-files.ts';
import { OTHER_PROJECT } from './support/factory.ts';
import { batchIdOf, batchOf, goodRows } from './support/rows.ts';

let dir: string;
beforeEach(() => {
  dir = join(mkdtempSync(join(tmpdir(), 'weir-leftovers-')), 'journal');
});
afterEach(() => rmSync(join(dir, '..'), { recursive: true, force: true }));

const pathOf = (id: number) => join(dir, `${batchIdOf(id)}.batch`);
const HOSTILE = Buffer.from([0x7b, 0x22, 0xff, 0x00, 0x22, 0x3a, 0x31, 0x7d]);

test('a batch comes back under its id, bit for bit, with its projects (I10)', () => {
  const batch = batchOf(1, [
    { n: 1, properties: HOSTILE },
    { n: 2, projectId: OTHER_PROJECT },
  ]);
  saveBatch(dir, batch);
  const { batches, damaged } = readSavedBatches(dir);
  expect(damaged).toEqual([]);
  expect(batches).toHaveLength(1);
  const { chunks, ...rest } = batches[0]!;
  const { chunks: original, ...expected } = batch;
  expect(rest).toEqual({ ...expected, mayHaveLanded: true });
  expect(Buffer.concat(chunks).equals(Buffer.concat(original))).toBe(true);
});

test('what holds events is for its owner alone', async () => {
  saveBatch(dir, batchOf(1, goodRows(1)));
  const journal = join(dir, '..', 'journal-of-ours');
  await nodeFiles.makeDirectory(journal);
  const modes = [dir, pathOf(1), journal].map((path) => statSync(path).mode & 0o777);
  expect(modes).toEqual([0o700, 0o600, 0o700]);
});

test('saving it again leaves one file, and removing it none', () => {
  saveBatch(dir, batchOf(1, goodRows(2)));
  saveBatch(dir, batchOf(1, goodRows(2)));
  expect(readdirSync(dir)).toHaveLength(1);
  removeSavedBatch(dir, batchIdOf(1));
  removeSavedBatch(dir, batchIdOf(1));
  expect(readdirSync(dir)).toEqual([]);
});

test('batches come in the order they were made', () => {
  for (const id of [3, 1, 2]) saveBatch(dir, batchOf(id, goodRows(1)));
  expect(readSavedBatches(dir).batches.map(({ id }) => id)).toEqual([1, 2, 3].map(batchIdOf));
});

test('a directory that is not there holds nothing', () => {
  expect(readSavedBatches(dir)).toEqual({ batches: [], damaged: [], unread: [] });
});

test('a batch that cannot be written is not there by half', () => {
  saveBatch(dir, batchOf(1, goodRows(1)));
  expect(() => saveBatch(join(pathOf(1), 'below-a-file'), batchOf(2, goodRows(1)))).toThrow('ENOTDIR');
  expect(readSavedBatches(dir).batches).toHaveLength(1);
});

test('a batch that cannot be written keeps no room from the others', () => {
  mkdirSync(pathOf(1), { recursive: true });
  expect(() => saveBatch(dir, batchOf(1, goodRows(1)))).toThrow('EISDIR');
  expect(readdirSync(dir)).toEqual([`${batchIdOf(1)}.batch`]);
});

test('a draft that a crash left behind is no batch', () => {
  saveBatch(dir, batchOf(1, goodRows(1)));
  writeFileSync(`${pathOf(2)}.draft`, 'half of a bat');
  expect(readSavedBatches(dir)).toMatchObject({ batches: [{ id: batchIdOf(1) }], damaged: [], unread: [] });
});

describe('a damaged file is set aside and the others are read', () => {
  const damages: Record<string, (path: string) => void> = {
    empty: (path) => writeFileSync(path, ''),
    'torn in the header': (path) => truncateSync(path, 20),
    'torn in the rows': (path) => truncateSync(path, readFileSync(path).length - 1),
    'longer than it says': (path) => writeFileSync(path, '\n', { flag: 'a' }),
    'changed by one bit': (path) => {
      const content = readFileSync(path);
      content[content.length - 5]! ^= 1;
      writeFileSync(path, content);
    },
    'no JSON': (path) => writeFileSync(path, 'rubbish\nrubbish'),
    'a header of another version': (path) => {
      writeFileSync(path, readFileSync(path, 'latin1').replace('"version":1', '"version":2'), 'latin1');
    },
  };

  /** Then it can still be told how many events it held. */
  const HEADS_LEFT = new Set(['torn in the rows', 'longer than it says', 'changed by one bit']);

  test.each(Object.keys(damages))('%s', (name) => {
    saveBatch(dir, batchOf(1, goodRows(3)));
    saveBatch(dir, batchOf(2, goodRows(3, 10)));
    damages[name]!(pathOf(1));
    const { batches, damaged } = readSavedBatches(dir);
    expect(batches.map(({ id }) => id)).toEqual([batchIdOf(2)]);
    const bytes = statSync(`${pathOf(1)}.unreadable`).size;
    expect(damaged).toEqual([{ keptAs: `${pathOf(1)}.unreadable`, bytes, events: HEADS_LEFT.has(name) ? 3 : null }]);
    // Nothing is thrown away, and the next start is not bothered again.
    expect(readdirSync(dir)).toContain(`${batchIdOf(1)}.batch.unreadable`);
    expect(readSavedBatches(dir).damaged).toEqual([]);
  });
});

describe('what is lost is noted for the next start', () => {
  test('which counts it once', () => {
    expect(takeRecordedLosses(dir)).toBe(0);
    recordLoss(dir, batchOf(1, goodRows(3)));
    recordLoss(dir, batchOf(2, goodRows(4)));
    // Twice the same, as when a second signal comes.
    recordLoss(dir, batchOf(2, goodRows(4)));
    expect(takeRecordedLosses(dir)).toBe(7);
    expect(takeRecordedLosses(dir)).toBe(0);
    expect(readdirSync(dir)).toEqual([]);
  });

  test('also where the disk had room for the name alone', () => {
    recordLoss(dir, batchOf(1, goodRows(3)));
    truncateSync(join(dir, `${batchIdOf(1)}.lost`), 0);
    expect(takeRecordedLosses(dir)).toBe(1);
  });

  test('and where not even that is possible, the end goes on as before', () => {
    saveBatch(dir, batchOf(1, goodRows(1)));
    recordLoss(join(pathOf(1), 'below-a-file'), batchOf(2, goodRows(1)));
    expect(takeRecordedLosses(dir)).toBe(0);
  });
});
