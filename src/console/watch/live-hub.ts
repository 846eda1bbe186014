/** All viewers of the console: what they want is ordered from the service, and what it tells is handed to them. */
import type { Clock } from '../../runtime/clock.ts';
import type { EventFilter, StreamOrder, WatchReport } from '../../watch/messages.ts';
import { type ReadRow, isWanted, readRow } from './live-events.ts';
import { type LiveStream, type LiveStreamDeps, createLiveStream } from './live-stream.ts';
import type { LiveEvent } from './answers.ts';
import { type TrailBook, createTrailBook } from './trail-book.ts';

export type LiveHub = {
  /** null when there are too many. `showsEvents`: with what they say. `onStuck`: it has not been read for long. */
  open(filter: EventFilter, viewer: { readonly showsEvents: boolean; readonly onStuck: () => void }): LiveStream | null;
  /** Call it with what the service tells. */
  receive(report: WatchReport): void;
  /** Works until `signal` aborts; then all streams end. Never rejects. */
  run(signal: AbortSignal): Promise<void>;
  readonly wayOf: TrailBook['wayOf'];
};

export type LiveHubDeps = {
  readonly clock: Clock;
  readonly order: (streams: readonly StreamOrder[]) => void;
  readonly rates: LiveStreamDeps['rates'];
};

export const MAX_STREAMS = 20;
/**
 * A report is answered by the next order, since waking costs both processes more than a message; but not one of each of
 * several workers. They report every 500 ms.
 */
const BETWEEN_ORDERS_MS = 400;
/** Where no report comes: there is nothing to tell. */
const ORDER_UNASKED_MS = 1_000;
/** Where nobody looks: the service forgets whom it does not hear from. */
const REMIND_EVERY_MS = 5_000;
const STUCK_MS = 60_000;

type Viewer = {
  readonly filter: EventFilter;
  readonly showsEvents: boolean;
  readonly stream: LiveStream;
  readonly onStuck: () => void;
};

export function createLiveHub({ clock, order, rates }: LiveHubDeps): LiveHub {
  const viewers = new Map<number, Viewer>();
  const book = createTrailBook();
  let last = 0;
  let orderedAt = -Infinity;
  let wake = new AbortController();

  return { open, receive, run, wayOf: book.wayOf };

  function open(filter: EventFilter, { showsEvents, onStuck }: Parameters<LiveHub['open']>[1]) {
    if (viewers.size >= MAX_STREAMS) return null;
    last += 1;
    const number = last;
    const stream = createLiveStream({ clock, rates });
    viewers.set(number, { filter, showsEvents, stream, onStuck });
    wake.abort('somebody looks');
    return {
      ...stream,
      end(why: string | null) {
        viewers.delete(number);
        stream.end(why);
        wake.abort('somebody left');
      },
    };
  }

  function receive({ worker, events, steps, counts }: WatchReport) {
    for (const { stream, ...more } of counts) viewers.get(stream)?.stream.count(more);
    for (const event of events) {
      const row = readRow(event);
      if (row === null) continue;
      const wanting = event.streams.filter((stream) => {
        const viewer = viewers.get(stream);
        return viewer !== undefined && isWanted(row, viewer.filter);
      });
      if (wanting.length === 0) continue;
      book.saw(worker, { ...event, streams: wanting }, row);
      for (const stream of wanting) {
        const { showsEvents, stream: to } = viewers.get(stream)!;
        to.add(shown(row, event, showsEvents));
      }
    }
    for (const step of steps) {
      for (const told of book.note(worker, step)) {
        for (const stream of told.streams) viewers.get(stream)?.stream.step(told.step);
      }
    }
    if (clock.elapsed() - orderedAt >= BETWEEN_ORDERS_MS) wake.abort('told');
  }

  async function run(signal: AbortSignal): Promise<void> {
    signal.addEventListener('abort', () => wake.abort('stopped'), { once: true });
    while (!signal.aborted) {
      for (const [number, { stream, onStuck }] of viewers) {
        if (stream.silentMs() < STUCK_MS) continue;
        viewers.delete(number);
        stream.end(null);
        onStuck();
      }
      order(
        [...viewers].map(
          ([
            stream,
            {
              filter,
              stream: { room },
            },
          ]) => ({ stream, filter, credits: room() }),
        ),
      );
      orderedAt = clock.elapsed();
      wake = new AbortController();
      await clock.sleep(viewers.size > 0 ? ORDER_UNASKED_MS : REMIND_EVERY_MS, wake.signal);
      // Pages that read take what has just come, and have room for more.
      await clock.turn();
    }
    for (const { stream } of viewers.values()) stream.end('the console ends');
    viewers.clear();
  }
}

function shown(row: ReadRow, event: WatchReport['events'][number], showsEvents: boolean): LiveEvent {
  const { id, projectId } = row;
  const known = { at: event.at, projectId, id, requestId: event.requestId, ack: event.ack };
  if (!showsEvents) return { ...known, event: null, distinctId: null };
  const distinctId = row.userId ?? row.anonymousId;
  return {
    ...known,
    event: row.event,
    distinctId,
    ...(event.isCut ? { isCut: true } : { properties: row.properties }),
  };
}
