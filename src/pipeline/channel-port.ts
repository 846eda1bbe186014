/**
 * The bounded channel between the front doors and the flusher, as both sides see it. `channel.ts` keeps it in memory,
 * `journaled-channel.ts` adds the journal; `test/contract/channel.test.ts` checks every implementation against this
 * description.
 *
 * Two limits hold at every instant: pending events ≤ maxEvents, and pending row bytes + bytes reserved for bodies still
 * being read ≤ maxBytes. An event stays pending until its batch settles, so a slow store pushes back on HTTP instead of
 * filling memory.
 */
import type { Envelope } from '../event/event.ts';
import type { Batch } from './batch.ts';

/** Where a batch went when it left the channel; `replicated`: into a topic, whose brokers have confirmed it. */
export type Destination = 'stored' | 'dead-lettered' | 'replicated';

/**
 * Why an envelope was not queued. `never-fits` will not change by waiting; `over-share` asks this project to wait so
 * that the others need not.
 */
export type OfferRefusal = 'full' | 'over-share' | 'never-fits' | 'closed';

export type ChannelLimits = {
  readonly maxEvents: number;
  readonly maxBytes: number;
  /** The part of either limit, 0 to 1, that one of several active projects may hold while over half is used. */
  readonly projectShare: number;
};

/** When a batch is cut: as soon as it reaches either size, or when its oldest event has waited long enough. */
export type BatchLimits = {
  readonly maxEvents: number;
  readonly maxBytes: number;
  readonly maxWaitMs: number;
};

/** Bytes set aside for one body while it is read. */
export type Reservation = {
  /** Reserves `bytes` more; false, without reserving anything, when there is no room. */
  grow(bytes: number): boolean;
  /** Releases everything. Further calls do nothing. */
  release(): void;
};

/** An envelope's place in the channel. It ends with exactly one call of `queue` or `cancel`. */
export type HeldPlace = {
  /** `journalSequence`: where the journal has the envelope; null when it does not. */
  queue(journalSequence: number | null): void;
  cancel(): void;
  /**
   * The envelope is acknowledged before it is queued: it counts as pending from now on, and only `queue` may follow.
   */
  acknowledge(): void;
};

/**
 * Events and row bytes that are pending, and bytes reserved for bodies. Places that are merely held count their bytes
 * only.
 */
export type ChannelUsage = { readonly events: number; readonly bytes: number; readonly reservedBytes: number };

/** Factors for the limits of a batch. */
export type BatchScale = { readonly events: number; readonly bytes: number };

/** Called once, with the destination of the batch that holds the events. */
export type OnSettled = (destination: Destination) => void;

export type Channel = {
  /**
   * Room for one body. While its project is unknown (the token is in the body), all such bodies together may hold a
   * quarter of the bytes, so that unauthenticated clients cannot keep the others out.
   */
  reserve(of?: 'known' | 'unknown'): Reservation;
  /** Whether a body of `bytes` has no chance of a place now. */
  isFull(bytes: number): boolean;
  /** How many events more would be within the limit now. */
  room(): number;
  /** Calls `listener`, the only one, whenever places were given back. */
  onRoom(listener: () => void): void;
  /** Whether that much could ever be queued together, in an empty channel. */
  couldHold(eventCount: number, byteCount?: number): boolean;
  /**
   * Queues the envelope whole or refuses it whole; never waits. Exchanges the body's reservation for the rows in the
   * same step, so that no other request can slip in between; a refusal releases it.
   */
  offer(envelope: Envelope, reservation: Reservation, onSettled?: OnSettled): 'queued' | OfferRefusal;
  /** As `offer`, but the envelope only takes its place, which its holder then queues or cancels. */
  hold(envelope: Envelope, reservation: Reservation, onSettled?: OnSettled): HeldPlace | OfferRefusal;
  /**
   * Adds a batch that was frozen before this process started, whatever the limits: it was acknowledged under those of
   * its time. It is handed out unchanged, before anything that was offered.
   */
  adopt(batch: Batch, onSettled: OnSettled): void;
  /**
   * The next batch, of whole envelopes in order of arrival, frozen now; null once closed and empty. One caller at a
   * time.
   */
  take(): Promise<Batch | null>;
  /** Everything still queued, cut and frozen now; closes the channel. For the end of the process. */
  takeAll(): Batch[];
  /**
   * Returns the batch's capacity: its destination has confirmed it. The rows at `takenOut` are dead letters, wherever
   * the others went.
   */
  settle(batch: Batch, destination: Destination, takenOut?: readonly number[]): void;
  /** Everything queued now is cut without waiting for more. */
  hurry(): void;
  /**
   * Multiplies the size at which batches are cut, so that a busy store gets fewer and larger inserts. A taker that waits
   * gets what is large enough for a smaller scale at once.
   */
  setBatchScale(scale: BatchScale): void;
  /** Batches of several envelopes have no more bytes than this, whatever their scale; null lifts the limit. */
  setBatchBytes(maxBytes: number | null): void;
  /** Accepts no more offers; what is queued can still be taken. */
  close(): void;
  usage(): ChannelUsage;
  /** The rows that are in no batch yet, in order. */
  queued(): readonly Buffer[];
};
