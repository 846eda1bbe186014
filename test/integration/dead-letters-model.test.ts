/** Random work of two drainers on a real dead-letter table, beside the fake that says what must come of it. */
import fc from '../support/fast-check.ts';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { splitRows } from '../../src/event/rows.ts';
import { createLog } from '../../src/log/log.ts';
import type { DeadLetter, DeadLetterStore } from '../../src/pipeline/dead-letter-port.ts';
import { InsertFailure } from '../../src/pipeline/ports.ts';
import { createDeadLetters } from '../../src/postgres/dead-letters/dead-letters.ts';
import { createManualClock } from '../support/clock.ts';
import { createDeadLettersFake, type DeadLettersFake } from '../support/fakes.ts';
import { batchOf, goodRows, numbersIn } from '../support/rows.ts';
import { startMigratedPostgres } from '../support/stores.ts';

let started: Awaited<ReturnType<typeof startMigratedPostgres>>;
let postgres: typeof started.postgres;

beforeAll(async () => {
  started = await startMigratedPostgres();
  ({ postgres } = started);
});
afterAll(() => started?.stop());

/** Long against the time that really passes while a run lasts. */
const LEASE_MS = 3_600_000;
const failure = new InsertFailure('refused', { failureClass: 'data' });

/** A letter as both stores hold it, claimed by the same drainer in the same step. */
type Pair = { readonly model: DeadLetter; readonly real: DeadLetter };
/** What a drainer believes to hold; a lease may have been lost without its knowing. */
type Drainer = { held: Pair[] };
type Model = { readonly store: DeadLettersFake; readonly drainers: readonly Drainer[]; batches: number };
type Real = { readonly store: DeadLetterStore; elapse(ms: number): Promise<void> };
type Command = fc.AsyncCommand<Model, Real>;

const bytesOf = ({ chunks }: DeadLetter) => Buffer.concat(chunks).toString('hex');
/** What both must agree on, whatever ids their parts have. */
const viewOf = (letter: DeadLetter) => ({
  numbers: numbersIn(letter.chunks),
  bytes: bytesOf(letter),
  events: letter.eventCount,
  ambiguous: letter.ambiguous,
  tries: letter.attemptCount,
  exposedMs: letter.exposedMs,
});
const byBytes = (a: DeadLetter, b: DeadLetter) => (bytesOf(a) < bytesOf(b) ? -1 : 1);

async function depthsAgree(model: Model, real: Real) {
  const { oldestAt: _a, ...expected } = await model.store.measure();
  const { oldestAt: _b, ...found } = await real.store.measure();
  expect(found).toEqual(expected);
}

/** A step: does it to both, compares the answers, then what is left. */
function step(
  name: string,
  run: (model: Model, real: Real) => Promise<void>,
  check: (model: Readonly<Model>) => boolean = () => true,
): Command {
  return {
    check,
    run: async (model, real) => {
      await run(model, real);
      await depthsAgree(model, real);
    },
    toString: () => name,
  };
}

const add = (count: number, ambiguous: boolean) =>
  step(`add(${count}${ambiguous ? ', ambiguous' : ''})`, async (model, real) => {
    const id = ++model.batches;
    const batch = batchOf(id, goodRows(count, id * 10));
    for (const { store } of [model, real]) await store.add(batch, { failure, ambiguous });
  });

const addAgain = (which: number) =>
  step(
    `addAgain(${which})`,
    async (model, real) => {
      const id = 1 + (which % model.batches);
      // As it was first added, or the doubt would be a new one; its size is asked of the model.
      const known = model.store.letters.get(batchOf(id, goodRows(1)).id);
      if (!known) return;
      const batch = { ...batchOf(id, goodRows(known.eventCount, id * 10)) };
      for (const { store } of [model, real]) await store.add(batch, { failure, ambiguous: true });
    },
    ({ batches }) => batches > 0,
  );

