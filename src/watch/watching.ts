/**
 * Tells a viewer about events as they are accepted: a sample of those that match, as many as the viewer said it can take,
 * and what becomes of them. A viewer that says nothing for a while gets nothing, and what it does not get is only counted.
 */
import type { Envelope } from '../event/event.ts';
import type { Accepted } from '../pipeline/accept.ts';
import type { OfferRefusal } from '../pipeline/channel-port.ts';
import type { WatchedRequest, Watcher, WatchPoint } from '../pipeline/watch-port.ts';
import type { Clock } from '../runtime/clock.ts';
import type {
  PendingAnswer,
  PendingQuestion,
  SeenEvent,
  Step,
  StreamOrder,
  WatchEnd,
  WatchReport,
} from './messages.ts';
import { type Pending, searchPending } from './pending-search.ts';
import { createRecentRequests } from './recent-requests.ts';
import {
  type FoundRow,
  type RowSearch,
  firstRows,
  placeOf,
  rowSearchOf,
  rowSearchOfIds,
  shownRow,
} from './row-search.ts';
import { createTrails } from './trails.ts';

export type WatchingDeps = Pending & {
  readonly point: WatchPoint;
  readonly clock: Clock;
  readonly report: (report: WatchReport) => void;
};

type Stream = {
  readonly order: StreamOrder;
  /** null where every event of the project matches. */
  readonly search: RowSearch | null;
  credits: number;
  matched: number;
  unexamined: number;
};

/** A page is told twice a second: every report wakes three processes. */
const REPORT_EVERY_MS = 500;
/** Of one request: others are to be seen as well. */
const MAX_OF_ONE_REQUEST = 4;
/** Read through between two reports for all streams together, in bytes: a few milliseconds. */
const MAX_READ = 16 * 1024 * 1024;
const MAX_STREAMS = 20;

/** Looks from now on, until `close`. */
export function startWatching({ point, clock, report, queued, held }: WatchingDeps): WatchEnd {
  const recent = createRecentRequests();
  const trails = createTrails({ now: clock.now, onStep });
  let streams: readonly Stream[] = [];
  let events: SeenEvent[] = [];
  let steps: Step[] = [];
  let readBytes = 0;
  let isReporting = false;
  const watcher: Watcher = { took, refused: recent.refuse, cut: trails.cut, settled: trails.settled };
  point.watcher = watcher;

  return { order, find, close };

  function order(wanted: readonly StreamOrder[]) {
    const known = new Map(streams.map((stream) => [stream.order.stream, stream]));
    streams = wanted.slice(0, MAX_STREAMS).map((one) => {
      const before = known.get(one.stream);
      const search = before ? before.search : rowSearchOf(one.filter);
      const { matched, unexamined } = before ?? { matched: 0, unexamined: 0 };
      return { order: one, search, credits: one.credits, matched, unexamined };
    });
    if (streams.length === 0) trails.clear();
    else reportSoon();
  }

  function took(request: WatchedRequest, envelope: Envelope | null, reached: Promise<Accepted | OfferRefusal> | null) {
    const number = recent.add(request, envelope && envelope.rows, envelope?.eventCount ?? 0);
    if (streams.length > 0 && envelope !== null) show(request, envelope, reached);
    return number;
  }

  function show(request: WatchedRequest, envelope: Envelope, reached: Promise<Accepted | OfferRefusal> | null) {
    const seen = lookAt(envelope);
    if (seen === null) return;
    const trail = trails.begin(envelope.rows);
    const { requestId, receivedAt: at, ack } = request;
    for (const { row, of } of seen.values()) {
      const place = placeOf(envelope.rows, row.start);
      events.push({ streams: of, trail, place, requestId, at, ack, ...shownRow(envelope.rows, row) });
    }
    // Never rejects: a journal that fails is an answer.
    void reached?.then((level) => {
      if (level === 'journaled') trails.tell(trail, 'journaled');
      else if (level !== 'queued') trails.tell(trail, 'refused');
    });
    reportSoon();
  }

  /** The rows to show, by where they begin, with the streams that they are for; null for most envelopes. */
  function lookAt({ projectId, rows, eventCount }: Envelope) {
    let seen: Map<number, { readonly row: FoundRow; readonly of: number[] }> | null = null;
    for (const stream of streams) {
      const { filter } = stream.order;
      if (filter.projectId !== undefined && filter.projectId !== projectId) continue;
      for (const row of rowsFor(stream, rows, eventCount)) {
        seen ??= new Map();
        const known = seen.get(row.start);
        if (known) known.of.push(stream.order.stream);
        else seen.set(row.start, { row, of: [stream.order.stream] });
      }
    }
    return seen;
  }

  function rowsFor(stream: Stream, rows: Buffer, eventCount: number): readonly FoundRow[] {
    const { search } = stream;
    const most = Math.min(stream.credits, MAX_OF_ONE_REQUEST);
    if (search === null) stream.matched += eventCount;
    else if (most === 0 || readBytes > MAX_READ) stream.unexamined += eventCount;
    if (most === 0 || (search !== null && readBytes > MAX_READ)) return NONE;
    if (search !== null) readBytes += rows.length * search.passes;
    const found = search === null ? firstRows(rows, most) : search.find(rows, most);
    if (search !== null) stream.matched += found.length;
    // It ended at the last one that it was asked for.
    if (search !== null && found.length === most) {
      stream.unexamined += eventCount - placeOf(rows, found.at(-1)!.start) - 1;
    }
    stream.credits -= found.length;
    return found;
  }

  function onStep(step: Step) {
    steps.push(step);
    reportSoon();
  }

  function reportSoon() {
    if (isReporting) return;
    isReporting = true;
    void clock.sleep(REPORT_EVERY_MS).then(() => {
      isReporting = false;
      reportNow();
    });
  }

  function reportNow() {
    readBytes = 0;
    const counts = streams.map(({ order: { stream }, matched, unexamined }) => ({ stream, matched, unexamined }));
    for (const stream of streams) stream.matched = stream.unexamined = 0;
    const news = { events, steps, counts: counts.filter(({ matched, unexamined }) => matched + unexamined > 0) };
    [events, steps] = [[], []];
    if (news.events.length + news.steps.length + news.counts.length > 0) report({ worker: null, ...news });
  }

  async function find(question: PendingQuestion): Promise<PendingAnswer> {
    const known = { requestsSince: recent.since(), silent: 0 };
    if (question.by === 'request') {
      return { ...known, events: [], requests: recent.find(question.requestId), isCutShort: false };
    }
    const search = question.by === 'ids' ? rowSearchOfIds(question.ids) : rowSearchOf({ user: question.user })!;
    return { ...known, requests: [], ...(await searchPending({ queued, held, clock }, search)) };
  }

  function close() {
    streams = [];
    trails.clear();
    if (point.watcher === watcher) point.watcher = null;
  }
}

const NONE: readonly FoundRow[] = [];
