/** Whether work gets on, and what health says when it does not. */
import { describe, expect, test } from 'vitest';
import { type StallFacts, stallReasons } from '../src/http/health/stalls.ts';
import { type FailureClass, InsertFailure } from '../src/pipeline/ports.ts';
import { createProgress } from '../src/pipeline/progress.ts';
import { createManualClock } from './support/clock.ts';

const MINUTE = 60_000;
const START = '2026-01-01T00:00:00.000Z';

function start() {
  const clock = createManualClock(Date.parse(START));
  const watch = createProgress({ clock });
  let depth: StallFacts['deadLetters'] = null;
  const refusedWith = (failureClass: FailureClass, code: number | null) =>
    watch.tried({ failure: new InsertFailure('refused', { failureClass, code }) });
  return {
    ...watch,
    clock,
    land: () => watch.tried({ failure: null }),
    refuse: () => refusedWith('capacity', 252),
    refusedWith,
    failPass: (code?: string) => watch.passEnded(Object.assign(new Error('postgres refused'), { code })),
    /** As the drain measures: so many letters, of which the oldest was made at that time. */
    measure(rows: number, oldestAt: number | null) {
      depth = {
        rows,
        events: rows,
        bytes: rows,
        oldestAt,
        quarantinedRows: 0,
        quarantinedEvents: 0,
        isEstimate: false,
      };
      watch.measured(depth);
    },
    reasons: (changed: Partial<StallFacts> = {}) =>
      stallReasons({
        progress: watch.read(),
        deadLetters: depth,
        areInsertsSent: true,
        isPostgresWritable: true,
        ...changed,
      }),
  };
}

test('a process that has just started, and one without traffic, say nothing however long that lasts', async () => {
  const { clock, land, measure, passEnded, reasons } = start();
  expect(reasons()).toEqual([]);
  land();
  measure(0, null);
  passEnded(null);
  await clock.advance(24 * 60 * MINUTE);
  expect(reasons()).toEqual([]);
});

describe('batches that do not land', () => {
  test.each([
    ['capacity', 252, 'capacity, code 252'],
    ['unknown', 401, 'unknown, code 401'],
    ['data', 469, 'data, code 469'],
    ['unknown', null, 'unknown'],
  ] as const)(
    'for a reason of class %s (code %s) are said, with the time since and the number of tries',
    async (...of) => {
      const [failureClass, code, cause] = of;
      const { clock, land, refusedWith, reasons } = start();
      land();
      await clock.advance(2_000);
      for (let tries = 0; tries < 6; tries++) {
        refusedWith(failureClass, code);
        await clock.advance(2_000);
      }
      expect(reasons()).toEqual([`no batch has landed since ${START} though 6 were tried (${cause})`]);
    },
  );

  test('since the start, when none has landed', async () => {
    const { clock, refuse, reasons } = start();
    for (let tries = 0; tries < 3; tries++) refuse();
    await clock.advance(10_000);
    expect(reasons()).toEqual(['no batch has landed since the start though 3 were tried (capacity, code 252)']);
  });

  test('for a moment are not, be they many', async () => {
    const { clock, land, refuse, reasons } = start();
    for (let tries = 0; tries < 50; tries++) refuse();
    await clock.advance(9_999);
    expect(reasons()).toEqual([]);
    await clock.advance(1);
    expect(reasons()).toHaveLength(1);
    land();
    expect(reasons()).toEqual([]);
    // What was refused before it counts no more.
    refuse();
    await clock.advance(MINUTE);
    expect(reasons()).toEqual([]);
  });

  test('one or two of them are not, be it long', async () => {
    const { clock, refuse, reasons } = start();
    refuse();
    refuse();
    await clock.advance(MINUTE);
    expect(reasons()).toEqual([]);
  });

  test('are of the past once nothing is tried any more', async () => {
    const { clock, refuse, reasons } = start();
    for (let tries = 0; tries < 5; tries++) refuse();
    await clock.advance(9 * MINUTE);
    expect(reasons()).toHaveLength(1);
    await clock.advance(MINUTE);
    expect(reasons()).toEqual([]);
  });

  test('are not said beside an outage or an open breaker, which say it themselves', async () => {
    const { clock, refuse, reasons } = start();
    for (let tries = 0; tries < 5; tries++) refuse();
    await clock.advance(MINUTE);
    expect(reasons({ areInsertsSent: false })).toEqual([]);
  });

  test('a wall clock that jumps changes nothing', async () => {
    const { clock, refuse, reasons } = start();
    for (let tries = 0; tries < 5; tries++) refuse();
    clock.jump(60 * MINUTE);
    expect(reasons()).toEqual([]);
    await clock.advance(MINUTE);
    clock.jump(-120 * MINUTE);
    expect(reasons()).toHaveLength(1);
  });
});

