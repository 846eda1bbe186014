/** The HTTP side of one Weir: the front doors, the reading paths, the pages. */
import { randomFillSync, randomUUIDv7 } from 'node:crypto';
import type { Config } from '../config/config.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Credentials } from '../http/access/credentials.ts';
import { createRateLimit } from '../http/access/rate-limit.ts';
import { createRequestIds } from '../http/answers/request-ids.ts';
import { createApp } from '../http/app.ts';
import type { ObserveRequest } from '../http/description/route.ts';
import type { Idempotency } from '../http/ingest/idempotency.ts';
import { QUERY_SLOTS, createQuerySlots } from '../http/read/query-slots.ts';
import { createFairScheduler } from '../http/request/fair-scheduling.ts';
import type { Log } from '../log/log.ts';
import type { EventReading } from '../pipeline/storage-port.ts';
import type { Intake } from './intake.ts';
import type { Pages } from './pages.ts';
import type { RejectedEvents } from './rejected-events.ts';
import type { PipelineState } from './state.ts';
import type { WorkerContext } from './worker-context.ts';

type HttpAppParts = {
  readonly config: Config;
  readonly version: string;
  readonly intake: Intake;
  readonly state: PipelineState;
  readonly reading: EventReading;
  readonly credentials: Credentials;
  readonly idempotency: Idempotency;
  readonly pages: Pages;
  readonly onRequest: ObserveRequest;
  readonly rejectedEvents: Pick<RejectedEvents, 'onRejected' | 'keeper'>;
  readonly workerContext: WorkerContext | null;
};

export function createHttpApp(parts: HttpAppParts, { clock, log }: { clock: Clock; log: Log }) {
  const { config, version, intake, state, reading, credentials, idempotency, pages, workerContext } = parts;
  const { channel, waitingRoom, accept, durability, watch } = intake;
  const { flags, ledger } = state;
  const ownRateLimit = () => config.rateLimit && createRateLimit(config.rateLimit);
  return createApp(
    {
      ingest: {
        flags,
        channel,
        waitingRoom,
        accept,
        watch,
        journalRefusal: durability.refusal,
        credentials,
        idempotency,
        rateLimit: workerContext ? workerContext.rateLimit : ownRateLimit(),
        scheduler: createFairScheduler(),
        ledger,
        clock,
        newEventId: randomUUIDv7,
        onRejected: parts.rejectedEvents.onRejected,
        keeper: parts.rejectedEvents.keeper,
      },
      health: { service: pages.health, version },
      countEvents: reading.countEvents,
      query: {
        reader: reading.projectReader,
        querySlots: workerContext?.querySlots ?? createQuerySlots({ clock }, QUERY_SLOTS),
        credentials,
        flags,
        clock,
        newQueryId: randomUUIDv7,
        log,
      },
      metricsText: pages.metrics,
      newRequestId: createRequestIds(randomFillSync),
      onRequest: parts.onRequest,
      log,
    },
    {
      ingest: {
        maxBodyBytes: config.maxBodyBytes,
        maxEvents: config.channel.maxEvents,
        maxFutureMs: config.maxFutureMs,
        defaultAck: config.ack,
        highestAck: config.kafka === null ? 'stored' : 'replicated',
        client: config.client,
      },
      query: { ...reading.queryLimits, maxAtOnce: QUERY_SLOTS.maxOfProject },
      allowedOrigins: config.allowedOrigins,
      depth503Threshold: config.deadLetters.depth503Threshold,
      metricsToken: config.metricsToken,
    },
  );
}
