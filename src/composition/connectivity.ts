/**
 * Polls whether the stores answer and logs each change. Where Postgres stores the events too, there is one database to
 * ask, and what it answers counts for both.
 */
import type { Clock } from '../runtime/clock.ts';
import type { Log } from '../log/log.ts';
import type { Breaker } from '../pipeline/breaker.ts';
import { createConnectionTrouble } from '../pipeline/connection-trouble.ts';
import { type Heartbeat, createHeartbeat } from '../pipeline/heartbeat.ts';
import type { EventStorage } from '../pipeline/storage-port.ts';
import type { ControlStorage } from './storage.ts';

/** `trouble`: why a store refuses connections; null when it does not, or the reason is unknown. */
type Watched = Heartbeat & { trouble(): string | null };

export type Connectivity = {
  readonly events: Watched;
  /** The same as `events` where Postgres stores them. */
  readonly postgres: Watched & { isReadOnly(): boolean };
};

/** `breaker`: of inserts; null where this process makes none, so that no insert could ever close it again. */
export function createConnectivity(
  {
    storage,
    control,
    breaker,
  }: {
    readonly storage: Pick<EventStorage, 'name' | 'connectTrouble' | 'isAnswering'>;
    readonly control: Pick<ControlStorage, 'connectTrouble' | 'probe'>;
    readonly breaker: Pick<Breaker, 'allowProbe' | 'trip'> | null;
  },
  { clock, log }: { clock: Clock; log: Log },
): Connectivity {
  const isShared = storage.name === 'Postgres';
  const onEventStore = {
    onChange: (isUp: boolean) => {
      if (isUp) breaker?.allowProbe();
    },
    onDown: () => breaker?.trip('unavailable'),
  };
  const unwatched = { onChange: () => {}, onDown: () => {} };
  const postgres = {
    ...watch('postgres', control, isShared ? onEventStore : unwatched, async () => {
      await control.probe.ask();
      return true;
    }),
    isReadOnly: control.probe.isReadOnly,
  };
  const own = () => watch(storage.name.toLowerCase(), storage, onEventStore, storage.isAnswering);
  return { events: isShared ? postgres : own(), postgres };

  function watch(
    store: string,
    { connectTrouble }: Pick<EventStorage, 'connectTrouble'>,
    { onChange, onDown }: typeof onEventStore,
    ask: (signal: AbortSignal) => Promise<boolean>,
  ): Watched {
    const warn = (reason: string) => log.warn({ store, reason }, 'store refuses connections');
    const trouble = createConnectionTrouble(connectTrouble, warn);
    const heartbeat = createHeartbeat({
      clock,
      ask: (signal) => trouble.watch(ask(signal)),
      onChange: (isUp) => {
        log[isUp ? 'info' : 'warn']({ store }, isUp ? 'store answers' : 'store does not answer');
        onChange(isUp);
      },
      onDown,
    });
    return { ...heartbeat, trouble: trouble.reason };
  }
}
