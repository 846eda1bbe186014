import { beforeEach, describe, expect, test } from 'vitest';
import { createLog } from '../src/log/log.ts';
import { InsertFailure } from '../src/pipeline/ports.ts';
import { type SizeLimit, createSizeLimit, groupsBelow } from '../src/pipeline/size-limit.ts';
import { createManualClock } from './support/clock.ts';
import { randomOf } from './support/factory.ts';

const tooLarge = new InsertFailure('HTTP 413, text/html', { failureClass: 'too_large' });

let clock: ReturnType<typeof createManualClock>;
let limit: SizeLimit;
let told: (number | null)[];

beforeEach(() => {
  clock = createManualClock();
  told = [];
  limit = createSizeLimit({ clock, log: createLog('silent') }, (bytes) => told.push(bytes));
});

/** An insert through something that takes `most` bytes; whether it passed. */
function send(bytes: number, most: number): boolean {
  const failure = bytes > most ? tooLarge : null;
  limit.observe({ bytes, failure });
  return failure === null;
}

describe('the limit', () => {
  test('is unknown until it is met', () => {
    for (const bytes of [10, 1_000, 8_000_000]) send(bytes, Infinity);
    expect([limit.bytes(), limit.notice(), told]).toEqual([null, null, []]);
  });

  test('is approached by halves, and never goes below what passed', () => {
    send(100, 200_000);
    let bytes = 8_000_000;
    while (!send(bytes, 200_000)) bytes = limit.bytes()!;
    expect(bytes).toBeGreaterThan(100_000);
    expect(limit.bytes()).toBe(bytes);
    expect(limit.notice()).toContain('client_max_body_size');
    expect(limit.notice()).toContain('HTTP 413, text/html');
  });

  test('other failures say nothing about it', () => {
    limit.observe({ bytes: 5_000, failure: new InsertFailure('away', { failureClass: 'unavailable' }) });
    expect(limit.bytes()).toBe(null);
  });

  test('is tried at twice the size after ten minutes, and stays where that is refused', async () => {
    send(1_000, 600);
    expect(limit.bytes()).toBe(500);
    send(500, 600);
    await clock.advance(10 * 60_000);
    expect(limit.bytes()).toBe(1_000);
    send(900, 600);
    expect(limit.bytes()).toBe(500);
  });

  test('is forgotten when as much as was refused lands', () => {
    send(1_000, 600);
    send(1_000, 2_000);
    expect([limit.bytes(), limit.notice(), told]).toEqual([null, null, [500, null]]);
  });

  test('that was lowered below what passed is found again', () => {
    send(1_000, 600);
    send(500, 600);
    let bytes = 500;
    while (!send(bytes, 60)) bytes = limit.bytes()!;
    expect(bytes).toBeLessThanOrEqual(60);
  });
});

test('groups have every row once, in order, below the limit where that can be, and two at least', () => {
  for (let seed = 0; seed < 200; seed++) {
    const random = randomOf(seed);
    const rows = Array.from({ length: 2 + Math.floor(random() * 40) }, (_, index) =>
      Buffer.alloc(1 + Math.floor(random() * 300), index),
    );
    const most = 1 + Math.floor(random() * 2_000);
    const groups = groupsBelow(rows, most);
    expect(groups.flat(), `seed ${seed}`).toEqual(rows);
    expect(groups.length, `seed ${seed}`).toBeGreaterThan(1);
    for (const group of groups) {
      const bytes = group.reduce((sum, row) => sum + row.length, 0);
      if (group.length > 1) expect(bytes, `seed ${seed}`).toBeLessThanOrEqual(most);
    }
  }
});
