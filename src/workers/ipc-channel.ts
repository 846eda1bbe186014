/**
 * Requests and messages between two processes over any channel that carries values. No request waits forever, and the
 * number of pending ones is bounded.
 */
import type { Clock } from '../runtime/clock.ts';
import type { RequestsByName } from './messages.ts';

type Ask = { readonly kind: 'ask'; readonly id: number; readonly about: string; readonly detail: unknown };
type Reply = { readonly kind: 'reply'; readonly id: number; readonly answer: unknown };

export type Answerers<In extends RequestsByName> = {
  readonly [About in keyof In]: (asked: In[About]['asks']) => Promise<In[About]['answers']>;
};

export type IpcChannel<Out extends RequestsByName, TellOut> = {
  /** null when there is no reply: not in time, or not at all. */
  ask<About extends keyof Out & string>(
    about: About,
    detail: Out[About]['asks'],
    withinMs: number,
  ): Promise<Out[About]['answers'] | null>;
  tell(message: TellOut): void;
  /**
   * Call it with every value that arrives. What is no message of Weir's is ignored: modules that an operator preloads
   * (`NODE_OPTIONS`) and Node itself (`--watch`) send over the same channel.
   */
  receive(value: unknown): void;
  /** The other side has gone: no request gets a reply. */
  close(): void;
};

export type IpcChannelDeps<In extends RequestsByName, TellIn> = {
  /** Sends the value over the channel; does nothing when the channel is closed. */
  readonly send: (value: unknown) => void;
  readonly clock: Clock;
  readonly answerers: Answerers<In>;
  readonly onMessage: (message: TellIn) => void;
  /** An answerer threw; its request gets no reply. */
  readonly onFailure: (error: unknown, about: string) => void;
};

/** Requests to a frozen process pile up in memory: this many take some ten megabytes. */
const MAX_PENDING_REPLIES = 20_000;

export function createIpcChannel<Out extends RequestsByName, TellOut, In extends RequestsByName, TellIn>({
  send,
  clock,
  answerers,
  onMessage,
  onFailure,
}: IpcChannelDeps<In, TellIn>): IpcChannel<Out, TellOut> {
  const waiting = new Map<number, (answer: unknown) => void>();
  let nextId = 1;
  /** Requests without a reply, whether or not a caller still waits for it. */
  let pendingReplies = 0;
  let isClosed = false;

  return { ask, tell: send, receive, close };

  async function ask(about: string, detail: unknown, withinMs: number) {
    if (isClosed || pendingReplies >= MAX_PENDING_REPLIES) return null;
    const id = nextId++;
    pendingReplies += 1;
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
    if (!isMessage(value)) return;
    const message = value as Ask | Reply | TellIn;
    if (isAsk(message)) void answer(message);
    else if (isReply(message)) {
      pendingReplies -= 1;
      waiting.get(message.id)?.(message.answer);
    } else onMessage(message);
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

function isMessage(value: unknown): boolean {
  return typeof value === 'object' && value !== null && 'kind' in value && typeof value.kind === 'string';
}

const isAsk = (message: unknown): message is Ask => (message as Ask).kind === 'ask';
const isReply = (message: unknown): message is Reply => (message as Reply).kind === 'reply';