describe('the drain', () => {
  test('that was paused is said at once, with the time and who it was', () => {
    const { paused, reasons } = start();
    paused({ since: Date.parse(START), by: 'ada' });
    expect(reasons()).toEqual([`the drain has been paused since ${START} by ada`]);
    paused({ since: null, by: null });
    expect(reasons()).toEqual(['the drain has been paused since before the start']);
    paused(null);
    expect(reasons()).toEqual([]);
  });

  test('whose passes fail is said when that lasts, and no more after one that succeeds', async () => {
    const { clock, failPass, passEnded, reasons } = start();
    failPass('57014');
    await clock.advance(5_000);
    expect(reasons()).toEqual([]);
    failPass('53100');
    expect(reasons()).toEqual([`drain passes have been failing since ${START} (53100)`]);
    expect(reasons({ isPostgresWritable: false })).toEqual([]);
    passEnded(null);
    expect(reasons()).toEqual([]);
  });

  test('whose passes fail for a reason without a code is said all the same', async () => {
    const { clock, failPass, reasons } = start();
    failPass();
    failPass();
    await clock.advance(5_000);
    expect(reasons()).toEqual([`drain passes have been failing since ${START} (no code)`]);
  });
});

describe('dead letters', () => {
  test('of which the oldest does not leave are said', async () => {
    const { clock, measure, reasons } = start();
    const made = clock.now();
    for (let minute = 0; minute < 10; minute++) {
      measure(9 + minute, made);
      expect(reasons()).toEqual([]);
      await clock.advance(MINUTE);
    }
    expect(reasons()).toEqual([`18 dead letters have been waiting since ${START} and the oldest one is stuck`]);
    measure(17, clock.now());
    expect(reasons()).toEqual([]);
  });

  test('that leave one after the other, as after an outage or spread by an operator, are not', async () => {
    const { clock, measure, reasons } = start();
    const hoursAgo = clock.now() - 300 * MINUTE;
    for (let left = 60; left > 0; left--) {
      measure(left, hoursAgo + (60 - left));
      await clock.advance(9 * MINUTE);
      expect(reasons()).toEqual([]);
    }
    measure(0, null);
    await clock.advance(60 * MINUTE);
    expect(reasons()).toEqual([]);
  });

  test('that were never measured are not', async () => {
    const { clock, reasons } = start();
    await clock.advance(60 * MINUTE);
    expect(reasons()).toEqual([]);
  });
});

test('moments are kept for a page: the last landing and the last pass', async () => {
  const { clock, land, passEnded, refuse, failPass, read } = start();
  land();
  await clock.advance(1_000);
  passEnded(null);
  await clock.advance(1_000);
  refuse();
  failPass();
  expect(read()).toMatchObject({
    landed: { at: Date.parse(START), agoMs: 2_000 },
    passed: { at: Date.parse(START) + 1_000, agoMs: 1_000 },
    refused: { tries: 1, first: { agoMs: 0 } },
    failingPasses: { passes: 1 },
  });
});
