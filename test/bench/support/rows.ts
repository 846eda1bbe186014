import { randomUUID } from 'node:crypto';
import { decodeEvents } from '../../../src/event/decode.ts';
import { decoderOf } from '../../../src/event/decoder.ts';
import { readEnvelope } from '../../../src/event/envelope.ts';
import type { ProjectId } from '../../../src/event/event.ts';
import { finish } from '../../../src/event/steps.ts';
import { nativeFormat } from '../../../src/http/ingest/doors/native.ts';

/** The rows that Weir would make of a body. */
export function rowsOf(body: Buffer, projectId: ProjectId): Buffer {
  const envelope = finish(readEnvelope(body));
  if (!envelope.ok) throw new Error(envelope.message);
  const decodeEvent = decoderOf(nativeFormat)({
    projectId,
    source: 'native',
    receivedAt: Date.now(),
    maxFutureMs: 60_000,
    newEventId: randomUUID,
    retentionSeconds: null,
  });
  return finish(decodeEvents(envelope.events, decodeEvent)).rows;
}
