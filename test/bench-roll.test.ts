/** The roll itself: that whatever goes wrong with an event on its way is seen. */
import { Readable } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { createBodies } from './bench/support/bodies.ts';
import { type AnswerDetail, type Target } from './bench/support/load.ts';
import { createRoll, numberable, numbered, numberedLoad } from './bench/support/roll.ts';
import type { Stores } from './support/stores.ts';

const TARGET: Target = { port: 1, path: '/events', headers: { 'x-mark': 'm' } };
const DETAIL: AnswerDetail = { dueMs: 0, tookMs: 1, code: null, retryAfterS: 0 };

/** Stores that hold the events with these numbers, sent in pieces that split numbers in the middle. */
function storesWith(numbers: readonly number[], { counted = numbers.length } = {}): Stores {
  const bytes = Buffer.from(Uint32Array.from(numbers).buffer);
  const stream = Readable.from([bytes.subarray(0, 3), bytes.subarray(3, 9), bytes.subarray(9)]);
  return {
    clickhouse: { exec: async () => ({ stream }) },
    select: async () => [{ events: String(counted) }],
  } as unknown as Stores;
}

/** Six events: 0 to 3 acknowledged, 4 refused, 5 without an answer. */
function rollOfSix() {
  const roll = createRoll();
  roll.acknowledge(roll.enlist(4), 4);
  roll.refuse(roll.enlist(1), 1);
  roll.enlist(1);
  return roll;
}

test.each([
  ['everything acknowledged is there', [0, 1, 2, 3], {}, { stored: 4, lost: 0, doubled: 0, invented: 0 }],
  ['what was not answered may be there', [0, 1, 2, 3, 5], {}, { stored: 5, lost: 0, doubled: 0, invented: 0 }],
  ['one is missing', [0, 1, 3], {}, { stored: 3, lost: 1, doubled: 0, invented: 0 }],
  ['one is there twice', [0, 1, 2, 2, 3], {}, { stored: 4, lost: 0, doubled: 1, invented: 0 }],
  ['a copy is merged, but counted', [0, 1, 2, 3], { counted: 5 }, { stored: 4, lost: 0, doubled: 1, invented: 0 }],
  ['one that was refused is there', [0, 1, 2, 3, 4], {}, { stored: 5, lost: 0, doubled: 0, invented: 1 }],
  ['one that nobody sent is there', [0, 1, 2, 3, 6], {}, { stored: 4, lost: 0, doubled: 0, invented: 1 }],
])('%s', async (_, numbers, counted, expected) => {
  expect(await rollOfSix().call(storesWith(numbers, counted))).toEqual({ acknowledged: 4, ...expected });
});

describe('a numbered load', () => {
  const bodies = createBodies(7);

  test('numbers every event of a batch, and changes nothing else', () => {
    const eventsIn = (body: Buffer) => (JSON.parse(body.toString()) as { events: { event_id: string }[] }).events;
    const body = bodies.nativeBatch(3);
    const before = eventsIn(body);
    const events = eventsIn(numbered(numberable(body), 0xab));
    expect(events.map(({ event_id: id }) => id.slice(-8))).toEqual(['000000ab', '000000ac', '000000ad']);
    expect(events.map((event, index) => ({ ...event, event_id: before[index]!.event_id }))).toEqual(before);
  });

  test('enters what was answered for each', async () => {
    const roll = createRoll();
    const load = numberedLoad(roll, TARGET, [bodies.productEvent(), bodies.nativeBatch(2)]);
    const [one, two, three] = [load.next(), load.next(), load.next()];
    load.onAnswer(202, three, DETAIL);
    load.onAnswer(503, two, DETAIL);
    load.onAnswer(500, one, DETAIL);
    expect([roll.acknowledged(), roll.refused()]).toEqual([1, 2]);
    expect(await roll.call(storesWith([0, 3]))).toMatchObject({ stored: 2, lost: 0, invented: 0 });
  });

  test('goes on when there are more events than at first was thought', () => {
    const roll = createRoll();
    const first = roll.enlist(3_000_000);
    roll.acknowledge(first, 3_000_000);
    expect([roll.enlist(1), roll.acknowledged()]).toEqual([3_000_000, 3_000_000]);
  });
});
