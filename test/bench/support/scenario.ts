/** What a benchmark is to the program that runs it, and what it tells. */

export type Figure = {
  readonly name: string;
  readonly value: number;
  /** `ratio` for ratios. */
  readonly unit: string;
  /** The least and the most of the rounds that `value` is the median of. */
  readonly spread?: readonly [number, number];
  /** What the figure has to reach; a figure without is told for information. */
  readonly bar?: { readonly atLeast: number } | { readonly atMost: number };
  /** Guarded against falling: whether more is better or less. Only for ratios (also CPU ÷ baseline CPU). */
  readonly guard?: 'more is better' | 'less is better';
};

export type BenchContext = {
  readonly isQuick: boolean;
  readonly isLarge: boolean;
  /** Of everything random: the same seed sends the same events. */
  readonly seed: number;
  /** Tells the person who waits how far it is. */
  say(progress: string): void;
};

export type Scenario = {
  readonly name: string;
  /** For `--help`: what is measured against what, in one or two sentences. */
  readonly about: string;
  /** Throws when something it sent did not arrive: figures of refusals are worth nothing. */
  run(context: BenchContext): Promise<readonly Figure[]>;
};
