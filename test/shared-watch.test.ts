/** Looking at the events of several workers as if they were one. */
import { describe, expect, test } from 'vitest';
import type { PendingAnswer, StreamOrder, WatchReport } from '../src/watch/messages.ts';
import type { SupervisorMessage } from '../src/workers/messages.ts';
import { createSharedWatch, createViewer } from '../src/workers/shared-watch.ts';

const REPORT: WatchReport = { worker: null, events: [], steps: [], counts: [] };
const NOTHING: PendingAnswer = { events: [], requests: [], requestsSince: null, isCutShort: false, silent: 0 };

/** Workers that answer so; null: it does not answer. */
function setup(answers: readonly (PendingAnswer | null)[]) {
  const told: SupervisorMessage[][] = answers.map(() => []);
  const slots = answers.map((answer, place) => ({
    tell: (message: SupervisorMessage) => void told[place]!.push(message),
    ask: () => Promise.resolve(answer as never),
  }));
  return { watch: createSharedWatch(() => slots), told };
}

const orderOf = (credits: number): StreamOrder => ({ stream: 1, filter: {}, credits });

describe('the supervisor', () => {
  test.each([0, 1, 2, 50])('orders %i events from all workers together', async (credits) => {
    const { watch, told } = setup([NOTHING, NOTHING, NOTHING]);
    (await watch.open(() => {})).order([orderOf(credits)]);
    const ordered = told.flat().flatMap((message) => (message.kind === 'watch' ? (message.streams ?? []) : []));
    expect(ordered).toHaveLength(3);
    expect(ordered.reduce((sum, one) => sum + one.credits, 0)).toBe(credits);
  });

  test('says which worker told something, and to nobody when nobody looks', async () => {
    const { watch, told } = setup([NOTHING, NOTHING]);
    const seen: WatchReport[] = [];
    watch.receive(1, REPORT);
    const end = await watch.open((report) => seen.push(report));
    watch.receive(2, REPORT);
    end.close();
    watch.receive(2, REPORT);
    expect(seen.map(({ worker }) => worker)).toEqual([2]);
    expect(told.map((messages) => messages.at(-1))).toEqual([
      { kind: 'watch', streams: null },
      { kind: 'watch', streams: null },
    ]);
  });

  test('asks all workers what is pending, and says how many were silent', async () => {
    const event = { row: '{}', isCut: false, batchId: null };
    const { watch } = setup([
      { ...NOTHING, events: [event], requestsSince: 5 },
      null,
      { ...NOTHING, events: [event], requestsSince: 9, isCutShort: true },
    ]);
    const end = await watch.open(() => {});
    expect(await end.find({ by: 'ids', ids: [] })).toEqual({
      events: [event, event],
      requests: [],
      // Since then by all of them.
      requestsSince: 9,
      isCutShort: true,
      silent: 1,
    });
  });
});

describe('a viewer', () => {
  test('looks from the first order or question on, once, until it is told that nobody looks', async () => {
    const calls: string[] = [];
    const viewer = createViewer(
      () => {
        calls.push('open');
        return Promise.resolve({
          order: () => void calls.push('order'),
          find: () => Promise.resolve(NOTHING),
          close: () => void calls.push('close'),
        });
      },
      () => {},
    );
    await viewer.order(null);
    await viewer.find({ by: 'ids', ids: [] });
    await viewer.order([]);
    await viewer.order(null);
    await viewer.order([]);
    expect(calls).toEqual(['open', 'order', 'close', 'open', 'order']);
  });
});
