/** What the pipeline relies on in a dead-letter store, of the fake and of Postgres alike. */
import type { Pool } from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createLog } from '../../src/log/log.ts';
import { type Batch, remainderOf } from '../../src/pipeline/batch.ts';
import type { DeadLetter, DeadLetterStore, Retry } from '../../src/pipeline/dead-letter-port.ts';
import { type FailureClass, InsertFailure } from '../../src/pipeline/ports.ts';
import { createPostgres } from '../../src/postgres/connection/pool.ts';
import { createDeadLetters } from '../../src/postgres/dead-letters/dead-letters.ts';
import { createLockedDeadLetters } from '../../src/postgres/dead-letters/locked-dead-letters.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { OTHER_PROJECT, PROJECT } from '../support/factory.ts';
import { createDeadLettersFake } from '../support/fakes.ts';
import { batchIdOf, batchOf, goodRows, numbersIn, rowOf } from '../support/rows.ts';
import { isolatedUrl, startMigratedPostgres } from '../support/stores.ts';

/** One store with nothing in it, and what a test may do behind its back. */
type Subject = {
  readonly store: DeadLetterStore;
  /** Lets time pass for the table. */
  elapse(ms: number): Promise<void>;
  /** Spoils what is kept of a letter. */
  corrupt(id: string): Promise<void>;
  /** Why each quarantined letter is, by id. */
  quarantined(): Promise<Record<string, string>>;
};

const LEASE_MS = 60_000;
const ALL = { maxRows: 100, maxBytes: 1_000_000, leaseMs: LEASE_MS };

const failureOf = (failureClass: FailureClass, message = 'refused') => new InsertFailure(message, { failureClass });
const cause = (ambiguous = false) => ({ failure: failureOf(ambiguous ? 'ambiguous' : 'unavailable'), ambiguous });
const retryAfter = (delayMs: number, more: Partial<Retry> = {}): Retry => ({
  failure: failureOf('unknown'),
  ambiguous: false,
  wasSent: true,
  isCounted: true,
  exposedMs: 0,
  delayMs,
  ...more,
});
const idsOf = (letters: readonly DeadLetter[]) => letters.map(({ id }) => id);
const bytesOf = ({ chunks }: Pick<Batch, 'chunks'>) => Buffer.concat(chunks).toString('hex');

