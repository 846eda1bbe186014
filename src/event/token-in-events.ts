/** Finds the token of a request that has it in its events. */
import type { ScannedEvents } from './envelope.ts';
import { createEventReader, type EventReader } from './event-reader.ts';
import { endOf, firstValue, isObject, moveToNextValue } from './json-members.ts';
import { tokenIn } from './lenient-decoder.ts';
import type { Path } from './lenient-format.ts';
import { BYTES_A_STEP, EVENTS_A_STEP, type Steps } from './steps.ts';

/** By the list of paths: families have a few, which are always the same. */
const readers = new WeakMap<readonly Path[], EventReader>();

function readerOf(paths: readonly Path[]): EventReader {
  const reader = readers.get(paths) ?? createEventReader(paths, []);
  readers.set(paths, reader);
  return reader;
}

const asItIs = (text: string): string => text;

/**
 * The token of the first event that has one; null when none has. `partOf`: what of the text there is the token, where
 * that is not all of it; nothing of it is none.
 */
export function* firstTokenIn(
  events: ScannedEvents,
  paths: readonly Path[],
  partOf: (text: string) => string = asItIs,
): Steps<string | null> {
  const reader = readerOf(paths);
  const event = firstValue(events);
  let stepEnd = BYTES_A_STEP;
  let lastOfStep = EVENTS_A_STEP;
  for (let index = 0; index < events.count; index += 1) {
    if (endOf(event) > stepEnd || index === lastOfStep) {
      stepEnd = Math.max(stepEnd, endOf(event) + BYTES_A_STEP);
      lastOfStep = index + EVENTS_A_STEP;
      yield;
    }
    if (isObject(event)) {
      reader.open(event);
      const text = tokenIn(reader, paths);
      reader.close();
      const token = text === null ? '' : partOf(text);
      if (token !== '') return token;
    }
    moveToNextValue(event);
  }
  return null;
}
