/**
 * The health paths. All of them answer from facts that are kept up to date in
 * the background; none asks a store, needs a credential or is logged.
 */
import type { Context, Handler } from 'hono';
import type { Breaker, BreakerState } from '../pipeline/breaker.ts';
import type { Channel, ChannelUsage } from '../pipeline/channel.ts';
import { type Facts, type Flags, closedBecause, isFatal } from '../pipeline/flags.ts';
import type { Heartbeat } from '../pipeline/heartbeat.ts';
import type { Ledger } from '../pipeline/ledger.ts';
import type { Credentials } from './credentials.ts';
import {
  healthOperation,
  healthzOperation,
  liveOperation,
  readyOperation,
  storesOperation,
} from './health-operations.ts';
import type { Operation, Route } from './route.ts';

/** What has been found out about a store's schema: null until it is known to be up to date. */
export type SchemaFacts = {
  readonly postgresReady: boolean;
  readonly clickhouseReady: boolean;
  /** What differs from what Weir expects, one sentence each, with the remedy. */
  readonly drift: readonly string[];
};

/** `kind` is `ok`, or what is wrong, with a system error code as `reason`. */
export type JournalHealth = {
  readonly kind: string;
  readonly reason?: string;
  readonly bytes: number;
  readonly maxBytes: number;
};

/** Everything the health paths are made of, at one moment. A plain value: workers send theirs to each other. */
export type Vitals = {
  readonly facts: Facts;
  readonly channel: ChannelUsage & { readonly isFull: boolean };
  readonly accepted: number;
  readonly breaker: BreakerState;
  /** null until a store has answered or failed to. */
  readonly clickhouseUp: boolean | null;
  readonly postgresUp: boolean | null;
  readonly schema: SchemaFacts;
  /** How the journal is; null without one. */
  readonly journal: JournalHealth | null;
  /** Why the journal, where it has to, could not keep a small body. */
  readonly journalRefusal: 'full' | 'failed' | null;
  /** Whether some tokens can be judged without asking Postgres. */
  readonly knowsTokens: boolean;
};

export type VitalsDeps = {
  readonly flags: Flags;
  readonly channel: Channel;
  readonly ledger: Ledger;
  readonly breaker: Breaker;
  readonly credentials: Credentials;
  readonly clickhouse: Pick<Heartbeat, 'isUp'>;
  readonly postgres: Pick<Heartbeat, 'isUp'>;
  readonly schema: () => SchemaFacts;
  readonly journal: () => JournalHealth | null;
  readonly journalRefusal: (bytes: number) => 'full' | 'failed' | null;
};

/** One of several workers, as `/health` lists them. */
export type WorkerHealth = {
  readonly worker: number;
  readonly pid: number | null;
  readonly state: 'starting' | 'listening' | 'silent' | 'missing' | 'delivering';
};

/** What the pages speak of: one process, or several workers taken together. */
export type ServiceHealth = {
  readonly vitals: Vitals;
  /** What departs from the ordinary beyond the vitals. */
  readonly reasons: readonly string[];
  /** null where one process does everything. */
  readonly workers: readonly WorkerHealth[] | null;
};

export type HealthDeps = { readonly service: () => Promise<ServiceHealth>; readonly version: string };

export function readVitals(deps: VitalsDeps): Vitals {
  const { flags, channel, ledger, breaker, clickhouse, postgres } = deps;
  return {
    facts: flags.facts(),
    channel: { ...channel.usage(), isFull: channel.isFull(1) },
    accepted: ledger.accepted,
    breaker: breaker.state(),
    clickhouseUp: clickhouse.isUp(),
    postgresUp: postgres.isUp(),
    schema: deps.schema(),
    journal: deps.journal(),
    journalRefusal: deps.journalRefusal(1),
    knowsTokens: deps.credentials.hasUsable(),
  };
}

