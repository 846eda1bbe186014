/** What has come of a live stream, no more of it than the page can show, and no more often than it can be read. */
import { useEffect, useRef, useState } from 'preact/hooks';
import type { EventStep, LiveBatch, LiveEvent, LiveRates } from '../../watch/answers.ts';
import { after } from '../parts/clock.ts';
import { openLive } from '../parts/live.ts';

export type LiveFilter = {
  readonly project: string;
  readonly event: string;
  readonly id: string;
  readonly user: string;
};
export const NO_FILTER: LiveFilter = { project: '', event: '', id: '', user: '' };

/** More rows than a person reads; the page stays as quick as with one. */
const KEPT = 100;
/** Between two changes of the page. */
const DRAWN_EVERY_MS = 250;

type Arrived = {
  /** The newest first. */
  readonly events: readonly LiveEvent[];
  /** What became of those, by id. */
  readonly steps: ReadonlyMap<string, EventStep['stage']>;
  readonly shown: number;
  /** Accepted events that match the filter. */
  readonly matched: number;
  readonly unexamined: number;
};
const NOTHING: Arrived = { events: [], steps: new Map(), shown: 0, matched: 0, unexamined: 0 };

export type LiveView = Arrived & {
  readonly rates: LiveRates | null;
  readonly isOpen: boolean;
  /** Why the console ended or refused the stream; null while it did not. */
  readonly ended: string | null;
};

export function useLive(filter: LiveFilter, isPaused: boolean): LiveView {
  const [view, setView] = useState(NOTHING);
  const [rates, setRates] = useState<LiveRates | null>(null);
  const [isOpen, setOpen] = useState(false);
  const [ended, setEnded] = useState<string | null>(null);
  const arrived = useRef(NOTHING);
  useEffect(() => {
    arrived.current = NOTHING;
    setView(NOTHING);
  }, [filter]);
  useEffect(() => {
    if (isPaused) return;
    let cancel: (() => void) | null = null;
    const draw = () => {
      cancel = null;
      setView(arrived.current);
    };
    const take = (next: Arrived) => {
      arrived.current = next;
      cancel ??= after(DRAWN_EVERY_MS, draw);
    };
    setEnded(null);
    const close = openLive(filter, {
      onBatch: (batch) => take(withBatch(arrived.current, batch)),
      onSteps: (steps) => take(withSteps(arrived.current, steps)),
      onRates: setRates,
      onState: setOpen,
      onEnd: setEnded,
    });
    return () => {
      close();
      cancel?.();
      setOpen(false);
    };
  }, [filter, isPaused]);
  return { ...view, rates, isOpen, ended };
}

function withBatch(last: Arrived, { events, shown, matched, unexamined }: LiveBatch): Arrived {
  return {
    events: [...events.toReversed(), ...last.events].slice(0, KEPT),
    steps: last.steps,
    shown: last.shown + shown,
    matched: last.matched + matched,
    unexamined: last.unexamined + unexamined,
  };
}

function withSteps(last: Arrived, steps: readonly EventStep[]): Arrived {
  const shown = new Set(last.events.map(({ id }) => id));
  const kept = [...last.steps].filter(([id]) => shown.has(id));
  const fresh = steps.filter(({ id }) => shown.has(id)).map(({ id, stage }) => [id, stage] as const);
  return { ...last, steps: new Map([...kept, ...fresh]) };
}
