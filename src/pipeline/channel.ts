/**
 * The channel in memory: `channel-capacity.ts` counts what is pending, `batch-queue.ts` holds what is queued and cuts
 * it into batches; this file wakes the taker of batches, and calls the listeners when a batch settles.
 */
import assert from 'node:assert/strict';
import type { Clock } from '../runtime/clock.ts';
import type { Envelope } from '../event/event.ts';
import { splitRows } from '../event/rows.ts';
import type { Batch, BatchId } from './batch.ts';
import { createBatchQueue } from './batch-queue.ts';
import { createChannelCapacity } from './channel-capacity.ts';
import type {
  BatchLimits,
  BatchScale,
  Channel,
  ChannelLimits,
  Destination,
  HeldPlace,
  OfferRefusal,
  OnSettled,
  Reservation,
} from './channel-port.ts';

/** `chunk`: the envelope's place in its batch; null for a listener to the whole batch. */
type Listener = { readonly chunk: number | null; readonly onSettled: OnSettled };

/** A reason of our own: without one, every abort creates an error with a stack. */
const WOKEN = 'woken';

export function createChannel(
  { clock, newBatchId }: { clock: Clock; newBatchId: () => BatchId },
  limits: ChannelLimits,
  batchLimits: BatchLimits,
): Channel {
  const capacity = createChannelCapacity({ clock }, limits);
  const queue = createBatchQueue({ clock, newBatchId }, batchLimits);
  /** Batches of earlier processes that were not taken yet. */
  const adopted: Batch[] = [];
  const listeners = new Map<BatchId, readonly Listener[]>();
  /**
   * Events of places that are neither queued nor acknowledged: their room is reserved, but they are not pending yet.
   */
  let heldEvents = 0;
  /** Of envelopes that are acknowledged and wait for the journal before they are queued. */
  const awaited = new Set<HeldPlace>();
  let closed = false;
  let isTaking = false;
  let wake: (() => void) | null = null;
  let onRoom: (() => void) | null = null;

  /** A class, because there is one for each envelope: functions of its own would be made for each, too. */
  class Place implements HeldPlace {
    readonly #envelope: Envelope;
    readonly #onSettled: OnSettled | undefined;
    #unacknowledged: number;
    #isQueued = false;

    constructor(envelope: Envelope, onSettled: OnSettled | undefined) {
      this.#envelope = envelope;
      this.#onSettled = onSettled;
      this.#unacknowledged = envelope.eventCount;
      heldEvents += envelope.eventCount;
    }

    acknowledge() {
      this.#count();
      awaited.add(this);
    }

    queue(journalSequence: number | null) {
      // The end of the process did not wait for the journal.
      if (this.#isQueued) return;
      this.#isQueued = true;
      this.#count();
      const wasEmpty = queue.isEmpty();
      queue.add(this.#envelope, journalSequence, this.#onSettled);
      // The taker sleeps on until its batch is due; the first event starts its wait, or ends it when all is closed.
      if (wasEmpty || queue.isFilled()) wake?.();
    }

    cancel() {
      this.#count();
      capacity.vacate(this.#envelope);
      onRoom?.();
    }

    #count() {
      heldEvents -= this.#unacknowledged;
      this.#unacknowledged = 0;
      awaited.delete(this);
    }
  }

  return {
    reserve: capacity.reserve,
    isFull: capacity.isFull,
    room: capacity.room,
    onRoom: (listener) => {
      onRoom = listener;
    },
    couldHold: capacity.couldHold,
    offer,
    hold,
    adopt,
    take,
    takeAll,
    settle,
    hurry,
    setBatchScale,
    setBatchBytes: queue.setMaxBytes,
    close,
    usage,
    queued: () => [...adopted.flatMap(({ chunks }) => chunks), ...queue.rows()],
  };

  function usage() {
    const { events, bytes, reservedBytes } = capacity.usage();
    return { events: events - heldEvents, bytes, reservedBytes };
  }

  function offer(envelope: Envelope, reservation: Reservation, onSettled?: OnSettled) {
    const held = hold(envelope, reservation, onSettled);
    if (typeof held === 'string') return held;
    held.queue(null);
    return 'queued';
  }

  function hold(envelope: Envelope, reservation: Reservation, onSettled?: OnSettled): HeldPlace | OfferRefusal {
    if (closed) {
      reservation.release();
      return 'closed';
    }
    const refusal = capacity.occupy(envelope, reservation);
    return refusal ?? new Place(envelope, onSettled);
  }

  function adopt(batch: Batch, onSettled: OnSettled) {
    capacity.add(batch);
    listeners.set(batch.id, [{ chunk: null, onSettled }]);
    adopted.push(batch);
    wake?.();
  }

  async function take(): Promise<Batch | null> {
    assert(!isTaking, 'one caller takes from the channel at a time');
    isTaking = true;
    while (adopted.length === 0 && !isDue()) await changed();
    isTaking = false;
    return adopted.shift() ?? (queue.isEmpty() ? null : cut());
  }

  function takeAll(): Batch[] {
    close();
    const batches = adopted.splice(0);
    while (!queue.isEmpty()) batches.push(cut());
    for (const place of awaited) place.queue(null);
    // The journal may come to have these after all.
    while (!queue.isEmpty()) batches.push({ ...cut(), mayBeElsewhere: true });
    return batches;
  }

  function cut(): Batch {
    const { batch, listeners: ofBatch } = queue.cut();
    if (ofBatch.length > 0) listeners.set(batch.id, ofBatch);
    return batch;
  }

  function close() {
    closed = true;
    wake?.();
  }

  function isDue() {
    return (closed && (awaited.size === 0 || !queue.isEmpty())) || queue.isDue();
  }

  /** Resolves at the next offer, hurry or close, or when the oldest queued event has waited long enough. */
  async function changed() {
    const woken = Promise.withResolvers<void>();
    const timer = new AbortController();
    wake = woken.resolve;
    const waitMs = queue.dueInMs();
    // sleep never rejects, so dropping this promise drops no error.
    if (waitMs !== null) void clock.sleep(waitMs, timer.signal).then(woken.resolve);
    await woken.promise;
    wake = null;
    timer.abort(WOKEN);
  }

  function settle(batch: Batch, destination: Destination, takenOut: readonly number[] = []) {
    capacity.remove(batch);
    const ofBatch = listeners.get(batch.id);
    listeners.delete(batch.id);
    const apart = ofBatch && takenOut.length > 0 ? chunksWith(takenOut, batch.chunks) : null;
    for (const { chunk, onSettled } of ofBatch ?? [])
      onSettled(chunk !== null && apart?.has(chunk) ? 'dead-lettered' : destination);
    onRoom?.();
  }

  function setBatchScale(scale: BatchScale) {
    queue.setScale(scale);
    if (isDue()) wake?.();
  }

  function hurry() {
    queue.hurry();
    wake?.();
  }
}

/** Which of the chunks hold a row at one of the places, ascending, among the rows of all of them. */
function chunksWith(places: readonly number[], chunks: readonly Buffer[]): ReadonlySet<number> {
  const found = new Set<number>();
  let row = 0;
  let next = 0;
  for (const [index, chunk] of chunks.entries()) {
    row += splitRows(chunk).length;
    if (next < places.length && places[next]! < row) found.add(index);
    while (next < places.length && places[next]! < row) next++;
  }
  return found;
}
