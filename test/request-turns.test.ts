/** Who begins in which turn; plain-connection.test.ts has the connections. */
import { describe, expect, test } from 'vitest';
import { createRequestTurns } from '../src/http/listener/request-turns.ts';
import { systemClock } from '../src/runtime/clock.ts';

const nextTurn = () => systemClock.turn();

describe('a turn', () => {
  /** Requests that take 0.3 ms each. */
  function begun() {
    let elapsed = 0;
    const turns = createRequestTurns({ clock: { elapsed: () => elapsed } });
    const order: string[] = [];
    const begin = (name: string) => {
      elapsed += 0.3;
      order.push(name);
    };
    return {
      order,
      arrive(name: string) {
        if (turns.take(() => begin(name))) begin(name);
      },
    };
  }

  test('has the requests that fit into a millisecond, the others have the next ones, in order of arrival', async () => {
    const { order, arrive } = begun();
    for (const name of 'abcdefghij') arrive(name);
    expect(order.join('')).toBe('abcd');
    await nextTurn();
    expect(order.join('')).toBe('abcdefgh');
    await nextTurn();
    expect(order.join('')).toBe('abcdefghij');
  });

  test('has nobody who came after those that wait', async () => {
    const { order, arrive } = begun();
    for (const name of 'abcdef') arrive(name);
    await nextTurn();
    arrive('g');
    expect(order.join('')).toBe('abcdefg');
    for (const name of 'hijkl') arrive(name);
    arrive('m');
    await nextTurn();
    arrive('n');
    await nextTurn();
    await nextTurn();
    expect(order.join('')).toBe('abcdefghijklmn');
  });

  test('that is over leaves nothing behind', async () => {
    const { order, arrive } = begun();
    for (const name of 'abcd') {
      arrive(name);
      arrive(name);
      await nextTurn();
    }
    expect(order.join('')).toBe('aabbccdd');
  });
});
