/**
 * The health paths. All of them answer from facts that are updated in the background; none queries a store, needs a
 * credential or is logged.
 */
import type { Context, Handler } from 'hono';
import { closedBecause, isEnding, isFatal } from '../../pipeline/flags.ts';
import {
  healthOperation,
  healthzOperation,
  liveOperation,
  readyOperation,
  storesOperation,
} from './health-operations.ts';
import type { Operation, Route } from '../description/route.ts';
import type { HealthSnapshot, ServiceHealth, TopicHealth } from './health-snapshot.ts';
import { stallReasons } from './stalls.ts';
import type { RejectingDoor } from '../../pipeline/rejections.ts';
import type { RebuildState } from '../../pipeline/storage-port.ts';

export type HealthDeps = { readonly service: () => Promise<ServiceHealth>; readonly version: string };

export function healthRoutes(
  { service, version }: HealthDeps,
  { depth503Threshold }: { depth503Threshold: number },
): Route[] {
  const live = { status: 'ok' };

  return [
    probe('/healthz', healthzOperation, async (c) => {
      const { facts } = (await service()).healthSnapshot;
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
      const { role, eventStore, eventsUp, postgresUp, schema, topic } = (await service()).healthSnapshot;
      const missing = new Set([
        ...(role === 'ingest' || (eventsUp && schema.eventsReady) ? [] : [eventStore.toLowerCase()]),
        ...(topic === null || topic.isUp ? [] : ['kafka']),
        ...(postgresUp && schema.postgresReady ? [] : ['postgres']),
      ]);
      const names = [...missing];
      return names.length === 0
        ? c.json({ status: 'ready' })
        : c.json(
            { status: 'not_ready', error: `not answering or not migrated: ${names.join(', ')}`, missing: names },
            503,
          );
    }),
  ];

  /**
   * Ready means exactly: an event sent now would be accepted, and no shutdown was announced. The shared dead-letter
   * depth has no influence on it.
   */
  async function ready(c: Context): Promise<Response> {
    const reason = whyNotReady((await service()).healthSnapshot);
    return reason === null ? c.json({ status: 'ready' }) : c.json({ status: 'not_ready', reason }, 503);
  }

  function health({ healthSnapshot, reasons: more, workers }: ServiceHealth) {
    const { facts, channel, journal } = healthSnapshot;
    const reasons = [...healthReasons(healthSnapshot, depth503Threshold), ...more];
    const isDown = isFatal(facts) || facts.intake === 'draining';
    return {
      status: isDown ? 'down' : reasons.length > 0 ? 'degraded' : 'ok',
      reasons,
      version,
      role: healthSnapshot.role,
      intake: facts.intake,
      enqueued: healthSnapshot.accepted,
      dropped: 0,
      pending: channel.events,
      queue_depth: channel.events,
      pending_bytes: channel.bytes,
      reserved_bytes: channel.reservedBytes,
      unhomed_batches: facts.unhomed,
      breaker: healthSnapshot.breaker.kind,
      journal: journal && { state: journal.kind, bytes: journal.bytes, max_bytes: journal.maxBytes },
      topic: topicOf(healthSnapshot.topic),
      ...(healthSnapshot.role !== 'ingest' &&
        healthSnapshot.eventStore === 'ClickHouse' && {
          clickhouse_connected: healthSnapshot.eventsUp ?? false,
        }),
      postgres_connected: healthSnapshot.postgresUp ?? false,
      dlq: facts.deadLetters && {
        depth: facts.deadLetters.rows,
        events: facts.deadLetters.events,
        bytes: facts.deadLetters.bytes,
        oldest: facts.deadLetters.oldestAt === null ? null : new Date(facts.deadLetters.oldestAt).toISOString(),
        quarantined: facts.deadLetters.quarantinedRows,
        estimated: facts.deadLetters.isEstimate,
      },
      rebuild: rebuildOf(healthSnapshot.schema.rebuild),
      rejecting: healthSnapshot.rejecting.map(rejectingOf),
      ...(workers && { workers }),
    };
  }
}

/** Nothing is wrong with Weir when clients send what it cannot take: this is no reason, and changes no status. */
function rejectingOf({ door, since, last, rejected, reasons }: RejectingDoor) {
  return { door, rejected, reasons, since: new Date(since).toISOString(), last: new Date(last).toISOString() };
}

function topicOf(topic: TopicHealth | null) {
  if (topic === null) return null;
  const { name, isUp, reading } = topic;
  return {
    name,
    connected: isUp ?? false,
    reading: reading && {
      member: reading.isMember,
      partitions: reading.partitions,
      lag_records: reading.lagRecords,
      lag_seconds: reading.lagSeconds,
    },
  };
}

/** null when there is nothing to rebuild. It is no reason to worry: everything works meanwhile. */
function rebuildOf(state: RebuildState | null) {
  if (state === null || state.kind === 'done') return null;
  if (state.kind === 'blocked') return { state: 'blocked', rows: 0, total: 0, detail: state.why };
  const { doing, rows, total, waitsFor } = state;
  return { state: doing, rows, total, detail: waitsFor === null ? null : `waits for ${waitsFor}` };
}

