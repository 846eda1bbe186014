/**
 * Does what the event store needs from time to time. Processes do so without regard to each other: whoever comes first
 * leaves nothing to do, and doing it twice does no harm.
 */
import type { Log } from '../log/log.ts';
import { failureOf } from '../pipeline/outcome.ts';
import type { StoreUpkeep } from '../pipeline/storage-port.ts';
import type { Clock } from '../runtime/clock.ts';

const LOOK_MS = 60_000;
/** What changed while no Weir ran. */
const FIRST_LOOK_S = 7 * 24 * 60 * 60;
const LATER_LOOKS_S = 24 * 60 * 60;
/** Failures in a row before it is worth saying: a store that is away is reported elsewhere. */
const SAID_AFTER = 10;

type StoreUpkeepDeps = {
  readonly upkeep: StoreUpkeep;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
};

/** Until `stop` aborts. Never rejects. */
export async function keepStoreUp({ upkeep, clock, random, log }: StoreUpkeepDeps, stop: AbortSignal): Promise<void> {
  let sinceS = FIRST_LOOK_S;
  let failures = 0;
  while (!stop.aborted) {
    const error = await failureOf(look());
    failures = error === null ? 0 : failures + 1;
    if (failures === SAID_AFTER) {
      log.warn({ err: error, failures }, upkeep.neglected);
    }
    // Not all processes at the same moment.
    await clock.sleep(LOOK_MS * (0.75 + random() / 2), stop);
  }

  async function look() {
    while (!stop.aborted) {
      const startedAt = clock.elapsed();
      if ((await upkeep.doSome(sinceS)) === 0) {
        sinceS = LATER_LOOKS_S;
        return;
      }
      // Leaves most of the time to inserts and queries.
      await clock.sleep(2 * (clock.elapsed() - startedAt), stop);
    }
  }
}
