/**
 * The health paths. All of them answer from facts that are kept up to date in
 * the background; none asks a store, needs a credential or is logged.
 */
import type { Context, Handler } from 'hono';
import type { Breaker } from '../pipeline/breaker.ts';
import type { Channel } from '../pipeline/channel.ts';
import { type Flags, closedBecause, isFatal } from '../pipeline/flags.ts';
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

export type HealthDeps = {
  readonly flags: Flags;
  readonly channel: Channel;
  readonly ledger: Ledger;
  readonly breaker: Breaker;
  readonly credentials: Credentials;
  readonly clickhouse: Pick<Heartbeat, 'isUp'>;
  readonly postgres: Pick<Heartbeat, 'isUp'>;
  readonly schema: () => SchemaFacts;
  /** How the journal is; null without one. */
  readonly journal: () => JournalHealth | null;
  /** Why the journal, where it has to, could not keep a body of that size. */
  readonly journalRefusal: (bytes: number) => 'full' | 'failed' | null;
  readonly version: string;
};

export function healthRoutes(deps: HealthDeps, { depth503Threshold }: { depth503Threshold: number }): Route[] {
  const { flags, channel, ledger, breaker, clickhouse, postgres, version } = deps;
  const live = { status: 'ok' };

  return [
    probe('/healthz', healthzOperation, (c) => {
      const facts = flags.facts();
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
    probe('/health', healthOperation, (c) => c.json(health())),
    probe('/health/live', liveOperation, (c) => c.json(live)),
    probe('/livez', liveOperation, (c) => c.json(live)),
    probe('/health/ready', readyOperation, ready),
    probe('/readyz', readyOperation, ready),
    probe('/ready', storesOperation, (c) => {
      const { postgresReady, clickhouseReady } = deps.schema();
      const missing = [
        ...(clickhouse.isUp() && clickhouseReady ? [] : ['clickhouse']),
        ...(postgres.isUp() && postgresReady ? [] : ['postgres']),
      ];
      return missing.length === 0
        ? c.json({ status: 'ready' })
        : c.json({ status: 'not_ready', error: `not answering or not migrated: ${missing.join(', ')}`, missing }, 503);
    }),
  ];

  /** Ready means exactly: an event sent now would be accepted. The shared dead-letter depth has no say in it. */
  function ready(c: Context): Response {
    const reason = whyNotReady(deps);
    return reason === null ? c.json({ status: 'ready' }) : c.json({ status: 'not_ready', reason }, 503);
  }

  function health() {
    const facts = flags.facts();
    const { events, bytes, reservedBytes } = channel.usage();
    const journal = deps.journal();
    const reasons = healthReasons(deps, depth503Threshold);
    const isDown = isFatal(facts) || facts.intake === 'draining';
    return {
      status: isDown ? 'down' : reasons.length > 0 ? 'degraded' : 'ok',
      reasons,
      version,
      intake: facts.intake,
      enqueued: ledger.accepted,
      dropped: 0,
      pending: events,
      queue_depth: events,
      pending_bytes: bytes,
      reserved_bytes: reservedBytes,
      unhomed_batches: facts.unhomed,
      breaker: breaker.state().kind,
      journal: journal && { state: journal.kind, bytes: journal.bytes, max_bytes: journal.maxBytes },
      clickhouse_connected: clickhouse.isUp() ?? false,
      postgres_connected: postgres.isUp() ?? false,
      dlq: facts.deadLetters && {
        depth: facts.deadLetters.rows,
        events: facts.deadLetters.events,
        bytes: facts.deadLetters.bytes,
        oldest: facts.deadLetters.oldestAt === null ? null : new Date(facts.deadLetters.oldestAt).toISOString(),
        quarantined: facts.deadLetters.quarantinedRows,
      },
    };
  }
}

function probe(path: string, operation: Operation, handler: Handler): Route {
  return { method: 'GET', path, handler, isProbe: true, operation };
}

/** Why an event sent now would not be accepted, or null. */
export function whyNotReady({
  flags,
  channel,
  journalRefusal,
  credentials,
  postgres,
  schema,
}: HealthDeps): string | null {
  const closed = closedBecause(flags.facts());
  if (closed) return closed;
  if (channel.isFull(1)) return 'channel_full';
  const trouble = journalRefusal(1);
  if (trouble !== null) return `journal_${trouble}`;
  const canLookUp = postgres.isUp() === true && schema().postgresReady;
  return canLookUp || credentials.hasUsable() ? null : 'tokens_unavailable';
}

/** Every departure from the ordinary, one sentence each, for a person. */
function healthReasons(deps: HealthDeps, depth503Threshold: number): string[] {
  const { flags, breaker, clickhouse, postgres } = deps;
  const { intake, unhomed, deadLetters } = flags.facts();
  const { drift, postgresReady, clickhouseReady } = deps.schema();
  const { kind, reason, openSince } = breaker.state();
  const journal = deps.journal();
  const reasons: string[] = [];
  if (unhomed > 0) reasons.push(`${unhomed} batches are in memory only: neither ClickHouse nor Postgres takes them`);
  if (intake === 'disabled') reasons.push('ingest is switched off');
  if (intake === 'draining') reasons.push('this process is shutting down');
  if (!clickhouse.isUp()) reasons.push('ClickHouse does not answer');
  else if (!clickhouseReady) reasons.push('ClickHouse is not migrated yet');
  if (!postgres.isUp()) reasons.push('Postgres does not answer');
  else if (!postgresReady) reasons.push('Postgres is not migrated yet');
  if (kind !== 'closed') {
    reasons.push(`inserts are suspended since ${new Date(openSince!).toISOString()} (${reason})`);
  }
  if (deps.channel.isFull(1)) reasons.push('the channel is full');
  if (journal && journal.kind !== 'ok') reasons.push(`the journal cannot be written (${journal.reason})`);
  else if (deps.journalRefusal(1) === 'full') reasons.push('the journal is full');
  if (deadLetters && deadLetters.rows > depth503Threshold) {
    reasons.push(`${deadLetters.rows} dead letters, more than DLQ_DEPTH_503_THRESHOLD`);
  }
  if (deadLetters && deadLetters.quarantinedRows > 0) {
    reasons.push(`${deadLetters.quarantinedRows} dead letters are quarantined: weir dlq groups`);
  }
  return [...reasons, ...drift];
}
