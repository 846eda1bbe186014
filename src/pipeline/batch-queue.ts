/**
 * Envelopes in order of arrival, and the batches that are cut from them. A batch is cut when it is taken, and exceeds
 * its limits only when a single envelope does.
 */
import type { Clock } from '../runtime/clock.ts';
import type { Envelope } from '../event/event.ts';
import { type Batch, type BatchId, freezeBatch } from './batch.ts';
import type { BatchLimits, BatchScale, OnSettled } from './channel-port.ts';

/** The listener of an envelope, called when its batch settles. */
export type ChunkListener = {
  /** The index of the envelope's chunk in its batch. */
  readonly chunk: number;
  readonly onSettled: OnSettled;
};

export type BatchQueue = {
  isEmpty(): boolean;
  /** The rows of all envelopes, in order. */
  rows(): readonly Buffer[];
  /** `journalSequence`: where the journal has the envelope; null when it does not. */
  add(envelope: Envelope, journalSequence: number | null, onSettled: OnSettled | undefined): void;
  /** Whether enough is queued for a batch. */
  isFilled(): boolean;
  /** Whether to cut a batch now: enough is queued, or the oldest envelope has waited long enough or is hurried. */
  isDue(): boolean;
  /** How long until the oldest envelope has waited long enough; null when nothing is queued. */
  dueInMs(): number | null;
  /** Cuts and freezes the next batch. Not for an empty queue. */
  cut(): { readonly batch: Batch; readonly listeners: readonly ChunkListener[] };
  /** Makes everything queued now due. */
  hurry(): void;
  setScale(scale: BatchScale): void;
  setMaxBytes(maxBytes: number | null): void;
};

/** What is queued, by place. Not an object for each envelope: tens of thousands would be copied by every collection. */
type Queued = {
  /** Null where it was taken. */
  readonly envelopes: (Envelope | null)[];
  readonly queuedAt: number[];
  readonly journalSequences: (number | null)[];
  readonly listeners: (OnSettled | undefined)[];
};

/** How many taken places may stand at the head before the arrays are copied without them. */
const MAX_TAKEN_PLACES = 1_024;

export function createBatchQueue(
  { clock, newBatchId }: { clock: Clock; newBatchId: () => BatchId },
  limits: BatchLimits,
): BatchQueue {
  // A queue with a moving head: shift() on a long array copies it. Taken envelopes are released: null replaces them.
  let queue: Queued = { envelopes: [], queuedAt: [], journalSequences: [], listeners: [] };
  let head = 0;
  let queuedEvents = 0;
  let queuedBytes = 0;
  /** How many of the oldest envelopes are not to wait. */
  let hurried = 0;
  let scale: BatchScale = { events: 1, bytes: 1 };
  let bytesBound = Infinity;
  const maxEvents = () => limits.maxEvents * scale.events;
  const maxBytes = () => Math.min(limits.maxBytes * scale.bytes, bytesBound);

  return {
    isEmpty,
    rows: () => queue.envelopes.slice(head).map((envelope) => envelope!.rows),
    add,
    isFilled,
    isDue,
    dueInMs,
    cut,
    hurry: () => {
      hurried = queue.envelopes.length - head;
    },
    setScale: (next) => {
      scale = next;
    },
    setMaxBytes: (bytes) => {
      bytesBound = bytes ?? Infinity;
    },
  };

  function isEmpty() {
    return head === queue.envelopes.length;
  }

  function add(envelope: Envelope, journalSequence: number | null, onSettled: OnSettled | undefined) {
    queuedEvents += envelope.eventCount;
    queuedBytes += envelope.rows.length;
    queue.envelopes.push(envelope);
    queue.queuedAt.push(clock.elapsed());
    queue.journalSequences.push(journalSequence);
    queue.listeners.push(onSettled);
  }

  function isDue() {
    if (isEmpty()) return false;
    return isFilled() || hurried > 0 || clock.elapsed() - queue.queuedAt[head]! >= limits.maxWaitMs;
  }

  function isFilled() {
    return queuedEvents >= maxEvents() || queuedBytes >= maxBytes();
  }

  function dueInMs() {
    return isEmpty() ? null : Math.max(queue.queuedAt[head]! + limits.maxWaitMs - clock.elapsed(), 0);
  }

  function cut() {
    const envelopes: Envelope[] = [];
    const listeners: ChunkListener[] = [];
    const sequences: number[] = [];
    // Journaled envelopes and others do not mix: a batch is in the journal whole or not at all.
    const isJournaled = queue.journalSequences[head] !== null;
    const mostEvents = maxEvents();
    const mostBytes = maxBytes();
    let events = 0;
    let bytes = 0;
    while (!isEmpty()) {
      const envelope = queue.envelopes[head]!;
      const journalSequence = queue.journalSequences[head] ?? null;
      const onSettled = queue.listeners[head];
      if ((journalSequence !== null) !== isJournaled) break;
      const isTooMuch = events + envelope.eventCount > mostEvents || bytes + envelope.rows.length > mostBytes;
      if (isTooMuch && envelopes.length > 0) break;
      if (onSettled) listeners.push({ chunk: envelopes.length, onSettled });
      envelopes.push(envelope);
      if (journalSequence !== null) sequences.push(journalSequence);
      events += envelope.eventCount;
      bytes += envelope.rows.length;
      queue.envelopes[head] = null;
      queue.listeners[head] = undefined;
      head += 1;
    }
    queuedEvents -= events;
    queuedBytes -= bytes;
    hurried = Math.max(0, hurried - envelopes.length);
    dropTaken();
    return { batch: { ...freezeBatch(newBatchId(), envelopes), sequences }, listeners };
  }

  /** The arrays must not grow forever. */
  function dropTaken() {
    if (!isEmpty() && head < MAX_TAKEN_PLACES) return;
    queue = {
      envelopes: queue.envelopes.slice(head),
      queuedAt: queue.queuedAt.slice(head),
      journalSequences: queue.journalSequences.slice(head),
      listeners: queue.listeners.slice(head),
    };
    head = 0;
  }
}
