import type { ClickHouseClient } from '@clickhouse/client';
import { StoreGaveUp } from '../../pipeline/operator-port.ts';
import type { Clock } from '../../runtime/clock.ts';
import { ask } from '../connection/ask.ts';
import { LEAVING_OUT_ABSENT, onReplicas } from '../connection/layout.ts';

const POLL_MS = 250;
const HEARD_WITHIN_MS = 30_000;

/** `replicas`: the name under which a query reaches all servers that have the table; null for one server. */
export type MutationDeps = {
  readonly client: ClickHouseClient;
  readonly clock: Clock;
  readonly replicas?: string | null;
};

/** ClickHouse gave up on a mutation. The error carries the code; the text is withheld, because it may quote rows. */
export class MutationFailed extends StoreGaveUp {
  override readonly name = 'MutationFailed';

  constructor(doing: string, code: string) {
    super(`ClickHouse cannot ${doing} (code ${code}) and keeps trying: see system.mutations`);
  }
}

export type Mutation = {
  readonly table: string;
  /** The text after `ALTER TABLE name`; it refers to the project as `{project:UUID}`. */
  readonly change: string;
  readonly params?: Readonly<Record<string, unknown>>;
  readonly projectId: string;
  /** Completes the sentence "ClickHouse cannot …". */
  readonly doing: string;
};

/**
 * Changes rows of one project and resolves when no such change of that project is running any more. The server carries
 * it out on its own, even after the caller has stopped waiting. Throws `MutationFailed`, and what the driver throws.
 */
export async function mutate(
  { client, clock, replicas = null }: MutationDeps,
  { table, change, params, projectId, doing }: Mutation,
  onProgress: (partsToDo: number) => void,
): Promise<void> {
  const from = `${onReplicas(replicas, 'system.mutations')}
    WHERE database = currentDatabase() AND table = {table:String} AND position(command, {project:String}) > 0`;
  const before =
    replicas === null
      ? []
      : await ask<{ id: string }>(
          client,
          `SELECT DISTINCT mutation_id AS id FROM ${from}`,
          { table, project: projectId },
          LEAVING_OUT_ABSENT,
        );
  // The statement does not wait: a mutation may take hours, longer than a connection lives.
  await client.command({
    query: `ALTER TABLE ${table} ${change}`,
    query_params: { ...params, project: projectId },
    clickhouse_settings: { mutations_sync: '0' },
  });
  if (replicas !== null) await begun(before.map(({ id }) => id));
  for (;;) {
    const open = await ask<{ parts: string; reason: string }>(
      client,
      `SELECT toString(parts_to_do) AS parts, latest_fail_reason AS reason FROM ${from} AND NOT is_done`,
      { table, project: projectId },
      replicas === null ? {} : LEAVING_OUT_ABSENT,
    );
    if (open.length === 0) return;
    const reason = open.find(({ reason }) => reason !== '')?.reason;
    if (reason !== undefined) throw new MutationFailed(doing, /^Code: (\d+)/.exec(reason)?.[1] ?? 'unknown');
    onProgress(open.reduce((sum, { parts }) => sum + Number(parts), 0));
    await clock.sleep(POLL_MS);
  }

  /** A replica hears of the change a moment later; one that does not within a while carries it out when it does. */
  async function begun(earlier: readonly string[]) {
    const since = clock.elapsed();
    while (clock.elapsed() - since < HEARD_WITHIN_MS) {
      const [heard] = await ask<{ heard: string; replicas: string }>(
        client,
        `SELECT toString(count()) AS heard, toString((SELECT count() FROM ${onReplicas(replicas, 'system.one')})) AS replicas
         FROM ${from} AND NOT has({earlier:Array(String)}, mutation_id)`,
        { table, project: projectId, earlier },
        LEAVING_OUT_ABSENT,
      );
      if (Number(heard!.heard) >= Number(heard!.replicas)) return;
      await clock.sleep(POLL_MS);
    }
  }
}
