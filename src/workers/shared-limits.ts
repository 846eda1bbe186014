/** A worker's side of limits that span all workers: used idempotency keys, and requests per project. */
import type { Answer, Idempotency } from '../http/ingest/idempotency.ts';
import { type RateLimit, createRateLimit } from '../http/access/rate-limit.ts';
import type { KeptAnswer } from '../pipeline/ports.ts';
import type { IpcChannel } from './ipc-channel.ts';
import type { WorkerRequests, WorkerMessage } from './messages.ts';

type ToSupervisor = IpcChannel<WorkerRequests, WorkerMessage>;

/** Longer than the first request with the key may wait for its events to be stored. */
const CLAIM_WITHIN_MS = 35_000;
/** A supervisor that does not answer must not slow requests down. */
const RATE_WITHIN_MS = 250;
/** Keys per message. */
const KEYS_AT_ONCE = 500;

/** Asks the supervisor whether a key may be used; without its reply no request is taken. */
export function createSharedIdempotency(supervisor: ToSupervisor): Idempotency & {
  /** Reports every restored answer to the supervisor. */
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
        // The supervisor may still grant it, too late.
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
      // Before the client is answered: every given answer is known to the supervisor or to the journal.
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

/** The allowance over all workers; counted in this one alone while the supervisor does not reply. */
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
