import { describe, expect, test } from 'vitest';
import type { BatchId } from '../src/pipeline/batch.ts';
import { type BatchCutter, type CutBatch, createBatchCutter } from '../src/topic/batch-cutter.ts';
import { type CutLimits, type Head, encodeFrame, readHead } from '../src/topic/frame.ts';
import type { TopicRecord } from '../src/topic/topic-port.ts';
import { randomOf } from './support/factory.ts';
import fc from './support/fast-check.ts';
import { CUT, STRANGERS, frameOf, plainRow, recordAt, tick } from './support/frames.ts';

const PARTITION = { topicId: 'topic', partition: 3 };
const cutterAt = (start: number) => createBatchCutter(PARTITION, { start });

/** A batch as far as stores and readers can tell. */
const told = ({
  id,
  first,
  last,
  chunks,
  eventCount,
  byteCount,
  useByProject,
  repeatOf,
  mayBeElsewhere,
}: CutBatch) => ({
  id,
  first,
  last,
  rows: Buffer.concat(chunks).toString(),
  eventCount,
  byteCount,
  use: [...useByProject],
  repeatOf,
  mayBeElsewhere,
});

const cutAll = (records: readonly TopicRecord[], cutter: BatchCutter = cutterAt(0)) =>
  records.flatMap((record) => cutter.feed(record).closed).map(told);

function log(...entries: readonly Pick<TopicRecord, 'head' | 'value'>[]): TopicRecord[] {
  return entries.map((entry, offset) => recordAt(offset, entry));
}
const frames = (...more: Partial<Parameters<typeof frameOf>[0]>[]) => more.map((spec, n) => frameOf({ n, ...spec }));
const rangesOf = (records: readonly TopicRecord[]) => cutAll(records).map(({ first, last }) => [first, last]);

describe('a batch', () => {
  test('is closed by the frame that fills it', () => {
    const limits = { ...CUT, maxEvents: 3 };
    expect(rangesOf(log(...frames({ limits }, {}, {}, {}, {}), tick))).toEqual([
      [0, 2],
      [3, 5],
    ]);
  });

  test.each([
    ['events', { ...CUT, maxEvents: 3 }],
    ['bytes', { ...CUT, maxBytes: 60 }],
  ])('is closed before a frame that would exceed its %s', (_what, limits) => {
    const two = { rows: [plainRow(1), plainRow(2)] };
    expect(rangesOf(log(...frames({ limits, ...two }, two, {}), tick))).toEqual([
      [0, 0],
      [1, 3],
    ]);
  });

  test('of a single frame may exceed them', () => {
    const limits = { ...CUT, maxEvents: 1 };
    expect(rangesOf(log(...frames({ limits, rows: [plainRow(1), plainRow(2)] }, { limits })))).toEqual([
      [0, 0],
      [1, 1],
    ]);
  });

  test('is closed by a frame made its interval later, by the clocks of their makers', () => {
    const made = [0, 1_999, -50_000, 2_000, 2_001].map((at) => ({ at: 100_000 + at }));
    expect(rangesOf(log(...frames(...made), tick))).toEqual([
      [0, 2],
      [3, 5],
    ]);
  });

  test('ends with the tick that closes it; a tick where none is open is in none', () => {
    expect(rangesOf(log(tick, ...frames({}, {}), tick, tick, ...frames({}), tick))).toEqual([
      [1, 3],
      [5, 6],
    ]);
  });

  test.each([{ isRepeat: true }, { mayBeElsewhere: true }])(
    'of a frame that is in doubt (%j) has no other',
    (doubt) => {
      const cut = cutAll(log(...frames({}, {}, doubt, {}), tick));
      expect(
        cut.map(({ first, last, repeatOf, mayBeElsewhere }) => [first, last, repeatOf !== null, mayBeElsewhere]),
      ).toEqual([
        [0, 1, false, false],
        [2, 2, doubt.isRepeat ?? false, doubt.mayBeElsewhere ?? false],
        [3, 4, false, false],
      ]);
    },
  );

  test('holds nothing of what Weir did not write', () => {
    const records = log(STRANGERS[0]!, ...frames({}), ...STRANGERS, ...frames({}), tick);
    const [batch, ...others] = cutAll(records);
    expect(batch).toMatchObject({ first: 1, eventCount: 2, rows: plainRow(0).toString().repeat(2) });
    expect(others).toEqual([]);
  });

  test('has an id of its topic, partition, place and bytes, and of the time of its first frame', () => {
    const records = log(...frames({ at: 5 }, { at: 7 }), tick);
    const idOf = (of: Partial<typeof PARTITION>, these = records) =>
      cutAll(these, createBatchCutter({ ...PARTITION, ...of }, { start: 0 }))[0]!.id;
    const other = log(...frames({ at: 5 }, { at: 7, rows: [plainRow(9)] }), tick);
    const later = records.map((record) => ({ ...record, offset: record.offset + 1 }));
    const ids = [idOf({}), idOf({ topicId: 'other' }), idOf({ partition: 4 }), idOf({}, other), idOf({}, later)];
    expect(new Set(ids).size).toBe(5);
    expect(idOf({})).toBe(ids[0]);
    for (const id of ids) expect(id).toMatch(/^00000000-0005-7/);
  });

  test.each([-1, 2 ** 48, Number.MAX_SAFE_INTEGER])('of a clock that says %d has an id all the same', (at) => {
    expect(cutAll(log(...frames({ at }), tick))[0]!.id).toMatch(/^(00000000-0000|ffffffff-ffff)-7/);
  });
});

