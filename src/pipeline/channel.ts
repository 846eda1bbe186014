/**
 * The bounded channel between the front doors and the flusher.
 *
 * It owns the only count of what is pending. Two limits hold at every instant:
 * pending events ≤ maxEvents, and pending row bytes + bytes reserved for bodies
 * still being read ≤ maxBytes. An event stays pending until its batch settles,
 * so a slow store pushes back on HTTP instead of filling memory.
 *
 * Batches are cut when they are taken, from whole envelopes in order of arrival;
 * a batch exceeds its limits only when a single envelope does.
 */
import type { Clock } from '../clock.ts';
import type { Envelope, ProjectId } from '../event/event.ts';
import { type Batch, type BatchId, freezeBatch } from './batch.ts';

/** Where a batch went when it left the channel. */
export type Home = 'stored' | 'dead-lettered';

/**
 * Why an envelope was not queued. `never-fits` will not change by waiting;
 * `over-share` asks this project to wait so that the others need not.
 */
export type OfferRefusal = 'full' | 'over-share' | 'never-fits' | 'closed';

export type ChannelLimits = {
  readonly maxEvents: number;
  readonly maxBytes: number;
  /** The part of either limit, 0 to 1, that one of several active projects may hold while over half is used. */
  readonly projectShare: number;
};

export type BatchLimits = {
  readonly maxEvents: number;
  readonly maxBytes: number;
  /** How long the oldest event may wait for company. */
  readonly maxWaitMs: number;
};

/** Bytes set aside for one body while it is read. */
export type Reservation = {
  /** Sets aside `bytes` more; false, and nothing set aside, when there is no room. */
  grow(bytes: number): boolean;
  /** Gives everything back. Calling it again does nothing. */
  release(): void;
};

/** An envelope's place in the channel. It ends with exactly one call, of `queue` or of `cancel`. */
export type Held = {
  /** `journalSequence`: where the journal has the envelope; null when it does not. */
  queue(journalSequence: number | null): void;
  cancel(): void;
  /** Before the end: the envelope is promised already, so it counts as pending from now on, and only `queue` may follow. */
  promise(): void;
};

export type ChannelUsage = { readonly events: number; readonly bytes: number; readonly reservedBytes: number };

export type Channel = {
  /**
   * Room for one body. While nobody knows whose it is (the token stands in the
   * body), all such bodies together may hold a quarter of the bytes, so that
   * strangers cannot keep the others out.
   */
  reserve(of?: 'known' | 'unknown'): Reservation;
  /** Whether a body of `bytes` has no chance of a place now. */
  isFull(bytes: number): boolean;
  /** Whether that much could ever be queued together, in an empty channel. */
  couldHold(eventCount: number, byteCount?: number): boolean;
  /**
   * Queues the envelope whole or refuses it whole; never waits. `onSettled` hears
   * once where the envelope's batch went. The body's reservation is exchanged for
   * the rows in the same step, so that no other request can slip in between.
   */
  offer(envelope: Envelope, reservation: Reservation, onSettled?: (home: Home) => void): 'queued' | OfferRefusal;
  /** As `offer`, but the envelope only takes its place; it is queued, or gives the place back, when the holder says so. */
  hold(envelope: Envelope, reservation: Reservation, onSettled?: (home: Home) => void): Held | OfferRefusal;
  /** Queues an envelope that was acknowledged before this process started, whatever the limits say. */
  restore(envelope: Envelope, journalSequence: number): void;
  /** Takes in a batch that was frozen before this process started; it is handed out before anything else. */
  adopt(batch: Batch, onSettled: (home: Home) => void): void;
  /** The next batch, cut and frozen now; null once closed and empty. One caller at a time. */
  take(): Promise<Batch | null>;
  /** Everything still queued, cut and frozen now; closes the channel. For the end of the process. */
  takeAll(): Batch[];
  /** Returns the batch's capacity: its next home has confirmed it. */
  settle(batch: Batch, home: Home): void;
  /** What is queued now is cut without waiting for company. */
  hurry(): void;
  /** Multiplies the size at which batches are cut, so that a busy store gets fewer and larger inserts. */
  setBatchScale(scale: number): void;
  /** No more offers; what is queued can still be taken. */
  close(): void;
  usage(): ChannelUsage;
};

type Queued = {
  readonly envelope: Envelope;
  readonly queuedAt: number;
  readonly sequence: number;
  readonly journalSequence: number | null;
  readonly onSettled: ((home: Home) => void) | undefined;
};
type ProjectUse = { events: number; bytes: number; lastOfferAt: number };

const UNKNOWN_SHARE = 0.25;
/** A reason of our own: without one, every abort makes an error with a stack. */
const WOKEN = 'woken';
/** A project that offered nothing for this long no longer limits the others. */
const ACTIVE_MS = 60_000;

