/** Polls whether the stores answer and logs each change. */
import type { Clock } from '../runtime/clock.ts';
import type { Log } from '../log/log.ts';
import type { Breaker } from '../pipeline/breaker.ts';
import { createConnectionTrouble } from '../pipeline/connection-trouble.ts';
import { createHeartbeat } from '../pipeline/heartbeat.ts';
import type { EventStorage } from '../pipeline/storage-port.ts';
import type { ControlStorage } from './storage.ts';

export type Connectivity = ReturnType<typeof createConnectivity>;

export function createConnectivity(
  { storage, control, breaker }: { storage: EventStorage; control: ControlStorage; breaker: Breaker },
  { clock, log }: { clock: Clock; log: Log },
) {
  const warn = (store: string) => (reason: string) => log.warn({ store, reason }, 'store refuses connections');
  const clickhouseTrouble = createConnectionTrouble(storage.connectTrouble, warn('clickhouse'));
  const postgresTrouble = createConnectionTrouble(control.connectTrouble, warn('postgres'));
  const logChange = (store: string, isUp: boolean) =>
    log[isUp ? 'info' : 'warn']({ store }, isUp ? 'store answers' : 'store does not answer');

  const clickhouse = createHeartbeat({
    clock,
    ask: (signal) => clickhouseTrouble.watch(storage.isAnswering(signal)),
    onChange: (isUp) => {
      logChange('clickhouse', isUp);
      if (isUp) breaker.allowProbe();
    },
    onDown: () => breaker.trip('unavailable'),
  });
  const postgres = createHeartbeat({
    clock,
    ask: async () => {
      await postgresTrouble.watch(control.probe.ask());
      return true;
    },
    onChange: (isUp) => logChange('postgres', isUp),
    onDown: () => {},
  });
  return {
    clickhouse: { ...clickhouse, trouble: clickhouseTrouble.reason },
    postgres: { ...postgres, isReadOnly: control.probe.isReadOnly, trouble: postgresTrouble.reason },
  };
}
