import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, expect, test } from 'vitest';
import { childrenOf, cpuMsOf, peakRssMiBOf, rssMiBOf, threadCpuMsOf } from './bench/support/process-usage.ts';
import { figuresTable, guardTable, isMet } from './bench/support/report.ts';
import { alternately, figureOf, medianOf, ratioOf, rounded } from './bench/support/statistics.ts';

describe('the median', () => {
  test('is the value in the middle, or half way between the two', () => {
    expect(medianOf([9, 1, 5])).toBe(5);
    expect(medianOf([4, 1, 9, 2])).toBe(3);
    expect(medianOf([7])).toBe(7);
  });

  test('of nothing is a mistake', () => {
    expect(() => medianOf([])).toThrow('no median');
  });
});

test('a figure is the median of its rounds, with the least and the most', () => {
  expect(figureOf('rate', [30, 10, 20], '1/s')).toEqual({ name: 'rate', value: 20, unit: '1/s', spread: [10, 30] });
});

test('a figure of one round has no spread', () => {
  expect(figureOf('peak RSS', [99], 'MiB', { bar: { atMost: 512 } })).toEqual({
    name: 'peak RSS',
    value: 99,
    unit: 'MiB',
    bar: { atMost: 512 },
  });
});

describe('a ratio', () => {
  test('is the median of each round against its own baseline, not of the medians', () => {
    // The machine was twice as busy in the second round, for both.
    const { value, spread, unit } = ratioOf('r', [80, 40, 90], [100, 50, 100]);
    expect({ value, spread, unit }).toEqual({ value: 0.8, spread: [0.8, 0.9], unit: 'ratio' });
  });

  test('needs a baseline for every round', () => {
    expect(() => ratioOf('r', [1, 2], [1])).toThrow('every round needs its baseline');
  });
});

test('four digits are kept, and whole numbers whole', () => {
  expect([0.123456, 12.3456, 1_234.56, 98_765.4, 0].map(rounded)).toEqual([0.1235, 12.35, 1_235, 98_765, 0]);
});

test('ways take turns, and every other round the order is reversed', async () => {
  const order: string[] = [];
  const note = (way: string) => (round: number) => {
    order.push(`${way}${round}`);
    return round * 10;
  };
  const results = await alternately(3, { a: note('a'), b: note('b') });
  expect(order).toEqual(['a0', 'b0', 'b1', 'a1', 'a2', 'b2']);
  expect(results).toEqual({ a: [0, 10, 20], b: [0, 10, 20] });
});

describe('of a process', () => {
  test('processor time grows with what it does', () => {
    const before = cpuMsOf(process.pid);
    const own = process.cpuUsage();
    let used = process.cpuUsage(own);
    while (used.user + used.system < 100_000) used = process.cpuUsage(own);
    expect(cpuMsOf(process.pid) - before).toBeGreaterThanOrEqual(50);
  });

  test('processor time of its threads is told more exactly, and is not less than that', () => {
    const [before, own] = [threadCpuMsOf(process.pid), process.cpuUsage()];
    let used = process.cpuUsage(own);
    while (used.user + used.system < 100_000) used = process.cpuUsage(own);
    expect(threadCpuMsOf(process.pid) - before).toBeGreaterThanOrEqual(50);
  });

  test('its memory is told, and who its children are', async () => {
    expect(rssMiBOf(process.pid)).toBeGreaterThan(10);
    expect(rssMiBOf(2 ** 30)).toBe(0);
    const child = spawn('sleep', ['60']);
    expect(childrenOf(process.pid)).toContain(child.pid);
    const ended = once(child, 'close');
    child.kill();
    await ended;
    expect(childrenOf(process.pid)).not.toContain(child.pid);
  });

  test('the peak of its memory is at least what it holds', () => {
    // One of the family may hold more than this process.
    expect(peakRssMiBOf(process.pid)).toBeGreaterThanOrEqual(process.memoryUsage.rss() / 2 ** 20 - 64);
  });

  test('one that is gone has used nothing', () => {
    expect(cpuMsOf(2 ** 30)).toBe(0);
    expect(threadCpuMsOf(2 ** 30)).toBe(0);
    expect(peakRssMiBOf(2 ** 30)).toBe(0);
  });
});

describe('the table', () => {
  test('says whether a bar was met', () => {
    const bar = { atLeast: 0.7 };
    expect([0.7, 0.69].map((value) => isMet({ name: 'r', value, unit: 'ratio', bar }))).toEqual([true, false]);
    expect([10, 10.1].map((value) => isMet({ name: 'r', value, unit: 's', bar: { atMost: 10 } }))).toEqual([
      true,
      false,
    ]);
    expect(isMet({ name: 'r', value: 0, unit: 's' })).toBe(true);
  });

  test('has a line for every figure', () => {
    const table = figuresTable({
      singles: [
        { name: 'requests', value: 0.65, unit: 'ratio', spread: [0.6, 0.7], bar: { atLeast: 0.7 } },
        { name: 'rate', value: 12_345.6, unit: '1/s' },
      ],
    });
    expect(table).toMatch(/^singles +requests +0\.65 +ratio +0\.6–0\.7 +≥ 0\.7 MISSED$/m);
    expect(table).toMatch(/^singles +rate +12 350 +1\/s$/m);
  });

  test('of the guard has every measurement beside what is recorded', () => {
    const [, line] = guardTable([
      { scenario: 's', name: 'rate', recorded: 0.8, measured: [0.5, 0.7], verdict: 'held' },
    ]).split('\n');
    expect(line).toMatch(/^s +rate +0\.8 +0\.5, 0\.7 +held$/);
  });
});
