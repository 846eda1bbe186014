/**
 * What questions that their askers leave cost another project: ClickHouse cannot
 * stop them, and they go on while that project waits for `stored`.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type BenchedWeir, openGrounds } from './support/grounds.ts';
import { type Neighbour, newNeighbour, whileWaiting } from './support/neighbour.ts';
import type { BenchContext, Figure, Scenario } from './support/scenario.ts';
import { rounded } from './support/statistics.ts';

const CALM_MS = 20_000;
const ABANDONED = 40;
const ABANDON_AFTER_MS = 500;
/** Seconds of work on one row, between whose parts ClickHouse never looks up. */
const UNSTOPPABLE = "SELECT length(replaceRegexpAll(materialize(repeat('a', 60000)), 'a.*b|a', ''))";

export const scenario: Scenario = {
  name: 'abandoned',
  about:
    'One project asks what cannot be stopped and leaves, again and again; another waits for `stored`. Full runs only.',
  async run({ isQuick, say }: BenchContext) {
    if (isQuick) return [];
    const grounds = await openGrounds();
    try {
      const [asking, neighbour] = [await newNeighbour(grounds), await newNeighbour(grounds)];
      const weir = await grounds.startBenched();
      const calm = await whileWaiting(weir, neighbour, () => sleep(CALM_MS));
      say('questions begin');
      const busy = await whileWaiting(weir, neighbour, () => abandonMany(weir, asking));
      await weir.stop();
      return figuresOf(calm, busy);
    } finally {
      await grounds.stop();
    }
  },
};

type Waited = Awaited<ReturnType<typeof whileWaiting>>;

const figuresOf = (calm: Waited, busy: Waited): Figure[] => [
  {
    name: "p99 of a neighbour's stored ÷ without",
    value: rounded(busy.p99 / calm.p99),
    unit: 'ratio',
    bar: { atMost: 3 },
  },
  { name: "p99 of a neighbour's stored", value: rounded(busy.p99), unit: 'ms' },
  { name: "a neighbour's answers other than stored", value: busy.odd, unit: 'requests', bar: { atMost: 0 } },
];

async function abandonMany(weir: BenchedWeir, { projectId, secret }: Neighbour): Promise<void> {
  for (let asked = 0; asked < ABANDONED; asked++) {
    const leaving = AbortSignal.timeout(ABANDON_AFTER_MS);
    await fetch(`${weir.url}/api/v1/projects/${projectId}/query`, {
      method: 'POST',
      headers: { authorization: `Bearer ${secret}` },
      body: JSON.stringify({ sql: UNSTOPPABLE }),
      signal: leaving,
    }).then(
      // Refused while both of its places work: that is not what is measured.
      (answer) => answer.arrayBuffer().then(() => sleep(ABANDON_AFTER_MS)),
      () => {},
    );
  }
}
