/**
 * Carries rejected events to the store that keeps them, beside the requests: through a bounded queue, a batch a second.
 * No request waits for it or fails because of it. What finds no room is counted and said, and is gone.
 */
import type { Log } from '../log/log.ts';
import type { Clock } from '../runtime/clock.ts';
import type { RejectedEvent, RejectedStore } from './rejected-port.ts';

/** Why an event was not kept: the queue was full, Postgres would not take it, it was too large, or Weir was ending. */
export type NotKeptCause = 'queue_full' | 'store' | 'too_large' | 'ended';

/** Events of a request that are kept as soon as its answer is certain. Exactly one of the two must be called. */
export type HeldRejections = { keep(): void; drop(): void };

/** The rejected events of a request; `tooLarge` counts those of which no bytes were taken, `surplus` those beyond limits. */
export type CapturedRejections = {
  readonly events: readonly RejectedEvent[];
  readonly tooLarge: number;
  readonly surplus: number;
};

export type RejectedKeeper = {
  /** Whether another event would find room. */
  hasRoom(): boolean;
  /** Makes room for the events, or counts them as not kept. */
  hold(captured: CapturedRejections): HeldRejections;
  /** Carries events to the store until `stop` aborts, and once more then. Never rejects. */
  run(stop: AbortSignal): Promise<void>;
  kept(): number;
  notKept(): Readonly<Record<NotKeptCause, number>>;
};

const MAX_QUEUED_EVENTS = 1_000;
const MAX_QUEUED_BYTES = 8 * 1024 * 1024;
const BATCH_EVENTS = 200;
const BATCH_BYTES = 2 * 1024 * 1024;
const TICK_MS = 1_000;
/** After a failure of the store. */
const AGAIN_MS = 5_000;
const EXPIRE_MS = 60_000;
const SAY_MS = 60_000;
/** What the end of the process may be held up by. */
const LAST_MS = 2_000;

export function createRejectedKeeper({
  store,
  isAway,
  clock,
  log,
}: {
  store: RejectedStore;
  /** Whether the store is known not to answer: then it is not asked. */
  isAway: () => boolean;
  clock: Pick<Clock, 'elapsed' | 'sleep'>;
  log: Log;
}): RejectedKeeper {
  let queue: RejectedEvent[] = [];
  /** Of the queue and of what is held for requests. */
  let events = 0;
  let bytes = 0;
  let kept = 0;
  const notKept = { queue_full: 0, store: 0, too_large: 0, ended: 0 };
  let unsaid = 0;
  let saidAt = -Infinity;

  return { hasRoom, hold, run, kept: () => kept, notKept: () => notKept };

  function hasRoom(): boolean {
    return events < MAX_QUEUED_EVENTS && bytes < MAX_QUEUED_BYTES;
  }

  function hold({ events: captured, tooLarge, surplus }: CapturedRejections): HeldRejections {
    const held: RejectedEvent[] = [];
    for (const event of captured) {
      if (events === MAX_QUEUED_EVENTS || bytes + event.bytes.length > MAX_QUEUED_BYTES) break;
      held.push(event);
      events += 1;
      bytes += event.bytes.length;
    }
    const full = captured.length - held.length + surplus;
    return {
      keep() {
        lose('queue_full', full);
        lose('too_large', tooLarge);
        for (const event of held) queue.push(event);
      },
      drop: () => leave(held),
    };
  }

  function leave(gone: readonly RejectedEvent[]): void {
    events -= gone.length;
    for (const event of gone) bytes -= event.bytes.length;
  }

  function lose(cause: NotKeptCause, count: number): void {
    notKept[cause] += count;
    unsaid += count;
  }

  async function run(stop: AbortSignal): Promise<void> {
    const stopped = new Promise((resolve) => stop.addEventListener('abort', resolve, { once: true }));
    // The end does not wait for a store that hangs.
    let atWork: Promise<unknown> = Promise.resolve();
    const loop = async () => {
      let pauseMs = TICK_MS;
      let expiredAt = -Infinity;
      while (!stop.aborted) {
        if (clock.elapsed() - expiredAt >= EXPIRE_MS) {
          expiredAt = clock.elapsed();
          if (!isAway()) await (atWork = store.expire());
        }
        await clock.sleep(pauseMs, stop);
        if (stop.aborted) return;
        const carrying = carryAll();
        atWork = carrying;
        pauseMs = (await carrying) === 'away' ? AGAIN_MS : TICK_MS;
        if (clock.elapsed() - saidAt >= SAY_MS) say();
      }
    };
    if (!stop.aborted) await Promise.race([loop(), stopped]);
    if (queue.length === 0) return say();
    const late = new AbortController();
    await Promise.race([atWork.then(carryAll), clock.sleep(LAST_MS, late.signal)]);
    late.abort();
    lose('ended', queue.length);
    say();
  }

  async function carryAll(): Promise<'done' | 'away'> {
    while (queue.length > 0) {
      if (isAway()) return 'away';
      const batch = nextBatch();
      const outcome = await store.keep(batch);
      if (outcome === 'away') return 'away';
      queue = queue.slice(batch.length);
      leave(batch);
      if (outcome === 'kept') kept += batch.length;
      else lose('store', batch.length);
    }
    return 'done';
  }

  /** At least one event. */
  function nextBatch(): readonly RejectedEvent[] {
    let size = 0;
    const end = queue.findIndex((event, place) => {
      size += event.bytes.length;
      return place > 0 && (place === BATCH_EVENTS || size > BATCH_BYTES);
    });
    return queue.slice(0, end < 0 ? queue.length : end);
  }

  function say(): void {
    if (unsaid === 0) return;
    log.warn({ events: unsaid, since: { ...notKept } }, 'rejected events were not kept');
    unsaid = 0;
    saidAt = clock.elapsed();
  }
}