function contract(open: () => Promise<Subject>) {
  let subject: Subject;
  let store: DeadLetterStore;

  beforeEach(async () => {
    subject = await open();
    ({ store } = subject);
  });

  async function added(id: number, rows = goodRows(2, id * 10), ambiguous = false): Promise<Batch> {
    const batch = batchOf(id, rows);
    await store.add(batch, cause(ambiguous));
    return batch;
  }
  async function claimedOne(): Promise<DeadLetter> {
    const [letter] = await store.claim(ALL);
    return letter!;
  }

  async function letterToSplit(): Promise<DeadLetter> {
    await added(1, [{ n: 1 }, { n: 2 }, { n: 3, projectId: OTHER_PROJECT }], true);
    return claimedOne();
  }

  describe('add', () => {
    test('keeps a batch under its id, once however often it is called', async () => {
      const batch = await added(1);
      await store.add(batch, cause());
      const letters = await store.claim(ALL);
      expect(letters).toMatchObject([
        {
          id: batchIdOf(1),
          eventCount: 2,
          projectIds: [PROJECT],
          ambiguous: false,
          attemptCount: 0,
          exposedMs: 0,
        },
      ]);
      expect(bytesOf(letters[0]!)).toBe(bytesOf(batch));
    });

    test('a doubt that came up between two calls is kept, and never taken back', async () => {
      const batch = await added(1);
      await store.add(batch, cause(true));
      await store.add(batch, cause(false));
      expect(await claimedOne()).toMatchObject({ ambiguous: true });
    });

    test('a second call changes neither the lease nor the count of tries', async () => {
      const batch = await added(1);
      const letter = await claimedOne();
      await store.add(batch, cause());
      expect(await store.claim(ALL)).toEqual([]);
      expect(await store.complete(letter)).toBe(true);
    });

    test('a call that comes after the letter was split adds nothing: its rows live on in the parts', async () => {
      const batch = await added(1);
      const rows = goodRows(2, 10).map(rowOf);
      await store.split(await claimedOne(), [{ rows, failure: null, isQuarantined: false }], LEASE_MS);
      await store.add(batch, cause());
      expect(await store.measure()).toMatchObject({ rows: 1, events: 2 });
    });

    test.each([
      ['a NUL that is escaped', '{"a":"\\u0000"}'],
      ['a lone surrogate', '{"a":"\\ud800"}'],
      ['numbers beyond any type', '{"a":1e400,"b":123456789012345678901234567890}'],
      ['the same key twice', '{"b":1,"a":2,"b":3}'],
      ['invalid UTF-8', Buffer.from([0x7b, 0x22, 0xff, 0xc0, 0x22, 0x3a, 0x31, 0x7d])],
      ['a NUL byte', Buffer.from('{"a":"\0"}')],
      ['a long text', `{"a":"${'žluťoučký 🐎 '.repeat(5_000)}"}`],
    ])('%s comes back bit for bit (I10)', async (_name, properties) => {
      const batch = await added(1, [{ n: 1, properties }, { n: 2 }]);
      expect(bytesOf(await claimedOne())).toBe(bytesOf(batch));
    });
  });

  describe('claim', () => {
    test('takes ambiguous letters first, then those that have waited longest', async () => {
      for (const id of [1, 2, 3]) {
        await added(id);
        await subject.elapse(1_000);
      }
      await added(4, goodRows(1, 40), true);
      expect(idsOf(await store.claim({ ...ALL, maxRows: 2 }))).toEqual([4, 1].map(batchIdOf));
      expect(idsOf(await store.claim({ ...ALL, maxRows: 2 }))).toEqual([2, 3].map(batchIdOf));
    });

    test('takes only what is due', async () => {
      await added(1);
      expect(await store.retry(await claimedOne(), retryAfter(5_000))).toBe(true);
      await subject.elapse(4_000);
      expect(await store.claim(ALL)).toEqual([]);
      await subject.elapse(1_000);
      expect(await store.claim(ALL)).toHaveLength(1);
    });

    test('stays within its bytes, but takes one letter whatever its size', async () => {
      const { byteCount } = await added(1);
      await added(2);
      await added(3);
      expect(await store.claim({ ...ALL, maxBytes: byteCount * 2 })).toHaveLength(2);
      expect(await store.claim({ ...ALL, maxBytes: 1 })).toHaveLength(1);
    });

    test('never gives one letter to two who ask at the same time', async () => {
      for (let id = 1; id <= 20; id++) await added(id);
      const claims = await Promise.all(Array.from({ length: 8 }, () => store.claim({ ...ALL, maxRows: 5 })));
      const claimed = claims.flat().map(({ id }) => id);
      expect(new Set(claimed).size).toBe(claimed.length);
      const rest = await store.claim(ALL);
      expect([...claimed, ...idsOf(rest)].sort()).toEqual(
        Array.from({ length: 20 }, (_, n) => batchIdOf(n + 1)).sort(),
      );
    });

    test('a lease that ran out brings the letter back, in doubt', async () => {
      await added(1);
      await store.claim(ALL);
      await subject.elapse(LEASE_MS - 1_000);
      expect(await store.claim(ALL)).toEqual([]);
      await subject.elapse(1_000);
      expect(await store.claim(ALL)).toMatchObject([{ id: batchIdOf(1), ambiguous: true, attemptCount: 0 }]);
    });

    test('what was asked without sending leaves the age of the last try as it was', async () => {
      await added(1);
      await subject.elapse(30_000);
      await store.retry(await claimedOne(), retryAfter(0, { wasSent: false }));
      expect((await claimedOne()).sinceLastAttemptMs).toBeGreaterThanOrEqual(30_000);
    });

    test('a letter whose batch landed after all is forgotten, unless somebody works on it', async () => {
      await added(1);
      await store.forget(batchIdOf(1));
      expect(await store.claim(ALL)).toEqual([]);
      await added(2);
      const held = await claimedOne();
      await store.forget(batchIdOf(2));
      expect(await store.complete(held)).toBe(true);
    });

    test('says how long ago the last try was', async () => {
      await added(1);
      await subject.elapse(30_000);
      const { sinceLastAttemptMs } = await claimedOne();
      expect(sinceLastAttemptMs).toBeGreaterThanOrEqual(30_000);
      expect(sinceLastAttemptMs).toBeLessThan(40_000);
    });

    test('a letter that cannot be read is quarantined, and the others are claimed', async () => {
      await added(1);
      await added(2);
      await subject.corrupt(batchIdOf(1));
      expect(idsOf(await store.claim(ALL))).toEqual([batchIdOf(2)]);
      expect(await subject.quarantined()).toEqual({ [batchIdOf(1)]: 'unreadable payload' });
    });
  });

  describe('a lease', () => {
    const changes: Record<string, (letter: DeadLetter) => Promise<unknown>> = {
      renew: (letter) => store.renew(letter, LEASE_MS),
      complete: (letter) => store.complete(letter),
      retry: (letter) => store.retry(letter, retryAfter(0)),
      release: (letter) => store.release(letter),
      clearAmbiguity: (letter) => store.clearAmbiguity(letter),
      quarantine: (letter) => store.quarantine(letter, 'refused', failureOf('data')),
      split: (letter) =>
        store.split(letter, [{ rows: [rowOf({ n: 10 })], failure: null, isQuarantined: false }], LEASE_MS),
    };

    test.each(Object.keys(changes))('that ran out and was given to another cannot %s (I7)', async (name) => {
      await added(1);
      const stale = await claimedOne();
      await subject.elapse(LEASE_MS);
      const held = await claimedOne();
      expect(await changes[name]!(stale)).toBeOneOf([false, null]);
      expect(await store.measure()).toMatchObject({ rows: 1, events: 2, quarantinedRows: 0 });
      expect(await store.complete(held)).toBe(true);
    });

    test.each(Object.keys(changes).filter((name) => name !== 'renew' && name !== 'clearAmbiguity' && name !== 'split'))(
      'ends with %s: nothing can be changed under it twice (I7)',
      async (name) => {
        await added(1);
        const letter = await claimedOne();
        expect(await changes[name]!(letter)).toBe(true);
        for (const again of Object.values(changes)) expect(await again(letter)).toBeOneOf([false, null]);
      },
    );

    test('is prolonged by renew', async () => {
      await added(1);
      const letter = await claimedOne();
      await subject.elapse(LEASE_MS - 10_000);
      expect(await store.renew(letter, LEASE_MS)).toBe(true);
      await subject.elapse(LEASE_MS - 10_000);
      expect(await store.claim(ALL)).toEqual([]);
    });
  });

  test('retry counts a try and its waiting time only when told to', async () => {
    await added(1);
    await store.retry(await claimedOne(), retryAfter(0, { exposedMs: 700, ambiguous: true }));
    await store.retry(await claimedOne(), retryAfter(0, { exposedMs: 50, isCounted: false }));
    expect(await claimedOne()).toMatchObject({ attemptCount: 1, exposedMs: 750, ambiguous: false });
  });

  test('release gives the letter back at once, as it was and without a doubt', async () => {
    await added(1);
    await store.release(await claimedOne());
    expect(await claimedOne()).toMatchObject({ id: batchIdOf(1), ambiguous: false, attemptCount: 0 });
  });

  test('what was given back is due at once, whatever part of a millisecond it is', async () => {
    await added(1);
    for (let i = 0; i < 200; i += 1) {
      const letter = await claimedOne();
      expect(letter, `claim ${i}`).toBeDefined();
      await store.release(letter);
    }
  });

  test('clearAmbiguity takes the doubt away and keeps the lease', async () => {
    await added(1, goodRows(1), true);
    const letter = await claimedOne();
    expect(await store.clearAmbiguity(letter)).toBe(true);
    expect(await store.release(letter)).toBe(true);
    expect(await claimedOne()).toMatchObject({ ambiguous: false });
  });

  test('a quarantined letter stays, with its reason, and is not claimed', async () => {
    await added(1);
    await store.quarantine(await claimedOne(), 'exhausted', failureOf('data'));
    await subject.elapse(LEASE_MS * 10);
    expect(await store.claim(ALL)).toEqual([]);
    expect(await subject.quarantined()).toEqual({ [batchIdOf(1)]: 'exhausted' });
    expect(await store.measure()).toMatchObject({ rows: 0, events: 0, quarantinedRows: 1, quarantinedEvents: 2 });
  });

  describe('split', () => {
    const rows = [1, 2, 3].map((n) => rowOf({ n, projectId: n === 3 ? OTHER_PROJECT : PROJECT }));
    const parts = [
      { rows: [rows[0]!, rows[2]!], failure: null, isQuarantined: false },
      { rows: [rows[1]!], failure: failureOf('data'), isQuarantined: true },
    ];
    test('replaces the letter: the living parts leased to the caller, the bad ones in quarantine', async () => {
      const letter = await letterToSplit();
      const alive = (await store.split(letter, parts, LEASE_MS))!;
      expect(alive.map(({ chunks }) => numbersIn(chunks))).toEqual([[1, 3]]);
      expect(alive).toMatchObject([
        {
          eventCount: 2,
          projectIds: [PROJECT, OTHER_PROJECT],
          ambiguous: false,
          attemptCount: 0,
          exposedMs: 0,
        },
      ]);
      expect(Object.values(await subject.quarantined())).toEqual(['refused']);
      expect(await store.measure()).toMatchObject({ rows: 1, events: 2, quarantinedRows: 1, quarantinedEvents: 1 });
      expect(await store.claim(ALL)).toEqual([]);
      expect(await store.complete(alive[0]!)).toBe(true);
      expect(await store.complete(letter)).toBe(false);
    });

    test('the parts come back when their lease runs out', async () => {
      await store.split(await letterToSplit(), parts, LEASE_MS);
      await subject.elapse(LEASE_MS);
      expect(await store.claim(ALL)).toMatchObject([{ eventCount: 2, ambiguous: true }]);
    });

    test('ids follow from the letter and the rows, so that a repeated split makes the same letters', async () => {
      const first = (await store.split(await letterToSplit(), parts, LEASE_MS))!;
      const firstBad = Object.keys(await subject.quarantined());
      subject = await open();
      ({ store } = subject);
      const second = (await store.split(await letterToSplit(), parts, LEASE_MS))!;
      expect(idsOf(second)).toEqual(idsOf(first));
      expect(Object.keys(await subject.quarantined())).toEqual(firstBad);
      expect(new Set([batchIdOf(1), ...idsOf(first), ...firstBad]).size).toBe(3);
    });

    test('parts with the same bytes are letters of their own, as when a client sent one event twice', async () => {
      const twins = [rows[1]!, rows[1]!].map((row) => ({
        rows: [row],
        failure: failureOf('data'),
        isQuarantined: true,
      }));
      const alive = await store.split(
        await letterToSplit(),
        [{ rows: [rows[0]!], failure: null, isQuarantined: false }, ...twins],
        LEASE_MS,
      );
      expect(alive).toHaveLength(1);
      expect(await store.measure()).toMatchObject({ rows: 1, quarantinedRows: 2, quarantinedEvents: 2 });
    });
  });

  describe('rows taken out of a fresh batch', () => {
    const batch = batchOf(1, goodRows(5));
    const rowsAt = (...places: number[]) => places.map((n) => rowOf({ n }));
    const parts = [
      { rows: rowsAt(1, 3), failure: failureOf('data', 'bad'), isQuarantined: true },
      { rows: rowsAt(4), failure: failureOf('data', 'unfit'), isQuarantined: false },
    ];
    const remainder = remainderOf(batch, [1, 3, 4])!;

    test('are letters by their cause, and known to be out of it', async () => {
      expect(await store.takenOutOf(batch.id)).toBeNull();
      expect(await store.addParts(batch, parts, [1, 3, 4])).toEqual([1, 3, 4]);
      expect(await store.takenOutOf(batch.id)).toEqual([1, 3, 4]);
      expect(Object.values(await subject.quarantined())).toEqual(['refused']);
      expect(await store.measure()).toMatchObject({ rows: 1, events: 1, quarantinedRows: 1, quarantinedEvents: 2 });
      await subject.elapse(20_000);
      expect((await store.claim(ALL)).map(({ chunks }) => numbersIn(chunks))).toEqual([[4]]);
    });

    test('are so once: what an earlier call took out holds, whatever a later one finds', async () => {
      await store.addParts(batch, parts, [1, 3, 4]);
      expect(await store.addParts(batch, parts, [1, 3, 4])).toEqual([1, 3, 4]);
      expect(await store.addParts(batch, parts.slice(0, 1), [1, 3])).toEqual([1, 3, 4]);
      expect(await store.measure()).toMatchObject({ rows: 1, events: 1, quarantinedRows: 1, quarantinedEvents: 2 });
    });

    test('two calls at once take them out once', async () => {
      const answers = await Promise.all([1, 2, 3].map(() => store.addParts(batch, parts, [1, 3, 4])));
      expect(answers).toEqual([1, 2, 3].map(() => [1, 3, 4]));
      expect(await store.measure()).toMatchObject({ rows: 1, quarantinedRows: 1 });
    });

    test('after the batch was added whole, as by a process that had stood still, keep no one from splitting it', async () => {
      await store.add(batch, cause());
      await store.addParts(batch, parts.slice(0, 1), [1, 3]);
      await subject.elapse(20_000);
      const whole = (await store.claim(ALL)).find(({ id }) => id === batch.id)!;
      const others = { rows: rowsAt(0, 2, 4), failure: null, isQuarantined: false };
      const alive = await store.split(whole, [others, parts[0]!], LEASE_MS);
      expect(alive!.map(({ chunks }) => numbersIn(chunks))).toEqual([[0, 2, 4]]);
      expect(await store.complete(alive![0]!)).toBe(true);
      expect(await store.measure()).toMatchObject({ rows: 0, quarantinedRows: 1, quarantinedEvents: 2 });
    });

    test('are not added again with the batch: what is added is what remains, in doubt', async () => {
      await store.addParts(batch, parts, [1, 3, 4]);
      await store.add(batch, cause());
      await subject.elapse(20_000);
      const letters = await store.claim(ALL);
      expect(letters.map(({ chunks }) => numbersIn(chunks))).toEqual([[0, 2], [4]]);
      expect(letters[0]).toMatchObject({ id: remainder.id, ambiguous: true, eventCount: 2 });
      expect(bytesOf(letters[0]!)).toBe(bytesOf(remainder));
    });

    test('may be all of it: then nothing is left to add', async () => {
      const all = [{ rows: rowsAt(0, 1, 2, 3, 4), failure: failureOf('data'), isQuarantined: true }];
      await store.addParts(batch, all, [0, 1, 2, 3, 4]);
      await store.add(batch, cause());
      expect(await store.measure()).toMatchObject({ rows: 0, quarantinedRows: 1, quarantinedEvents: 5 });
    });

    test('may be thousands, anywhere', async () => {
      const large = batchOf(2, goodRows(5_000));
      const places = goodRows(5_000).flatMap(({ n }) => (n % 7 === 3 ? [n] : []));
      const bad = [{ rows: rowsAt(...places), failure: failureOf('data'), isQuarantined: true }];
      await store.addParts(large, bad, places);
      expect(await store.takenOutOf(large.id)).toEqual(places);
    });
  });

  test('measure counts what waits and what is apart, and since when', async () => {
    expect(await store.measure()).toEqual({
      rows: 0,
      events: 0,
      bytes: 0,
      oldestAt: null,
      quarantinedRows: 0,
      quarantinedEvents: 0,
      isEstimate: false,
    });
    const first = await added(1);
    const { createdAt } = await claimedOne();
    await subject.elapse(5_000);
    const second = await added(2, goodRows(3, 20));
    expect(await store.measure()).toMatchObject({
      rows: 2,
      events: 5,
      bytes: first.byteCount + second.byteCount,
      quarantinedRows: 0,
    });
    const { oldestAt } = await store.measure();
    expect(Math.abs(oldestAt! - createdAt)).toBeLessThan(6_000);
  });
}

