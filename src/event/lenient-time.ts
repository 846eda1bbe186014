/** When an event happened: what its client says, corrected where the client's clock is known to be wrong. */
import { isFromServer, skewOf } from './clock-skew.ts';
import type { DecodeContext } from './decoding.ts';
import type { EventReader } from './event-reader.ts';
import type { Members } from './json-members.ts';
import type { LenientFormat } from './lenient-format.ts';
import { readAgo, readLenientInstant, readParts } from './lenient-instant.ts';
import { wholeOf } from './lenient-members.ts';
import { LATEST_INSTANT_MS } from './timestamp.ts';

/** An instant to store, what it was corrected by, and the member that says just the same. */
export type Timed = {
  readonly at: number;
  readonly skewMs: number;
  readonly member: number;
  readonly isKnown: boolean;
};

export type TimeOf = (members: Members, reader: EventReader) => Timed;

/** The outer function is called once per request. */
export function lenientTime(format: Pick<LenientFormat, 'timestamp' | 'sentAt'>, context: DecodeContext): TimeOf {
  const envelopeSentAt = context.asSent?.sentAt ?? null;
  return timeOf;

  function timeOf(members: Members, reader: EventReader): Timed {
    const { receivedAt } = context;
    const sent = sentInstant(reader);
    if (sent === null) return { at: receivedAt, skewMs: 0, member: -1, isKnown: false };
    const skewMs = sent.isExact ? skewFor(members, reader) : 0;
    const at = sent.at + skewMs;
    const isInRange = at >= 0 && at <= Math.min(receivedAt + context.maxFutureMs, LATEST_INSTANT_MS);
    if (!isInRange) return { at: receivedAt, skewMs: 0, member: -1, isKnown: true };
    return { at, skewMs, member: skewMs === 0 && sent.isExact ? sent.member : -1, isKnown: true };
  }

  /** The first instant that can be read. `isExact`: it was sent itself, and not how long ago it was. */
  function sentInstant({ find }: EventReader) {
    for (const place of format.timestamp) {
      const isExact = 'at' in place;
      const { raw, member } = find(isExact ? place.at : place.ago);
      if (raw === 'null') continue;
      if (isExact) {
        const at = place.unit ? readParts(raw, place.unit) : readLenientInstant(raw);
        if (at !== null) return { at, member, isExact };
      } else {
        const ago = readAgo(raw);
        if (ago !== null) return { at: context.receivedAt - ago, member, isExact };
      }
    }
    return null;
  }

  function skewFor(members: Members, { find, memberOf, textOf: inner }: EventReader): number {
    let sentAt = envelopeSentAt;
    for (const path of format.sentAt ?? []) {
      const own = readLenientInstant(find(path).raw);
      if (own === null) continue;
      sentAt = own;
      break;
    }
    const skewMs = skewOf(sentAt, context.receivedAt);
    if (skewMs === 0) return 0;
    const properties = memberOf('properties') < 0 ? '{}' : inner(memberOf('properties'));
    return isFromServer([wholeOf(members)], properties[0] === '{' ? properties : '{}') ? 0 : skewMs;
  }
}
