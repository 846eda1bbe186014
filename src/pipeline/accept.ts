/**
 * The last step of a request's way in: an envelope takes its place in the channel, is written to the journal, and can
 * be taken from the channel only then. So the journal knows every envelope of a batch, in the same order.
 */
import type { Envelope } from '../event/event.ts';
import type { HeldPlace, OfferRefusal, OnSettled, Reservation } from './channel-port.ts';
import type { Ledger } from './ledger.ts';
import { type Journal, JournalUnavailable, type KeptAnswer } from './ports.ts';
import type { WaitingRoom } from './waiting-room.ts';

/**
 * How safe the envelope is when `accept` resolves; `journal-full`, `not-journaled`: the journal had no room, or failed,
 * and the envelope was not accepted.
 */
export type Accepted = 'queued' | 'journaled' | 'journal-full' | 'not-journaled';

export type Acceptance = {
  /** `queued` asks for memory only; `journaled` waits for the disk. */
  readonly level: 'queued' | 'journaled';
  readonly reservation: Reservation;
  /** The answer to give again for the same idempotency key. */
  readonly answer: KeptAnswer | undefined;
  readonly onSettled: OnSettled | undefined;
};

/** Accepts the envelope, or says why there is no place for it: at once, or when it has waited for one. */
export type Accept = (envelope: Envelope, acceptance: Acceptance) => OfferRefusal | Promise<Accepted | OfferRefusal>;

export type AcceptDeps = {
  readonly waitingRoom: Pick<WaitingRoom, 'hold'>;
  /** null when there is none: events are in memory only. */
  readonly journal: Journal | null;
  readonly ledger: Ledger;
};

/** `isRequired`: without the journal nothing is accepted; otherwise memory is enough while the disk fails. */
export function createAccept(
  { waitingRoom, journal, ledger }: AcceptDeps,
  { isRequired }: { isRequired: boolean },
): Accept {
  return (envelope, acceptance) => {
    const held = waitingRoom.hold(envelope, acceptance.reservation, acceptance.onSettled);
    if (typeof held === 'string') return held;
    return held instanceof Promise
      ? held.then((place) => (typeof place === 'string' ? place : keep(place, envelope, acceptance)))
      : keep(held, envelope, acceptance);
  };

  function keep(held: HeldPlace, envelope: Envelope, { level, answer }: Acceptance): Promise<Accepted> {
    if (journal === null) return Promise.resolve(queue(held, envelope, level, null));

    const { sequence, written } = journal.append(envelope, answer);
    const kept = written.then(
      () => queue(held, envelope, level, sequence),
      (error: unknown) => {
        if (!isRequired || level === 'queued') return queue(held, envelope, level, null);
        held.cancel();
        return error instanceof JournalUnavailable && error.reason === 'full' ? 'journal-full' : 'not-journaled';
      },
    );
    if (level !== 'queued') return kept;
    // The envelope is in memory already; a request that asks for no more does not wait for the disk.
    held.acknowledge();
    ledger.accepted += envelope.eventCount;
    return Promise.resolve('queued');
  }

  function queue(
    held: HeldPlace,
    { eventCount }: Envelope,
    level: Acceptance['level'],
    journalSequence: number | null,
  ): Accepted {
    held.queue(journalSequence);
    if (journal === null || level !== 'queued') ledger.accepted += eventCount;
    return journalSequence === null ? 'queued' : 'journaled';
  }
}
