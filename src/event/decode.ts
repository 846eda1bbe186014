/** Decodes the events of a request and collects the outcomes: every event is counted once. */
import type { Rejection } from './event.ts';
import { MAX_LISTED_REJECTIONS } from './event.ts';
import type { ScannedEvents } from './envelope.ts';
import { discardJsonTape } from './json-tape.ts';
import { endOf, firstValue, type Members, moveToNextValue } from './json-members.ts';
import { kindOfReason, type RejectionCounts, type RejectionKind } from './rejection-kind.ts';
import { createRowWriter } from './row.ts';
import { BYTES_A_STEP, EVENTS_A_STEP, type Steps } from './steps.ts';
import { type Refusal } from './text.ts';

import type { DecodeEvent } from './decoding.ts';
export type Decoded = {
  /** The accepted events, NDJSON, in the order they were sent. */
  readonly rows: Buffer;
  readonly accepted: number;
  readonly rejected: number;
  /** The first rejections; the count is in `rejected`. */
  readonly rejections: readonly Rejection[];
  /** Whether there are more rejections than are listed. */
  readonly truncated: boolean;
  /** All rejections by their kind. */
  readonly kinds: RejectionCounts;
};

/** Told of each rejected event, which can only be read until the next one is decoded. */
export type OnRejected = (event: Members, index: number, reason: string) => void;

/** Decodes the events of one request, once: each is accepted or rejected independently of its neighbours. */
export function* decodeEvents(
  events: ScannedEvents,
  decodeEvent: DecodeEvent,
  onRejected: OnRejected | null = null,
  maxListed = MAX_LISTED_REJECTIONS,
): Steps<Decoded> {
  const event = firstValue(events);
  if (events.count === 1) {
    const row = decodeEvent(event);
    if (typeof row !== 'string') onRejected?.(event, 0, row.reason);
    return decodedOne(row, events);
  }
  const collected = createCollector(maxListed);
  let stepEnd = BYTES_A_STEP;
  let lastOfStep = EVENTS_A_STEP;
  for (let index = 0; index < events.count; index += 1) {
    if (endOf(event) > stepEnd || index === lastOfStep) {
      stepEnd = Math.max(stepEnd, endOf(event) + BYTES_A_STEP);
      lastOfStep = index + EVENTS_A_STEP;
      yield;
    }
    const row = decodeEvent(event);
    if (typeof row !== 'string') onRejected?.(event, index, row.reason);
    collected.add(index, row);
    moveToNextValue(event);
  }
  discardJsonTape(events);
  return collected.finish();
}

/** The typical request of a page: a single event, for which there is nothing to collect. */
function decodedOne(row: string | Refusal, events: ScannedEvents): Decoded {
  discardJsonTape(events);
  if (typeof row !== 'string') {
    const kinds = { [kindOfReason(row.reason)]: 1 };
    return { ...NOTHING, rejected: 1, rejections: [{ index: 0, ...row }], kinds };
  }
  return { ...NOTHING, rows: Buffer.from(row, 'latin1'), accepted: 1 };
}

const NO_ROWS = Buffer.alloc(0);
const NOTHING: Decoded = { rows: NO_ROWS, accepted: 0, rejected: 0, rejections: [], truncated: false, kinds: {} };

/** Collects the outcomes of a request's events. `rowBytes` is the size of the rows so far. */
export type Collector = {
  readonly accepted: () => number;
  readonly rowBytes: () => number;
  add(index: number, row: string | Refusal): void;
  finish(): Decoded;
};

export function createCollector(maxListed = MAX_LISTED_REJECTIONS): Collector {
  const rejections: Rejection[] = [];
  const kinds: Partial<Record<RejectionKind, number>> = {};
  const rows = createRowWriter();
  let accepted = 0;
  let rejected = 0;
  let rowBytes = 0;
  return {
    accepted: () => accepted,
    rowBytes: () => rowBytes,
    add(index, row) {
      if (typeof row === 'string') {
        rows.write(row);
        accepted += 1;
        rowBytes += row.length;
        return;
      }
      rejected += 1;
      const kind = kindOfReason(row.reason);
      kinds[kind] = (kinds[kind] ?? 0) + 1;
      if (rejections.length < maxListed) rejections.push({ index, ...row });
    },
    finish: () => ({
      rows: rows.finish(),
      accepted,
      rejected,
      rejections,
      truncated: rejected > rejections.length,
      kinds,
    }),
  };
}
