import type { Clock } from '../runtime/clock.ts';
import type { Config } from '../config/config.ts';
import type { Input, Io } from '../runtime/io.ts';

/** What every command is given. */
export type Cli = {
  readonly io: Io;
  readonly input: Input;
  readonly clock: Clock;
  /** Throws `ConfigError`: a command that needs no configuration works without a good one. */
  readonly config: () => Config;
  /** The exit code of a command that ran to its end without success. */
  readonly exitWith: (code: number) => void;
  /** The person who runs the command, for the audit. */
  readonly user: string;
  /** Ends the answers to signals given so far. */
  readonly releaseSignals: () => void;
};

/** A command cannot do what it was asked. The message says why and what to do; it is printed without a stack. */
export class CommandFailure extends Error {
  override readonly name = 'CommandFailure';
}

export function printJson({ stdout }: Io, value: unknown): void {
  stdout(`${JSON.stringify(value)}\n`);
}
