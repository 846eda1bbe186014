/**
 * Tells ratios that have fallen from those a busy machine made look so: whatever
 * seems to have fallen is measured again, and has fallen only if it does each time.
 */
import type { FiguresByScenario } from './results.ts';
import type { Figure } from './scenario.ts';

export type Guarded = {
  readonly scenario: string;
  readonly name: string;
  /** Null where the figure is new. */
  readonly recorded: number | null;
  /** One a run, in their order. */
  readonly measured: readonly number[];
  /** Gone is a figure that is recorded and measured no more; failed a scenario of which every run did. */
  readonly verdict: 'held' | 'fallen' | 'gone' | 'failed' | 'not recorded';
};

/**
 * Two fifths less of what should be more; of what should be less, as much more as leaves three fifths of the speed. The
 * same code on another machine left two thirds of a recorded ratio in each of three runs.
 */
const MAY_FALL_TO = 0.6;
const RUNS = 3;

export function hasFallen(guard: NonNullable<Figure['guard']>, recorded: number, measured: number): boolean {
  return guard === 'more is better' ? measured < recorded * MAY_FALL_TO : measured > recorded / MAY_FALL_TO;
}

/** The guarded figures of some runs of one scenario, against what is recorded of it. */
export function judge(
  scenario: string,
  recorded: readonly Figure[],
  runs: readonly (readonly Figure[])[],
): readonly Guarded[] {
  const guarded = [...recorded, ...runs.flat()].filter(({ guard }) => guard !== undefined);
  return [...new Set(guarded.map(({ name }) => name))].map((name) => {
    const before = recorded.find((figure) => figure.name === name);
    const found = runs.flatMap((run) => run.filter((figure) => figure.name === name));
    return {
      scenario,
      name,
      recorded: before?.value ?? null,
      measured: found.map(({ value }) => value),
      verdict: verdictOf(before, found),
    };
  });
}

function verdictOf(before: Figure | undefined, found: readonly Figure[]): Guarded['verdict'] {
  if (before === undefined) return 'not recorded';
  const { guard, value } = before;
  if (found.length === 0 || guard === undefined) return found.length === 0 ? 'gone' : 'not recorded';
  return found.every((figure) => hasFallen(guard, value, figure.value)) ? 'fallen' : 'held';
}

export const isBad = ({ verdict }: Guarded) => verdict !== 'held' && verdict !== 'not recorded';

/**
 * Runs each scenario until none of its figures is bad, at most three times, and again only after all others: what keeps a
 * machine busy lasts for minutes. A run that fails, null, measures nothing.
 */
export async function guard(
  names: readonly string[],
  recorded: FiguresByScenario,
  run: (name: string) => Promise<readonly Figure[] | null>,
): Promise<readonly Guarded[]> {
  const runs = new Map<string, (readonly Figure[])[]>(names.map((name) => [name, []]));
  const verdictsOn = (name: string) => {
    const measured = runs.get(name)!;
    return measured.length === 0 ? [failed(name)] : judge(name, recorded[name] ?? [], measured);
  };
  let left = names;
  for (let count = 0; count < RUNS; count += 1) {
    for (const name of left) {
      const figures = await run(name);
      if (figures) runs.get(name)!.push(figures);
    }
    left = left.filter((name) => verdictsOn(name).some(isBad));
  }
  return names.flatMap(verdictsOn);
}

const failed = (scenario: string): Guarded => ({
  scenario,
  name: '(every run)',
  recorded: null,
  measured: [],
  verdict: 'failed',
});