describe('the fake', () => {
  contract(async () => {
    const store = createDeadLettersFake();
    return {
      store,
      elapse: async (ms) => store.jump(ms),
      corrupt: async (id) => void (store.letters.get(id)!.isCorrupt = true),
      quarantined: async () =>
        Object.fromEntries(store.quarantined().map(({ id, quarantinedFor }) => [id, quarantinedFor!])),
    };
  });
});

describe.each(['read committed', 'repeatable read'])('Postgres, by default %s', (level) => {
  let started: Awaited<ReturnType<typeof startMigratedPostgres>>;
  let postgres: typeof started.postgres;

  beforeAll(async () => {
    started = await startMigratedPostgres();
    postgres = createPostgres({ url: isolatedUrl(started.server.url, level), maxConnections: 10 }, createLog('silent'));
  });
  afterAll(async () => {
    await postgres?.pool.end();
    await started?.stop();
  });

  contract(async () => {
    const { pool, db } = postgres;
    await pool.query('TRUNCATE failed_events, failed_events_audit');
    return {
      store: createDeadLetters(db, createLog('silent')),
      elapse: async (ms) =>
        void (await pool.query(
          `UPDATE failed_events SET visible_at = visible_at - $1 * interval '1 millisecond',
           last_attempt_at = last_attempt_at - $1 * interval '1 millisecond'`,
          [ms],
        )),
      corrupt: async (id) =>
        void (await pool.query(`UPDATE failed_events SET payload = 'rubbish' WHERE id = $1`, [id])),
      quarantined: async () => {
        const { rows } = await pool.query<{ id: string; quarantine_reason: string }>(
          'SELECT id, quarantine_reason FROM failed_events WHERE quarantined_at IS NOT NULL',
        );
        return Object.fromEntries(rows.map(({ id, quarantine_reason }) => [id, quarantine_reason]));
      },
    };
  });

  test('locks the next letter when one goes while it is looked for', async () => {
    const { pool, db } = postgres;
    await pool.query('TRUNCATE failed_events, failed_events_audit');
    for (const n of [1, 2]) await createDeadLetters(db, createLog('silent')).add(batchOf(n, goodRows(1, n)), cause());
    const connection = await pool.connect();
    const { query } = connection;
    const meanwhile = async (...args: unknown[]) => {
      if (/SKIP LOCKED/.test(String(args[0])))
        await pool.query('DELETE FROM failed_events WHERE id = $1', [batchIdOf(1)]);
      return Reflect.apply(query, connection, args) as unknown;
    };
    const ofOne = { connect: async () => Object.assign(connection, { query: meanwhile }) } as unknown as Pool;
    const { take, store } = createLockedDeadLetters({ pool: ofOne, clock: systemClock }, { lockMs: 10_000 });
    const letter = await take();
    expect(letter!.id).toBe(batchIdOf(2));
    expect(await store.complete(letter!)).toBe(true);
  });

  test('knows the projects of a batch, also of one split off', async () => {
    const { pool, db } = postgres;
    await pool.query('TRUNCATE failed_events, failed_events_audit');
    const store = createDeadLetters(db, createLog('silent'));
    await store.add(batchOf(1, [{ n: 1 }, { n: 2, projectId: OTHER_PROJECT }]), cause());
    const projectsOf = async () => {
      const { rows } = await pool.query<{ p: string[] }>('SELECT project_ids AS p FROM failed_events');
      return rows.map(({ p }) => p);
    };
    expect(await projectsOf()).toEqual([[PROJECT, OTHER_PROJECT]]);
    const [letter] = await store.claim(ALL);
    await store.split(
      letter!,
      [{ rows: [rowOf({ n: 2, projectId: OTHER_PROJECT })], failure: null, isQuarantined: false }],
      LEASE_MS,
    );
    expect(await projectsOf()).toEqual([[OTHER_PROJECT]]);
  });

  test('keeps at most 2 kB of an error, and the same fingerprint for the same cause', async () => {
    const { pool, db } = postgres;
    await pool.query('TRUNCATE failed_events, failed_events_audit');
    const store = createDeadLetters(db, createLog('silent'));
    for (const n of [1, 2]) {
      const failure = failureOf('unknown', `part ${n} of ${batchIdOf(n)} is broken ${'x'.repeat(5_000)}`);
      await store.add(batchOf(n, goodRows(1, n)), { failure, ambiguous: false });
    }
    const { rows } = await pool.query<{ length: number; fingerprint: string }>(
      'SELECT length(last_error) AS length, error_fingerprint AS fingerprint FROM failed_events',
    );
    expect(rows.map(({ length }) => length)).toEqual([2_000, 2_000]);
    expect(new Set(rows.map(({ fingerprint }) => fingerprint)).size).toBe(1);
  });
});
