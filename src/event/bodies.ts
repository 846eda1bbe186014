/** What a body may be besides Weir's own envelope: one event, or a list of them. */
import { isBodyProblem, jsonProblem, openBody, scanEvents, type BodyProblem, type ScannedEvents } from './envelope.ts';
import { enter, isAtArray, isAtObject, nextKey, scanValue, stringOf } from './json.ts';
import { createTape, recordValue } from './members.ts';

/** A body that says nothing but its events. */
export type ListedEvents = { readonly events: ScannedEvents };

/** The body as one event, whatever JSON it is: what is wrong with an event is said when it is decoded. */
export function readOne(body: Buffer): ListedEvents | BodyProblem {
  const scanner = openBody(body);
  if (isBodyProblem(scanner)) return scanner;
  const events = createTape(scanner);
  recordValue(scanner, events);
  return jsonProblem(scanner) ?? { events };
}

export type ListShape = {
  /** Whether the array may stand alone, without `{"events": …}` around it. */
  readonly mayBeBare: boolean;
  readonly maxEvents: number;
};

/** A list of at least one event: `{"events": [...]}`, whose other keys mean nothing, or the array alone. */
export function readList(body: Buffer, { mayBeBare, maxEvents }: ListShape): ListedEvents | BodyProblem {
  const scanner = openBody(body);
  if (isBodyProblem(scanner)) return scanner;
  const events = createTape(scanner);
  let isList = false;
  if (mayBeBare && isAtArray(scanner)) {
    isList = true;
    scanEvents(scanner, events);
  } else if (isAtObject(scanner)) {
    enter(scanner);
    while (nextKey(scanner)) {
      const isEvents = stringOf(scanner.text.slice(scanner.keyStart, scanner.keyEnd)) === 'events';
      if (isEvents && isList) return { ok: false, code: 'invalid_envelope', message: '"events" is there twice' };
      isList ||= isEvents && isAtArray(scanner);
      if (!(isEvents ? scanEvents(scanner, events) : scanValue(scanner))) break;
    }
  } else scanValue(scanner);

  const broken = jsonProblem(scanner);
  if (broken) return broken;
  const expected = mayBeBare ? 'an array of events, or {"events": [...]}' : '{"events": [...]}';
  if (!isList) return { ok: false, code: 'invalid_envelope', message: `the body must be ${expected}` };
  if (events.count === 0) return { ok: false, code: 'invalid_envelope', message: 'there must be at least one event' };
  if (events.count > maxEvents) {
    return {
      ok: false,
      code: 'too_many_events',
      message: `at most ${maxEvents} events in one request; send them in parts`,
    };
  }
  return { events };
}
