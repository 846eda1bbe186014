/**
 * A short wait in place of a refusal: the channel gets room with every batch that settles, while a client that was
 * refused stays away for a whole second, and with it the events that the next batch would be made of. Bodies wait at
 * the door, unread; envelopes that found no room wait with their bytes reserved. Both are few and wait for one second
 * at most, and nobody waits any more once a whole wait has passed without room for anybody, until there is some again.
 */
import type { Envelope } from '../event/event.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Channel, HeldPlace, OfferRefusal, OnSettled, Reservation } from './channel-port.ts';

export type WaitingRoom = {
  /** Whether a body of `bytes` that has just come may be read now: there is room, and nobody waits for it. */
  isOpen(bytes: number): boolean;
  /** As `isOpen`, for one that waits at the door and whose turn has come. */
  hasRoom(bytes: number): boolean;
  /**
   * Calls `attempt` whenever the door may be open to a body of `bytes`, until it no longer says `waits`; with `isLast`
   * it may not. Returns what ends the wait before that; null where nobody may wait now.
   */
  waitAtDoor(bytes: number, attempt: Attempt): (() => void) | null;
  /** As `hold` of the channel, but an envelope that found no room may wait for it. */
  hold(
    envelope: Envelope,
    reservation: Reservation,
    onSettled?: OnSettled,
  ): HeldPlace | OfferRefusal | Promise<HeldPlace | OfferRefusal>;
};

/** What becomes of a body at the door. Throws nothing. */
export type Attempt = (isLast: boolean) => 'waits' | 'enters' | 'refused';

export type WaitingRoomDeps = {
  readonly channel: Pick<Channel, 'hold' | 'isFull' | 'onRoom' | 'reserve' | 'room' | 'couldHold'>;
  readonly clock: Clock;
};

type Waiter = {
  readonly until: number;
  /** How often there had been room when it came. */
  readonly since: number;
};
type AtDoor = Waiter & { readonly bytes: number; readonly attempt: Attempt };
type WithEnvelope = Waiter & {
  readonly envelope: Envelope;
  readonly reservation: Reservation;
  readonly onSettled: OnSettled | undefined;
  readonly resolve: (held: HeldPlace | OfferRefusal) => void;
};

/** As long as the clients that are refused stay away. */
const MAX_WAIT_MS = 1_000;
/** In each line. */
const MAX_WAITING = 1_024;
/** Of a body that is not read, as much may have arrived: one read from a socket. */
const MAX_ARRIVED_BYTES = 64 * 1024;
/** Of all bodies at the door. */
const MAX_AT_DOOR_BYTES = 16 * 1024 * 1024;
/** An envelope of more would keep all others waiting for more than the next batch. */
const MAX_SHARE = 0.25;
/** How often to look, besides whenever a batch settles: intake may have closed, and reservations end. */
const LOOK_EVERY_MS = 50;
/** And how soon again while there may be room: those that came in may bring less than others before them. */
const LOOK_AGAIN_MS = 5;
/** Bodies that are let in before everything else has a turn. */
const ENTRIES_A_TURN = 64;

