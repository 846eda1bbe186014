/** The token of a body, found before the body is scanned: where clients write it, and never another's. */
import fc from './support/fast-check.ts';
import { describe, expect, test } from 'vitest';
import { readEnvelope } from '../src/event/envelope.ts';
import { findToken } from '../src/event/envelope-token.ts';
import { finish } from '../src/event/steps.ts';

const TOKEN = `mere_pub_${'a'.repeat(64)}`;
const OTHER = `mere_pub_${'b'.repeat(64)}`;
const find = (body: string) => findToken(Buffer.from(body));
const EVENTS = JSON.stringify(
  Array.from({ length: 500 }, (_, n) => ({ event: `e${n}`, properties: { token: OTHER } })),
);

describe('is found', () => {
  test.each<[string, string]>([
    ['first', `{"token":"${TOKEN}","events":${EVENTS}}`],
    ['last', `{"events":${EVENTS},"token":"${TOKEN}"}`],
    ['behind other short members', `{"batch_id":"b","sent_at":1.5,"token":"${TOKEN}","events":[]}`],
    ['in front of other short members', `{"events":${EVENTS},"token":"${TOKEN}","batch_id":"b","sent_at":null}`],
    ['among white space', `\ufeff \n{ "events" :${EVENTS} ,\r\n\t"token" : "${TOKEN}" \n}\n`],
    ['alone', `{"token":"${TOKEN}"}`],
    ['behind events that cannot be read', `{"events":[${'{"a":'.repeat(9_000)}],"token":"${TOKEN}"}`],
    ['with the name of its project', `{"events":[],"token":"0198c0de-0000-7000-8000-000000000000:${TOKEN}"}`],
    ['behind a member that speaks of it', `{"events":[],"batch_id":"\\"token\\":","token":"${TOKEN}","sent_at":1}`],
  ])('%s', (_where, body) => expect(find(body)?.replace(/^.*:/, '')).toBe(TOKEN));
});

describe('is not found', () => {
  test.each<[string, string]>([
    ['when there is none', `{"events":${EVENTS}}`],
    ['in an event', `{"events":[{"event":"e","token":"${TOKEN}"}]}`],
    ['in the last property of the last event', `{"events":[{"event":"e","properties":{"token":"${TOKEN}"}}]}`],
    ['in an array around it', `[{"token":"${TOKEN}"}`],
    ['in the text of another member', JSON.stringify({ events: [], batch_id: `"token":"${TOKEN}"}` })],
    ['when it is no text', '{"token":5,"events":[]}'],
    ['with escapes', `{"token":"\\u006d${TOKEN.slice(1)}","events":[]}`],
    ['under a name with escapes', `{"tok\\u0065n":"${TOKEN}","events":[]}`],
    ['in nothing', ''],
    ['in no object', `"token":"${TOKEN}"}`],
    ['in bytes that are no JSON', '\u0000"token"\u0001'.repeat(5_000)],
  ])('%s', (_where, body) => expect(find(body)).toBeNull());
});

test('what is found is a token of the envelope, wherever tokens stand, in any JSON', () => {
  const token = fc.constantFrom(TOKEN, OTHER, 'a b', 'é', '\\');
  const anything = fc.jsonValue({ maxDepth: 3 });
  const event = fc.oneof(
    anything,
    token.map((one) => ({ event: 'e', token: one })),
  );
  const members = fc.uniqueArray(
    fc.oneof(
      token.map((one) => ['token', one] as const),
      fc.array(event, { maxLength: 3 }).map((events) => ['events', events] as const),
      anything.map((value) => ['batch_id', value] as const),
      fc.tuple(fc.string({ maxLength: 8 }), anything),
    ),
    { selector: ([key]) => key, maxLength: 5 },
  );
  fc.assert(
    fc.property(members, fc.nat(2), (members, indent) => {
      const body = JSON.stringify(Object.fromEntries(members), null, indent);
      const found = findToken(Buffer.from(body));
      const sent = (JSON.parse(body) as { token?: unknown }).token;
      if (found !== null) expect(found).toBe(sent);
      const envelope = finish(readEnvelope(Buffer.from(body)));
      const isUsual = envelope.ok && envelope.token !== null && envelope.token.startsWith('mere_pub_');
      if (isUsual) expect(found).toBe(envelope.token);
    }),
    { numRuns: 2_000 },
  );
});