export function healthRoutes(
  { service, version }: HealthDeps,
  { depth503Threshold }: { depth503Threshold: number },
): Route[] {
  const live = { status: 'ok' };

  return [
    probe('/healthz', healthzOperation, async (c) => {
      const { facts } = (await service()).vitals;
      const depth = facts.deadLetters?.rows ?? 0;
      const isDown = isFatal(facts) || depth > depth503Threshold;
      return c.json(
        {
          status: isDown ? 'down' : 'ok',
          version,
          ingest_disabled: facts.intake === 'disabled',
          dlq_depth: depth,
        },
        isDown ? 503 : 200,
      );
    }),
    probe('/health', healthOperation, async (c) => c.json(health(await service()))),
    probe('/health/live', liveOperation, (c) => c.json(live)),
    probe('/livez', liveOperation, (c) => c.json(live)),
    probe('/health/ready', readyOperation, ready),
    probe('/readyz', readyOperation, ready),
    probe('/ready', storesOperation, async (c) => {
      const { clickhouseUp, postgresUp, schema } = (await service()).vitals;
      const missing = [
        ...(clickhouseUp && schema.clickhouseReady ? [] : ['clickhouse']),
        ...(postgresUp && schema.postgresReady ? [] : ['postgres']),
      ];
      return missing.length === 0
        ? c.json({ status: 'ready' })
        : c.json({ status: 'not_ready', error: `not answering or not migrated: ${missing.join(', ')}`, missing }, 503);
    }),
  ];

  /** Ready means exactly: an event sent now would be accepted. The shared dead-letter depth has no say in it. */
  async function ready(c: Context): Promise<Response> {
    const reason = whyNotReady((await service()).vitals);
    return reason === null ? c.json({ status: 'ready' }) : c.json({ status: 'not_ready', reason }, 503);
  }

  function health({ vitals, reasons: more, workers }: ServiceHealth) {
    const { facts, channel, journal } = vitals;
    const reasons = [...healthReasons(vitals, depth503Threshold), ...more];
    const isDown = isFatal(facts) || facts.intake === 'draining';
    return {
      status: isDown ? 'down' : reasons.length > 0 ? 'degraded' : 'ok',
      reasons,
      version,
      intake: facts.intake,
      enqueued: vitals.accepted,
      dropped: 0,
      pending: channel.events,
      queue_depth: channel.events,
      pending_bytes: channel.bytes,
      reserved_bytes: channel.reservedBytes,
      unhomed_batches: facts.unhomed,
      breaker: vitals.breaker.kind,
      journal: journal && { state: journal.kind, bytes: journal.bytes, max_bytes: journal.maxBytes },
      clickhouse_connected: vitals.clickhouseUp ?? false,
      postgres_connected: vitals.postgresUp ?? false,
      dlq: facts.deadLetters && {
        depth: facts.deadLetters.rows,
        events: facts.deadLetters.events,
        bytes: facts.deadLetters.bytes,
        oldest: facts.deadLetters.oldestAt === null ? null : new Date(facts.deadLetters.oldestAt).toISOString(),
        quarantined: facts.deadLetters.quarantinedRows,
      },
      ...(workers && { workers }),
    };
  }
}

function probe(path: string, operation: Operation, handler: Handler): Route {
  return { method: 'GET', path, handler, isProbe: true, operation };
}

/** Why an event sent now would not be accepted, or null. */
function whyNotReady({ facts, channel, journalRefusal, postgresUp, schema, knowsTokens }: Vitals): string | null {
  const closed = closedBecause(facts);
  if (closed) return closed;
  if (channel.isFull) return 'channel_full';
  if (journalRefusal !== null) return `journal_${journalRefusal}`;
  const canLookUp = postgresUp === true && schema.postgresReady;
  return canLookUp || knowsTokens ? null : 'tokens_unavailable';
}

/** Every departure from the ordinary, one sentence each, for a person. */
function healthReasons(vitals: Vitals, depth503Threshold: number): string[] {
  const { facts, breaker, clickhouseUp, postgresUp, schema, journal } = vitals;
  const { intake, unhomed, deadLetters } = facts;
  const { drift, postgresReady, clickhouseReady } = schema;
  const { kind, reason, openSince } = breaker;
  const reasons: string[] = [];
  if (unhomed > 0) reasons.push(`${unhomed} batches are in memory only: neither ClickHouse nor Postgres takes them`);
  if (intake === 'disabled') reasons.push('ingest is switched off');
  if (intake === 'draining') reasons.push('this process is shutting down');
  if (!clickhouseUp) reasons.push('ClickHouse does not answer');
  else if (!clickhouseReady) reasons.push('ClickHouse is not migrated yet');
  if (!postgresUp) reasons.push('Postgres does not answer');
  else if (!postgresReady) reasons.push('Postgres is not migrated yet');
  if (kind !== 'closed') {
    reasons.push(`inserts are suspended since ${new Date(openSince!).toISOString()} (${reason})`);
  }
  if (vitals.channel.isFull) reasons.push('the channel is full');
  if (journal && journal.kind !== 'ok') reasons.push(`the journal cannot be written (${journal.reason})`);
  else if (vitals.journalRefusal === 'full') reasons.push('the journal is full');
  if (deadLetters && deadLetters.rows > depth503Threshold) {
    reasons.push(`${deadLetters.rows} dead letters, more than DLQ_DEPTH_503_THRESHOLD`);
  }
  if (deadLetters && deadLetters.quarantinedRows > 0) {
    reasons.push(`${deadLetters.quarantinedRows} dead letters are quarantined: weir dlq groups`);
  }
  return [...reasons, ...drift];
}
