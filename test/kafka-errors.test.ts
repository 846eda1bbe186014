import { MultipleErrors, NetworkError, ProtocolError, TimeoutError } from '@platformatic/kafka';
import { expect, test } from 'vitest';
import { apiErrorsOf, explainKafka, KafkaFailure, NotAsked } from '../src/kafka/errors.ts';

const coded = (code: string) => Object.assign(new Error('words of the system'), { code });
const nested = (error: Error) =>
  new NotAsked('no connection', { cause: new MultipleErrors('many', [new NetworkError('one', { cause: error })]) });

test.each<[string, unknown, string]>([
  ['a refused connection', nested(coded('ECONNREFUSED')), 'no broker of KAFKA_BROKERS can be reached (ECONNREFUSED)'],
  ['no answer', new TimeoutError('Request timed out'), 'Kafka does not answer'],
  [
    'an expired certificate',
    nested(coded('CERT_HAS_EXPIRED')),
    'the TLS connection to Kafka failed: its certificate is out of date; renew it (CERT_HAS_EXPIRED)',
  ],
  ['what no text is for', nested(new ProtocolError('STALE_BROKER_EPOCH')), 'Kafka refused (STALE_BROKER_EPOCH)'],
  ['our own words', new KafkaFailure('say this'), 'say this'],
  ['anything', 'a text', 'Kafka does not answer'],
])('%s is explained', (_, error, words) => {
  expect(explainKafka(error)).toBe(words);
});

test('the words of the driver are never repeated', () => {
  const secret = new MultipleErrors('secret', [new ProtocolError('INVALID_RECORD', 'secret'), coded('secret')]);
  expect(explainKafka(nested(secret))).not.toContain('secret');
});

test('errors without an end are looked at for a while', () => {
  const circle = new Error('circle');
  circle.cause = circle;
  expect(apiErrorsOf(circle)).toEqual([]);
});
