/** The stream of events as they are accepted. */
import type { EventStep, LiveBatch, LiveEnd, LiveRates } from '../../watch/answers.ts';
import { addressOf, type Query, refusalOf } from './api.ts';
import { after } from './clock.ts';

export type LiveListener = {
  readonly onBatch: (batch: LiveBatch) => void;
  readonly onSteps?: (steps: readonly EventStep[]) => void;
  readonly onRates?: (rates: LiveRates) => void;
  /** Whether the stream is open; the browser opens it again by itself. */
  readonly onState?: (isOpen: boolean) => void;
  /** It was ended, or refused, by the console, for this reason. */
  readonly onEnd?: (why: string) => void;
};

/** Before a stream is opened again that was refused and no longer would be. */
const AGAIN_MS = 2_000;

/** Opens a stream of the events that `filter` lets through; the returned function closes it. */
export function openLive(filter: Query, listener: LiveListener): () => void {
  const { onState, onEnd } = listener;
  const closed = new AbortController();
  let close: (() => void) | null = null;
  open();
  return () => {
    closed.abort();
    close?.();
  };

  function open() {
    const source = new EventSource(addressOf('/live', filter));
    close = () => source.close();
    source.addEventListener('open', () => onState?.(true));
    source.addEventListener('error', () => {
      onState?.(false);
      if (source.readyState === EventSource.CLOSED) void explain();
    });
    listenTo(source, listener);
  }

  /** After a refusal the browser neither tries again nor tells why. */
  async function explain(): Promise<void> {
    const refused = await refusalOf('/live', filter, closed);
    if (closed.signal.aborted) return;
    if (refused === null) close = after(AGAIN_MS, open);
    else onEnd?.(refused.message);
  }
}

function listenTo(source: EventSource, { onBatch, onSteps, onRates, onState, onEnd }: LiveListener): void {
  const on = (name: string, listen: (data: string) => void) =>
    source.addEventListener(name, ({ data }: MessageEvent<string>) => listen(data));
  on('batch', (data) => onBatch(JSON.parse(data) as LiveBatch));
  on('steps', (data) => onSteps?.((JSON.parse(data) as { steps: readonly EventStep[] }).steps));
  on('rates', (data) => onRates?.(JSON.parse(data) as LiveRates));
  on('end', (data) => {
    source.close();
    onState?.(false);
    onEnd?.((JSON.parse(data) as LiveEnd).why);
  });
}
