import { describe, expect, test } from 'vitest';
import { type ReleaseQuerySlot, type QuerySlots, createQuerySlots } from '../src/http/read/query-slots.ts';
import { createIpcChannel } from '../src/workers/ipc-channel.ts';
import type { SupervisorRequests, WorkerRequests, SupervisorMessage, WorkerMessage } from '../src/workers/messages.ts';
import { createQuerySlotKeeper, createSharedQuerySlots } from '../src/workers/shared-query-slots.ts';
import { createManualClock, settled } from './support/clock.ts';
import { randomOf } from './support/factory.ts';

const LIMITS = { maxAtOnce: 4, maxOfProject: 2, maxWaiting: 6, maxWaitingOfProject: 2, maxWaitMs: 1_000 };
const STAYS = new AbortController().signal;

function open(limits: Partial<typeof LIMITS> = {}) {
  const clock = createManualClock();
  return { clock, querySlots: createQuerySlots({ clock }, { ...LIMITS, ...limits }) };
}

/** What has been decided by now: a place, none, or nothing yet. */
async function stateOf(taking: Promise<ReleaseQuerySlot | null>): Promise<'place' | 'none' | 'waits'> {
  await settled();
  return Promise.race([
    taking.then((leave) => (leave ? ('place' as const) : ('none' as const))),
    settled().then(() => 'waits' as const),
  ]);
}
const take = (querySlots: QuerySlots, project: string, signal = STAYS) => querySlots.take(project, signal);
const statesOf = (takings: readonly Promise<ReleaseQuerySlot | null>[]) => Promise.all(takings.map(stateOf));

describe('querySlots', () => {
  test('a project has so many; the next one waits until it leaves one', async () => {
    const { querySlots } = open();
    const first = await take(querySlots, 'a');
    const [second, third] = [take(querySlots, 'a'), take(querySlots, 'a')];
    expect(await statesOf([second, third])).toEqual(['place', 'waits']);
    first!();
    expect(await stateOf(third)).toBe('place');
  });

  test('leaving twice gives one place back', async () => {
    const { querySlots } = open();
    const leave = await take(querySlots, 'a');
    await take(querySlots, 'a');
    leave!();
    leave!();
    expect(await statesOf([take(querySlots, 'a'), take(querySlots, 'a')])).toEqual(['place', 'waits']);
  });

  test.each([
    ['two', ['a', 'b']],
    ['three', ['a', 'b', 'c']],
    ['many', ['a', 'b', 'c', 'd', 'e']],
  ])('however much %s projects ask, one that has none finds a place as soon as one of theirs goes', async (_, busy) => {
    const { querySlots } = open({ maxWaiting: 100 });
    const takings = busy.flatMap((project) => [0, 1, 2].map(() => take(querySlots, project)));
    const late = take(querySlots, 'z');
    const isKept = busy.length < 3;
    expect(await stateOf(late)).toBe(isKept ? 'place' : 'waits');
    if (isKept) return;
    // Whoever has none comes before whoever has one, in the order of arrival.
    for (const taking of takings) if ((await stateOf(taking)) === 'place') (await taking)!();
    expect(await stateOf(late)).toBe('place');
  });

  test('those who wait are served by how few they have, then by arrival', async () => {
    const { querySlots } = open({ maxAtOnce: 3, maxOfProject: 3 });
    const a = await take(querySlots, 'a');
    await take(querySlots, 'a');
    await take(querySlots, 'b');
    const waiting = [take(querySlots, 'a'), take(querySlots, 'b'), take(querySlots, 'c'), take(querySlots, 'd')];
    expect(await statesOf(waiting)).toEqual(['waits', 'waits', 'waits', 'waits']);
    a!();
    expect(await statesOf(waiting)).toEqual(['waits', 'waits', 'place', 'waits']);
    (await waiting[2])!();
    expect(await statesOf(waiting)).toEqual(['waits', 'waits', 'place', 'place']);
  });

  test('nobody waits longer than a moment', async () => {
    const { querySlots, clock } = open({ maxAtOnce: 1 });
    const leave = await take(querySlots, 'a');
    const waiting = take(querySlots, 'b');
    await clock.advance(LIMITS.maxWaitMs - 1);
    expect(await stateOf(waiting)).toBe('waits');
    await clock.advance(1);
    expect(await stateOf(waiting)).toBe('none');
    leave!();
    expect(await stateOf(take(querySlots, 'c'))).toBe('place');
  });

  test('nobody waits where too many do, of the project or together', async () => {
    const { querySlots } = open({ maxAtOnce: 1 });
    await take(querySlots, 'a');
    expect(await statesOf([take(querySlots, 'a'), take(querySlots, 'a'), take(querySlots, 'a')])).toEqual([
      'waits',
      'waits',
      'none',
    ]);
    expect(await statesOf(['b', 'c', 'd', 'e', 'f'].map((project) => take(querySlots, project)))).toEqual([
      'waits',
      'waits',
      'waits',
      'waits',
      'none',
    ]);
  });

  test('whoever leaves while waiting has no place, and holds none', async () => {
    const { querySlots } = open({ maxAtOnce: 1 });
    const leave = await take(querySlots, 'a');
    const leaving = new AbortController();
    const waiting = take(querySlots, 'b', leaving.signal);
    leaving.abort();
    expect(await stateOf(waiting)).toBe('none');
    expect(await stateOf(take(querySlots, 'b', leaving.signal))).toBe('none');
    leave!();
    expect(await stateOf(take(querySlots, 'c'))).toBe('place');
  });

  test.each([1, 2, 3])('never more than there are, and all are free in the end (seed %i)', async (seed) => {
    const { querySlots, clock } = open();
    const random = randomOf(seed);
    const held: { project: string; leave: ReleaseQuerySlot }[] = [];
    for (let step = 0; step < 500; step++) {
      const project = 'abcdef'[Math.floor(random() * 6)]!;
      if (random() < 0.55) {
        void take(querySlots, project).then((leave) => leave && held.push({ project, leave }));
      } else if (held.length > 0) {
        held.splice(Math.floor(random() * held.length), 1)[0]!.leave();
      }
      await settled();
      if (random() < 0.1) await clock.advance(300);
      expect(held.length).toBeLessThanOrEqual(LIMITS.maxAtOnce);
      const byProject = Map.groupBy(held, (place) => place.project);
      for (const own of byProject.values()) expect(own.length).toBeLessThanOrEqual(LIMITS.maxOfProject);
      if (held.length === LIMITS.maxAtOnce) expect(byProject.size).toBeGreaterThan(2);
    }
    await clock.advance(LIMITS.maxWaitMs);
    for (const { leave } of held) leave();
    expect(await statesOf(['a', 'b', 'c', 'd'].map((project) => take(querySlots, project)))).toEqual(
      Array(4).fill('place'),
    );
  });
});

