/**
 * Questions and messages between two processes over any channel that carries
 * values. Nobody who asks waits for ever, and what was asked in vain is bounded.
 */
import type { Clock } from '../clock.ts';
import type { Questions } from './messages.ts';

type Ask = { readonly kind: 'ask'; readonly id: number; readonly about: string; readonly detail: unknown };
type Reply = { readonly kind: 'reply'; readonly id: number; readonly answer: unknown };

export type Answerers<In extends Questions> = {
  readonly [About in keyof In]: (asked: In[About]['asks']) => Promise<In[About]['answers']>;
};

export type Link<Out extends Questions, TellOut> = {
  /** null when there is no answer: not in time, or not at all. */
  ask<About extends keyof Out & string>(
    about: About,
    detail: Out[About]['asks'],
    withinMs: number,
  ): Promise<Out[About]['answers'] | null>;
  tell(message: TellOut): void;
  /** To be called with every value that arrives. */
  receive(value: unknown): void;
  /** The other side is gone: every question has no answer. */
  close(): void;
};

export type LinkDeps<In extends Questions, TellIn> = {
  /** Hands the value to the channel; does nothing when that is gone. */
  readonly send: (value: unknown) => void;
  readonly clock: Clock;
  readonly answerers: Answerers<In>;
  readonly onTold: (message: TellIn) => void;
  /** An answerer threw; whoever asked gets no answer. */
  readonly onFailure: (error: unknown, about: string) => void;
};

/** What one asks of another that is frozen piles up in memory; some ten megabytes of it. */
const MAX_OWED = 20_000;

export function createLink<Out extends Questions, TellOut, In extends Questions, TellIn>({
  send,
  clock,
  answerers,
  onTold,
  onFailure,
}: LinkDeps<In, TellIn>): Link<Out, TellOut> {
  const waiting = new Map<number, (answer: unknown) => void>();
  let nextId = 1;
  /** Questions that no reply has come to, whether or not somebody still waits for it. */
  let owed = 0;
  let isClosed = false;

  return { ask, tell: send, receive, close };

  async function ask(about: string, detail: unknown, withinMs: number) {
    if (isClosed || owed >= MAX_OWED) return null;
    const id = nextId++;
    owed += 1;
    const replied = Promise.withResolvers<unknown>();
    const answered = new AbortController();
    waiting.set(id, replied.resolve);
    send({ kind: 'ask', id, about, detail } satisfies Ask);
    const late = clock.sleep(withinMs, answered.signal).then(() => null);
    const answer = await Promise.race([replied.promise, late]);
    answered.abort('answered');
    waiting.delete(id);
    return answer;
  }

  function receive(value: unknown) {
    // Both ends are ours: nothing else is sent here.
    const message = value as Ask | Reply | TellIn;
    if (isAsk(message)) void answer(message);
    else if (isReply(message)) {
      owed -= 1;
      waiting.get(message.id)?.(message.answer);
    } else onTold(message);
  }

  /** Never rejects, and replies in any case. */
  async function answer({ id, about, detail }: Ask) {
    let given: unknown = null;
    try {
      given = await answerers[about]!(detail);
    } catch (error) {
      onFailure(error, about);
    }
    send({ kind: 'reply', id, answer: given } satisfies Reply);
  }

  function close() {
    isClosed = true;
    for (const resolve of waiting.values()) resolve(null);
  }
}

const isAsk = (message: unknown): message is Ask => (message as Ask).kind === 'ask';
const isReply = (message: unknown): message is Reply => (message as Reply).kind === 'reply';
