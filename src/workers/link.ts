/**
 * Questions and messages between two processes over any channel that carries
 * values. Nobody who asks waits for ever, and nobody is asked twice at the same
 * time what takes long: that is up to who asks.
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

export function createLink<Out extends Questions, TellOut, In extends Questions, TellIn>({
  send,
  clock,
  answerers,
  onTold,
  onFailure,
}: LinkDeps<In, TellIn>): Link<Out, TellOut> {
  const waiting = new Map<number, (answer: unknown) => void>();
  let nextId = 1;
  let isClosed = false;

  return { ask, tell: send, receive, close };

  async function ask(about: string, detail: unknown, withinMs: number) {
    if (isClosed) return null;
    const id = nextId++;
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
    else if (isReply(message)) waiting.get(message.id)?.(message.answer);
    else onTold(message);
  }

  /** Never rejects. */
  async function answer({ id, about, detail }: Ask) {
    try {
      send({ kind: 'reply', id, answer: await answerers[about]!(detail) } satisfies Reply);
    } catch (error) {
      onFailure(error, about);
    }
  }

  function close() {
    isClosed = true;
    for (const resolve of waiting.values()) resolve(null);
  }
}

const isAsk = (message: unknown): message is Ask => (message as Ask).kind === 'ask';
const isReply = (message: unknown): message is Reply => (message as Reply).kind === 'reply';
