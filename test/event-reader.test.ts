/** What is read of an event's inside, and how long it is held. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';
import { decoderOf } from '../src/event/decoder.ts';
import { createEventReader } from '../src/event/event-reader.ts';
import { firstValue, moveToNextValue, startOf } from '../src/event/json-members.ts';
import { createJsonTape, type JsonTape, recordValue } from '../src/event/json-tape.ts';
import { createScanner } from '../src/event/json.ts';
import { rawEventOf } from '../src/event/raw-event.ts';
import { finish } from '../src/event/steps.ts';
import { firstTokenIn } from '../src/event/token-in-events.ts';
import { segmentDoors } from '../src/http/ingest/doors/segment.ts';
import { DECODE_CONTEXT } from './support/factory.ts';

/** The values of a document that follow each other, and the lowest place in it that was read since. */
function watchedTape(document: string): { tape: JsonTape; lowest: () => number } {
  const scanner = createScanner(Buffer.from(document));
  const tape = createJsonTape(scanner);
  for (; scanner.at < document.length; scanner.at += 1) recordValue(scanner, tape);
  let lowest = Infinity;
  const watched = (bytes: Buffer): Buffer =>
    new Proxy(bytes, {
      get(target, name) {
        if (name === 'subarray') return (from: number, to: number) => watched(target.subarray(from, to));
        const at = typeof name === 'string' ? Number(name) : NaN;
        if (at < lowest) lowest = at;
        const value: unknown = Reflect.get(target, name, target);
        return typeof value === 'function' ? (value.bind(target) as unknown) : value;
      },
    });
  return { tape: { ...tape, bytes: watched(tape.bytes) }, lowest: () => lowest };
}

const SPACE = ' '.repeat(1_000);

test('nothing in front of an event is read when it is looked into', () => {
  const { tape, lowest } = watchedTape(`${SPACE}{"a":{"b":7}} {"a":{"b":8}} `);
  const reader = createEventReader(['a.b'], []);
  const event = firstValue(tape);
  moveToNextValue(event);
  reader.open(event);
  expect(reader.find('a.b').raw).toBe('8');
  expect(lowest()).toBeGreaterThanOrEqual(SPACE.length + 14);
});

test('nor when one that is no object is copied', () => {
  const { tape, lowest } = watchedTape(`${SPACE}7 8 `);
  const event = firstValue(tape);
  moveToNextValue(event);
  expect(rawEventOf(event)).toBe('8');
  expect(lowest()).toBe(startOf(event));
});

test('no body is held once its events were read', async () => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const decode = decoderOf(segmentDoors[0]!.format);
  const paths = ['writeKey', 'context.token'];
  const read = (): WeakRef<JsonTape> => {
    const { tape } = watchedTape('{"type":"track","event":"E","context":{"sessionId":"s"}} ');
    expect(finish(firstTokenIn(tape, paths))).toBeNull();
    expect(decode(DECODE_CONTEXT)(firstValue(tape))).toContain('"s"');
    return new WeakRef(tape);
  };
  const held = read();
  // A reference is alive until the end of the turn in which it was made.
  await new Promise(setImmediate);
  collect();
  expect(held.deref()).toBeUndefined();
});