const claimAll = (who: number) =>
  step(`claim(${who})`, async (model, real) => {
    const limits = { maxRows: 1_000, maxBytes: 10_000_000, leaseMs: LEASE_MS };
    const expected = (await model.store.claim(limits)).sort(byBytes);
    const found = (await real.store.claim(limits)).sort(byBytes);
    expect(found.map(viewOf)).toEqual(expected.map(viewOf));
    model.drainers[who]!.held.push(...expected.map((letter, index) => ({ model: letter, real: found[index]! })));
  });

/** A change of one letter that the drainer believes to hold, whether or not it still does. */
function change(
  name: string,
  who: number,
  which: number,
  apply: (store: DeadLetterStore, letter: DeadLetter) => Promise<unknown>,
): Command {
  return step(
    `${name}(${who}, ${which})`,
    async (model, real) => {
      const { held } = model.drainers[who]!;
      const pair = held[which % held.length]!;
      const expected = await apply(model.store, pair.model);
      const found = await apply(real.store, pair.real);
      if (!Array.isArray(expected) || !Array.isArray(found)) return expect(found).toEqual(expected);
      const parts = expected as DeadLetter[];
      expect(found.map(viewOf)).toEqual(parts.map(viewOf));
      held.push(...parts.map((part, index) => ({ model: part, real: (found as DeadLetter[])[index]! })));
    },
    ({ drainers }) => drainers[who]!.held.length > 0,
  );
}

const expire = step('expire', async (model, real) => {
  model.store.jump(LEASE_MS);
  await real.elapse(LEASE_MS);
});

const who = fc.integer({ min: 0, max: 1 });
const which = fc.nat(20);
const changeOf = (name: string, apply: (store: DeadLetterStore, letter: DeadLetter) => Promise<unknown>) =>
  fc.tuple(who, which).map(([by, letter]) => change(name, by, letter, apply));

const commands = fc.commands(
  [
    fc.tuple(fc.integer({ min: 1, max: 5 }), fc.boolean()).map(([count, ambiguous]) => add(count, ambiguous)),
    which.map(addAgain),
    who.map(claimAll),
    fc.constant(expire),
    changeOf('complete', (store, letter) => store.complete(letter)),
    changeOf('release', (store, letter) => store.release(letter)),
    changeOf('renew', (store, letter) => store.renew(letter, LEASE_MS)),
    changeOf('clearAmbiguity', (store, letter) => store.clearAmbiguity(letter)),
    changeOf('quarantine', (store, letter) => store.quarantine(letter, 'refused', failure)),
    changeOf('retry', (store, letter) =>
      store.retry(letter, {
        failure,
        ambiguous: false,
        wasSent: true,
        isCounted: true,
        exposedMs: 7,
        delayMs: LEASE_MS / 2,
      }),
    ),
    changeOf('split', (store, letter) => {
      const rows = splitRows(Buffer.concat(letter.chunks));
      const good = rows.slice(1);
      const parts = [
        { rows: rows.slice(0, 1), failure: failure, isQuarantined: true },
        ...(good.length > 0 ? [{ rows: good, failure: null, isQuarantined: false }] : []),
      ];
      return store.split(letter, parts, LEASE_MS);
    }),
  ],
  // Without a size, runs end long before a lease is held, lost and used again.
  { maxCommands: 60, size: 'max' },
);

test('two drainers change the table as the model says, with leases that are held, lost and stale (I7)', async () => {
  await fc.assert(
    fc.asyncProperty(commands, async (some) => {
      const { pool, db } = postgres;
      await pool.query('TRUNCATE failed_events, failed_events_audit');
      const setup = () => ({
        model: {
          store: createDeadLettersFake({ clock: createManualClock() }),
          drainers: [{ held: [] }, { held: [] }],
          batches: 0,
        } satisfies Model as Model,
        real: {
          store: createDeadLetters(db, createLog('silent')),
          elapse: async (ms: number) =>
            void (await pool.query(
              `UPDATE failed_events SET visible_at = visible_at - $1 * interval '1 millisecond',
               last_attempt_at = last_attempt_at - $1 * interval '1 millisecond'`,
              [ms],
            )),
        },
      });
      await fc.asyncModelRun(setup, some);
    }),
    { numRuns: 60 },
  );
});
