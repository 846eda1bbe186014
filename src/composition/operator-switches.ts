/**
 * The switches that operators set while Weir runs, intake and drain: read from Postgres every two seconds and applied
 * here.
 */
import type { Clock } from '../runtime/clock.ts';
import type { Flags } from '../pipeline/flags.ts';
import { failureOf } from '../pipeline/outcome.ts';
import type { DrainPause, ProgressWatch } from '../pipeline/progress.ts';
import type { Positions } from '../postgres/accounts/switches.ts';
import type { ControlStorage } from './storage.ts';

export type OperatorSwitches = {
  isDrainPaused(): boolean;
  /** Reads the switches until `stop` aborts. While Postgres is down they stay as they were. */
  watch(stop: AbortSignal): Promise<void>;
};

/** A switch must reach every process within five seconds. */
const SWITCHES_MS = 2_000;
const UNEXPLAINED: DrainPause = { since: null, by: null };

type SwitchDeps = {
  readonly control: Pick<ControlStorage, 'switches' | 'readDrainSwitch'>;
  readonly flags: Flags;
  readonly progress: ProgressWatch;
  readonly clock: Clock;
};

/** `disabled`: the setting that keeps intake closed wherever the switch is. */
export function createOperatorSwitches(
  { control: { switches, readDrainSwitch }, flags, progress, clock }: SwitchDeps,
  { disabled }: { disabled: boolean },
): OperatorSwitches {
  let positions: Positions = { intake: 'open', drain: 'running' };
  let pause: DrainPause | null = null;

  return { isDrainPaused: () => positions.drain === 'paused', watch };

  async function watch(stop: AbortSignal) {
    while (!stop.aborted) {
      // A failed read changes nothing; the store's heartbeat reports the reason.
      await failureOf(readOnce());
      await clock.sleep(SWITCHES_MS, stop);
    }
  }

  async function readOnce() {
    const read = await switches.read();
    if (read.drain === 'running') pause = null;
    // The switch counts whether or not the audit names the person who moved it.
    else if (pause === null)
      await failureOf(readDrainSwitch().then(({ since, by }) => (pause = { since: since?.getTime() ?? null, by })));
    positions = read;
    progress.paused(read.drain === 'running' ? null : (pause ?? UNEXPLAINED));
    flags.setIntake(disabled ? 'disabled' : read.intake);
  }
}
