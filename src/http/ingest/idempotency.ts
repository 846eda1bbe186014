/**
 * Remembers the answer to every idempotency key for 24 h, so that a retried request gets the first answer and queues
 * nothing. Bounded in bytes: the least recently used answers are dropped first.
 */
import { LRUCache } from 'lru-cache';
import * as v from 'valibot';
import type { Clock } from '../../runtime/clock.ts';
import type { ProjectId } from '../../event/event.ts';
import type { KeptAnswer } from '../../pipeline/ports.ts';

/** An answer; `body` is JSON text where it can be given again. */
export type Answer = {
  readonly status: 200 | 202 | 204 | 400;
  readonly body: string | Buffer;
  readonly ack: string;
  /** Besides those that every answer of its door has. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
};

type Kept = { readonly bodyHash: string; readonly at: number; readonly answer: Answer };
type Underway = { readonly bodyHash: string; readonly answer: Promise<Answer | null> };

export type Idempotency = {
  /**
   * Runs `work` unless the project has used the key with the same body before (compared by hash: an answer may take
   * long, and no body waits for it); then it returns the first answer, even while that is still being made. `mismatch`:
   * the key belongs to another body. An answer of null (a refusal) is not remembered: the client is to try again.
   * `unavailable`: whether the key was used is unknown at the moment, and `work` was not run.
   */
  once(
    projectId: ProjectId,
    key: string,
    bodyHash: string,
    work: () => Promise<Answer | null>,
  ): Promise<Answer | null | 'mismatch' | 'unavailable'>;
  /** Restores an answer that was given before this process started. */
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
    // Its age keeps counting, on the clock that no administrator can set.
    const since = clock.elapsed() - Math.max(0, clock.now() - at);
    if (parsed.success) kept.set(`${projectId} ${key}`, { bodyHash, at: since, answer: parsed.output });
  }

  async function once(projectId: ProjectId, key: string, bodyHash: string, work: () => Promise<Answer | null>) {
    const name = `${projectId} ${key}`;
    // A request whose predecessor was refused checks again: another waiter may have begun in the meantime.
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

  /** Keeps the answer and ends the pending state in one step: a request in between would do the work again. */
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
    // An unreadable entry is no answer.
    return null;
  }
}
