/**
 * The last step of a request's way in: an envelope takes its place in the channel, is written to the journal, and can
 * be taken from the channel only then. So the journal knows every envelope of a batch, in the same order.
 */
import type { Envelope } from '../event/event.ts';
import type { Channel, HeldPlace, OfferRefusal, OnSettled, Reservation } from './channel-port.ts';
import type { Ledger } from './ledger.ts';
import type { Journal, KeptAnswer } from './ports.ts';

/**
 * How safe the envelope is when `accept` resolves; `not-journaled`: the journal failed, and the envelope was not
 * accepted.
 */
export type Accepted = 'queued' | 'journaled' | 'not-journaled';

export type Acceptance = {
  /** `queued` asks for memory only; `journaled` waits for the disk. */
  readonly level: 'queued' | 'journaled';
  readonly reservation: Reservation;
  /** The answer to give again for the same idempotency key. */
  readonly answer: KeptAnswer | undefined;
  readonly onSettled: OnSettled | undefined;
};

/** Accepts the envelope, or says at once why there is no place for it. */
export type Accept = (envelope: Envelope, acceptance: Acceptance) => OfferRefusal | Promise<Accepted>;

export type AcceptDeps = {
  readonly channel: Channel;
  /** null when there is none: events are in memory only. */
  readonly journal: Journal | null;
  readonly ledger: Ledger;
};

/** `isRequired`: without the journal nothing is accepted; otherwise memory is enough while the disk fails. */
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
    // The envelope is in memory already; a request that asks for no more does not wait for the disk.
    held.acknowledge();
    ledger.accepted += envelope.eventCount;
    return Promise.resolve('queued');

    function queue(place: HeldPlace, journalSequence: number | null): Accepted {
      place.queue(journalSequence);
      if (journal === null || level !== 'queued') ledger.accepted += envelope.eventCount;
      return journalSequence === null ? 'queued' : 'journaled';
    }
  };
}
