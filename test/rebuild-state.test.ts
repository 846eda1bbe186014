/** Every state that a kill can leave of a rebuild, and the step that goes on from there. */
import { describe, expect, test } from 'vitest';
import type { Ask } from '../src/clickhouse/connection/ask.ts';
import { NEW_KEY, OLD_KEY } from '../src/clickhouse/migrations/event-tables.ts';
import { obstacleOf, whyToPause } from '../src/clickhouse/migrations/rebuild-reading.ts';
import {
  type EventTable,
  type ProgressRow,
  type Situation,
  createRebuilt,
  nextStep,
} from '../src/clickhouse/migrations/rebuild-state.ts';

function tableOf(sortingKey: string, changed: Partial<EventTable> = {}): EventTable {
  const engineFull = `ReplacingMergeTree(received_at) PARTITION BY toYYYYMM(received_at) ORDER BY (${sortingKey}) TTL expires_at SETTINGS index_granularity = 8192`;
  return {
    uuid: '11111111-1111-4111-8111-111111111111',
    engine: 'ReplacingMergeTree',
    sortingKey,
    primaryKey: sortingKey,
    create: `(\`event\` String) ENGINE = ${engineFull} COMMENT 'Every event'`,
    engineFull,
    ...changed,
  };
}

const OLD = tableOf(OLD_KEY);
const NEW = tableOf(NEW_KEY);
const CURSOR = { partition: '202601', key: null };
const progressOf = (phase: ProgressRow['phase'], isEnded: boolean): ProgressRow => ({
  phase,
  isEnded,
  cursor: CURSOR,
  rows: 5,
  total: 10,
});
const situation = (changed: Partial<Situation>): Situation => ({
  events: OLD,
  rebuilt: null,
  retired: null,
  hasMirror: false,
  hasRemains: false,
  progress: null,
  ...changed,
});
const tables = (what: string) => ({ kind: 'tables', do: what });
const rows = (phase: string) => ({ kind: 'rows', phase, cursor: CURSOR, rows: 5 });

test.each<[string, Partial<Situation>, object]>([
  ['no table at all', { events: null }, { kind: 'none' }],
  ['the table of the version before', {}, tables('begin')],
  ['a view into nothing, which keeps inserts out', { hasMirror: true }, tables('drop mirror')],
  ['what an earlier rebuild noted', { hasRemains: true, progress: progressOf('copy', false) }, tables('begin')],
  ['a second table', { rebuilt: NEW }, tables('mirror')],
  ['a second table, a view, and no note yet', { rebuilt: NEW, hasMirror: true }, tables('mirror')],
  ['a second table whose view is gone', { rebuilt: NEW, progress: progressOf('check', false) }, tables('mirror')],
  ['a copy half way', { rebuilt: NEW, hasMirror: true, progress: progressOf('copy', false) }, rows('copy')],
  ['a whole copy', { rebuilt: NEW, hasMirror: true, progress: progressOf('copy', true) }, tables('check')],
  ['a check half way', { rebuilt: NEW, hasMirror: true, progress: progressOf('check', false) }, rows('check')],
  ['a whole check', { rebuilt: NEW, hasMirror: true, progress: progressOf('check', true) }, tables('exchange')],
  [
    'tables that changed places, of which nobody has noted it',
    { events: NEW, rebuilt: OLD, hasMirror: true, progress: progressOf('check', true) },
    tables('note exchange'),
  ],
  [
    'tables that changed places, with the view still there',
    { events: NEW, rebuilt: OLD, hasMirror: true, progress: progressOf('settle', false) },
    tables('drop mirror'),
  ],
  [
    'a look at what came across, half way',
    { events: NEW, rebuilt: OLD, progress: progressOf('settle', false) },
    rows('settle'),
  ],
  ['the same at its end', { events: NEW, rebuilt: OLD, progress: progressOf('settle', true) }, tables('retire')],
  [
    'tables that were changed back by somebody',
    { events: OLD, rebuilt: NEW, hasMirror: true, progress: progressOf('settle', false) },
    tables('check'),
  ],
  ['the old table on its way out', { events: NEW, retired: OLD, hasRemains: true }, tables('drop retired')],
  ['notes that nobody needs any more', { events: NEW, hasRemains: true }, tables('tidy')],
  ['a view that nobody needs any more', { events: NEW, hasMirror: true }, tables('tidy')],
  ['a rebuilt table', { events: NEW }, { kind: 'none' }],
  ['a second table that was given up', { retired: NEW }, tables('drop retired')],
])('%s', (_name, changed, step) => {
  expect(nextStep(situation(changed))).toEqual(step);
});

