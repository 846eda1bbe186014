/** Measuring and looking at a table of dead letters that is too large to count all the time; here the limits are small instead. */
import { randomUUIDv7 } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { ProjectId } from '../../src/event/event.ts';
import { createLog } from '../../src/log/log.ts';
import { measureDepth } from '../../src/postgres/dead-letters/depth.ts';
import type { BatchId } from '../../src/pipeline/batch.ts';
import { freezeBatch } from '../../src/pipeline/batch.ts';
import { createDeadLetters } from '../../src/postgres/dead-letters/dead-letters.ts';
import { readAudit, readBalance } from '../../src/postgres/dead-letters/audit.ts';
import { createDeadLetterActions } from '../../src/postgres/dead-letters/operator-actions.ts';
import type { DeadLetterPlace } from '../../src/postgres/dead-letters/dead-letter-pages.ts';
import {
  type DeadLetterEntry,
  type DeadLetterPage,
  createDeadLetterQueries,
} from '../../src/postgres/dead-letters/dead-letter-queries.ts';
import type { DeadLetterState, Selection } from '../../src/postgres/dead-letters/selection.ts';
import { type Overview, readOverview } from '../../src/postgres/dead-letters/letter-overview.ts';
import { walkDeadLetters } from '../../src/postgres/dead-letters/walk.ts';
import { dataFailure } from '../support/dead-letters.ts';
import { createPostgres } from '../../src/postgres/connection/pool.ts';
import { startMigratedPostgres } from '../support/stores.ts';

const LIMITS = { letters: 100, pages: 60 };
const MANY = 20_000;

let started: Awaited<ReturnType<typeof startMigratedPostgres>>;
let postgres: typeof started.postgres;

beforeAll(async () => {
  started = await startMigratedPostgres();
  ({ postgres } = started);
});
afterAll(() => started?.stop());

const measure = () => measureDepth(postgres.db, LIMITS);
const query = async (text: string) => (await postgres.pool.query<Record<string, unknown>>(text)).rows;
const oldest = Date.UTC(2026, 0, 1);

/** Letters of five events, a tenth of them quarantined, a second apart. */
const addLetters = (count: number, { from = 0, projects = '{}' } = {}) =>
  query(`INSERT INTO failed_events (id, payload, raw_bytes, event_count, project_ids, error_class, error_fingerprint, last_error, created_at, visible_at, quarantined_at, quarantine_reason)
    SELECT gen_random_uuid(), '\\x00', 100, 5, '${projects}', 'unavailable', 'group' || n % 3, 'away',
      to_timestamp(${oldest / 1_000} + n), to_timestamp(${oldest / 1_000} + n),
      CASE WHEN n % 10 = 0 THEN now() END, CASE WHEN n % 10 = 0 THEN 'refused' END
    FROM generate_series(${from}, ${from + count - 1}) AS n`);

test('few letters are counted exactly, many estimated, and what a table leaves when they have gone exactly again', async () => {
  await addLetters(90);
  expect(await measure()).toEqual({
    rows: 81,
    events: 405,
    bytes: 8_100,
    oldestAt: oldest + 1_000,
    quarantinedRows: 9,
    quarantinedEvents: 45,
    isEstimate: false,
  });

  await addLetters(MANY);
  const depth = await measure();
  expect(depth.isEstimate).toBe(true);
  const within = (found: number, expected: number) => expect(Math.abs(found / expected - 1)).toBeLessThan(0.5);
  within(depth.rows, MANY * 0.9);
  within(depth.events, MANY * 4.5);
  within(depth.bytes, MANY * 90);
  within(depth.quarantinedRows, MANY * 0.1);
  expect(depth.oldestAt).toBe(oldest + 1_000);

  await query(
    `DELETE FROM failed_events WHERE id NOT IN (SELECT id FROM failed_events WHERE quarantined_at IS NULL ORDER BY id LIMIT 7)`,
  );
  expect(await measure()).toMatchObject({ rows: 7, events: 35, quarantinedRows: 0, isEstimate: false });
});

