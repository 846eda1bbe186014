/**
 * The last step of a request's way in: an envelope takes its place in the
 * channel, is written to the journal, and only then can be taken from the
 * channel. So whatever a batch holds the journal knows, in the same order.
 */
import type { Envelope } from '../event/event.ts';
import type { Channel, Held, Home, OfferRefusal, Reservation } from './channel.ts';
import type { Ledger } from './ledger.ts';
import type { Journal, KeptAnswer } from './ports.ts';

/** How safe the envelope is when `accept` resolves; `not-journaled`: it was to be, could not be, and was not taken. */
export type Accepted = 'queued' | 'journaled' | 'not-journaled';

export type Acceptance = {
  /** `queued` asks for no more than memory; anything above waits for the disk. */
  readonly level: 'queued' | 'journaled';
  readonly reservation: Reservation;
  /** The answer to be given again to the same idempotency key. */
  readonly answer: KeptAnswer | undefined;
  readonly onSettled: ((home: Home) => void) | undefined;
};

/** Takes the envelope in, or says at once why there is no place for it. */
export type Accept = (envelope: Envelope, acceptance: Acceptance) => OfferRefusal | Promise<Accepted>;

export type AcceptDeps = {
  readonly channel: Channel;
  /** null when there is none: events are in memory only. */
  readonly journal: Journal | null;
  readonly ledger: Ledger;
};

/** `isRequired`: without the journal nothing is taken; otherwise memory has to do while the disk has trouble. */
export function createAccept(
  { channel, journal, ledger }: AcceptDeps,
  { isRequired }: { isRequired: boolean },
): Accept {
  return (envelope, { level, reservation, answer, onSettled }) => {
    const held = channel.hold(envelope, reservation, onSettled);
    if (typeof held === 'string') return held;
    if (journal === null) return Promise.resolve(queue(held, null));

    const { sequence, written } = journal.append(envelope, answer);
    const kept = written.then(
      () => queue(held, sequence),
      () => {
        if (!isRequired || level === 'queued') return queue(held, null);
        held.cancel();
        return 'not-journaled' as const;
      },
    );
    if (level !== 'queued') return kept;
    // In memory it is already; who asks for no more does not wait for the disk.
    held.promise();
    ledger.accepted += envelope.eventCount;
    return Promise.resolve('queued');

    function queue(place: Held, journalSequence: number | null): Accepted {
      place.queue(journalSequence);
      if (journal === null || level !== 'queued') ledger.accepted += envelope.eventCount;
      return journalSequence === null ? 'queued' : 'journaled';
    }
  };
}
