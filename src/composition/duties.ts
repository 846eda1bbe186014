/** What a process does, by its role: `all` does both. */
import type { Config } from '../config/config.ts';
import type { Intake } from '../pipeline/flags.ts';

export type Duties = {
  /** It takes events in. */
  readonly takesIn: boolean;
  /** It brings them into the event store, and looks after that store and the dead letters. */
  readonly inserts: boolean;
};

export const dutiesOf = ({ role }: Pick<Config, 'role'>): Duties => ({
  takesIn: role !== 'flush',
  inserts: role !== 'ingest',
});

export function intakeAtStart(config: Pick<Config, 'role' | 'disabled'>): Exclude<Intake, 'draining'> {
  if (!dutiesOf(config).takesIn) return 'elsewhere';
  return config.disabled ? 'disabled' : 'open';
}
