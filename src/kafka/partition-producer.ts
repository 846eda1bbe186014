/**
 * Appends to one partition, one record at a time, so that each is in the log once: a record that is sent again has the
 * same producer id and number, by which the broker knows it. Each partition has a producer id of its own, which is given
 * up whenever it is unclear what the broker remembers of it.
 */
import { TopicFailure, type TopicEntry } from '../topic/topic-port.ts';
import type { Clock } from '../runtime/clock.ts';
import { pause } from './backoff.ts';
import { apiErrorsOf, explainKafka, NotAsked } from './errors.ts';
import type { Packer } from './packing.ts';
import type { Requests } from './requests.ts';
import type { Trouble } from './trouble.ts';

export type ProducerDeps = {
  readonly clock: Clock;
  readonly random: () => number;
  readonly requests: Requests;
  readonly packer: Packer;
  readonly trouble: Trouble;
};

export type PartitionProducer = {
  /** Resolves when all in-sync replicas have the record. Rejects with `TopicFailure`; `closed` once `signal` aborts. */
  append(entry: TopicEntry, signal: AbortSignal): Promise<void>;
};

/** The name of the header that says what a record is. */
export const HEAD = Buffer.from('weir');

const ACKS_OF_ALL = -1;
/** Brokers forget an idle producer after a day by default, and would then take a record that they have for a new one. */
const REMEMBERED_MS = 12 * 60 * 60 * 1_000;

const TOO_LARGE = new Set(['MESSAGE_TOO_LARGE', 'RECORD_LIST_TOO_LARGE']);
const DENIED = new Set([
  'TOPIC_AUTHORIZATION_FAILED',
  'CLUSTER_AUTHORIZATION_FAILED',
  'INVALID_TOPIC_EXCEPTION',
  'INVALID_RECORD',
  'INVALID_TIMESTAMP',
  'INVALID_REQUIRED_ACKS',
  'UNSUPPORTED_FOR_MESSAGE_FORMAT',
  'UNSUPPORTED_COMPRESSION_TYPE',
  'POLICY_VIOLATION',
]);
/** The broker remembers something else of this producer, or nothing. */
const UNKNOWN_PRODUCER = new Set([
  'OUT_OF_ORDER_SEQUENCE_NUMBER',
  'UNKNOWN_PRODUCER_ID',
  'INVALID_PRODUCER_EPOCH',
  'INVALID_PRODUCER_ID_MAPPING',
  'PRODUCER_FENCED',
]);
/** Refused before anything was appended. After every other failure of a send the record may be in the log. */
const NOT_APPENDED = new Set([
  'CORRUPT_MESSAGE',
  'UNKNOWN_TOPIC_OR_PARTITION',
  'LEADER_NOT_AVAILABLE',
  'NOT_LEADER_OR_FOLLOWER',
  'NOT_ENOUGH_REPLICAS',
  'THROTTLING_QUOTA_EXCEEDED',
]);

type Producer = { readonly id: bigint; readonly epoch: number; sequence: number };
/** `unsent`: it never reached a broker. */
type Outcome = { readonly refusal: string; readonly error: unknown } | 'appended' | 'unsent' | 'lost';

export function createPartitionProducer(
  deps: ProducerDeps,
  { topic, partition, answerMs }: { topic: string; partition: number; answerMs: number },
): PartitionProducer {
  const { clock, requests, packer, trouble } = deps;
  let producer: Producer | null = null;

  return { append };

  async function append(entry: TopicEntry, signal: AbortSignal): Promise<void> {
    if (signal.aborted) throw closed();
    const { value, headers } = packer.pack(entry.chunks);
    const message = { value, headers: new Map([[HEAD, entry.head], ...headers]), topic, partition };
    let doubtSince: number | null = null;
    for (let attempt = 1; ; attempt++) {
      if (signal.aborted) throw closed();
      const outcome = await tryOnce(message, attempt);
      if (outcome === 'appended') return;
      if (outcome === 'lost') doubtSince ??= clock.elapsed();
      else if (outcome !== 'unsent') {
        const { refusal, error } = outcome;
        const isDuplicate = refusal === 'DUPLICATE_SEQUENCE_NUMBER';
        if (isDuplicate && doubtSince !== null) return advance();
        if (TOO_LARGE.has(refusal)) throw refused('too_large', error);
        if (DENIED.has(refusal)) throw refused(doubtSince === null ? 'denied' : 'unclear', error);
        if (isDuplicate || UNKNOWN_PRODUCER.has(refusal)) {
          if (doubtSince !== null) throw refused('unclear', error);
          producer = null;
        } else if (!NOT_APPENDED.has(refusal)) doubtSince ??= clock.elapsed();
      }
      if (doubtSince !== null && clock.elapsed() - doubtSince > REMEMBERED_MS) throw refused('unclear', null);
      await pause(deps, attempt, signal);
    }
  }

  async function tryOnce(message: Parameters<typeof send>[0], attempt: number): Promise<Outcome> {
    let isSent = false;
    try {
      producer ??= await newProducer();
      const { partitions } = await requests.layout(topic, { isFresh: attempt > 1 });
      const leader = partitions[partition]?.leader ?? -1;
      if (leader === -1) throw new requests.driver.ProtocolError('LEADER_NOT_AVAILABLE');
      isSent = true;
      const code = await send(message, leader, producer);
      if (code === 0) {
        advance();
        trouble.well();
        return 'appended';
      }
      throw new requests.driver.ProtocolError(code);
    } catch (error) {
      const [refusal] = apiErrorsOf(error);
      // A record that is too large says nothing about Kafka.
      if (refusal === undefined || !TOO_LARGE.has(refusal)) trouble.failed(error, attempt);
      if (refusal !== undefined) return { refusal, error };
      return isSent && !(error instanceof NotAsked) ? 'lost' : 'unsent';
    }
  }

  async function newProducer(): Promise<Producer> {
    const { producerId, producerEpoch } = await requests.ask('any', 'InitProducerId', [null, 0]);
    return { id: producerId, epoch: producerEpoch, sequence: 0 };
  }

  /** The code of the answer. */
  async function send(
    message: { value: Buffer; headers: Map<Buffer, Buffer>; topic: string; partition: number },
    leader: number,
    { id, epoch, sequence }: Producer,
  ): Promise<number> {
    const answer = await requests.ask({ node: leader }, 'Produce', [
      ACKS_OF_ALL,
      answerMs,
      [message],
      {
        compression: 'none',
        producerId: id,
        producerEpoch: epoch,
        sequences: new requests.driver.NumericMap([[`${topic}:${partition}`, sequence]]),
      },
    ]);
    return answer.responses[0]!.partitionResponses[0]!.errorCode;
  }

  function advance() {
    // Numbers go on at 0 behind the largest of 32 bits.
    if (producer !== null) producer.sequence = (producer.sequence + 1) & 0x7f_ff_ff_ff;
  }

  /** The number of a record that may be in the log must not be given to another one. */
  function refused(kind: TopicFailure['kind'], error: unknown): TopicFailure {
    producer = null;
    trouble.clear();
    const why = error === null ? 'Kafka has been away for longer than it remembers producers' : explainKafka(error);
    return new TopicFailure(why, { kind, cause: error });
  }
}

const closed = () => new TopicFailure('the writer was closed', { kind: 'closed' });
