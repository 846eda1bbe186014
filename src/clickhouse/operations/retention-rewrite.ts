/**
 * Rewrites the expiry of a project's stored events to match another retention. This is a mutation that the server runs
 * on its own, and it deletes at once what has expired then; this waits for it and may be repeated after an
 * interruption. Events that expired before stay gone, whether or not ClickHouse has removed them yet.
 */
import type { ClickHouseClient } from '@clickhouse/client';
import type { RetentionRewrite, RetentionState, RewrittenRetention } from '../../pipeline/operator-port.ts';
import { ask } from '../connection/ask.ts';
import { EVENTS } from '../migrations/event-tables.ts';
import { inEachEventTable } from './each-event-table.ts';
import { type MutationDeps, mutate } from './mutation.ts';

/**
 * Events stamped before the change may keep landing; those that arrive after this many rounds are left to the next
 * call.
 */
const ROUNDS = 3;

type RewriteProgress = { readonly rows: number; readonly partsToDo: number };

/** `never` and the cap are the same second, as in the rows that the front doors write. */
const LATEST_EXPIRY = 4_294_967_295;

/** The same as in `rowEncoder`: the second of arrival plus the retention, at most the latest possible second. */
const newExpiry = (retentionSeconds: number | null) =>
  retentionSeconds === null
    ? `toDateTime(${LATEST_EXPIRY}, 'UTC')`
    : `toDateTime(least(toUnixTimestamp64Second(received_at) + toInt64(${retentionSeconds}), ${LATEST_EXPIRY}), 'UTC')`;

/** Throws what the driver throws. */
export async function measureRetentionState(
  client: ClickHouseClient,
  projectId: string,
  retentionSeconds: number | null,
  table: string = EVENTS,
): Promise<RetentionState & { readonly at: number }> {
  const expiry = newExpiry(retentionSeconds);
  const [found] = await ask<Record<keyof RetentionState | 'at', string>>(
    client,
    `SELECT toString(toUnixTimestamp(now())) AS at, toString(count()) AS stored,
       toString(countIf(expires_at != ${expiry})) AS differing,
       toString(countIf(expires_at != ${expiry} AND ${expiry} <= now())) AS expiring
     FROM ${table} WHERE project_id = {project:UUID} AND expires_at > now()`,
    { project: projectId },
  );
  const { at, stored, differing, expiring } = found!;
  return { at: Number(at), stored: Number(stored), differing: Number(differing), expiring: Number(expiring) };
}

/**
 * The last call wins: it cancels the rewrite of an earlier one. Throws `MutationFailed`, and what the driver or
 * `confirmWanted` throws.
 */
export async function rewriteRetention(
  { client, clock, replicas = null }: MutationDeps,
  { projectId, retentionSeconds, confirmWanted }: RetentionRewrite,
  onProgress: (progress: RewriteProgress) => void,
): Promise<RewrittenRetention> {
  const expiry = newExpiry(retentionSeconds);
  await endEarlier(client, projectId);
  const rewritten = { changed: 0, expired: 0, left: 0 };
  // Also where a rebuild of the table has a second copy of them, which is no news to whoever asks.
  await inEachEventTable({ client, clock }, async (table) => {
    const { changed, expired, left } = await rewriteIn(table);
    if (table === EVENTS) {
      rewritten.changed += changed;
      rewritten.expired += expired;
      rewritten.left = left;
    }
    return changed;
  });
  return rewritten;

  async function rewriteIn(table: string): Promise<RewrittenRetention> {
    let changed = 0;
    let expired = 0;
    let state = await measureRetentionState(client, projectId, retentionSeconds, table);
    for (let round = 0; state.differing > 0 && round < ROUNDS; round++) {
      await confirmWanted();
      const { at, differing, expiring } = state;
      changed += differing;
      expired += expiring;
      onProgress({ rows: differing, partsToDo: 0 });
      await mutate(
        { client, clock, replicas },
        {
          table,
          // Only differing rows: ClickHouse leaves a part without any untouched.
          change: `UPDATE expires_at = ${expiry} WHERE project_id = {project:UUID} AND expires_at > toDateTime({at:UInt32}, 'UTC') AND expires_at != ${expiry}`,
          params: { at },
          projectId,
          doing: 'change the expiry of stored events',
        },
        (partsToDo) => onProgress({ rows: differing, partsToDo }),
      );
      state = await measureRetentionState(client, projectId, retentionSeconds, table);
    }
    return { changed, expired, left: state.differing };
  }
}

/** A mistaken retention must not keep deleting events until its correction gets its turn. */
async function endEarlier(client: ClickHouseClient, projectId: string): Promise<void> {
  const earlier = `database = currentDatabase() AND startsWith(table, '${EVENTS}') AND NOT is_done
    AND position(command, 'UPDATE expires_at = ') > 0 AND position(command, {project:String}) > 0`;
  const open = await ask(client, `SELECT 1 FROM system.mutations WHERE ${earlier}`, { project: projectId });
  if (open.length === 0) return;
  await client.command({ query: `KILL MUTATION WHERE ${earlier}`, query_params: { project: projectId } });
}
