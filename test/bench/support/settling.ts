/** Waits until everything that was acknowledged has come to its end, and holds it against the roll. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Stores } from '../../support/stores.ts';
import type { BenchedWeir } from './grounds.ts';
import type { Roll } from './roll.ts';
import type { Figure } from './scenario.ts';

export type Backlog = { readonly letters: number; readonly events: number; readonly leased: number };

const POLL_MS = 100;

/** The dead letters that are still replayed. */
export async function backlogIn({ postgres }: Stores): Promise<Backlog> {
  const { rows } = await postgres.pool.query<Backlog>(
    `SELECT count(*)::int AS letters, coalesce(sum(event_count), 0)::int AS events,
       (count(*) FILTER (WHERE lease_token IS NOT NULL))::int AS leased
     FROM failed_events WHERE quarantined_at IS NULL`,
  );
  return rows[0]!;
}

/** Resolves when no dead letter is left to replay and nothing is pending. */
export async function allStored(stores: Stores, weir: BenchedWeir, { withinMs }: { withinMs: number }): Promise<void> {
  const until = performance.now() + withinMs;
  await weir.settled();
  for (let left = await backlogIn(stores); left.letters > 0; left = await backlogIn(stores)) {
    if (performance.now() > until) throw new Error(`after ${withinMs} ms ${left.letters} dead letters are left`);
    await sleep(POLL_MS);
  }
}

/** How long ClickHouse may take to merge what was inserted; it is not waited for any longer. */
const MERGED_WITHIN_MS = 20_000;

/** Resolves when ClickHouse merges nothing any more, so that it does not slow down what is measured next. */
export async function merged({ select }: Stores): Promise<void> {
  const until = performance.now() + MERGED_WITHIN_MS;
  const underway = async () => {
    const [counted] = await select<{ merges: string }>('SELECT toString(count()) AS merges FROM system.merges');
    return Number(counted!.merges);
  };
  // One merge begins a moment after another has ended.
  for (let quiet = 0; quiet < 3 && performance.now() < until; await sleep(POLL_MS)) {
    quiet = (await underway()) === 0 ? quiet + 1 : 0;
  }
}

/** That every acknowledged event is stored, once, and no other is. */
export async function conservationOf(roll: Roll, stores: Stores, prefix = ''): Promise<Figure[]> {
  const { acknowledged, stored, lost, doubled, invented } = await roll.call(stores);
  if (acknowledged === 0) throw new Error('nothing was acknowledged, which proves nothing');
  return [
    { name: `${prefix}acknowledged`, value: acknowledged, unit: 'events' },
    { name: `${prefix}stored`, value: stored, unit: 'events' },
    ...Object.entries({ lost, doubled, invented }).map(([name, value]) => ({
      name: `${prefix}${name}`,
      value,
      unit: 'events',
      bar: { atMost: 0 },
    })),
  ];
}
