import { describe, expect, test } from 'vitest';
import { guard, hasFallen, isBad, judge } from './bench/support/guard.ts';
import { type Section, withSection } from './bench/support/results.ts';
import type { Figure } from './bench/support/scenario.ts';

const more = (value: number, name = 'rate'): Figure => ({ name, value, unit: 'ratio', guard: 'more is better' });
const less = (value: number, name = 'cost'): Figure => ({ name, value, unit: 'ratio', guard: 'less is better' });

describe('a ratio has fallen', () => {
  test('of which more is better, when less than three fifths are left', () => {
    expect(hasFallen('more is better', 1, 0.6)).toBe(false);
    expect(hasFallen('more is better', 1, 0.599)).toBe(true);
    expect(hasFallen('more is better', 1, 5)).toBe(false);
  });

  test('of which less is better, when it is more than two thirds above', () => {
    expect(hasFallen('less is better', 3, 5)).toBe(false);
    expect(hasFallen('less is better', 3, 5.01)).toBe(true);
    expect(hasFallen('less is better', 3, 0.1)).toBe(false);
  });
});

describe('judging', () => {
  const verdictsOf = (recorded: Figure[], ...runs: Figure[][]) =>
    judge('s', recorded, runs).map(({ name, verdict }) => `${name} ${verdict}`);

  test('a figure has fallen only if it does in every run', () => {
    expect(verdictsOf([more(1)], [more(0.5)])).toEqual(['rate fallen']);
    expect(verdictsOf([more(1)], [more(0.5)], [more(0.9)])).toEqual(['rate held']);
    expect(verdictsOf([more(1)], [more(0.5)], [more(0.55)], [more(0.4)])).toEqual(['rate fallen']);
  });

  test('a recorded figure that is measured no more is gone', () => {
    expect(verdictsOf([more(1), less(2)], [more(1)])).toEqual(['rate held', 'cost gone']);
    expect(verdictsOf([more(1)], [])).toEqual(['rate gone']);
  });

  test('a new figure is told, and not bad', () => {
    const judged = judge('s', [], [[more(1)]]);
    expect(judged).toEqual([{ scenario: 's', name: 'rate', recorded: null, measured: [1], verdict: 'not recorded' }]);
    expect(judged.some(isBad)).toBe(false);
  });

  test('what is not guarded is not looked at', () => {
    const plain: Figure = { name: 'speed', value: 1, unit: '1/s' };
    expect(verdictsOf([{ ...plain, value: 100 }], [plain])).toEqual([]);
  });

  test('a figure guarded only since is told as new', () => {
    expect(verdictsOf([{ name: 'rate', value: 9, unit: 'ratio' }], [more(1)])).toEqual(['rate not recorded']);
  });
});

describe('guarding', () => {
  /** Runs that give these figures in turn; null is a run that failed. */
  const running = (...runs: (Figure[] | null)[]) => {
    let count = 0;
    return { run: () => Promise.resolve(runs[count++] ?? null), count: () => count };
  };

  test('runs a scenario once when nothing has fallen', async () => {
    const { run, count } = running([more(0.9)]);
    expect(await guard(['s'], { s: [more(1)] }, run)).toMatchObject([{ verdict: 'held', measured: [0.9] }]);
    expect(count()).toBe(1);
  });

  test('measures again what seems to have fallen, at most twice', async () => {
    const recovered = running([more(0.1)], [more(1)]);
    expect(await guard(['s'], { s: [more(1)] }, recovered.run)).toMatchObject([
      { verdict: 'held', measured: [0.1, 1] },
    ]);
    expect(recovered.count()).toBe(2);

    const fallen = running([more(0.1)], [more(0.2)], [more(0.3)], [more(1)]);
    expect(await guard(['s'], { s: [more(1)] }, fallen.run)).toMatchObject([
      { verdict: 'fallen', measured: [0.1, 0.2, 0.3] },
    ]);
    expect(fallen.count()).toBe(3);
  });

  test('measures again only after all others', async () => {
    const order: string[] = [];
    const run = (name: string) => {
      order.push(name);
      return Promise.resolve([more(name === 'bad' ? 0.1 : 1)]);
    };
    const recorded = { bad: [more(1)], good: [more(1)] };
    expect((await guard(['bad', 'good'], recorded, run)).map(({ verdict }) => verdict)).toEqual(['fallen', 'held']);
    expect(order).toEqual(['bad', 'good', 'bad', 'bad']);
  });

  test('two figures may each hold in another run', async () => {
    const { run } = running([more(1), less(9)], [more(0.1), less(2)]);
    const guarded = await guard(['s'], { s: [more(1), less(2)] }, run);
    expect(guarded.map(({ verdict }) => verdict)).toEqual(['held', 'held']);
  });

  test('a run that fails measures nothing, and one that works makes up for it', async () => {
    expect(await guard(['s'], { s: [more(1)] }, running(null, [more(1)]).run)).toMatchObject([{ verdict: 'held' }]);
    expect(await guard(['s'], { s: [more(1)] }, running(null, [more(0.1)], [more(0.2)]).run)).toMatchObject([
      { verdict: 'fallen', measured: [0.1, 0.2] },
    ]);
  });
});

test('a scenario that fails every time is bad, even if nothing of it is guarded', async () => {
  const guarded = await guard(['s'], {}, () => Promise.resolve(null));
  expect(guarded).toMatchObject([{ scenario: 's', verdict: 'failed' }]);
  expect(guarded.every(isBad)).toBe(true);
});

describe('recording', () => {
  const section = (mode: 'quick' | 'full', scenarios: Section['scenarios']): Section => ({
    date: '2026-01-01T00:00:00.000Z',
    mode,
    seed: 1,
    seconds: 1,
    versions: { node: '24', weir: '0', clickhouse: '26', postgres: '18' },
    machine: { cpu: 'c', cores: 2, memoryGiB: 8, os: 'Linux' },
    scenarios,
  });

  test('replaces the section of the mode, and leaves the other', () => {
    const before = { full: section('full', { a: [more(1)] }), quick: section('quick', { a: [more(2)], b: [] }) };
    const after = withSection(before, section('quick', { a: [more(3)] }), { isAll: true });
    expect(after).toEqual({ full: before.full, quick: section('quick', { a: [more(3)] }) });
  });

  test('of some scenarios leaves the figures of the others', () => {
    const before = { quick: section('quick', { a: [more(2)], b: [more(5)] }) };
    const after = withSection(before, section('quick', { a: [more(3)] }), { isAll: false });
    expect(after.quick?.scenarios).toEqual({ a: [more(3)], b: [more(5)] });
  });
});
