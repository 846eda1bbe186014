/** A backlog as an outage leaves it: dead letters of full batches, whose rows Weir's own decoder has made. */
import { randomUUIDv7 } from 'node:crypto';
import { decodeEvents } from '../../../src/event/decode.ts';
import { decoderOf } from '../../../src/event/decoder.ts';
import { readEnvelope } from '../../../src/event/envelope.ts';
import type { Envelope } from '../../../src/event/event.ts';
import { finish } from '../../../src/event/steps.ts';
import { nativeFormat } from '../../../src/http/ingest/doors/native.ts';
import { createLog } from '../../../src/log/log.ts';
import { type BatchId, freezeBatch } from '../../../src/pipeline/batch.ts';
import { InsertFailure } from '../../../src/pipeline/ports.ts';
import { createDeadLetters } from '../../../src/postgres/dead-letters/dead-letters.ts';
import { FLUSH_EVENTS, type Grounds } from './grounds.ts';
import { type Roll, numberable, numbered } from './roll.ts';

const decode = decoderOf(nativeFormat);
const away = new InsertFailure('ClickHouse is away', { failureClass: 'unavailable' });

/** Writes so many events, from requests with these bodies, and enters them in the roll as acknowledged. None is due yet. */
export async function writeBacklog(
  { stores, projectId }: Grounds,
  { roll, bodies, events }: { roll: Roll; bodies: readonly Buffer[]; events: number },
): Promise<void> {
  const deadLetters = createDeadLetters(stores.postgres.db, createLog('silent'));
  const templates = bodies.map(numberable);
  const context = {
    projectId,
    source: 'native',
    receivedAt: Date.now(),
    maxFutureMs: 60_000,
    newEventId: randomUUIDv7,
    retentionSeconds: null,
  };
  let requests = 0;
  for (let written = 0; written < events;) {
    const envelopes: Envelope[] = [];
    for (let count = 0; count < FLUSH_EVENTS; count += envelopes.at(-1)!.eventCount) envelopes.push(nextEnvelope());
    const batch = freezeBatch(randomUUIDv7() as BatchId, envelopes);
    await deadLetters.add(batch, { failure: away, ambiguous: false });
    written += batch.eventCount;
  }
  await stores.postgres.pool.query(`UPDATE failed_events SET visible_at = now() + interval '1 hour'`);

  function nextEnvelope(): Envelope {
    const template = templates[requests++ % templates.length]!;
    const first = roll.enlist(template.places.length);
    const envelope = finish(readEnvelope(numbered(template, first)));
    if (!envelope.ok) throw new Error(envelope.message);
    const { rows, accepted } = finish(decodeEvents(envelope.events, decode(context)));
    roll.acknowledge(first, accepted);
    return { projectId, eventCount: accepted, rows };
  }
}
