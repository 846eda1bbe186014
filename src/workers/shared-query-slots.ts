/** Query slots counted over all workers: a worker requests one from the supervisor and returns it by its number. */
import type { ReleaseQuerySlot, QuerySlots } from '../http/read/query-slots.ts';
import type { IpcChannel } from './ipc-channel.ts';
import type { WorkerRequests, WorkerMessage } from './messages.ts';

export type QuerySlotKeeper = {
  take(worker: number, request: { readonly slot: number; readonly projectId: string }): Promise<{ isGiven: boolean }>;
  /** Gives the slot back, or stops waiting for it. */
  leave(worker: number, slot: number): void;
  /** The process has ended, and its requests with it. */
  died(worker: number): void;
};

/** The supervisor's side. */
export function createQuerySlotKeeper(querySlots: QuerySlots): QuerySlotKeeper {
  /** By worker and slot: returns the slot, or stops waiting for it. */
  const held = new Map<number, Map<number, () => void>>();
  return { take, leave, died };

  async function take(worker: number, { slot, projectId }: { slot: number; projectId: string }) {
    const own = held.get(worker) ?? new Map<number, () => void>();
    held.set(worker, own);
    const waiting = new AbortController();
    own.set(slot, () => waiting.abort());
    const given = await querySlots.take(projectId, waiting.signal);
    if (given === null) own.delete(slot);
    else if (waiting.signal.aborted) given();
    else own.set(slot, given);
    return { isGiven: given !== null };
  }

  function leave(worker: number, slot: number) {
    held.get(worker)?.get(slot)?.();
    held.get(worker)?.delete(slot);
  }

  function died(worker: number) {
    for (const giveUp of held.get(worker)?.values() ?? []) giveUp();
    held.delete(worker);
  }
}

/** Longer than any query waits for a slot. */
const SLOT_WITHIN_MS = 8_000;

/** A worker's side. Without a reply from the supervisor there is no slot. */
export function createSharedQuerySlots(supervisor: IpcChannel<WorkerRequests, WorkerMessage>): QuerySlots {
  let lastSlot = 0;
  return { take };

  async function take(projectId: string, signal: AbortSignal): Promise<ReleaseQuerySlot | null> {
    const slot = ++lastSlot;
    let isTaken = true;
    const leave = () => {
      if (!isTaken) return;
      isTaken = false;
      supervisor.tell({ kind: 'leave query slot', slot });
    };
    signal.addEventListener('abort', leave, { once: true });
    const answer = await supervisor.ask('querySlot', { slot, projectId }, SLOT_WITHIN_MS);
    signal.removeEventListener('abort', leave);
    if (answer?.isGiven && isTaken) return leave;
    // The supervisor may still grant it, too late.
    leave();
    return null;
  }
}
