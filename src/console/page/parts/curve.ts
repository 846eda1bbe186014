/** A curve over times that are given beside it. */
export type Curve = {
  readonly name: string;
  /** One for each time; null for a gap. */
  readonly values: readonly (number | null)[];
};