test('a record of a later version is not taken', () => {
  const cutter = cutterAt(0);
  const later = { head: Buffer.from('{"v":2,"whatever":true}'), value: Buffer.from('x') };
  const [frame, record] = log(...frames({}), later) as [TopicRecord, TopicRecord];
  cutter.feed(frame);
  expect(cutter.feed(record)).toMatchObject({
    kind: 'newer',
    refusal: expect.stringContaining('a later version (2)') as string,
    closed: [],
  });
  expect(cutter.boundary()).toBe(0);
  // It is never closed, and holds no memory until then.
  expect(cutter.open()).toMatchObject({ eventCount: 1, chunks: [] });
});

test('a record whose value cannot be read is not taken, nor taken for a stranger’s', () => {
  const cutter = cutterAt(0);
  const [frame, record] = log(...frames({}), frameOf({ n: 2 })) as [TopicRecord, TopicRecord];
  cutter.feed(frame);
  expect(cutter.feed({ ...record, unreadable: 'it is damaged' })).toMatchObject({
    kind: 'unreadable',
    refusal: 'a record that cannot be read (it is damaged)',
    closed: [],
  });
  expect(cutter.boundary()).toBe(0);
  expect(cutter.feed({ ...record, head: null, unreadable: 'it is damaged' }).kind).toBe('foreign');
});

describe('a head', () => {
  const readable = (head: unknown, value = 'row\n') =>
    readHead({ head: Buffer.from(JSON.stringify(head)), value: Buffer.from(value) }).kind;
  const good = { v: 1, t: 5, id: 'x', n: 1, cut: [1, 1, 1], use: [['p', 1, 4]] };

  test('says what it was encoded from', () => {
    const limits: CutLimits = { maxEvents: 1, maxBytes: 2, maxWaitMs: 3 };
    const { head, value } = frameOf({ n: 1, at: 5, limits, isRepeat: true });
    expect(readHead({ head, value })).toMatchObject({ kind: 'frame', at: 5, eventCount: 1, limits, isRepeat: true });
  });

  test.each<[string, object, string?]>([
    ['no version', { ...good, v: undefined }],
    ['version 0', { ...good, v: 0 }],
    ['a version that is no number', { ...good, v: '1' }],
    ['no time', { ...good, t: null }],
    ['no id', { ...good, id: 7 }],
    ['no events', { ...good, n: 0 }],
    ['half an event', { ...good, n: 0.5 }],
    ['no limits', { ...good, cut: [1, 1] }],
    ['a limit of nothing', { ...good, cut: [0, 1, 1] }],
    ['use that is no list', { ...good, use: {} }],
    ['a share that is none', { ...good, use: [['p', -1, 1]] }],
    ['no rows', good, ''],
    ['a row without an end', good, 'row'],
    ['a tick with rows', { v: 1, tick: true }],
  ])('with %s is not one of ours', (_what, head, value) => {
    expect(readable(head, value)).toBe('foreign');
    expect(readable(good)).toBe('frame');
  });

  test('of any bytes is a value, whatever it says', () => {
    const anyHead = fc.oneof(
      fc.uint8Array({ maxLength: 50 }).map((bytes) => Buffer.from(bytes)),
      fc.json().map((text) => Buffer.from(text)),
      fc
        .dictionary(fc.constantFrom('v', 't', 'id', 'n', 'cut', 'use', 'tick'), fc.jsonValue())
        .map((head) => Buffer.from(JSON.stringify({ ...good, ...head }))),
    );
    const kinds = ['frame', 'tick', 'foreign', 'newer'] satisfies Head['kind'][];
    fc.assert(
      fc.property(fc.option(anyHead), fc.uint8Array({ maxLength: 5 }), (head, value) => {
        expect(kinds).toContain(readHead({ head, value: Buffer.from(value) }).kind);
      }),
    );
  });

  test('that is too long is not read, and no limit makes a reader hold more than is bearable', () => {
    expect(readable({ ...good, more: 'x'.repeat(300_000) })).toBe('foreign');
    const huge = frameOf({ n: 1, limits: { maxEvents: 2 ** 50, maxBytes: 2 ** 50, maxWaitMs: 2 ** 50 } });
    const head = readHead(huge);
    expect(head.kind === 'frame' && head.limits).toEqual({
      maxEvents: 1_000_000,
      maxBytes: 64 * 1024 * 1024,
      maxWaitMs: 600_000,
    });
  });
});

