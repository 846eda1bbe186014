/** Many measurements of the same thing become one figure. */
import type { Figure } from './scenario.ts';

export function medianOf(values: readonly number[]): number {
  if (values.length === 0) throw new Error('no values have no median');
  const sorted = values.toSorted((one, other) => one - other);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

export const spreadOf = (values: readonly number[]): readonly [number, number] => [
  Math.min(...values),
  Math.max(...values),
];

/** One of their numbers, of every round. */
export function eachOf<Key extends string>(rounds: readonly Readonly<Record<Key, number>>[], key: Key): number[] {
  return rounds.map((round) => round[key]);
}

/** The median of the rounds with their spread, to four digits. */
export function figureOf(
  name: string,
  rounds: readonly number[],
  unit: string,
  more: Pick<Figure, 'bar' | 'guard'> = {},
): Figure {
  const [least, most] = spreadOf(rounds);
  const value = rounded(medianOf(rounds));
  return { name, value, unit, ...(rounds.length > 1 ? { spread: [rounded(least), rounded(most)] } : {}), ...more };
}

/** Each round against the baseline measured beside it, so that what the machine did meanwhile hits both. */
export function ratioOf(
  name: string,
  rounds: readonly number[],
  baseline: readonly number[],
  more: Pick<Figure, 'bar' | 'guard'> = {},
): Figure {
  if (rounds.length !== baseline.length) throw new Error(`${name}: every round needs its baseline`);
  const ratios = rounds.map((value, index) => value / baseline[index]!);
  return figureOf(name, ratios, 'ratio', more);
}

/** To four digits: what comes behind them is noise. */
export function rounded(value: number): number {
  return Math.abs(value) >= 1_000 ? Math.round(value) : Number(value.toPrecision(4));
}

/** Runs every way once a round, by turns and every other round backwards, so that no way always comes first. */
export async function alternately<Ways extends Readonly<Record<string, (round: number) => unknown>>>(
  rounds: number,
  ways: Ways,
): Promise<{ [Way in keyof Ways]: Awaited<ReturnType<Ways[Way]>>[] }> {
  const names = Object.keys(ways);
  const results: Record<string, unknown[]> = Object.fromEntries(names.map((name) => [name, []]));
  for (let round = 0; round < rounds; round += 1) {
    for (const name of round % 2 === 0 ? names : names.toReversed()) results[name]!.push(await ways[name]!(round));
  }
  return results as { [Way in keyof Ways]: Awaited<ReturnType<Ways[Way]>>[] };
}
