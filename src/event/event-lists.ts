/** Bodies other than Weir's own envelope: one event, or a list of events. */
import {
  isBodyProblem,
  jsonProblem,
  MAX_ENVELOPE_MEMBERS,
  openBody,
  scanEvents,
  skipValue,
  TOO_MANY_MEMBERS,
  type BodyProblem,
  type ScannedEvents,
} from './envelope.ts';
import { enter, isAtArray, isAtObject, nextKey } from './json.ts';
import { stringOf } from './raw-json.ts';
import { createJsonTape, isTooLarge, noteUnusable, recordUsable } from './json-tape.ts';
import type { Steps } from './steps.ts';

/** A body that holds only events. */
export type ListedEvents = { readonly events: ScannedEvents };

/** The body as one event, whatever JSON it is: decoding reports what is wrong with it. */
export function* readOne(body: Buffer): Steps<ListedEvents | BodyProblem> {
  const scanner = yield* openBody(body);
  if (isBodyProblem(scanner)) return scanner;
  const events = createJsonTape(scanner);
  const { at: start } = scanner;
  if (recordUsable(scanner, events) || !isTooLarge(scanner, start)) return jsonProblem(scanner) ?? { events };
  // Whatever follows: none of it is usable.
  noteUnusable(scanner, events, start, 0);
  return { events };
}

export type ListShape = {
  /** Whether the array may stand alone, without `{"events": …}` around it. */
  readonly mayBeBare: boolean;
  readonly maxEvents: number;
};

/** A body that is not JSON gets that refusal before the one for too many events; but only within bounds. */
const MAX_SCANNED = 20_000;

/** A list of at least one event: `{"events": [...]}`, whose other keys are ignored, or the array alone. */
export function* readList(body: Buffer, { mayBeBare, maxEvents }: ListShape): Steps<ListedEvents | BodyProblem> {
  const scanner = yield* openBody(body);
  if (isBodyProblem(scanner)) return scanner;
  const events = createJsonTape(scanner);
  let isList = false;
  if (mayBeBare && isAtArray(scanner)) {
    isList = true;
    yield* scanEvents(scanner, events, MAX_SCANNED);
  } else if (isAtObject(scanner)) {
    let memberCount = 0;
    enter(scanner);
    while (nextKey(scanner)) {
      memberCount += 1;
      if (memberCount > MAX_ENVELOPE_MEMBERS) return { ok: false, code: 'invalid_envelope', message: TOO_MANY_MEMBERS };
      const isEvents = stringOf(scanner.text.slice(scanner.keyStart, scanner.keyEnd)) === 'events';
      if (isEvents && isList) return { ok: false, code: 'invalid_envelope', message: '"events" appears twice' };
      isList ||= isEvents && isAtArray(scanner);
      if (!(yield* isEvents ? scanEvents(scanner, events, MAX_SCANNED) : skipValue(scanner))) break;
    }
  } else yield* skipValue(scanner);

  const tooMany = `at most ${maxEvents} events in one request; send them in parts`;
  if (events.count > MAX_SCANNED) return { ok: false, code: 'too_many_events', message: tooMany };
  const broken = jsonProblem(scanner);
  if (broken) return broken;
  const expected = mayBeBare ? 'an array of events, or {"events": [...]}' : '{"events": [...]}';
  if (!isList) return { ok: false, code: 'invalid_envelope', message: `the body must be ${expected}` };
  if (events.count === 0) return { ok: false, code: 'invalid_envelope', message: 'there must be at least one event' };
  if (events.count > maxEvents) return { ok: false, code: 'too_many_events', message: tooMany };
  return { events };
}
