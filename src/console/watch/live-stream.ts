/**
 * What one viewer has still to be sent, within bounds, and its frames of server-sent events. A viewer that does not read
 * misses events, which are counted; nothing is queued for it.
 */
import type { StreamCounts } from '../../watch/messages.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { EventStep, LiveBatch, LiveEvent, LiveRates } from './answers.ts';

export type LiveStream = {
  /** How many more events it can take now; 0 for one that does not read. */
  room(): number;
  add(event: LiveEvent): void;
  step(step: EventStep): void;
  count(counts: Omit<StreamCounts, 'stream'>): void;
  /** How long it has not asked for a frame; 0 while it waits for one. */
  silentMs(): number;
  /** The next frame, when there is something to say; null when the stream has ended. */
  next(): Promise<string | null>;
  /** `why`: told to the viewer as the last thing. */
  end(why: string | null): void;
};

/** What several workers tell at about the same time is one frame. */
const FRAME_EVERY_MS = 250;
/** As often as there are new ones; they also tell a page that nobody sends that it is still connected. */
const RATES_EVERY_MS = 2_000;
/** 200 a second, as orders are made. */
const MAX_EVENTS = 100;
const MAX_STEPS = 1_000;
/** Who has not asked for that long gets no more events to miss. */
const READS_WITHIN_MS = 1_000;

export type LiveStreamDeps = {
  readonly clock: Clock;
  readonly rates: () => LiveRates;
};

export function createLiveStream({ clock, rates }: LiveStreamDeps): LiveStream {
  let events: LiveEvent[] = [];
  let steps: EventStep[] = [];
  let counts = { matched: 0, unexamined: 0, dropped: 0 };
  let isAsking = false;
  let askedAt = clock.elapsed();
  let ratesAt = -Infinity;
  let saidAt = -Infinity;
  let ended: { readonly why: string | null } | null = null;
  let hasEnded = false;
  let waiting = new AbortController();

  return { room, add, step, count, silentMs, next, end };

  function room() {
    return silentMs() > READS_WITHIN_MS || ended !== null ? 0 : MAX_EVENTS - events.length;
  }

  function add(event: LiveEvent) {
    if (events.length < MAX_EVENTS) events.push(event);
    else counts.dropped += 1;
    waiting.abort('told');
  }

  function step(one: EventStep) {
    if (steps.length < MAX_STEPS) steps.push(one);
    waiting.abort('told');
  }

  function count({ matched, unexamined }: Omit<StreamCounts, 'stream'>) {
    counts = { ...counts, matched: counts.matched + matched, unexamined: counts.unexamined + unexamined };
    waiting.abort('told');
  }

  function silentMs() {
    return isAsking ? 0 : clock.elapsed() - askedAt;
  }

  async function next(): Promise<string | null> {
    isAsking = true;
    const text = hasEnded ? null : await nextFrame();
    isAsking = false;
    askedAt = clock.elapsed();
    return text;
  }

  async function nextFrame(): Promise<string | null> {
    for (;;) {
      if (!hasNews()) await waitUntil(ratesAt + RATES_EVERY_MS);
      while (isEarly()) await waitUntil(saidAt + FRAME_EVERY_MS);
      if (ended !== null) {
        hasEnded = true;
        return ended.why === null ? null : frame('end', { why: ended.why });
      }
      // A timer may end a moment early.
      const text = said();
      if (text !== '') return text;
    }
  }

  function isEarly(): boolean {
    return ended === null && clock.elapsed() < saidAt + FRAME_EVERY_MS;
  }

  /** Or until there is something to say. */
  async function waitUntil(instant: number): Promise<void> {
    const ms = instant - clock.elapsed();
    if (ms <= 0 || ended !== null) return;
    waiting = new AbortController();
    await clock.sleep(ms, waiting.signal);
  }

  function hasNews(): boolean {
    return events.length + steps.length + counts.matched + counts.unexamined + counts.dropped > 0;
  }

  function said(): string {
    const now = clock.elapsed();
    let text = '';
    if (events.length > 0 || counts.matched + counts.unexamined + counts.dropped > 0) {
      text += frame('batch', { events, shown: events.length, ...counts } satisfies LiveBatch);
      events = [];
      counts = { matched: 0, unexamined: 0, dropped: 0 };
    }
    if (steps.length > 0) {
      text += frame('steps', { steps });
      steps = [];
    }
    if (now - ratesAt >= RATES_EVERY_MS) {
      ratesAt = now;
      text += frame('rates', rates());
    }
    if (text !== '') saidAt = now;
    return text;
  }

  function end(why: string | null) {
    ended ??= { why };
    events = [];
    steps = [];
    waiting.abort('ended');
  }
}

/** JSON has no line ends of its own, so that data is one line. */
const frame = (name: string, data: unknown) => `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
