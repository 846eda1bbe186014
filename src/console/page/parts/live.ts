/** The stream of events as they are accepted. */
import type { EventStep, LiveBatch, LiveEnd, LiveRates } from '../../watch/answers.ts';
import { addressOf, type Query } from './api.ts';

export type LiveListener = {
  readonly onBatch: (batch: LiveBatch) => void;
  readonly onSteps?: (steps: readonly EventStep[]) => void;
  readonly onRates?: (rates: LiveRates) => void;
  /** Whether the stream is open; the browser opens it again by itself. */
  readonly onState?: (isOpen: boolean) => void;
  /** It was ended by the console, for this reason. */
  readonly onEnd?: (why: string) => void;
};

/** Opens a stream of the events that `filter` lets through; the returned function closes it. */
export function openLive(filter: Query, { onBatch, onSteps, onRates, onState, onEnd }: LiveListener): () => void {
  const source = new EventSource(addressOf('/live', filter));
  const on = (name: string, listen: (data: string) => void) =>
    source.addEventListener(name, ({ data }: MessageEvent<string>) => listen(data));
  source.addEventListener('open', () => onState?.(true));
  source.addEventListener('error', () => onState?.(false));
  on('batch', (data) => onBatch(JSON.parse(data) as LiveBatch));
  on('steps', (data) => onSteps?.((JSON.parse(data) as { steps: readonly EventStep[] }).steps));
  on('rates', (data) => onRates?.(JSON.parse(data) as LiveRates));
  on('end', (data) => {
    source.close();
    onState?.(false);
    onEnd?.((JSON.parse(data) as LiveEnd).why);
  });
  return () => source.close();
}