function probe(path: string, operation: Operation, handler: Handler): Route {
  return { method: 'GET', path, handler, isProbe: true, operation };
}

/** Why an event sent now would not be accepted, or null. */
function whyNotReady({
  role,
  topic,
  facts,
  channel,
  journal,
  journalRefusal,
  postgresUp,
  schema,
  knowsTokens,
}: HealthSnapshot): string | null {
  if (role === 'flush' && facts.intake === 'elsewhere') {
    if (isEnding(facts)) return 'shutting_down';
    return topic?.reading?.isMember ? null : 'topic_unavailable';
  }
  const closed = closedBecause(facts);
  if (closed) return closed;
  if (isEnding(facts)) return 'shutting_down';
  if (channel.isFull) return 'channel_full';
  if (journalRefusal !== null) return `journal_${journalRefusal}`;
  // Where nothing else keeps events meanwhile, they are accepted once the brokers have them.
  if (topic !== null && journal === null && topic.isUp !== true) return 'topic_unavailable';
  const canLookUp = postgresUp === true && schema.postgresReady;
  return canLookUp || knowsTokens ? null : 'tokens_unavailable';
}

/** Every deviation from normal operation, one sentence each, for a person. */
function healthReasons(healthSnapshot: HealthSnapshot, depth503Threshold: number): string[] {
  const { role, topic, facts, eventStore, breaker, eventsUp, postgresUp, schema, journal } = healthSnapshot;
  const { intake, unhomed, deadLetters } = facts;
  const { drift, postgresReady } = schema;
  const { kind, reason, openSince } = breaker;
  const reasons: string[] = [];
  const isShared = eventStore === 'Postgres';
  if (unhomed > 0) {
    const why = isShared ? 'Postgres does not accept them' : `neither ${eventStore} nor Postgres accepts them`;
    reasons.push(`${unhomed} batches are in memory only: ${why}`);
  }
  if (intake === 'disabled') reasons.push('ingest is switched off');
  if (intake === 'draining') reasons.push('this process is shutting down');
  else if (isEnding(facts)) reasons.push('this process is about to shut down and still accepts events');
  if (topic !== null) reasons.push(...topicReasons(topic));
  if (!isShared && role !== 'ingest') {
    if (!eventsUp) reasons.push(healthSnapshot.eventsTrouble ?? `${eventStore} does not answer`);
    else if (!schema.eventsReady)
      reasons.push(`${eventStore} is not migrated yet${because(postgresReady ? schema.problem : null)}`);
  }
  if (!postgresUp) reasons.push(healthSnapshot.postgresTrouble ?? 'Postgres does not answer');
  else if (healthSnapshot.postgresReadOnly)
    reasons.push(`Postgres is read-only and cannot store ${isShared ? 'events' : 'dead letters'}`);
  else if (!postgresReady || (isShared && !schema.eventsReady))
    reasons.push(`Postgres is not migrated yet${because(schema.problem)}`);
  if (healthSnapshot.noRoomSince !== null) {
    const since = new Date(healthSnapshot.noRoomSince).toISOString();
    reasons.push(
      `Postgres has had no room for dead letters since ${since}: Weir adds none; the waiting ones free space as they land`,
    );
  }
  if (kind !== 'closed') {
    reasons.push(`inserts have been suspended since ${new Date(openSince!).toISOString()} (${reason})`);
  }
  if (healthSnapshot.channel.isFull) reasons.push('the channel is full');
  if (journal && journal.kind !== 'ok') reasons.push(`the journal cannot be written (${journal.reason})`);
  else if (healthSnapshot.journalRefusal === 'full') reasons.push('the journal is full');
  if (journal?.isHeld)
    reasons.push('this data directory is a copy: its events wait until the Weir that owns the original has stopped');
  if (deadLetters && deadLetters.rows > depth503Threshold) {
    reasons.push(`${deadLetters.rows} dead letters, more than DLQ_DEPTH_503_THRESHOLD`);
  }
  if (deadLetters && deadLetters.quarantinedRows > 0) {
    const { quarantinedRows: rows } = deadLetters;
    reasons.push(`${rows} ${rows === 1 ? 'dead letter is' : 'dead letters are'} quarantined: weir dlq groups`);
  }
  const stalls = stallReasons({
    progress: healthSnapshot.progress,
    deadLetters,
    areInsertsSent: eventsUp === true && kind === 'closed',
    isPostgresWritable: postgresUp === true && !healthSnapshot.postgresReadOnly,
  });
  return [...reasons, ...stalls, ...healthSnapshot.notices, ...drift];
}

function topicReasons({ name, isUp, trouble, reading, problems }: TopicHealth): string[] {
  if (!isUp) return [`no broker of the topic ${name} answers${because(trouble)}`, ...problems];
  return reading && !reading.isMember
    ? [`this process has not joined the readers of ${name} yet`, ...problems]
    : [...problems];
}

const because = (problem: string | null) => (problem === null ? '' : `: ${problem}`);
