import { MultipleErrors, NetworkError, ProtocolError, TimeoutError } from '@platformatic/kafka';
import { expect, test } from 'vitest';
import { SETTINGS } from '../src/config/settings.ts';
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

test.each<[string, Error]>([
  ['a listener with TLS', new NetworkError('Broker requires TLS')],
  ['no right on the group', new ProtocolError('GROUP_AUTHORIZATION_FAILED')],
  ['others in the group', new ProtocolError('INCONSISTENT_GROUP_PROTOCOL')],
  ['a group that is full', new ProtocolError('GROUP_MAX_SIZE_REACHED')],
])('%s is explained by settings that there are, with values that they take', (_, error) => {
  const named = [...explainKafka(nested(error)).matchAll(/(KAFKA_\w+)(?:=(\w+))?/g)];
  expect(named).not.toEqual([]);
  for (const [, name, value] of named) {
    const { kind } = SETTINGS[name as keyof typeof SETTINGS];
    if (value !== undefined) expect(kind.parse(value)).toBeDefined();
  }
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
