/**
 * The command line. Each command is one file that declares its arguments and
 * loads what it needs only when it runs, so that `--help` is answered at once.
 */
import { Command, CommanderError } from 'commander';
import type { Clock } from '../runtime/clock.ts';
import { ConfigError, parseConfig } from '../config/config.ts';
import type { Environment, ReadFile } from '../config/sources.ts';
import { OperationRefused } from '../operations/refused.ts';
import { CommandFailure, type Cli } from './cli.ts';
import { addChannel } from './channel.ts';
import { addConfig } from './config.ts';
import { addConsole } from './console.ts';
import { addCopy } from './copy.ts';
import { addDlq } from './dlq/dlq.ts';
import { addDoctor } from './doctor.ts';
import { addIdentities } from './identities.ts';
import { addIntake } from './intake.ts';
import type { Input, Io } from '../runtime/io.ts';
import { ownVersion } from '../runtime/own-files.ts';
import { addMigrate } from './migrate.ts';
import { addOperator } from './operator.ts';
import { addProject } from './project.ts';
import { addProperty } from './property.ts';
import { addQuery } from './query.ts';
import { addRejected } from './rejected/rejected.ts';
import { addServe } from './serve.ts';
import { addToken } from './token.ts';

/** What the program needs from its process. */
export type ProgramContext = {
  readonly io: Io;
  readonly input: Input;
  readonly env: Environment;
  readonly readFile: ReadFile;
  readonly clock: Clock;
  /** The name of the user, as the operating system has it. */
  readonly user: string;
  /** Ends the answers to signals given so far. A service calls it once it gives its own. */
  readonly releaseSignals: () => void;
};

const SUCCESS = 0;
const FAILED = 1;
const USAGE = 2;

/** Runs one command and returns the exit code: 0 success, 1 failure, 2 wrong usage. Never throws. */
export async function runProgram(args: readonly string[], context: ProgramContext): Promise<number> {
  const { io, input, env, readFile, clock, user, releaseSignals } = context;
  let exitCode = SUCCESS;
  const cli: Cli = {
    io,
    input,
    clock,
    user,
    releaseSignals,
    config: () => parseConfig(env, readFile),
    exitWith: (code) => {
      exitCode = code;
    },
  };

  try {
    await buildProgram(cli).parseAsync(args, { from: 'user' });
    return exitCode;
  } catch (error) {
    // Commander has already printed its own text; asking for help is no error.
    if (error instanceof CommanderError) return error.exitCode === 0 ? SUCCESS : USAGE;
    io.stderr(`${isExplained(error) ? error.message : unexplained(error)}\n`);
    return FAILED;
  }
}

function buildProgram(cli: Cli): Command {
  const program = new Command('weir')
    .description('A durable write path for analytics events')
    .version(ownVersion(), '-V, --version', 'print the version')
    .helpOption('-h, --help', 'show what a command does, its options and examples')
    .helpCommand(false)
    .showHelpAfterError('(--help shows what is accepted)')
    .configureOutput({ writeOut: cli.io.stdout, writeErr: cli.io.stderr })
    .exitOverride();

  addServe(program, cli);
  addMigrate(program, cli);
  addConfig(program, cli);
  addProject(program, cli);
  addProperty(program, cli);
  addToken(program, cli);
  addQuery(program, cli);
  addDlq(program, cli);
  addRejected(program, cli);
  addIdentities(program, cli);
  addCopy(program, cli);
  addChannel(program, cli);
  addIntake(program, cli);
  addConsole(program, cli);
  addOperator(program, cli);
  addDoctor(program, cli);
  return program;
}

function isExplained(error: unknown): error is Error {
  return error instanceof CommandFailure || error instanceof OperationRefused || error instanceof ConfigError;
}

/** An unexpected failure is a bug: print its stack, but not its cause, which may quote event data. */
function unexplained(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : 'A value that is not an Error was thrown.';
}
