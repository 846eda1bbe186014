/** Rejected events on their way to the store that keeps them: bounded, in order, and never in the way. */
import { expect, test } from 'vitest';
import { createLog } from '../src/log/log.ts';
import { createRejectedKeeper } from '../src/pipeline/rejected-keeper.ts';
import type { KeepOutcome, RejectedEvent } from '../src/pipeline/rejected-port.ts';
import { createManualClock, settled } from './support/clock.ts';

let made = 0;
const eventOf = (bytes = 10): RejectedEvent => ({
  id: `event-${++made}`,
  projectId: 'project',
  door: 'segment',
  path: '/v1/batch',
  kind: 'missing_field',
  reason: 'type required',
  bytes: Buffer.alloc(bytes, 'x'),
  index: 0,
  receivedAt: 0,
  facts: { sentAt: null, ip: null, userAgent: null },
});
const captured = (events: readonly RejectedEvent[], more: { tooLarge?: number; surplus?: number } = {}) => ({
  events,
  tooLarge: 0,
  surplus: 0,
  ...more,
});

function setup() {
  const clock = createManualClock();
  const lines: Record<string, unknown>[] = [];
  const log = createLog('warn', {
    write: (line: string) => void lines.push(JSON.parse(line) as Record<string, unknown>),
  });
  const kept: RejectedEvent[] = [];
  const batches: number[] = [];
  const state = { outcome: 'kept' as KeepOutcome, isAway: false, isHanging: false, expired: 0 };
  const keeper = createRejectedKeeper({
    store: {
      async keep(events) {
        if (state.isHanging) await new Promise(() => {});
        batches.push(events.length);
        if (state.outcome === 'kept') kept.push(...events);
        return state.outcome;
      },
      expire: async () => void state.expired++,
    },
    isAway: () => state.isAway,
    clock,
    log,
  });
  const stop = new AbortController();
  let hasEnded = false;
  const ended = keeper.run(stop.signal).then(() => (hasEnded = true));
  return { clock, lines, kept, batches, state, keeper, stop, ended, hasEnded: () => hasEnded };
}

test('a second later they are kept, in batches and in their order', async () => {
  const { clock, kept, batches, keeper } = setup();
  const events = Array.from({ length: 450 }, () => eventOf());
  for (const event of events) keeper.hold(captured([event])).keep();
  expect(kept).toEqual([]);
  await clock.advance(1_000);
  expect(kept).toEqual(events);
  expect(batches).toEqual([200, 200, 50]);
  expect(keeper.kept()).toBe(450);
});

test('a batch has a few megabytes at most, and one event at least', async () => {
  const { clock, batches, keeper } = setup();
  const MIB = 1024 * 1024;
  keeper.hold(captured([eventOf(MIB), eventOf(MIB), eventOf(MIB), eventOf(3 * MIB)])).keep();
  await clock.advance(1_000);
  expect(batches).toEqual([2, 1, 1]);
});

test('nothing is kept of a request that was refused, and its room is given back', async () => {
  const { clock, kept, keeper } = setup();
  const held = keeper.hold(captured(Array.from({ length: 1_000 }, () => eventOf())));
  expect(keeper.hasRoom()).toBe(false);
  held.drop();
  expect(keeper.hasRoom()).toBe(true);
  keeper.hold(captured([eventOf()])).keep();
  await clock.advance(1_000);
  expect(kept).toHaveLength(1);
  expect(keeper.notKept()).toEqual({ queue_full: 0, store: 0, too_large: 0, ended: 0 });
});

test('the queue is bounded in events and in bytes; what does not fit is counted and said', async () => {
  const { clock, lines, kept, keeper, state } = setup();
  state.isAway = true;
  for (let request = 0; request < 11; request += 1) {
    keeper.hold(captured(Array.from({ length: 100 }, () => eventOf()))).keep();
  }
  keeper.hold(captured([], { tooLarge: 2, surplus: 3 })).keep();
  expect(keeper.notKept()).toMatchObject({ queue_full: 103, too_large: 2 });
  await clock.advance(1_000);
  expect(lines).toMatchObject([{ events: 105, msg: 'rejected events were not kept' }]);
  state.isAway = false;
  await clock.advance(5_000);
  expect(kept).toHaveLength(1_000);
  for (let n = 0; n < 9; n += 1) keeper.hold(captured([eventOf(1024 * 1024)])).keep();
  expect(keeper.notKept()).toMatchObject({ queue_full: 104 });
});

test('while the store is away they wait, and are kept when it is back', async () => {
  const { clock, lines, kept, batches, keeper, state } = setup();
  state.outcome = 'away';
  keeper.hold(captured([eventOf(), eventOf()])).keep();
  await clock.advance(60_000);
  expect(kept).toEqual([]);
  // Once at first, then every five seconds.
  expect(batches.length).toBeLessThan(15);
  state.outcome = 'kept';
  await clock.advance(5_000);
  expect(kept).toHaveLength(2);
  expect(lines).toEqual([]);
});

test('what the store refuses is gone, counted and said, and what follows is kept', async () => {
  const { clock, lines, kept, keeper, state } = setup();
  state.outcome = 'refused';
  keeper.hold(captured([eventOf(), eventOf()])).keep();
  await clock.advance(1_000);
  expect(keeper.notKept()).toMatchObject({ store: 2 });
  expect(lines).toMatchObject([{ events: 2, since: { store: 2 } }]);
  state.outcome = 'kept';
  keeper.hold(captured([eventOf()])).keep();
  await clock.advance(1_000);
  expect(kept).toHaveLength(1);
  // Said once a minute.
  state.outcome = 'refused';
  for (let n = 0; n < 10; n += 1) {
    keeper.hold(captured([eventOf()])).keep();
    await clock.advance(1_000);
  }
  expect(lines).toHaveLength(1);
  await clock.advance(60_000);
  expect(lines).toMatchObject([{}, { events: 10 }]);
});

test('at the end what waits is kept, once more and no longer than two seconds', async () => {
  const { clock, lines, kept, keeper, stop, ended } = setup();
  keeper.hold(captured([eventOf()])).keep();
  stop.abort();
  await ended;
  expect(kept).toHaveLength(1);
  expect(lines).toEqual([]);

  const late = setup();
  late.state.isHanging = true;
  late.keeper.hold(captured([eventOf(), eventOf()])).keep();
  late.stop.abort();
  await late.clock.advance(1_999);
  expect(late.hasEnded()).toBe(false);
  await late.clock.advance(1);
  await late.ended;
  expect(late.lines).toMatchObject([{ events: 2, since: { ended: 2 } }]);
  await clock.advance(0);

  const away = setup();
  away.state.isAway = true;
  away.keeper.hold(captured([eventOf()])).keep();
  away.stop.abort();
  await settled();
  await away.ended;
  expect(away.keeper.notKept()).toMatchObject({ ended: 1 });
});

test('what is too old is looked for once a minute, while the store is there', async () => {
  const { clock, state } = setup();
  await settled();
  expect(state.expired).toBe(1);
  await clock.advance(180_000);
  expect(state.expired).toBe(4);
  state.isAway = true;
  await clock.advance(180_000);
  expect(state.expired).toBe(4);
});