const LIMITS: readonly CutLimits[] = [
  CUT,
  { maxEvents: 4, maxBytes: 100, maxWaitMs: 500 },
  { maxEvents: 1_000, maxBytes: 70, maxWaitMs: 60_000 },
  { maxEvents: 2, maxBytes: 1_000_000, maxWaitMs: 10 },
];

const anyEntry = fc.record({
  kind: fc.constantFrom('frame', 'frame', 'frame', 'frame', 'frame', 'tick', 'repeat', 'elsewhere', 'foreign'),
  rows: fc.integer({ min: 1, max: 4 }),
  bytes: fc.integer({ min: 8, max: 60 }),
  /** Clocks jump. */
  later: fc.oneof({ weight: 8, arbitrary: fc.integer({ min: 0, max: 700 }) }, fc.integer({ min: -9_000, max: 9_000 })),
  limits: fc.constantFrom(...LIMITS),
  gap: fc.oneof({ weight: 4, arbitrary: fc.constant(0) }, fc.integer({ min: 1, max: 3 })),
});
type EntrySpec = typeof anyEntry extends fc.Arbitrary<infer T> ? T : never;

function logOf(specs: readonly EntrySpec[]): TopicRecord[] {
  let at = 1_790_000_000_000;
  let offset = -1;
  return specs.map(({ kind, rows, bytes, later, limits, gap }, n) => {
    at += later;
    offset += 1 + gap;
    if (kind === 'tick') return recordAt(offset, tick);
    if (kind === 'foreign') return recordAt(offset, STRANGERS[n % STRANGERS.length]!);
    const these = Array.from({ length: rows }, (_, row) => plainRow(n * 10 + row, bytes));
    const doubt = { isRepeat: kind === 'repeat', mayBeElsewhere: kind === 'elsewhere' };
    return recordAt(offset, frameOf({ n, rows: these, at, limits, ...doubt }));
  });
}

/**
 * A reader that dies now and then, and begins again at some place where a batch began: what it has told by then, of all
 * its lives. `as`: what it makes of a record before it cuts.
 */
function readWithCrashes(records: readonly TopicRecord[], seed: number, as = (record: TopicRecord) => record) {
  const random = randomOf(seed);
  const cut: CutBatch[] = [];
  const boundaries = [0];
  let cutter = cutterAt(0);
  let start = 0;
  let cutBefore = 0;
  for (let lives = 1 + Math.floor(random() * 4); lives > 0; lives--) {
    start = boundaries[Math.floor(random() * boundaries.length)]!;
    cutter = cutterAt(start);
    cutBefore = cut.length;
    const rest = records.filter(({ offset }) => offset >= start);
    const end = lives === 1 ? rest.length : Math.floor(random() * (rest.length + 1));
    for (let read = 0; read < end;) {
      const next = Math.min(end, read + 1 + Math.floor(random() * 7));
      for (const record of rest.slice(read, next)) {
        cut.push(...cutter.feed(as(record)).closed);
        boundaries.push(cutter.boundary());
      }
      read = next;
    }
  }
  const all = cut.map(told);
  return { cut: all, lastLife: all.slice(cutBefore), start, boundary: cutter.boundary() };
}

