/** Whether a request may come in, before anything of it is read: the first check of the contract. */
import { type Flags, closedBecause } from '../../pipeline/flags.ts';
import type { WaitingRoom } from '../../pipeline/waiting-room.ts';
import type { SyncOrAsync } from '../../runtime/sync-or-async.ts';
import type { Reply } from '../answers/reply.ts';
import type { DoorRequest } from '../request/door-request.ts';
import { type IngestRefusal, JOURNAL_REFUSALS, OFFER_REFUSALS } from './ingest-refusals.ts';

export type AdmissionDeps = {
  readonly flags: Flags;
  readonly waitingRoom: Pick<WaitingRoom, 'isOpen' | 'hasRoom' | 'waitAtDoor'>;
  /** Whether and why the journal, where it is required, would refuse a body of that size. */
  readonly journalRefusal: (bytes: number) => 'full' | 'failed' | null;
};

export type Admission = {
  /**
   * Calls `enter` with why the request is refused, or null when it may come in, and with what is known `of` it: at once,
   * or when it has waited for room. A client that leaves meanwhile gets `aborted`.
   */
  admit<Of>(request: DoorRequest, enter: Enter<Of>, of: Of, aborted: Reply): SyncOrAsync<Reply>;
};

type Enter<Of> = (refusal: IngestRefusal | null, of: Of) => SyncOrAsync<Reply>;

const NO_ROOM = OFFER_REFUSALS.full;

export function createAdmission(
  { flags, waitingRoom, journalRefusal }: AdmissionDeps,
  { maxBodyBytes }: { maxBodyBytes: number },
): Admission {
  return {
    admit(request, enter, of, aborted) {
      // Only whether the announced Content-Length could fit; the room itself is reserved as the bytes arrive, so that a
      // client that announces much and sends nothing holds nothing.
      const announced = Math.min(request.body.announcedBytes, maxBodyBytes) || 0;
      const closed = whyClosed(announced, waitingRoom.isOpen);
      return closed === NO_ROOM ? wait(announced, request, enter, of, aborted) : enter(closed, of);
    },
  };

  function whyClosed(announced: number, isOpen: WaitingRoom['isOpen']): IngestRefusal | null {
    const closed = closedBecause(flags.facts());
    if (closed) return { refused: closed };
    if (!isOpen(announced)) return NO_ROOM;
    const trouble = journalRefusal(announced);
    return trouble === null ? null : JOURNAL_REFUSALS[trouble];
  }

  function wait<Of>(
    announced: number,
    request: DoorRequest,
    enter: Enter<Of>,
    of: Of,
    aborted: Reply,
  ): SyncOrAsync<Reply> {
    const { promise, resolve, reject } = Promise.withResolvers<Reply>();
    const leave = waitingRoom.waitAtDoor(announced, (isLast) => {
      const closed = whyClosed(announced, waitingRoom.hasRoom);
      if (closed === NO_ROOM && !isLast) return 'waits';
      off();
      try {
        resolve(enter(closed, of));
      } catch (error) {
        reject(error);
      }
      return closed === null ? 'enters' : 'refused';
    });
    if (leave === null) return enter(NO_ROOM, of);
    const off = request.onGone(() => {
      leave();
      resolve(aborted);
    });
    return promise;
  }
}
