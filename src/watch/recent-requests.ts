/**
 * Which events the requests of a while ago brought, by the id that their answers carry. In rings of fixed size, so that
 * remembering one allocates nothing.
 */
import type { WatchedRequest } from '../pipeline/watch-port.ts';
import type { RecentRequest } from './messages.ts';

export type RecentRequests = {
  add(
    request: Pick<WatchedRequest, 'requestId' | 'projectId' | 'receivedAt' | 'rejected'>,
    rows: Buffer | null,
    accepted: number,
  ): number;
  /** Of the number that `add` returned: in the end nothing of it was taken. */
  refuse(request: number): void;
  /** The latest ones with that id first. */
  find(requestId: string): readonly RecentRequest[];
  /** The arrival of the oldest one that is remembered, in epoch ms; null without any. */
  since(): number | null;
};

const REQUESTS = 16_384;
/** The longest id of a request that an answer carries. */
const REQUEST_ID_BYTES = 128;
const EVENTS = 65_536;
const MAX_EVENTS_OF_ONE = 16;
const UUID_BYTES = 36;
/** Where the id stands in a row. */
const EVENT_ID_AT = '{"project_id":"'.length + UUID_BYTES + '","event_id":"'.length;
const LINE_END = 0x0a;
const MAX_FOUND = 10;

export function createRecentRequests(): RecentRequests {
  const ids = Buffer.alloc(REQUESTS * REQUEST_ID_BYTES);
  const idLengths = new Uint8Array(REQUESTS);
  const projects: string[] = Array.from({ length: REQUESTS }, () => '');
  const receivedAt = new Float64Array(REQUESTS);
  const accepted = new Uint32Array(REQUESTS);
  const rejected = new Uint32Array(REQUESTS);
  const refused = new Uint8Array(REQUESTS);
  /** The number of its first event, and how many follow. */
  const firstEvent = new Float64Array(REQUESTS);
  const eventCount = new Uint8Array(REQUESTS);
  const events = Buffer.alloc(EVENTS * UUID_BYTES);
  let requests = 0;
  let written = 0;

  return { add, refuse, find, since };

  function add(request: Parameters<RecentRequests['add']>[0], rows: Buffer | null, acceptedEvents: number) {
    const slot = requests % REQUESTS;
    idLengths[slot] = ids.write(request.requestId, slot * REQUEST_ID_BYTES, REQUEST_ID_BYTES, 'latin1');
    projects[slot] = request.projectId;
    receivedAt[slot] = request.receivedAt;
    accepted[slot] = acceptedEvents;
    rejected[slot] = request.rejected;
    refused[slot] = 0;
    firstEvent[slot] = written;
    eventCount[slot] = rows === null ? 0 : noteEvents(rows, acceptedEvents);
    return requests++;
  }

  function refuse(request: number) {
    if (request < requests - REQUESTS) return;
    const slot = request % REQUESTS;
    refused[slot] = 1;
    accepted[slot] = rejected[slot] = eventCount[slot] = 0;
  }

  function noteEvents(rows: Buffer, acceptedEvents: number): number {
    const count = Math.min(acceptedEvents, MAX_EVENTS_OF_ONE);
    let start = 0;
    for (let event = 0; event < count; event += 1) {
      // Searched for only from the second on: most requests bring one.
      if (event > 0) start = rows.indexOf(LINE_END, start) + 1;
      const at = (written % EVENTS) * UUID_BYTES;
      rows.copy(events, at, start + EVENT_ID_AT, start + EVENT_ID_AT + UUID_BYTES);
      written += 1;
    }
    return count;
  }

  function find(requestId: string): readonly RecentRequest[] {
    const wanted = Buffer.from(requestId, 'latin1');
    const found: RecentRequest[] = [];
    const oldest = Math.max(0, requests - REQUESTS);
    for (let number = requests - 1; number >= oldest && found.length < MAX_FOUND; number -= 1) {
      const slot = number % REQUESTS;
      if (idLengths[slot] !== wanted.length) continue;
      const at = slot * REQUEST_ID_BYTES;
      if (ids.compare(wanted, 0, wanted.length, at, at + wanted.length) === 0) found.push(requestAt(slot, requestId));
    }
    return found;
  }

  function requestAt(slot: number, requestId: string): RecentRequest {
    const first = firstEvent[slot]!;
    const count = first < written - EVENTS ? 0 : eventCount[slot]!;
    return {
      requestId,
      projectId: projects[slot]!,
      receivedAt: receivedAt[slot]!,
      accepted: accepted[slot]!,
      rejected: rejected[slot]!,
      isRefused: refused[slot] === 1,
      ids: Array.from({ length: count }, (_, index) => {
        const at = ((first + index) % EVENTS) * UUID_BYTES;
        return events.toString('latin1', at, at + UUID_BYTES);
      }),
    };
  }

  function since() {
    return requests === 0 ? null : receivedAt[Math.max(0, requests - REQUESTS) % REQUESTS]!;
  }
}
