/**
 * The command line. Each command is one file that declares its arguments and
 * loads what it needs only when it runs, so that `--help` is answered at once.
 */
import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import type { Clock } from '../clock.ts';
import { ConfigError, parseConfig } from '../config.ts';
import type { Environment, ReadFile } from '../config/sources.ts';
import { CommandFailure, type Cli } from './cli.ts';
import { addConfig } from './config.ts';
import { addDlq } from './dlq/dlq.ts';
import { addDoctor } from './doctor.ts';
import { addIntake } from './intake.ts';
import type { Input, Io } from './io.ts';
import { addMigrate } from './migrate.ts';
import { addProject } from './project.ts';
import { addQuery } from './query.ts';
import { addServe } from './serve.ts';
import { addToken } from './token.ts';

/** What the program needs of the process it runs in. */
export type Surroundings = {
  readonly io: Io;
  readonly input: Input;
  readonly env: Environment;
  readonly readFile: ReadFile;
  readonly clock: Clock;
  /** The operating system's name for who runs this. */
  readonly user: string;
};

const SUCCESS = 0;
const FAILED = 1;
const USAGE = 2;

/** Runs one command and returns the exit code: 0 it worked, 1 it did not, 2 it was called wrongly. Never throws. */
export async function runProgram(args: readonly string[], surroundings: Surroundings): Promise<number> {
  const { io, input, env, readFile, clock, user } = surroundings;
  let exitCode = SUCCESS;
  const cli: Cli = {
    io,
    input,
    clock,
    user,
    config: () => parseConfig(env, readFile),
    exitWith: (code) => {
      exitCode = code;
    },
  };

  try {
    await buildProgram(cli).parseAsync(args, { from: 'user' });
    return exitCode;
  } catch (error) {
    // Commander has written its own text by now; asking for help is no mistake.
    if (error instanceof CommanderError) return error.exitCode === 0 ? SUCCESS : USAGE;
    io.stderr(`${isExplained(error) ? error.message : unexplained(error)}\n`);
    return FAILED;
  }
}

function buildProgram(cli: Cli): Command {
  const program = new Command('weir')
    .description('A durable write path for analytics events')
    .version(version(), '-V, --version', 'print the version')
    .helpOption('-h, --help', 'show what a command does, its options and examples')
    .helpCommand(false)
    .showHelpAfterError('(--help shows what is accepted)')
    .configureOutput({ writeOut: cli.io.stdout, writeErr: cli.io.stderr })
    .exitOverride();

  addServe(program, cli);
  addMigrate(program, cli);
  addConfig(program, cli);
  addProject(program, cli);
  addToken(program, cli);
  addQuery(program, cli);
  addDlq(program, cli);
  addIntake(program, cli);
  addDoctor(program, cli);
  return program;
}

function isExplained(error: unknown): error is Error {
  return error instanceof CommandFailure || error instanceof ConfigError;
}

/** A failure nobody expected is a bug: its stack is what helps, its cause may quote data and stays out. */
function unexplained(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : 'Something that is no error was thrown.';
}

function version(): string {
  const manifest = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
    version: string;
  };
  return manifest.version;
}
