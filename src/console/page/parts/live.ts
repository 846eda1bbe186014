/** The stream of events as they are accepted. */
import { addressOf, type Query } from './api.ts';
import type { LiveEvent, LiveRates } from './expected.ts';

export type LiveListener = {
  readonly onEvents: (events: readonly LiveEvent[]) => void;
  readonly onRates?: (rates: LiveRates) => void;
  /** Whether the stream is open; the browser opens it again by itself. */
  readonly onState?: (isOpen: boolean) => void;
};

/** Opens a stream of the events that `filter` lets through; the returned function closes it. */
export function openLive(filter: Query, { onEvents, onRates, onState }: LiveListener): () => void {
  const source = new EventSource(addressOf('/live', filter));
  source.addEventListener('open', () => onState?.(true));
  source.addEventListener('error', () => onState?.(false));
  source.addEventListener('batch', ({ data }: MessageEvent<string>) => {
    onEvents((JSON.parse(data) as { events: readonly LiveEvent[] }).events);
  });
  source.addEventListener('rates', ({ data }: MessageEvent<string>) => onRates?.(JSON.parse(data) as LiveRates));
  return () => source.close();
}