export function createChannel(
  { clock, newBatchId }: { clock: Clock; newBatchId: () => BatchId },
  limits: ChannelLimits,
  batchLimits: BatchLimits,
): Channel {
  // A queue with a moving head: shift() on a long array copies it. What was taken is not kept: null stands in its place.
  let queue: (Queued | null)[] = [];
  let head = 0;
  let queuedEvents = 0;
  let queuedBytes = 0;
  /** Held, queued or taken, and not settled. */
  let pendingEvents = 0;
  let pendingBytes = 0;
  let heldEvents = 0;
  let reservedBytes = 0;
  let unknownBytes = 0;
  let sequence = 0;
  let hurriedUpTo = 0;
  let batchScale = 1;
  let closed = false;
  let wake: (() => void) | null = null;
  const uses = new Map<ProjectId, ProjectUse>();
  const adopted: Batch[] = [];
  const listeners = new Map<BatchId, ((home: Home) => void)[]>();

  return {
    reserve,
    isFull,
    couldHold: (eventCount, byteCount = 0) => eventCount <= limits.maxEvents && byteCount <= limits.maxBytes,
    offer,
    hold,
    restore,
    adopt,
    take,
    takeAll,
    settle,
    hurry,
    setBatchScale: (scale) => {
      batchScale = scale;
    },
    close,
    usage: () => ({ events: pendingEvents - heldEvents, bytes: pendingBytes, reservedBytes }),
  };

  function reserve(of: 'known' | 'unknown' = 'known'): Reservation {
    let held = 0;
    const isUnknown = of === 'unknown';
    return {
      grow(bytes) {
        if (pendingBytes + reservedBytes + bytes > limits.maxBytes) return false;
        if (isUnknown && unknownBytes + bytes > limits.maxBytes * UNKNOWN_SHARE) return false;
        take(bytes);
        return true;
      },
      release: () => take(-held),
    };

    function take(bytes: number) {
      held += bytes;
      reservedBytes += bytes;
      if (isUnknown) unknownBytes += bytes;
    }
  }

  function isFull(bytes: number) {
    return pendingEvents >= limits.maxEvents || pendingBytes + reservedBytes + bytes > limits.maxBytes;
  }

  function offer(envelope: Envelope, reservation: Reservation, onSettled?: (home: Home) => void) {
    const held = hold(envelope, reservation, onSettled);
    if (typeof held === 'string') return held;
    held.queue(null);
    return 'queued';
  }

  function hold(envelope: Envelope, reservation: Reservation, onSettled?: (home: Home) => void): Held | OfferRefusal {
    const refused = refusalOf(envelope);
    reservation.release();
    if (refused !== null) return refused;
    if (pendingBytes + reservedBytes + envelope.rows.length > limits.maxBytes) return 'full';

    occupy(envelope, 1);
    let silentEvents = envelope.eventCount;
    heldEvents += silentEvents;
    const promise = () => {
      heldEvents -= silentEvents;
      silentEvents = 0;
    };
    return {
      promise,
      queue(journalSequence) {
        promise();
        enqueue(envelope, journalSequence, onSettled);
      },
      cancel() {
        promise();
        occupy(envelope, -1);
      },
    };
  }

  function restore(envelope: Envelope, journalSequence: number) {
    occupy(envelope, 1);
    enqueue(envelope, journalSequence, undefined);
  }

  function occupy({ projectId, eventCount, rows }: Envelope, sign: 1 | -1) {
    const use = useOf(projectId);
    use.events += sign * eventCount;
    use.bytes += sign * rows.length;
    pendingEvents += sign * eventCount;
    pendingBytes += sign * rows.length;
  }

  function enqueue(envelope: Envelope, journalSequence: number | null, onSettled: Queued['onSettled']) {
    const wasEmpty = head === queue.length;
    queuedEvents += envelope.eventCount;
    queuedBytes += envelope.rows.length;
    queue.push({ envelope, queuedAt: clock.elapsed(), sequence: ++sequence, journalSequence, onSettled });
    // The taker sleeps on until its batch is due; the first event only starts its wait.
    if (wasEmpty || isDue()) wake?.();
  }

  function refusalOf({ projectId, eventCount, rows }: Envelope): OfferRefusal | null {
    if (closed) return 'closed';
    if (eventCount > limits.maxEvents || rows.length > limits.maxBytes) return 'never-fits';
    if (pendingEvents + eventCount > limits.maxEvents) return 'full';
    return isOverShare(projectId, eventCount, rows.length) ? 'over-share' : null;
  }

  /** Alone, a project may use everything; beside others, and with over half in use, only its share. */
  function isOverShare(projectId: ProjectId, events: number, bytes: number) {
    const use = useOf(projectId);
    use.lastOfferAt = clock.elapsed();
    if (pendingEvents <= limits.maxEvents / 2 && pendingBytes <= limits.maxBytes / 2) return false;
    const { projectShare } = limits;
    if (use.events + events <= limits.maxEvents * projectShare && use.bytes + bytes <= limits.maxBytes * projectShare)
      return false;
    return hasActiveNeighbour(projectId);
  }

  function hasActiveNeighbour(projectId: ProjectId) {
    const since = clock.elapsed() - ACTIVE_MS;
    for (const [other, { lastOfferAt }] of uses) if (other !== projectId && lastOfferAt >= since) return true;
    return false;
  }

  function useOf(projectId: ProjectId): ProjectUse {
    const known = uses.get(projectId);
    if (known) return known;
    if (uses.size >= 1_000) forgetIdleProjects();
    const fresh: ProjectUse = { events: 0, bytes: 0, lastOfferAt: clock.elapsed() };
    uses.set(projectId, fresh);
    return fresh;
  }

  function forgetIdleProjects() {
    const since = clock.elapsed() - ACTIVE_MS;
    for (const [id, use] of uses) if (use.events === 0 && use.lastOfferAt < since) uses.delete(id);
  }

  /** Not held to the limits: it was acknowledged under those of its time. */
  function adopt(batch: Batch, onSettled: (home: Home) => void) {
    pendingEvents += batch.eventCount;
    pendingBytes += batch.byteCount;
    for (const [projectId, { events, bytes }] of batch.useByProject) {
      const use = useOf(projectId);
      use.events += events;
      use.bytes += bytes;
    }
    listeners.set(batch.id, [onSettled]);
    adopted.push(batch);
    wake?.();
  }

  async function take(): Promise<Batch | null> {
    while (adopted.length === 0 && !isDue()) await changed();
    const earlier = adopted.shift();
    if (earlier) return earlier;
    return head === queue.length ? null : cut();
  }

  function takeAll(): Batch[] {
    close();
    const batches = adopted.splice(0);
    while (head < queue.length) batches.push(cut());
    return batches;
  }

  function close() {
    closed = true;
    wake?.();
  }

  function isDue() {
    if (head === queue.length) return closed;
    if (
      closed ||
      queuedEvents >= batchLimits.maxEvents * batchScale ||
      queuedBytes >= batchLimits.maxBytes * batchScale
    )
      return true;
    const oldest = queue[head]!;
    return oldest.sequence <= hurriedUpTo || clock.elapsed() - oldest.queuedAt >= batchLimits.maxWaitMs;
  }

  /** Resolves at the next offer, hurry or close, or when the oldest queued event has waited long enough. */
  async function changed() {
    const woken = Promise.withResolvers<void>();
    const timer = new AbortController();
    wake = woken.resolve;
    const oldest = queue[head];
    if (oldest) {
      const waitMs = oldest.queuedAt + batchLimits.maxWaitMs - clock.elapsed();
      // sleep never rejects, so dropping this promise drops no error.
      void clock.sleep(Math.max(waitMs, 0), timer.signal).then(woken.resolve);
    }
    await woken.promise;
    wake = null;
    timer.abort(WOKEN);
  }

  function cut(): Batch {
    const envelopes: Envelope[] = [];
    const heard: ((home: Home) => void)[] = [];
    const sequences: number[] = [];
    // Journaled envelopes and others do not mix: a batch is in the journal whole or not at all.
    const isJournaled = queue[head]!.journalSequence !== null;
    let events = 0;
    let bytes = 0;
    while (head < queue.length) {
      const { envelope, journalSequence, onSettled } = queue[head]!;
      if ((journalSequence !== null) !== isJournaled) break;
      const isTooMuch =
        events + envelope.eventCount > batchLimits.maxEvents * batchScale ||
        bytes + envelope.rows.length > batchLimits.maxBytes * batchScale;
      if (isTooMuch && envelopes.length > 0) break;
      envelopes.push(envelope);
      if (journalSequence !== null) sequences.push(journalSequence);
      if (onSettled) heard.push(onSettled);
      events += envelope.eventCount;
      bytes += envelope.rows.length;
      queue[head++] = null;
    }
    queuedEvents -= events;
    queuedBytes -= bytes;
    // The array must not grow for ever.
    if (head === queue.length || head >= 1_024) {
      queue = queue.slice(head);
      head = 0;
    }
    const batch = { ...freezeBatch(newBatchId(), envelopes), sequences };
    if (heard.length > 0) listeners.set(batch.id, heard);
    return batch;
  }

  function settle(batch: Batch, home: Home) {
    pendingEvents -= batch.eventCount;
    pendingBytes -= batch.byteCount;
    for (const [projectId, { events, bytes }] of batch.useByProject) {
      const use = uses.get(projectId)!;
      use.events -= events;
      use.bytes -= bytes;
    }
    const heard = listeners.get(batch.id);
    listeners.delete(batch.id);
    for (const onSettled of heard ?? []) onSettled(home);
  }

  function hurry() {
    hurriedUpTo = sequence;
    wake?.();
  }
}