test('claiming and measuring read no more of a large table than they need', async () => {
  await query('TRUNCATE failed_events');
  await addLetters(MANY);
  await query('ANALYZE failed_events');
  const planOf = async (text: string) => JSON.stringify(await query(`EXPLAIN ${text}`));
  for (const limit of [10, LIMITS.letters]) {
    const plan = await planOf(
      `SELECT id FROM failed_events WHERE quarantined_at IS NULL AND visible_at <= now() ORDER BY ambiguous DESC, visible_at LIMIT ${limit}`,
    );
    expect(plan).toContain('Index Scan using failed_events_claim');
    expect(plan).not.toContain('Sort');
  }
  // As an import asks for each letter.
  expect(await planOf(`SELECT id FROM failed_events WHERE parent_id = gen_random_uuid()`)).toContain(
    'failed_events_parent',
  );
});

describe('a page of a large table', () => {
  const LARGE = 100_000;
  const [RARE, COMMON] = [randomUUIDv7(), randomUUIDv7()];
  /** One connection, whose transaction tells what its statements read. */
  let alone: typeof postgres;
  const queries = () => createDeadLetterQueries(alone.db);

  beforeAll(async () => {
    alone = createPostgres({ url: started.server.url, maxConnections: 1 }, createLog('silent'));
    await query('TRUNCATE failed_events');
    for (let from = 0; from < LARGE; from += MANY) await addLetters(MANY, { from, projects: `{${COMMON}}` });
    await addLetters(60, { from: LARGE, projects: `{${RARE}}` });
    await query(`UPDATE failed_events SET error_fingerprint = 'rare' WHERE project_ids = '{${RARE}}'`);
    await query('VACUUM ANALYZE failed_events');
  });
  afterAll(async () => {
    await alone?.pool.end();
    await query('TRUNCATE failed_events');
  });

  const FILTERS: readonly (readonly [string, Selection, DeadLetterState | null, string])[] = [
    ['all', { by: 'all' }, null, 'true'],
    ['quarantined', { by: 'all' }, 'quarantined', 'quarantined_at is not null'],
    ['waiting', { by: 'all' }, 'waiting', 'quarantined_at is null'],
    ['one cause', { by: 'group', group: 'group1' }, null, `error_fingerprint = 'group1'`],
    [
      'one cause, quarantined',
      { by: 'group', group: 'group1' },
      'quarantined',
      `error_fingerprint = 'group1' and quarantined_at is not null`,
    ],
    ['a cause of few', { by: 'group', group: 'rare' }, null, `error_fingerprint = 'rare'`],
    [
      'a cause of few, waiting',
      { by: 'group', group: 'rare' },
      'waiting',
      `error_fingerprint = 'rare' and quarantined_at is null`,
    ],
    ['a project with few', { by: 'project', projectId: RARE }, null, `project_ids @> '{${RARE}}'`],
    [
      'a project with most',
      { by: 'project', projectId: COMMON },
      'quarantined',
      `project_ids @> '{${COMMON}}' and quarantined_at is not null`,
    ],
  ];

  test.each(FILTERS)('of %s is the next of the oldest, wherever it begins', async (_, selection, only, condition) => {
    const expected = (
      await query(`SELECT id FROM failed_events WHERE ${condition} ORDER BY created_at, id OFFSET 30 LIMIT 30`)
    ).map(({ id }) => id);
    const first = await queries().page({ selection, only, after: null, limit: 30 });
    const second = await queries().page({ selection, only, after: first.next, limit: 30 });
    expect(second.letters.map(({ id }) => id)).toEqual(expected);
  });

  test.each(FILTERS)('of %s reads no more of the table than a window', async (name, selection, only) => {
    const read = await rowsRead(() => queries().page({ selection, only, after: null, limit: 30 }));
    // Two windows, each looked through at most twice, what is given out, and the look whether a project has few.
    expect(read, name).toBeLessThan(75_000);
  });

  test('that finds nothing among what it may look through goes on behind it', async () => {
    const far = { selection: { by: 'group', group: 'group1' }, only: 'replaying', limit: 5 } as const;
    const places: (string | undefined)[] = [];
    let after: DeadLetterPlace | null = null;
    do {
      const page: DeadLetterPage = await queries().page({ ...far, after });
      expect(page.letters).toEqual([]);
      after = page.next;
      places.push(after?.id);
    } while (after !== null);
    // A third of the letters in windows of ten thousand, two for each page.
    expect(places.length).toBeLessThanOrEqual(LARGE / 3 / 20_000 + 1);
    expect(new Set(places).size).toBe(places.length);
  });

  test('that counts causes and states reads no more than it may, and says what is an estimate', async () => {
    const limits = { pages: 50, letters: 100, lettersOfCauses: 600, causes: 10 };
    for (const statement of [
      'UPDATE failed_events SET quarantined_at = NULL, quarantine_reason = NULL',
      `UPDATE failed_events SET quarantined_at = now(), quarantine_reason = 'refused', error_class = 'data'
       WHERE id IN (SELECT id FROM failed_events WHERE error_fingerprint = 'group1' ORDER BY created_at DESC LIMIT 7)`,
      'VACUUM (FULL, ANALYZE) failed_events',
    ]) {
      await query(statement);
    }

    let found: Overview | null = null;
    const read = await rowsRead(async () => (found = await readOverview(alone.db, limits)));
    // What is counted of states and of causes, the sample, and the oldest of all.
    expect(read).toBeLessThan(10_000 + 2 * 101 + 4 * 101 + LARGE / 10);
    const { groups, stats } = found!;

    const { rare, group1, ...others } = Object.fromEntries(groups.map((group) => [group.group, group]));
    expect(rare).toMatchObject({ letters: 60, events: 300, waiting: 60, quarantined: 0, isEstimate: false });
    expect(group1).toMatchObject({ quarantined: 7, isEstimate: true });
    expect(Object.keys(others).toSorted()).toEqual(['group0', 'group2']);
    for (const group of [group1!, ...Object.values(others)]) {
      expect(group.isEstimate).toBe(true);
      expect(Math.abs(group.letters / (LARGE / 3) - 1)).toBeLessThan(0.5);
      expect(Math.abs(group.events / group.letters - 5)).toBeLessThan(0.01);
    }
    expect(stats).toMatchObject({ isEstimate: true, oldestAt: new Date(oldest) });
    expect(stats.byState.quarantined).toEqual({ letters: 7, events: 35, bytes: 700 });
    expect(Math.abs(stats.byState.waiting.letters / LARGE - 1)).toBeLessThan(0.5);
    expect(stats.byClass.map(({ errorClass, state }) => `${errorClass} ${state}`)).toEqual([
      'data quarantined',
      'unavailable waiting',
    ]);
  });

  test('is counted, and no estimate, where the table is large and few letters are left in it', async () => {
    await query(`DELETE FROM failed_events WHERE error_fingerprint <> 'rare'`);
    const limits = { pages: 50, letters: 100, lettersOfCauses: 600, causes: 10 };
    const { groups, stats } = await readOverview(alone.db, limits);
    expect(groups).toMatchObject([{ group: 'rare', letters: 60, isEstimate: false }]);
    expect(stats).toMatchObject({ isEstimate: false, oldestAt: new Date(oldest + LARGE * 1_000) });
    const whole = await readOverview(alone.db);
    expect({ groups, stats }).toEqual(whole);
  });

  /** Rows that scans of the table and of its indexes fetch for the work, all of which is in one transaction. */
  async function rowsRead(work: () => Promise<unknown>): Promise<number> {
    const soFar = async () => {
      // What this connection has not passed on yet, which it does between transactions.
      const { rows } = await alone.pool.query<{ n: number }>(
        `SELECT (seq_tup_read + coalesce(idx_tup_fetch, 0))::int AS n FROM pg_stat_xact_user_tables WHERE relname = 'failed_events'`,
      );
      return rows[0]!.n;
    };
    await alone.pool.query('BEGIN');
    const before = await soFar();
    await work();
    const read = (await soFar()) - before;
    await alone.pool.query('COMMIT');
    return read;
  }
});