test.each<[string, Partial<Situation>, RegExp]>([
  ['a key that is not of Weir', { events: tableOf('event, timestamp') }, /sorted by \(event, timestamp\)/],
  ['a primary key of its own', { events: { ...OLD, primaryKey: 'project_id' } }, /primary key/],
  ['two tables under the old key', { rebuilt: OLD }, /events_raw_v1_rekeyed/],
  ['two tables under the new key', { events: NEW, rebuilt: NEW }, /drop it/],
  ['a table on its way out with the key of the one that stays', { retired: OLD }, /look what it holds/],
])('nothing is touched where there is %s', (_name, changed, why) => {
  expect(nextStep(situation(changed))).toMatchObject({ kind: 'blocked', why: expect.stringMatching(why) });
});

test('a table that was changed since the second one was made is begun anew', () => {
  const changed = tableOf(OLD_KEY, { create: OLD.create.replace('String', 'String, `more` UInt8') });
  const half = { rebuilt: NEW, hasMirror: true, progress: progressOf('copy', false) };
  expect(nextStep(situation({ ...half, events: changed }))).toEqual(tables('start over'));
});

test('the second table is the first one under another key, and nothing else', () => {
  expect(createRebuilt(OLD)).toBe(NEW.create);
  // Also where a column speaks of the key.
  const comment = `COMMENT 'ORDER BY (${OLD_KEY})'`;
  const spoken = tableOf(OLD_KEY, { create: OLD.create.replace('String', `String ${comment}`) });
  expect(createRebuilt(spoken)).toContain(comment);
});

describe('it does not begin', () => {
  const GIB = 1024 ** 3;
  /** A ClickHouse with a table of so many bytes, and so much room on its disk. */
  const asking = (bytes: number, free: number, database = 'ENGINE = Atomic'): Ask => {
    const answers: [RegExp, object][] = [
      [/SHOW CREATE DATABASE/, { statement: `CREATE DATABASE analytics\n${database}` }],
      [/system\.parts/, { rows: String(bytes / 10), bytes: String(bytes), disks: ['default'] }],
      [/system\.disks/, { free: String(free) }],
    ];
    return <Row>(query: string) => Promise.resolve([answers.find(([pattern]) => pattern.test(query))![1] as Row]);
  };

  test('where the disk has no room for a second copy: it says how much that takes, and how much there is', async () => {
    expect(await obstacleOf(asking(8 * GIB, 12 * GIB), OLD)).toBeNull();
    const why = await obstacleOf(asking(8 * GIB, 10 * GIB), OLD);
    expect(why).toContain("needs 11.0 GiB on ClickHouse's disk, and 10.0 GiB are free");
  });

  test('with no rows room does not matter', async () => {
    expect(await obstacleOf(asking(0, 0), OLD)).toBeNull();
  });

  test.each(['ReplicatedReplacingMergeTree', 'SharedReplacingMergeTree'])('on %s', async (engine) => {
    expect(await obstacleOf(asking(GIB, 100 * GIB), { ...OLD, engine })).toContain(engine);
  });

  test.each(['ENGINE = Ordinary', "ENGINE = Replicated('/p', 's', 'r')"])('in a database with %s', async (engine) => {
    expect(await obstacleOf(asking(GIB, 100 * GIB, engine), OLD)).toContain('Atomic');
  });

  test('and it waits when others have filled the disk meanwhile', async () => {
    expect(await whyToPause(asking(GIB, 2 * GIB))).toBeNull();
    expect(await whyToPause(asking(GIB, GIB / 2))).toContain('0.5 GiB are free');
  });
});
