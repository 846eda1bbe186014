import type { ClickHouseClient } from '@clickhouse/client';
import { StoreGaveUp } from '../../pipeline/operator-port.ts';
import type { Clock } from '../../runtime/clock.ts';
import { ask } from '../connection/ask.ts';

const POLL_MS = 250;

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
  { client, clock }: { client: ClickHouseClient; clock: Clock },
  { table, change, params, projectId, doing }: Mutation,
  onProgress: (partsToDo: number) => void,
): Promise<void> {
  // The statement does not wait: a mutation may take hours, longer than a connection lives.
  await client.command({
    query: `ALTER TABLE ${table} ${change}`,
    query_params: { ...params, project: projectId },
    clickhouse_settings: { mutations_sync: '0' },
  });
  for (;;) {
    const open = await ask<{ parts: string; reason: string }>(
      client,
      `SELECT toString(parts_to_do) AS parts, latest_fail_reason AS reason FROM system.mutations
       WHERE database = currentDatabase() AND table = {table:String} AND NOT is_done AND position(command, {project:String}) > 0`,
      { table, project: projectId },
    );
    if (open.length === 0) return;
    const reason = open.find(({ reason }) => reason !== '')?.reason;
    if (reason !== undefined) throw new MutationFailed(doing, /^Code: (\d+)/.exec(reason)?.[1] ?? 'unknown');
    onProgress(open.reduce((sum, { parts }) => sum + Number(parts), 0));
    await clock.sleep(POLL_MS);
  }
}