test('a sample of a group is its oldest and its newest letters', async () => {
  await query('TRUNCATE failed_events');
  await addLetters(300);
  const ids = await createDeadLetterQueries(postgres.db).ends({ by: 'group', group: 'group1' }, 10);
  const expected = await query(
    `SELECT id FROM failed_events WHERE extract(epoch from created_at) - ${oldest / 1_000} IN (1, 4, 7, 10, 13, 286, 289, 292, 295, 298)`,
  );
  expect(new Set(ids)).toEqual(new Set(expected.map(({ id }) => id)));
  const whole = await createDeadLetterQueries(postgres.db).ends({ by: 'all' }, 1_000);
  expect(whole).toHaveLength(300);
});

describe('what operators do to many letters', () => {
  const PROJECT = randomUUIDv7();
  const OTHER = randomUUIDv7();
  const operator = () => createDeadLetterActions(postgres.db, { actor: 'ada' });
  const actions = () =>
    query(`SELECT action, event_count AS events, detail FROM failed_events_audit WHERE action <> 'import' ORDER BY id`);
  const allIds = async () => (await query('SELECT id FROM failed_events ORDER BY id')).map(({ id }) => id as string);
  /** Rows of the largest transaction among those that wrote what is in the table now. */
  const largestWrite = async () =>
    Number(
      (await query('SELECT max(n) AS n FROM (SELECT count(*) AS n FROM failed_events GROUP BY xmin) AS each'))[0]!['n'],
    );
  const never = () => {};

  beforeEach(async () => {
    await query('TRUNCATE failed_events, failed_events_audit, failed_events_audit_letters');
  });

  /** Of `addLetters`, a third each of one project, of another, and of both. */
  async function addShared(count: number) {
    await addLetters(count);
    await query(`UPDATE failed_events SET project_ids = CASE error_fingerprint
      WHEN 'group0' THEN '{${PROJECT}}'::uuid[] WHEN 'group1' THEN '{${OTHER}}'::uuid[] ELSE '{${PROJECT},${OTHER}}'::uuid[] END`);
  }

  test('a walk hands out each letter once, in steps of few letters and bytes, whatever leaves meanwhile', async () => {
    await addLetters(50);
    await query(`UPDATE failed_events SET raw_bytes = 1000 WHERE event_count = 5 AND error_fingerprint = 'group0'`);
    const bytesOf = new Map(
      (await query('SELECT id, raw_bytes FROM failed_events')).map((row) => [row['id'], Number(row['raw_bytes'])]),
    );
    const ids = await allIds();
    const steps: (readonly string[])[] = [];
    for await (const step of walkDeadLetters(postgres.db, undefined, { letters: 4, bytes: 300 }, 7)) {
      steps.push(step);
      if (steps.length === 1) await query(`DELETE FROM failed_events WHERE id = '${ids.at(-1)}'`);
    }
    expect(steps.flat()).toEqual(ids.slice(0, -1));
    for (const step of steps) {
      expect(step.length).toBeLessThanOrEqual(4);
      const bytes = step.reduce((sum, id) => sum + bytesOf.get(id)!, 0);
      expect(step.length === 1 || bytes <= 300).toBe(true);
    }
  });

  test('are replayed in short transactions that leave an entry each, from which every letter can be told', async () => {
    await addShared(2_500);
    const ids = await allIds();
    const progress: number[] = [];
    const done = await operator().replay({ by: 'all' }, null, ({ letters }) => progress.push(letters));
    expect(done).toEqual({ letters: 2_500, events: 12_500 });
    expect(progress).toEqual([1_000, 2_000, 2_500]);
    expect(await largestWrite()).toBeLessThanOrEqual(1_000);
    expect(await query('SELECT count(*)::int AS n FROM failed_events WHERE quarantined_at IS NOT NULL')).toEqual([
      { n: 0 },
    ]);

    const entries = await actions();
    expect(entries.length).toBeLessThanOrEqual(6);
    expect(entries.reduce((sum, { events }) => sum + Number(events), 0)).toBe(12_500);
    const named = await query('SELECT id::text FROM failed_events_audit_letters, unnest(letter_ids) AS id ORDER BY id');
    expect(named.map(({ id }) => id)).toEqual(ids);
    for (const id of [ids[0]!, ids[1_234]!, ids.at(-1)!]) {
      expect(await readAudit(postgres.db, id, 10)).toMatchObject({
        total: 1,
        entries: [{ action: 'replay', actor: 'ada' }],
      });
    }
    expect(await readAudit(postgres.db, randomUUIDv7(), 10)).toEqual({ entries: [], total: 0 });
  });

  test('an interrupted command leaves whole steps, with their entries, and is simply repeated', async () => {
    await addShared(2_200);
    const broken = operator().discard({ by: 'group', group: 'group0' }, 'x', () => {
      throw new Error('interrupted');
    });
    await expect(broken).rejects.toThrow('interrupted');
    const left = await query(`SELECT count(*)::int AS n FROM failed_events WHERE error_fingerprint = 'group0'`);
    const noted = await query(
      'SELECT coalesce(sum(cardinality(letter_ids)), 0)::int AS n FROM failed_events_audit_letters',
    );
    expect(Number(left[0]!['n']) + Number(noted[0]!['n'])).toBe(734);
    await operator().discard({ by: 'group', group: 'group0' }, 'x', never);
    expect(await query(`SELECT count(*)::int AS n FROM failed_events WHERE error_fingerprint = 'group0'`)).toEqual([
      { n: 0 },
    ]);
    expect(await query('SELECT count(*)::int AS n FROM failed_events')).toEqual([{ n: 1_466 }]);
  });

  test('a discard counts for the projects whose events it took, and holds when a batch of it is spilled again', async () => {
    await addShared(300);
    const ids = await allIds();
    const removed = await operator().discard({ by: 'all' }, 'test data', never);
    expect(removed).toMatchObject({ letters: 300, events: 1_500 });
    expect(await allIds()).toEqual([]);
    expect(await actions()).toMatchObject([
      {
        action: 'discard',
        events: 1_500,
        detail: {
          reason: 'test data',
          letters: 300,
          ambiguous: false,
          eventsOf: { [PROJECT]: 500, [OTHER]: 500 },
          groups: expect.arrayContaining(['group0', 'group1', 'group2']),
        },
      },
    ]);
    expect(await readBalance(postgres.db, null)).toEqual({ discarded: 1_500, imported: 0, forgotten: 0 });
    expect(await readBalance(postgres.db, PROJECT)).toEqual({ discarded: 500, imported: 0, forgotten: 0 });

    const store = createDeadLetters(postgres.db, createLog('silent'));
    const cause = { failure: dataFailure(), ambiguous: true };
    const batchOf = (id: string) =>
      freezeBatch(id as BatchId, [{ projectId: PROJECT as ProjectId, eventCount: 1, rows: Buffer.from('{}\n') }]);
    await store.add(batchOf(ids[7]!), cause);
    expect(await allIds()).toEqual([]);
    const fresh = randomUUIDv7();
    await store.add(batchOf(fresh), cause);
    expect(await allIds()).toEqual([fresh]);
  });

  test('an import puts many back in few transactions, each letter once, none beside its parts', async () => {
    await addShared(150);
    const letters = await createDeadLetterQueries(postgres.db).list({ by: 'all' }, null, 1_000);
    const rows = Buffer.from('{}\n');
    await query('TRUNCATE failed_events');
    const [first, ...others] = letters as [DeadLetterEntry, ...DeadLetterEntry[]];
    const part: DeadLetterEntry = { ...first, id: randomUUIDv7(), parentId: first.id };
    const returned = [first, part, ...others, first].map((letter) => ({ letter, rows }));
    expect(await operator().import(returned)).toEqual([
      'restored',
      'divided',
      ...others.map(() => 'restored'),
      'present',
    ]);
    expect(await allIds()).toEqual(letters.map(({ id }) => id).toSorted());
    expect(await query(`SELECT count(*)::int AS n FROM failed_events_audit`)).toEqual([{ n: 1 }]);
    expect(await readBalance(postgres.db, OTHER)).toEqual({ discarded: 0, imported: 250, forgotten: 0 });
    expect(await readAudit(postgres.db, others[3]!.id, 1)).toMatchObject({ entries: [{ action: 'import' }] });
    // Discarded after it was put back, and the other way round: the last word counts.
    await operator().discard({ by: 'all' }, 'x', never);
    expect(
      await operator().import([
        { letter: part, rows },
        { letter: first, rows },
      ]),
    ).toEqual(['restored', 'divided']);
    expect(await allIds()).toEqual([part.id]);
  });

  test('the oldest are listed across causes, those of one instant too, and counted no further than asked', async () => {
    await addLetters(400);
    await query(
      `UPDATE failed_events SET created_at = to_timestamp(${oldest / 1_000}) WHERE error_fingerprint = 'group2'`,
    );
    const lookup = createDeadLetterQueries(postgres.db);
    for (const limit of [1, 20, 140, 1_000]) {
      const expected = await query(`SELECT id FROM failed_events ORDER BY created_at, id LIMIT ${limit}`);
      expect((await lookup.list({ by: 'all' }, null, limit)).map(({ id }) => id)).toEqual(expected.map(({ id }) => id));
    }
    expect(await lookup.countUpTo(100, { by: 'all' }, null)).toBe(100);
    expect(await lookup.countUpTo(1_000, { by: 'all' }, null)).toBe(400);
    expect(await lookup.countUpTo(1_000, { by: 'all' }, 'quarantined')).toBe(40);
    await query('TRUNCATE failed_events');
    expect(await lookup.list({ by: 'all' }, null, 10)).toEqual([]);
  });
});