describe('querySlots of several workers', () => {
  /** Two workers linked to one supervisor, which can be frozen. */
  function workers() {
    const { querySlots, clock } = open();
    const keeper = createQuerySlotKeeper(querySlots);
    let isFrozen = false;
    const onFailure = (error: unknown) => {
      throw error;
    };
    const [a, b] = [1, 2].map((worker) => {
      const unanswerable = {
        snapshot: () => Promise.reject(new Error('not asked')),
        demo: () => Promise.reject(new Error('not asked')),
        remember: () => Promise.reject(new Error('not asked')),
        pending: () => Promise.reject(new Error('not asked')),
      };
      const own = createIpcChannel<WorkerRequests, WorkerMessage, SupervisorRequests, SupervisorMessage>({
        send: (value) => void (isFrozen || supervisors.receive(value)),
        clock,
        answerers: unanswerable,
        onMessage: () => {},
        onFailure,
      });
      const supervisors = createIpcChannel<SupervisorRequests, SupervisorMessage, WorkerRequests, WorkerMessage>({
        send: (value) => own.receive(value),
        clock,
        answerers: {
          snapshots: () => Promise.reject(new Error('not asked')),
          claim: () => Promise.reject(new Error('not asked')),
          rate: () => Promise.reject(new Error('not asked')),
          querySlot: (request) => keeper.take(worker, request),
        },
        onMessage: (message) => message.kind === 'leave query slot' && keeper.leave(worker, message.slot),
        onFailure,
      });
      return createSharedQuerySlots(own);
    });
    return { a: a!, b: b!, keeper, clock, freeze: () => (isFrozen = true) };
  }

  test('are counted together', async () => {
    const { a, b } = workers();
    const first = take(a, 'p');
    expect(await statesOf([first, take(b, 'p')])).toEqual(['place', 'place']);
    const third = take(b, 'p');
    expect(await stateOf(third)).toBe('waits');
    (await first)!();
    expect(await stateOf(third)).toBe('place');
  });

  test('are free when the worker that had them is gone', async () => {
    const { a, b, keeper } = workers();
    const [first, second, waiting] = [take(a, 'p'), take(a, 'p'), take(a, 'p')];
    expect(await statesOf([first, second, waiting])).toEqual(['place', 'place', 'waits']);
    keeper.died(1);
    expect(await statesOf([take(b, 'p'), take(b, 'p'), take(b, 'p')])).toEqual(['place', 'place', 'waits']);
  });

  test('are not held by somebody who left while waiting', async () => {
    const { a, b } = workers();
    const [first, second] = [take(a, 'p'), take(a, 'p')];
    const leaving = new AbortController();
    const waiting = take(b, 'p', leaving.signal);
    await statesOf([first, second, waiting]);
    leaving.abort();
    expect(await stateOf(waiting)).toBe('none');
    (await first)!();
    (await second)!();
    expect(await statesOf([take(b, 'p'), take(b, 'p')])).toEqual(['place', 'place']);
  });

  test('are none while the supervisor does not answer', async () => {
    const { a, clock, freeze } = workers();
    freeze();
    const taking = take(a, 'p');
    await clock.advance(8_000);
    expect(await stateOf(taking)).toBe('none');
  });
});
