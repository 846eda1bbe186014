/** What is sent again, under which number, and what is said of it: against a broker that answers by a script. */
import * as driver from '@platformatic/kafka';
import { describe, expect, test } from 'vitest';
import { createPacker } from '../src/kafka/packing.ts';
import { createPartitionProducer } from '../src/kafka/partition-producer.ts';
import type { Requests } from '../src/kafka/requests.ts';
import type { TopicEntry } from '../src/topic/topic-port.ts';

/** `taken`, `lost`, or the protocol's name of a refusal. */
type Answer = string;

const HOUR = 60 * 60 * 1_000;
const entry: TopicEntry = { head: Buffer.from('{}'), chunks: [Buffer.from('row\n')] };

function setUp(answers: Answer[], { waitsTakeMs }: { waitsTakeMs?: number } = {}) {
  /** The producer and the number of each record that was sent, as `producer/number`. */
  const sent: string[] = [];
  let now = 0;
  let producers = 0n;
  const requests = {
    driver,
    layout: () => Promise.resolve({ id: 'id', partitions: [{ leader: 1, replicas: [1], inSync: [1] }] }),
    ask(_: unknown, api: string, request: unknown[]) {
      if (api === 'InitProducerId') return Promise.resolve({ producerId: ++producers, producerEpoch: 0 });
      const { producerId, sequences } = request[3] as { producerId: bigint; sequences: Map<string, number> };
      sent.push(`${producerId}/${sequences.get('topic:0')}`);
      const answer = answers.shift() ?? 'taken';
      if (answer === 'lost') return Promise.reject(new driver.NetworkError('Connection closed'));
      const code = answer === 'taken' ? 0 : driver.protocolErrors[answer]!.code;
      return Promise.resolve({ responses: [{ partitionResponses: [{ errorCode: code }] }] });
    },
  } as unknown as Requests;
  const clock = {
    now: () => now,
    elapsed: () => now,
    turn: () => Promise.resolve(),
    sleep: (ms: number) => Promise.resolve(void (now += waitsTakeMs ?? ms)),
  };
  const trouble = { well: () => {}, failed: () => {}, clear: () => {} };
  const producer = createPartitionProducer(
    { clock, random: () => 0, requests, packer: createPacker(driver), trouble },
    { topic: 'topic', partition: 0, answerMs: 1_000 },
  );
  const append = () => producer.append(entry, new AbortController().signal);
  return { append, sent };
}

describe('a record', () => {
  test.each<[string, Answer[], string[]]>([
    ['whose answer is lost is sent again as the same', ['lost', 'lost'], ['1/0', '1/0', '1/0', '1/1']],
    ['that the broker has already is there', ['lost', 'DUPLICATE_SEQUENCE_NUMBER'], ['1/0', '1/0', '1/1']],
    ['waits for a leader as the same', ['NOT_LEADER_OR_FOLLOWER', 'NOT_ENOUGH_REPLICAS'], ['1/0', '1/0', '1/0', '1/1']],
    [
      'that cannot be a repeat is no duplicate, whatever the broker thinks',
      ['DUPLICATE_SEQUENCE_NUMBER'],
      ['1/0', '2/0', '2/1'],
    ],
    ['of a producer that was forgotten is sent by another', ['OUT_OF_ORDER_SEQUENCE_NUMBER'], ['1/0', '2/0', '2/1']],
    [
      'that was refused by all is sent by another where its producer is forgotten',
      ['NOT_LEADER_OR_FOLLOWER', 'UNKNOWN_PRODUCER_ID'],
      ['1/0', '1/0', '2/0', '2/1'],
    ],
  ])('%s', async (_, answers, expected) => {
    const { append, sent } = setUp(answers);
    await append();
    await append();
    expect(sent).toEqual(expected);
  });

  test.each<[Answer[], string]>([
    [['MESSAGE_TOO_LARGE'], 'too_large'],
    [['TOPIC_AUTHORIZATION_FAILED'], 'denied'],
    [['NOT_LEADER_OR_FOLLOWER', 'INVALID_RECORD'], 'denied'],
    [['lost', 'TOPIC_AUTHORIZATION_FAILED'], 'unclear'],
    [['lost', 'OUT_OF_ORDER_SEQUENCE_NUMBER'], 'unclear'],
    [['NOT_ENOUGH_REPLICAS_AFTER_APPEND', 'UNKNOWN_PRODUCER_ID'], 'unclear'],
    [['REQUEST_TIMED_OUT', 'INVALID_PRODUCER_EPOCH'], 'unclear'],
  ])('answered by %j is refused as %s, and its number is given to no other', async (answers, kind) => {
    const { append, sent } = setUp(['taken', ...answers]);
    await append();
    await expect(append()).rejects.toMatchObject({ kind });
    await append();
    expect(sent.slice(1, -1)).toEqual(answers.map(() => '1/1'));
    expect(sent.at(-1)).toBe('2/0');
  });

  test('that may be in the log is not repeated for longer than brokers remember', async () => {
    const { append, sent } = setUp(
      Array.from({ length: 100 }, () => 'lost'),
      { waitsTakeMs: HOUR },
    );
    await expect(append()).rejects.toMatchObject({ kind: 'unclear' });
    expect(sent).toHaveLength(14);
    expect(new Set(sent)).toEqual(new Set(['1/0']));
  });

  test('is refused once the writer is closed', async () => {
    const producer = createPartitionProducer({} as Parameters<typeof createPartitionProducer>[0], {
      topic: 'topic',
      partition: 0,
      answerMs: 1,
    });
    await expect(producer.append(entry, AbortSignal.abort())).rejects.toMatchObject({ kind: 'closed' });
  });
});
