/**
 * Who of several workers may take a request with an idempotency key. The
 * supervisor remembers the answers of all of them; a worker claims the key
 * before it takes the request and gives the claim back with the answer.
 *
 * A worker that dies may have taken a request whose answer nobody heard: its
 * journal knows. Until its successor has told what stands there, the keys it
 * had claimed are in doubt, and whoever brings one is asked to come again. At
 * the start every key is, until all journals were read.
 */
import { type Answer, type Idempotency } from '../http/idempotency.ts';
import type { KeptAnswer } from '../pipeline/ports.ts';
import type { ClaimRequest, Verdict } from './messages.ts';

export type Claims = {
  /** Resolves at once, or when the first request with the same key has its answer. */
  claim(worker: number, request: ClaimRequest): Promise<Verdict>;
  /** Ends the claim; the answer is null when the request was not taken. */
  release(worker: number, claim: number, answer: Answer | null): void;
  /** The answers that stand in the worker's journal; `isAll` with the last of them, which ends all doubt about it. */
  restore(worker: number, keys: readonly KeptAnswer[], isAll: boolean): void;
  /** The process is gone, and its claims with it. */
  died(worker: number): void;
};

type Open = {
  readonly worker: number;
  readonly name: string;
  readonly answer: PromiseWithResolvers<Answer | null>;
  isGranted: boolean;
  isOver: boolean;
};

const UNAVAILABLE: Verdict = { kind: 'unavailable' };

/** `unread`: the workers whose journals are still to be read. `maxOpen`: claims under way or waiting, at most. */
export function createClaims(
  { idempotency, unread }: { idempotency: Idempotency; unread: Iterable<number> },
  { maxOpen }: { maxOpen: number },
): Claims {
  const unreadOf = new Set(unread);
  const open = new Map<string, Open>();
  /** The names that a dead worker had claimed. */
  const doubts = new Map<string, number>();

  return { claim, release, restore, died };

  async function claim(worker: number, { claim, projectId, key, bodyHash }: ClaimRequest): Promise<Verdict> {
    if (open.size >= maxOpen) return UNAVAILABLE;
    const id = idOf(worker, claim);
    const name = `${projectId} ${key}`;
    const own: Open = { worker, name, answer: Promise.withResolvers(), isGranted: false, isOver: false };
    open.set(id, own);
    const verdict = Promise.withResolvers<Verdict>();
    // The work of whoever comes first is done by the worker: it lasts from the grant to the release.
    const answering = idempotency.once(projectId, key, bodyHash, async () => {
      if (own.isOver || isInDoubt(name)) return null;
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
    for (const [name, holder] of doubts) if (holder === worker) doubts.delete(name);
  }

  function died(worker: number) {
    for (const [id, own] of open) {
      if (own.worker !== worker) continue;
      open.delete(id);
      own.isOver = true;
      // Before anybody who waits for it hears of it.
      if (own.isGranted) doubts.set(own.name, worker);
      own.answer.resolve(null);
    }
  }

  function isInDoubt(name: string) {
    return unreadOf.size > 0 || doubts.has(name);
  }
}

const idOf = (worker: number, claim: number) => `${worker} ${claim}`;

function verdictOf(answer: Answer | null | 'mismatch' | 'unavailable'): Verdict {
  if (answer === 'mismatch') return { kind: 'mismatch' };
  return answer === null || answer === 'unavailable' ? UNAVAILABLE : { kind: 'answered', answer };
}
