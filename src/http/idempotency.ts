/**
 * Remembers the answer to every idempotency key for 24 h, so that a retried
 * request gets the first answer and queues nothing. Bounded in bytes: the
 * answers used longest ago are forgotten first.
 */
import { LRUCache } from 'lru-cache';
import * as v from 'valibot';
import type { Clock } from '../clock.ts';
import type { ProjectId } from '../event/event.ts';
import type { KeptAnswer } from '../pipeline/ports.ts';

/** An answer as it can be given again; `body` is JSON text. */
export type Answer = { readonly status: 200 | 202; readonly body: string; readonly ack: string };

type Kept = { readonly bodyHash: string; readonly at: number; readonly answer: Answer };
type Underway = { readonly bodyHash: string; readonly answer: Promise<Answer | null> };

export type Idempotency = {
  /**
   * Runs `work` unless the project has used the key with the same body before (told by its hash: an answer may take long, and no body waits for it);
   * then the first answer is returned, also while it is still being made.
   * `mismatch`: the key belongs to another body. An answer of null (a refusal)
   * is not remembered: the client is to try again. `unavailable`: whether it was
   * used cannot be told at the moment, and `work` was not run.
   */
  once(
    projectId: ProjectId,
    key: string,
    bodyHash: string,
    work: () => Promise<Answer | null>,
  ): Promise<Answer | null | 'mismatch' | 'unavailable'>;
  /** Takes up an answer that was given before this process started. */
  restore(kept: KeptAnswer): void;
};

const REMEMBERED_MS = 24 * 60 * 60_000;
const MAX_KEPT_BYTES = 64 * 1024 * 1024;
/** What an entry costs beside its answer: key, hash, bookkeeping. Rounded up from heap snapshots of Node 24. */
const ENTRY_BYTES = 600;

export function createIdempotency({ clock }: { clock: Clock }): Idempotency {
  const kept = new LRUCache<string, Kept>({
    maxSize: MAX_KEPT_BYTES,
    sizeCalculation: ({ answer }) => ENTRY_BYTES + answer.body.length,
  });
  const underway = new Map<string, Underway>();

  return { once, restore };

  function restore({ projectId, key, bodyHash, answer, at }: KeptAnswer) {
    const parsed = v.safeParse(AnswerJson, parseJson(answer));
    // Its age goes on counting, on the clock that no administrator moves.
    const since = clock.elapsed() - Math.max(0, clock.now() - at);
    if (parsed.success) kept.set(`${projectId} ${key}`, { bodyHash, at: since, answer: parsed.output });
  }

  async function once(projectId: ProjectId, key: string, bodyHash: string, work: () => Promise<Answer | null>) {
    const name = `${projectId} ${key}`;
    // Whoever waited for a first request that was refused looks again: another waiter may have begun meanwhile.
    for (let other = underway.get(name); other; other = underway.get(name)) {
      if (other.bodyHash !== bodyHash) return 'mismatch';
      const answer = await other.answer.catch(() => null);
      if (answer !== null) return answer;
    }
    const first = kept.get(name);
    if (first && clock.elapsed() - first.at < REMEMBERED_MS) {
      return first.bodyHash === bodyHash ? first.answer : 'mismatch';
    }
    const answering = answerOnce(name, bodyHash, work);
    underway.set(name, { bodyHash, answer: answering });
    return answering;
  }

  /** Keeps the answer and ends being underway in one step: a request in between would do the work again. */
  async function answerOnce(name: string, bodyHash: string, work: () => Promise<Answer | null>) {
    try {
      const answer = await work();
      if (answer !== null) kept.set(name, { bodyHash, at: clock.elapsed(), answer });
      return answer;
    } finally {
      underway.delete(name);
    }
  }
}

const AnswerJson = v.object({ status: v.picklist([200, 202]), body: v.string(), ack: v.string() });

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // What cannot be read is no answer.
    return null;
  }
}
