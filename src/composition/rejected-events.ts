/** What becomes of events that are rejected: they are counted, the operator is told, and they are kept where he wants. */
import type { Clock } from '../runtime/clock.ts';
import type { AcceptanceDeps } from '../http/ingest/acceptance.ts';
import { createRejectionLog } from '../http/ingest/rejection-log.ts';
import type { Config } from '../config/config.ts';
import type { Log } from '../log/log.ts';
import { createRejectedKeeper, type RejectedKeeper } from '../pipeline/rejected-keeper.ts';
import type { Rejections } from '../pipeline/rejections.ts';
import type { Connectivity } from './connectivity.ts';
import type { ControlStorage } from './storage.ts';

export type RejectedEvents = {
  readonly onRejected: NonNullable<AcceptanceDeps['onRejected']>;
  /** Null where none are kept. */
  readonly keeper: RejectedKeeper | null;
  /** Says what there is to say until `stop` aborts, and then what was not said yet. Never rejects. */
  run(stop: AbortSignal): Promise<void>;
  /** Carries rejected events to Postgres until `stop` aborts, and removes old ones. Never rejects. */
  keep(stop: AbortSignal): Promise<void>;
  /** The same for a process without any time left. */
  sayAll(): void;
};

type RejectedEventParts = {
  readonly config: Pick<Config, 'rejected'>;
  readonly control: Pick<ControlStorage, 'rejectedEvents'>;
  readonly connectivity: Pick<Connectivity, 'postgres'>;
  readonly rejections: Rejections;
};

const EXPIRE_MS = 60_000;

export function createRejectedEvents(
  { config, control, connectivity, rejections }: RejectedEventParts,
  { clock, log }: { clock: Clock; log: Log },
): RejectedEvents {
  const rejectionLog = createRejectionLog({ clock, log });
  const store = control.rejectedEvents;
  const isAway = () => connectivity.postgres.downSignal().aborted;
  const keeper = config.rejected.keep > 0 ? createRejectedKeeper({ store, isAway, clock, log }) : null;
  return {
    onRejected({ source, tokens }, decoded) {
      rejections.note(source, decoded);
      // Weir's own doors answer somebody who reads it.
      if (tokens !== undefined) rejectionLog.note(source, decoded);
    },
    keeper,
    run: rejectionLog.run,
    keep: keeper?.run ?? expireOnly,
    sayAll: rejectionLog.sayAll,
  };

  /** Where it was switched off: what was kept before expires all the same. */
  async function expireOnly(stop: AbortSignal): Promise<void> {
    while (!stop.aborted) {
      if (!isAway()) await store.expire();
      await clock.sleep(EXPIRE_MS, stop);
    }
  }
}