/** Whether every reader, from any place, told nothing but what one that reads all at once from the start tells. */
function cutAlike(
  records: readonly TopicRecord[],
  seed: number,
  as?: (record: TopicRecord, reader: number) => TopicRecord,
) {
  const cutter = cutterAt(0);
  const reference = cutAll(records, cutter);
  const byFirst = new Map(reference.map((batch) => [batch.first, JSON.stringify(batch)]));
  for (let reader = 0; reader < 3; reader++) {
    const { cut, lastLife, start, boundary } = readWithCrashes(
      records,
      seed + reader,
      as && ((record) => as(record, reader)),
    );
    if (boundary !== cutter.boundary()) return false;
    if (!cut.every((batch) => byFirst.get(batch.first) === JSON.stringify(batch))) return false;
    const sinceStart = reference.filter(({ first }) => first >= start);
    if (JSON.stringify(lastLife) !== JSON.stringify(sinceStart)) return false;
  }
  return true;
}

describe('of any log', () => {
  const anyLog = fc.array(anyEntry, { maxLength: 120 }).map(logOf);

  test('all readers cut the same batches, wherever they begin, however they read, whenever they die', () => {
    fc.assert(
      fc.property(anyLog, fc.integer(), (records, seed) => {
        expect(cutAlike(records, seed)).toBe(true);
      }),
      { numRuns: 400 },
    );
  });

  test('they would not if limits were the readers’ own', () => {
    const ownLimits = (record: TopicRecord, reader: number) => {
      const head = readHead(record);
      return head.kind === 'frame' ? { ...record, head: encodeFrame({ ...head, limits: LIMITS[reader]! }) } : record;
    };
    const found = fc.check(
      fc.property(anyLog, fc.integer(), (records, seed) => cutAlike(records, seed, ownLimits)),
      { numRuns: 400 },
    );
    expect(found.failed).toBe(true);
  });

  test('no event is in two batches or in none, and no batch of several frames exceeds its limits', () => {
    fc.assert(
      fc.property(anyLog, (records) => {
        const cutter = cutterAt(0);
        const cut = records.flatMap((record) => cutter.feed(record).closed);
        const rows = cut.flatMap(({ chunks }) => chunks);
        const all = records.filter((record) => readHead(record).kind === 'frame').map(({ value }) => value);
        expect(rows.map(String)).toEqual(all.slice(0, rows.length).map(String));
        const open = cutter.open();
        expect(all.slice(rows.length).reduce((sum, { length }) => sum + length, 0)).toBe(open?.byteCount ?? 0);
        for (const { first, chunks, eventCount, byteCount } of cut) {
          const head = readHead(records.find(({ offset }) => offset === first)!);
          if (head.kind !== 'frame') throw new Error('a batch begins with a frame');
          if (chunks.length > 1) expect(eventCount).toBeLessThanOrEqual(head.limits.maxEvents);
          if (chunks.length > 1) expect(byteCount).toBeLessThanOrEqual(head.limits.maxBytes);
        }
        const ids: BatchId[] = cut.map(({ id }) => id);
        expect(new Set(ids).size).toBe(ids.length);
      }),
    );
  });

  test('whoever begins in the middle of a batch cuts like the others from the first common boundary on', () => {
    fc.assert(
      fc.property(anyLog, fc.nat(120), (records, start) => {
        const all = cutAll(records);
        const rest = records.filter(({ offset }) => offset >= start);
        const cutter = cutterAt(start);
        let common: number | null = null;
        const cut: CutBatch[] = [];
        for (const record of rest) {
          const { closed, commonBoundary } = cutter.feed(record);
          common ??= commonBoundary;
          cut.push(...closed);
        }
        const from = common ?? Infinity;
        const behind = <T extends { first: number }>(batches: readonly T[]) =>
          batches.filter(({ first }) => first >= from);
        expect(behind(cut).map(told)).toEqual(behind(all));
      }),
    );
  });
});
