/** What operators do with stored events, connected; whatever stores them. */
import { createClickHouse } from '../clickhouse/connection/client.ts';
import { createEventOperations as createClickHouseOperations } from '../clickhouse/operations/event-operations.ts';
import type { Config } from '../config/config.ts';
import type { EventOperations } from '../pipeline/operator-port.ts';
import { failureOf } from '../pipeline/outcome.ts';
import { createEventOperations as createPostgresOperations } from '../postgres/event-operations/event-operations.ts';
import type { createPostgres } from '../postgres/connection/pool.ts';
import type { Clock } from '../runtime/clock.ts';
import type { StoreAccess } from './storage.ts';

export type OpenEventOperations = {
  readonly operations: EventOperations;
  /** null where Postgres stores the events. */
  readonly client: ReturnType<typeof createClickHouse> | null;
  /** Never rejects; the pool stays open. */
  close(): Promise<void>;
};

/** `patienceMs`: how long a store may be silent. `pool`: used where Postgres stores the events. Makes no connection. */
export function openEventOperations(
  { config, access }: { readonly config: Config; readonly access: StoreAccess },
  {
    pool,
    clock,
    patienceMs,
  }: { readonly pool: ReturnType<typeof createPostgres>['pool']; readonly clock: Clock; readonly patienceMs: number },
): OpenEventOperations {
  if (access.clickhouse === null) {
    return { operations: createPostgresOperations({ pool, clock }), client: null, close: () => Promise.resolve() };
  }
  const { database, cluster } = config.clickhouse;
  const client = createClickHouse({ ...access.clickhouse, database, requestTimeoutMs: patienceMs });
  return {
    operations: createClickHouseOperations({ client, clock }, { database, cluster }),
    client,
    close: async () => void (await failureOf(client.close())),
  };
}
