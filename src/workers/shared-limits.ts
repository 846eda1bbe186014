/** A worker's side of what only all workers together can know: used idempotency keys, and requests of a project. */
import type { Answer, Idempotency } from '../http/idempotency.ts';
import { type RateLimit, createRateLimit } from '../http/rate-limit.ts';
import type { KeptAnswer } from '../pipeline/ports.ts';
import type { Link } from './link.ts';
import type { AskedByWorker, ToldByWorker } from './messages.ts';

type ToSupervisor = Link<AskedByWorker, ToldByWorker>;

/** Longer than the first request with the key may wait for its events to be stored. */
const CLAIM_WITHIN_MS = 35_000;
/** A supervisor that does not answer must not slow requests down. */
const RATE_WITHIN_MS = 250;
/** Keys in one message. */
const KEYS_AT_ONCE = 500;

/** Asks the supervisor whether a key may be used; without an answer from there nothing is taken. */
export function createSharedIdempotency(supervisor: ToSupervisor): Idempotency & {
  /** Tells the supervisor every answer that was restored. */
  report(): void;
} {
  let lastClaim = 0;
  let restored: KeptAnswer[] = [];

  return { once, restore: (kept) => void restored.push(kept), report };

  async function once(
    projectId: KeptAnswer['projectId'],
    key: string,
    bodyHash: string,
    work: () => Promise<Answer | null>,
  ) {
    const claim = ++lastClaim;
    const verdict = await supervisor.ask('claim', { claim, projectId, key, bodyHash }, CLAIM_WITHIN_MS);
    switch (verdict?.kind) {
      case 'granted':
        return answerAndRelease(claim, work);
      case 'answered':
        return verdict.answer;
      case 'mismatch':
        return 'mismatch';
      case 'unavailable':
        return 'unavailable';
      case undefined:
        // It may be granted still, to nobody.
        supervisor.tell({ kind: 'release', claim, answer: null });
        return 'unavailable';
    }
  }

  async function answerAndRelease(claim: number, work: () => Promise<Answer | null>) {
    let answer: Answer | null = null;
    try {
      answer = await work();
      return answer;
    } finally {
      // Before the client hears it: whatever was answered, the supervisor knows or the journal does.
      supervisor.tell({ kind: 'release', claim, answer });
    }
  }

  function report() {
    const keys = restored;
    restored = [];
    for (let at = 0; at < keys.length; at += KEYS_AT_ONCE) {
      supervisor.tell({ kind: 'keys', keys: keys.slice(at, at + KEYS_AT_ONCE), isAll: false });
    }
    supervisor.tell({ kind: 'keys', keys: [], isAll: true });
  }
}

/** The allowance over all workers; counted in this one alone while the supervisor does not answer. */
export function createSharedRateLimit(
  supervisor: ToSupervisor,
  allowance: { requests: number; perMs: number },
): RateLimit {
  const own = createRateLimit(allowance);
  return async (projectId) => {
    const answer = await supervisor.ask('rate', projectId, RATE_WITHIN_MS);
    return answer === null ? own(projectId) : answer.refusal;
  };
}