export function createWaitingRoom({ channel, clock }: WaitingRoomDeps): WaitingRoom {
  const atDoor = new Set<AtDoor>();
  const withEnvelope: WithEnvelope[] = [];
  let bytesAtDoor = 0;
  /** Of the latest envelope that found no room, so many: until some comes, less is as good as none. */
  let neededEvents = 1;
  let isHopeless = false;
  let timesOfRoom = 0;
  let isWatching = false;
  let isServing = false;
  let isToLookAgain = false;
  /** Events of an envelope, on the average of the latest. */
  let usualEvents = 1;
  channel.onRoom(onRoom);

  return { isOpen, hasRoom, waitAtDoor, hold };

  function isOpen(bytes: number) {
    return atDoor.size === 0 && hasRoom(bytes);
  }

  function hasRoom(bytes: number) {
    return withEnvelope.length === 0 && channel.room() >= neededEvents && !channel.isFull(bytes);
  }

  function waitAtDoor(announced: number, attempt: Attempt) {
    const bytes = Math.min(announced, MAX_ARRIVED_BYTES);
    if (isHopeless || atDoor.size >= MAX_WAITING || bytesAtDoor + bytes > MAX_AT_DOOR_BYTES) return null;
    const waiter = { ...newWaiter(), bytes, attempt };
    atDoor.add(waiter);
    bytesAtDoor += bytes;
    watch();
    // Those before it may wait for more than it needs.
    if (hasRoom(announced)) lookAgain();
    return () => leave(waiter);
  }

  function leave(waiter: AtDoor) {
    if (atDoor.delete(waiter)) bytesAtDoor -= waiter.bytes;
  }

  function hold(envelope: Envelope, reservation: Reservation, onSettled?: OnSettled) {
    const { eventCount, rows } = envelope;
    usualEvents += (eventCount - usualEvents) / 16;
    const isOrdinary = channel.couldHold(eventCount / MAX_SHARE, rows.length / MAX_SHARE);
    if (withEnvelope.length === 0 || !isOrdinary) {
      const held = channel.hold(envelope, reservation, onSettled);
      if (held !== 'full' || !isOrdinary) return held;
    }
    if (channel.room() < eventCount) neededEvents = eventCount;
    // What was reserved for the body is given back first: the body is not needed any more.
    reservation.release();
    const own = channel.reserve();
    if (isHopeless || withEnvelope.length >= MAX_WAITING || !own.grow(rows.length)) return 'full';
    const { promise, resolve } = Promise.withResolvers<HeldPlace | OfferRefusal>();
    withEnvelope.push({ ...newWaiter(), envelope, reservation: own, onSettled, resolve });
    watch();
    return promise;
  }

  function newWaiter(): Waiter {
    return { until: clock.elapsed() + MAX_WAIT_MS, since: timesOfRoom };
  }

  function onRoom() {
    timesOfRoom += 1;
    isHopeless = false;
    neededEvents = 1;
    if (atDoor.size > 0 || withEnvelope.length > 0) serveSoon();
  }

  /** Not at once: whoever settles a batch is not done yet. */
  function serveSoon() {
    if (isServing) return;
    isServing = true;
    void Promise.resolve().then(serve);
  }

  async function serve() {
    let entries: number;
    for (;;) {
      giveRoom();
      entries = letIn(ENTRIES_A_TURN);
      if (entries < ENTRIES_A_TURN) break;
      await clock.turn();
    }
    isServing = false;
    if (entries > 0 && atDoor.size > 0) lookAgain();
  }

  function lookAgain() {
    if (isToLookAgain) return;
    isToLookAgain = true;
    void clock.sleep(LOOK_AGAIN_MS).then(() => {
      isToLookAgain = false;
      serveSoon();
    });
  }

  /** First come, first served. */
  function giveRoom() {
    while (withEnvelope.length > 0 && withEnvelope[0]!.envelope.eventCount <= channel.room()) holdFirst();
  }

  function holdFirst() {
    const { envelope, reservation, onSettled, resolve } = withEnvelope.shift()!;
    resolve(channel.hold(envelope, reservation, onSettled));
  }

  /** How many of those at the door came in: no more than would usually find room. */
  function letIn(most: number): number {
    const mostWithRoom = Math.max(1, channel.room() / usualEvents);
    let entries = 0;
    for (const waiter of atDoor) {
      if (entries >= most || entries >= mostWithRoom) break;
      const became = waiter.attempt(false);
      if (became === 'waits') continue;
      leave(waiter);
      if (became === 'enters') entries += 1;
    }
    return entries;
  }

  function watch() {
    if (isWatching) return;
    isWatching = true;
    void untilNobodyWaits().then(() => {
      isWatching = false;
    });
  }

  async function untilNobodyWaits() {
    while (atDoor.size > 0 || withEnvelope.length > 0) {
      await clock.sleep(LOOK_EVERY_MS);
      turnAwayLateOnes();
      serveSoon();
    }
  }

  function turnAwayLateOnes() {
    const now = clock.elapsed();
    while (withEnvelope.length > 0 && withEnvelope[0]!.until <= now) {
      noteHope(withEnvelope[0]!);
      holdFirst();
    }
    for (const waiter of atDoor) {
      if (waiter.until > now) break;
      noteHope(waiter);
      leave(waiter);
      waiter.attempt(true);
    }
  }

  function noteHope({ since }: Waiter) {
    if (since === timesOfRoom) isHopeless = true;
  }
}
