/** How safe events must be before the answer: what a client asks for, how long to wait for it, what `Weir-Ack` says. */
import type { Clock } from '../../runtime/clock.ts';
import type { Channel, Destination } from '../../pipeline/channel-port.ts';
import type { DoorRequest } from '../request/door-request.ts';
import type { Reply } from '../answers/reply.ts';
import type { RequestHead } from './doors/door.ts';
import type { Answer } from './idempotency.ts';
import type { IngestRefusal } from './ingest-refusals.ts';

/**
 * How safe accepted events must be before the answer. What comes after `journaled` is where they go from this process:
 * `stored` where it inserts them itself, `replicated` where it appends them to a topic.
 */
export const ACKS = ['queued', 'journaled', 'replicated', 'stored'] as const;
export type Ack = (typeof ACKS)[number];
export type Level = 'queued' | 'journaled' | Destination;
/** The values of `Weir-Ack`. */
export const LEVELS = [
  'queued',
  'journaled',
  'replicated',
  'stored',
  'dead-lettered',
] as const satisfies readonly Level[];

/** How long an answer waits for a store or for brokers before it reports the level reached. */
export const MAX_ACK_WAIT_MS = 30_000;

/** Where events go from this process, and so the highest level an answer can wait for. */
export type HighestAck = 'replicated' | 'stored';

/**
 * The level that a request asks for. Where events are stored by another process, waiting for `stored`
 * ends with `replicated`, and `Weir-Ack` says so.
 */
export function requestedAck(
  { target, query }: Pick<RequestHead, 'target' | 'query'>,
  byDefault: Ack,
  highest: HighestAck = 'stored',
): Ack | IngestRefusal {
  if (!target.includes('?')) return byDefault;
  const parameters = query();
  const wanted = parameters.get('ack');
  const wait = parameters.get('wait');
  if (wait !== null && wait !== 'true' && wait !== 'false') {
    return { refused: 'invalid_query', message: 'wait must be true or false' };
  }
  const ack = wanted === null ? byDefault : ACKS.find((known) => known === wanted);
  if (ack === undefined) return { refused: 'invalid_query', message: `ack must be one of ${ACKS.join(', ')}` };
  if (ack === 'replicated' && highest === 'stored') {
    return { refused: 'invalid_query', message: 'ack=replicated needs brokers, which this service does not use' };
  }
  return ack === 'stored' || wait === 'true' ? highest : ack;
}

/**
 * The answer once the events are settled in a store or in the topic, or with the level they have reached after
 * `maxWaitMs`. The wait ends when the client disconnects.
 */
export async function onceSettled(
  { onGone }: Pick<DoorRequest, 'onGone'>,
  answer: Answer,
  reached: Level,
  settled: Promise<Destination>,
  {
    channel,
    clock,
    maxWaitMs,
  }: { readonly channel: Pick<Channel, 'hurry'>; readonly clock: Clock; readonly maxWaitMs: number },
): Promise<Answer> {
  channel.hurry();
  const done = new AbortController();
  const stop = () => done.abort('answered or gone');
  const off = onGone(stop);
  const waited = clock.sleep(maxWaitMs, done.signal);
  const level = await Promise.race([settled, waited.then(() => reached)]);
  off();
  stop();
  return withAck(answer, level);
}

/** The answer with the level that was reached. */
export function withAck({ status, body, headers }: Answer, ack: Level): Answer {
  return { status, body, ack, headers };
}

/** The headers of a door's answers, by level: each level always has the same object, which identifies it. */
export function createAckHeaders(contentType: string): (ack: string) => Reply['headers'] {
  const headersFor = (ack: string): Reply['headers'] => ({ 'Content-Type': contentType, 'Weir-Ack': ack });
  const known = new Map(LEVELS.map((level): [string, Reply['headers']] => [level, headersFor(level)]));
  return (ack) => known.get(ack) ?? headersFor(ack);
}
