/** Decodes a kept rejected event once more, as the door that it came by would if it came alone. */
import { skewOf } from '../../event/clock-skew.ts';
import { decodeEvents } from '../../event/decode.ts';
import type { DecodeContext, DecodeEvent } from '../../event/decoding.ts';
import { decoderOf } from '../../event/decoder.ts';
import { isBodyProblem } from '../../event/envelope.ts';
import { MASK } from '../../event/masked-tokens.ts';
import type { ProjectId } from '../../event/event.ts';
import { finish } from '../../event/steps.ts';
import type { RejectedEvent } from '../../pipeline/rejected-port.ts';
import { type Door, flatEvents, type RequestHead } from './doors/door.ts';
import { decodeAlone } from './ndjson-lines.ts';

export type KeptEventOptions = {
  readonly maxFutureMs: number;
  /** Of its project. */
  readonly retentionSeconds: number | null;
};

/** Its row, or why it has none. What depends on when it was received is as it was then. */
export function decodeKept(
  event: RejectedEvent,
  doors: readonly Door[],
  { maxFutureMs, retentionSeconds }: KeptEventOptions,
): Buffer | { reason: string } {
  const { id, projectId, path, bytes, index, receivedAt, facts } = event;
  const door = doors.find(({ paths }) => paths.includes(path));
  if (door === undefined) return { reason: `no door has the path ${path}` };
  const context: DecodeContext = {
    projectId: projectId as ProjectId,
    source: door.source,
    receivedAt,
    maxFutureMs,
    retentionSeconds,
    newEventId: () => id,
    skewMs: skewOf(facts.sentAt, receivedAt),
  };
  if (door.body.kind === 'lines') return rowOf(decodeAlone(bytes, decoderOf(door.format)(context)));

  const { bodyAround = aListOf } = door;
  const body = Buffer.from(bodyAround(bytes.toString('latin1')), 'latin1');
  const opened = finish(door.body.open(body, {}, headAt(path)));
  if (isBodyProblem(opened)) return { reason: opened.code === 'invalid_json' ? event.reason : opened.message };
  const events = finish(flatEvents(opened));
  if (isBodyProblem(events)) return { reason: events.message };
  const { hint = null } = opened;
  const { sentAt, ip, userAgent } = facts;
  const asSent = { sentAt, hint, token: MASK, ip, userAgent, firstIndex: index };
  const decodeEvent: DecodeEvent = decoderOf(door.format)({ ...context, ...(door.tokens && { skewMs: 0, asSent }) });
  if (events.count !== 1) return { reason: event.reason };
  const { rows, rejections } = finish(decodeEvents(events, decodeEvent));
  return rejections[0] ?? rows;
}

const aListOf = (event: string): string => `[${event}]`;

function rowOf(row: ReturnType<DecodeEvent>): Buffer | { reason: string } {
  return typeof row === 'string' ? Buffer.from(row, 'latin1') : row;
}

/** What the query and the headers said is in the event. */
function headAt(path: string): RequestHead {
  return { method: 'POST', path, target: path, headers: {}, query: () => new URLSearchParams() };
}
