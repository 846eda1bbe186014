/**
 * The channel's account: the only count of what is pending and reserved, in total and for each project. It holds the
 * two limits and shares them between projects.
 */
import type { Clock } from '../runtime/clock.ts';
import type { Envelope, ProjectId } from '../event/event.ts';
import type { Batch } from './batch.ts';
import type { ChannelLimits, ChannelUsage, OfferRefusal, Reservation } from './channel-port.ts';

export type ChannelCapacity = {
  reserve(of?: 'known' | 'unknown'): Reservation;
  isFull(bytes: number): boolean;
  room(): number;
  couldHold(eventCount: number, byteCount?: number): boolean;
  /**
   * Exchanges the reservation for room for the envelope, or says why there is none; the reservation is released either
   * way.
   */
  occupy(envelope: Envelope, reservation: Reservation): OfferRefusal | null;
  /** Returns the room of an envelope that will be in no batch. */
  vacate(envelope: Envelope): void;
  /** Counts a batch that was acknowledged earlier, whatever the limits. */
  add(batch: Batch): void;
  /** Returns the room of a batch. */
  remove(batch: Batch): void;
  usage(): ChannelUsage;
};

type ProjectUse = { events: number; bytes: number; lastOfferAt: number };

const UNKNOWN_SHARE = 0.25;
/** A project that offered nothing for this long no longer limits the others. */
const ACTIVE_MS = 60_000;
/** Above this many known projects, idle ones are forgotten. */
const MANY_PROJECTS = 1_000;

export function createChannelCapacity({ clock }: { clock: Clock }, limits: ChannelLimits): ChannelCapacity {
  let pendingEvents = 0;
  let pendingBytes = 0;
  let reservedBytes = 0;
  /** The part of `reservedBytes` whose project is unknown. */
  let unknownBytes = 0;
  const uses = new Map<ProjectId, ProjectUse>();

  /** A class, because there is one for each request: functions of its own would be made for each, too. */
  class Reserved implements Reservation {
    readonly #isUnknown: boolean;
    #held = 0;

    constructor(isUnknown: boolean) {
      this.#isUnknown = isUnknown;
    }

    grow(bytes: number) {
      if (exceedsBytes(bytes)) return false;
      if (this.#isUnknown && unknownBytes + bytes > limits.maxBytes * UNKNOWN_SHARE) return false;
      this.#take(bytes);
      return true;
    }

    release() {
      this.#take(-this.#held);
    }

    #take(bytes: number) {
      this.#held += bytes;
      reservedBytes += bytes;
      if (this.#isUnknown) unknownBytes += bytes;
    }
  }

  return {
    reserve,
    isFull: (bytes) => pendingEvents >= limits.maxEvents || exceedsBytes(bytes),
    room: () => Math.max(0, limits.maxEvents - pendingEvents),
    couldHold: (eventCount, byteCount = 0) => eventCount <= limits.maxEvents && byteCount <= limits.maxBytes,
    occupy,
    vacate: (envelope) => count(envelope, -1),
    add,
    remove,
    usage: () => ({ events: pendingEvents, bytes: pendingBytes, reservedBytes }),
  };

  function exceedsBytes(bytes: number) {
    return pendingBytes + reservedBytes + bytes > limits.maxBytes;
  }

  function reserve(of: 'known' | 'unknown' = 'known'): Reservation {
    return new Reserved(of === 'unknown');
  }

  function occupy(envelope: Envelope, reservation: Reservation): OfferRefusal | null {
    const refusal = refusalOf(envelope);
    reservation.release();
    if (refusal !== null) return refusal;
    if (exceedsBytes(envelope.rows.length)) return 'full';
    count(envelope, 1);
    return null;
  }

  function count({ projectId, eventCount, rows }: Envelope, sign: 1 | -1) {
    const use = useOf(projectId);
    use.events += sign * eventCount;
    use.bytes += sign * rows.length;
    pendingEvents += sign * eventCount;
    pendingBytes += sign * rows.length;
  }

  function add(batch: Batch) {
    pendingEvents += batch.eventCount;
    pendingBytes += batch.byteCount;
    for (const [projectId, { events, bytes }] of batch.useByProject) {
      const use = useOf(projectId);
      use.events += events;
      use.bytes += bytes;
    }
  }

  function remove(batch: Batch) {
    pendingEvents -= batch.eventCount;
    pendingBytes -= batch.byteCount;
    for (const [projectId, { events, bytes }] of batch.useByProject) {
      const use = uses.get(projectId)!;
      use.events -= events;
      use.bytes -= bytes;
    }
  }

  function refusalOf({ projectId, eventCount, rows }: Envelope): OfferRefusal | null {
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
    if (uses.size >= MANY_PROJECTS) forgetIdleProjects();
    const fresh: ProjectUse = { events: 0, bytes: 0, lastOfferAt: clock.elapsed() };
    uses.set(projectId, fresh);
    return fresh;
  }

  function forgetIdleProjects() {
    const since = clock.elapsed() - ACTIVE_MS;
    for (const [id, use] of uses) if (use.events === 0 && use.lastOfferAt < since) uses.delete(id);
  }
}
