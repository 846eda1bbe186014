/** Every benchmark, in the order they run. */
import { scenario as batches } from './batches.bench.ts';
import { scenario as counts } from './counts.bench.ts';
import { scenario as decode } from './decode.bench.ts';
import type { Scenario } from './support/scenario.ts';

export const SCENARIOS: readonly Scenario[] = [decode, batches, counts];
