/**
 * Changes of stored events, while the table is rebuilt: there are two tables
 * then, one of which is copied into the other, and they change places. A change
 * that is made in both, the source first, cannot be undone by a copy that was
 * begun before it: such copies are waited for, and then it is looked again.
 */
import type { ClickHouseClient } from '@clickhouse/client';
import type { Clock } from '../../runtime/clock.ts';
import { ask } from '../connection/ask.ts';
import { COPYING, EVENTS, NEW_KEY, REBUILT, RETIRED } from '../migrations/event-tables.ts';

const POLL_MS = 250;
const UNKNOWN_TABLE = '60';
/** Twice is enough unless the tables change places meanwhile. */
const ROUNDS = 4;

/**
 * Has `change` made in every table of events there is, until one round over all of them has had nothing to do.
 * `change` tells how many rows it changed. Throws what `change` and the driver throw.
 */
export async function inEachEventTable(
  { client, clock }: { client: ClickHouseClient; clock: Clock },
  change: (table: string) => Promise<number>,
): Promise<void> {
  for (let round = 0; round < ROUNDS; round += 1) {
    const before = await tablesOf(client);
    let changed = 0;
    for (const { name } of before) changed += await unlessGone(() => change(name));
    if (before.length === 1 && round === 0 && isSame(before, await tablesOf(client))) return;
    if (changed === 0 && isSame(before, await tablesOf(client))) return;
    await copiesEnded();
  }

  /** Those that run now. */
  async function copiesEnded() {
    const running = await ask<{ id: string }>(
      client,
      `SELECT query_id AS id FROM system.processes WHERE Settings['log_comment'] = {comment:String}`,
      { comment: COPYING },
    );
    const ids = running.map(({ id }) => id);
    for (;;) {
      const [left] = await ask<{ n: string }>(
        client,
        'SELECT toString(count()) AS n FROM system.processes WHERE has({ids:Array(String)}, query_id)',
        { ids },
      );
      if (left!.n === '0') return;
      await clock.sleep(POLL_MS);
    }
  }
}

type NamedTable = { readonly name: string; readonly uuid: string };

/** The one that is copied first. */
async function tablesOf(client: ClickHouseClient): Promise<NamedTable[]> {
  return ask<NamedTable>(
    client,
    `SELECT name, toString(uuid) AS uuid FROM system.tables
     WHERE database = currentDatabase() AND name IN {names:Array(String)} ORDER BY sorting_key = {newKey:String}, name`,
    { names: [EVENTS, REBUILT, RETIRED], newKey: NEW_KEY },
  );
}

const isSame = (before: readonly NamedTable[], after: readonly NamedTable[]) =>
  JSON.stringify(before) === JSON.stringify(after);

async function unlessGone(change: () => Promise<number>): Promise<number> {
  try {
    return await change();
  } catch (error) {
    if ((error as { code?: unknown }).code !== UNKNOWN_TABLE) throw error;
    // Dropped meanwhile, with what was in it. Which tables there are is asked again.
    return 1;
  }
}
