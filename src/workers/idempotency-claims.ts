/**
 * Decides which of several workers may take a request with an idempotency key. The supervisor remembers the answers of
 * all of them; a worker claims the key before it takes the request and releases the claim with the answer.
 *
 * A worker that dies may have taken a request without reporting its answer; its journal has it. Until its successor has
 * reported the keys in that journal, the keys that the dead worker had claimed are uncertain, and requests with one are
 * told to try again. At the start every key is uncertain, until all journals were read.
 */
import { type Answer, type Idempotency } from '../http/ingest/idempotency.ts';
import type { KeptAnswer } from '../pipeline/ports.ts';
import type { ClaimRequest, ClaimVerdict } from './messages.ts';

export type IdempotencyClaims = {
  /** Resolves at once, or when the first request with the same key has its answer. */
  claim(worker: number, request: ClaimRequest): Promise<ClaimVerdict>;
  /** Ends the claim; the answer is null when the request was not taken. */
  release(worker: number, claim: number, answer: Answer | null): void;
  /**
   * Takes the answers in the worker's journal; `isAll` with the last of them, after which none of its keys is
   * uncertain.
   */
  restore(worker: number, keys: readonly KeptAnswer[], isAll: boolean): void;
  /** The process has ended, and its claims with it. */
  died(worker: number): void;
};

type Open = {
  readonly worker: number;
  readonly name: string;
  readonly answer: PromiseWithResolvers<Answer | null>;
  isGranted: boolean;
  isOver: boolean;
};

const UNAVAILABLE: ClaimVerdict = { kind: 'unavailable' };

/** `unread`: workers whose journals are still to be read. `maxOpen`: the most claims held or waited for. */
export function createIdempotencyClaims(
  { idempotency, unread }: { idempotency: Idempotency; unread: Iterable<number> },
  { maxOpen }: { maxOpen: number },
): IdempotencyClaims {
  const unreadOf = new Set(unread);
  const open = new Map<string, Open>();
  /** The keys that a dead worker had claimed, with that worker. */
  const uncertain = new Map<string, number>();

  return { claim, release, restore, died };

  async function claim(worker: number, { claim, projectId, key, bodyHash }: ClaimRequest): Promise<ClaimVerdict> {
    if (open.size >= maxOpen) return UNAVAILABLE;
    const id = idOf(worker, claim);
    const name = `${projectId} ${key}`;
    const own: Open = { worker, name, answer: Promise.withResolvers(), isGranted: false, isOver: false };
    open.set(id, own);
    const verdict = Promise.withResolvers<ClaimVerdict>();
    // The worker is processing the first request with the key: from the grant to the release.
    const answering = idempotency.once(projectId, key, bodyHash, async () => {
      if (own.isOver || isUncertain(name)) return null;
      own.isGranted = true;
      verdict.resolve({ kind: 'granted' });
      return own.answer.promise;
    });
    answering.then((answer) => verdict.resolve(verdictOf(answer)), verdict.reject);
    const decided = await verdict.promise;
    if (decided.kind !== 'granted') open.delete(id);
    return decided;
  }

  function release(worker: number, claim: number, answer: Answer | null) {
    const id = idOf(worker, claim);
    const own = open.get(id);
    if (!own) return;
    open.delete(id);
    own.isOver = true;
    own.answer.resolve(answer);
  }

  function restore(worker: number, keys: readonly KeptAnswer[], isAll: boolean) {
    for (const kept of keys) idempotency.restore(kept);
    if (!isAll) return;
    unreadOf.delete(worker);
    for (const [name, holder] of uncertain) if (holder === worker) uncertain.delete(name);
  }

  function died(worker: number) {
    for (const [id, own] of open) {
      if (own.worker !== worker) continue;
      open.delete(id);
      own.isOver = true;
      // Before the requests that wait for the answer continue.
      if (own.isGranted) uncertain.set(own.name, worker);
      own.answer.resolve(null);
    }
  }

  function isUncertain(name: string) {
    return unreadOf.size > 0 || uncertain.has(name);
  }
}

const idOf = (worker: number, claim: number) => `${worker} ${claim}`;

function verdictOf(answer: Answer | null | 'mismatch' | 'unavailable'): ClaimVerdict {
  if (answer === 'mismatch') return { kind: 'mismatch' };
  return answer === null || answer === 'unavailable' ? UNAVAILABLE : { kind: 'answered', answer };
}
