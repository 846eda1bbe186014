/** The text of a scanned event as it was sent, also of one that is no object or no JSON. */
import { endOfDamaged, UNKNOWN_END } from './damage.ts';
import type { ScannedEvents } from './envelope.ts';
import { endOf, firstMember, firstValue, isObject, keyStartOf, type Members } from './json-members.ts';
import { moveToNextValue, problemOf, startOf } from './json-members.ts';
import { MAX_EVENT_BYTES } from './json-tape.ts';
import { createScanner, scanValue } from './json.ts';
import { finish } from './steps.ts';

const LINE_END = 0x0a;

/** `isByLine`: what is no JSON takes the rest of its line. */
type Reading = { readonly isByLine: boolean };

const LISTED: Reading = { isByLine: false };

/**
 * As byte text; null where it is larger than an event may be. Of what is no JSON, where its end cannot be determined,
 * the rest of its line.
 */
export function rawEventOf(event: Members, { isByLine } = LISTED): string | null {
  const { tape } = event;
  const [start, end] = isObject(event) ? endsOfObject(event) : endsOfOther(event, isByLine);
  if (end - start > MAX_EVENT_BYTES) return null;
  // Its members are recorded, not its braces: of one without any only these are known.
  return start < 0 ? '{}' : tape.text.slice(start, end);
}

/** Gives the events of a body one after the other as they were sent, by their place; each place is asked for once at most. */
export function createEventWalk(events: ScannedEvents, reading: Reading = LISTED): (index: number) => string | null {
  const event = firstValue(events);
  let at = 0;
  return (index) => {
    for (; at < index; at += 1) moveToNextValue(event);
    return rawEventOf(event, reading);
  };
}

type Ends = readonly [start: number, end: number];

function endsOfObject(event: Members): Ends {
  const end = endOf(event);
  if (end === 0) return [-1, -1];
  const { text } = event.tape;
  // There is nothing but white space around the first and the last member.
  return [text.lastIndexOf('{', keyStartOf(event, firstMember(event))), text.indexOf('}', end) + 1];
}

function endsOfOther(event: Members, isByLine: boolean): Ends {
  const { bytes, text } = event.tape;
  const start = startOf(event);
  // Nothing behind this is looked at: a value that goes on is too large.
  const view = bytes.subarray(0, start + MAX_EVENT_BYTES + 1);
  if (problemOf(event) === null) {
    const scanner = createScanner(view, text, false, start);
    return [start, scanValue(scanner) ? scanner.at : view.length];
  }
  const end = isByLine ? UNKNOWN_END : finish(endOfDamaged(view, start));
  if (end >= 0) return [start, end];
  const lineEnd = view.indexOf(LINE_END, start);
  return [start, lineEnd < 0 ? view.length : lineEnd];
}
