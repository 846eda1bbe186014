/**
 * Gives the events that are stored of one project the expiry they would get
 * under another retention. It is a mutation that the server carries out on its
 * own, deleting at once what has expired then; this waits for it and can be
 * repeated after being cut short. What has expired before is gone and stays so,
 * whether or not ClickHouse has come to removing it.
 */
import type { ClickHouseClient } from '@clickhouse/client';
import type { Clock } from '../clock.ts';
import { ask, mutate } from './mutation.ts';

/** Events stamped before the change may go on landing; what comes after that many rounds is left to the next call. */
const ROUNDS = 3;

/** How the events of a project that have not expired stand to a retention. */
export type Standing = {
  readonly stored: number;
  /** Those that carry another expiry than the retention gives them. */
  readonly differing: number;
  /** Those of the differing ones whose time under the retention is over. */
  readonly expiring: number;
};

export type Restamped = { readonly changed: number; readonly expired: number; readonly left: number };
export type RestampProgress = { readonly rows: number; readonly partsToDo: number };

/** Never and the cap are the same second, as for the rows that the front doors write. */
const LATEST_EXPIRY = 4_294_967_295;

/** Exactly what `rowEncoder` writes: the second of arrival and the retention, at most the latest second there is. */
const newExpiry = (retentionSeconds: number | null) =>
  retentionSeconds === null
    ? `toDateTime(${LATEST_EXPIRY}, 'UTC')`
    : `toDateTime(least(toUnixTimestamp64Second(received_at) + toInt64(${retentionSeconds}), ${LATEST_EXPIRY}), 'UTC')`;

/** Throws what the driver throws. */
export async function measureStanding(
  client: ClickHouseClient,
  projectId: string,
  retentionSeconds: number | null,
): Promise<Standing & { readonly at: number }> {
  const expiry = newExpiry(retentionSeconds);
  const [found] = await ask<Record<keyof Standing | 'at', string>>(
    client,
    `SELECT toString(toUnixTimestamp(now())) AS at, toString(count()) AS stored,
       toString(countIf(expires_at != ${expiry})) AS differing,
       toString(countIf(expires_at != ${expiry} AND ${expiry} <= now())) AS expiring
     FROM events_raw_v1 WHERE project_id = {project:UUID} AND expires_at > now()`,
    { project: projectId },
  );
  const { at, stored, differing, expiring } = found!;
  return { at: Number(at), stored: Number(stored), differing: Number(differing), expiring: Number(expiring) };
}

export type Restamping = {
  readonly projectId: string;
  readonly retentionSeconds: number | null;
  /** Asked before every change; throws when another retention was set meanwhile. */
  readonly confirmWanted: () => Promise<void>;
};

/**
 * The last call wins: it ends what an earlier one left under way. Throws
 * `MutationFailed`, and what the driver or `confirmWanted` throws.
 */
export async function restampProject(
  { client, clock }: { client: ClickHouseClient; clock: Clock },
  { projectId, retentionSeconds, confirmWanted }: Restamping,
  onProgress: (progress: RestampProgress) => void,
): Promise<Restamped> {
  const expiry = newExpiry(retentionSeconds);
  await endEarlier(client, projectId);
  let changed = 0;
  let expired = 0;
  let standing = await measureStanding(client, projectId, retentionSeconds);
  for (let round = 0; standing.differing > 0 && round < ROUNDS; round++) {
    await confirmWanted();
    const { at, differing, expiring } = standing;
    changed += differing;
    expired += expiring;
    onProgress({ rows: differing, partsToDo: 0 });
    await mutate(
      { client, clock },
      {
        table: 'events_raw_v1',
        // Only rows that differ: ClickHouse leaves a part alone that has none.
        change: `UPDATE expires_at = ${expiry} WHERE project_id = {project:UUID} AND expires_at > toDateTime({at:UInt32}, 'UTC') AND expires_at != ${expiry}`,
        params: { at },
        projectId,
        doing: 'change the expiry of stored events',
      },
      (partsToDo) => onProgress({ rows: differing, partsToDo }),
    );
    standing = await measureStanding(client, projectId, retentionSeconds);
  }
  return { changed, expired, left: standing.differing };
}

/** A retention that was a mistake must not go on deleting events until its correction gets its turn. */
async function endEarlier(client: ClickHouseClient, projectId: string): Promise<void> {
  const earlier = `database = currentDatabase() AND table = 'events_raw_v1' AND NOT is_done
    AND position(command, 'UPDATE expires_at = ') > 0 AND position(command, {project:String}) > 0`;
  const open = await ask(client, `SELECT 1 FROM system.mutations WHERE ${earlier}`, { project: projectId });
  if (open.length === 0) return;
  await client.command({ query: `KILL MUTATION WHERE ${earlier}`, query_params: { project: projectId } });
}
