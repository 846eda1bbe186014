/** What the routes of the operator API work with. */
import type { KafkaSettings } from '../../config/kafka-settings.ts';
import type { Visits } from '../../http/read/visits.ts';
import type { Log } from '../../log/log.ts';
import type { Check } from '../../operations/examination/checks.ts';
import { OperationRefused } from '../../operations/refused.ts';
import type { EventOperations } from '../../pipeline/operator-port.ts';
import type { EventSchema } from '../../pipeline/storage-port.ts';
import type { Database } from '../../postgres/connection/pool.ts';
import type { DecodeRejected } from '../../postgres/rejected-events/rejected-actions.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { Recipe } from './cookbook.ts';
import type { DescribedRoute } from './described.ts';
import type { Jobs } from './jobs.ts';

/** The store of the events, as operators use it. */
export type OperatorEvents = {
  readonly operations: EventOperations;
  readonly schema: EventSchema;
  readonly visits: Visits;
};

export type OperatorDeps = {
  readonly db: Database;
  /** null where this process has none (`WEIR_ROLE=ingest`). */
  readonly events: OperatorEvents | null;
  readonly jobs: Jobs;
  readonly clock: Clock;
  readonly log: Log;
  /** How long the store may take to look at the rows of one letter. */
  readonly inspectWithinMs: number;
  /** Decodes a rejected event as it would be decoded today. */
  readonly decode: DecodeRejected;
  /** Whether INGEST_DISABLED is set. */
  readonly isDisabledHere: boolean;
  readonly recipes: readonly Recipe[];
  /** Where the service listens. */
  readonly serviceUrl: string;
  readonly metricsToken: string | null;
  readonly kafka: KafkaSettings | null;
  /** All that `weir doctor` checks. */
  readonly examine: () => Promise<readonly Check[]>;
  /** Routes of the console that are described together with these. */
  readonly others: readonly DescribedRoute[];
  readonly version: string;
};

/** Throws `OperationRefused` where this process has no event store. */
export function eventsOf({ events }: Pick<OperatorDeps, 'events'>): OperatorEvents {
  if (events !== null) return events;
  throw new OperationRefused('store', 'This process has no event store (WEIR_ROLE=ingest): ask one that inserts.');
}
