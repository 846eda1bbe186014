import pino from 'pino';
import { type Clock, systemClock } from '../runtime/clock.ts';
import { type Output, createOutput } from './output.ts';
import { type Repeats, createRepeats } from './repeats.ts';
import { destinationOf } from './standard-error.ts';

export type Log = pino.Logger;

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent';

/** The most bytes that wait for standard error: some three thousand lines. */
const MAX_WAITING_BYTES = 1024 * 1024;
/** A storm writes at most two lines a second of each kind; an ordinary start loses none. */
const REPEATS = { maxLines: 20, windowMs: 10_000, maxKinds: 500 };
/** Below it an operator has asked for every line; a line that explains why a process ends is never left out. */
const LIMITED_FROM = pino.levels.values['info']!;
const LIMITED_BELOW = pino.levels.values['fatal']!;

/**
 * Standard error, so that stdout stays free for what a command prints. While it blocks, lines wait, up to a bound, and
 * nothing else does. The owner of the process calls this, after Node has created its own stream.
 */
export function openStandardError(clock: Clock): Output & { readonly isShared: boolean } {
  const sink = destinationOf(2);
  return { ...createOutput({ sink, clock }, { maxBytes: MAX_WAITING_BYTES }), isShared: sink.isShared };
}

/** Standard output, in the same way: other processes that have it too can make ordinary writes to it block. */
export function openStandardOutput(clock: Clock): Output {
  return createOutput({ sink: destinationOf(1), clock }, { maxBytes: MAX_WAITING_BYTES });
}

/** Writes a line of another process's log among our own. */
export function relayTo(output: Output): (line: string) => void {
  return (line) => output.write(`${line}\n`, Number(/^\{"level":(\d+),/.exec(line)?.[1] ?? 0));
}

/** The program's logger: JSON lines. */
export function createLog(level: LogLevel, output: Output | Lines = NOWHERE, clock: Clock = systemClock): Log {
  const isOutput = 'finish' in output;
  const repeats = createRepeats({ clock, ending: isOutput ? output.ending : undefined }, REPEATS);
  const log = pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      serializers: { err: describeError },
      hooks: {
        logMethod(args, method, lineLevel) {
          if (isAdmitted(repeats, args, method.bind(this) as LogMethod, lineLevel)) method.apply(this, args);
        },
      },
    },
    isOutput ? withLevels(output) : output,
  );
  if (isOutput) {
    outputs.set(streamOf(log), output);
    output.onWell((lines) => log.warn({ lines }, 'log lines were dropped: standard error did not accept them'));
  }
  return log;
}

/** How many lines the log, or its parent, has dropped because they could not be written. */
export function droppedLines(log: Log): number {
  return outputs.get(streamOf(log))?.dropped() ?? 0;
}

/** Where tests read what was logged. */
type Lines = { readonly write: (line: string) => void };

type LogMethod = (fields: object, message: string) => void;

const NOWHERE: Lines = { write: () => {} };
const outputs = new WeakMap<object, Output>();
/** Children have the stream of their parent. */
const streamOf = (log: Log) => (log as unknown as Record<symbol, object>)[pino.symbols.streamSym]!;

/** pino sets the level of the next line on such a stream before it writes it. */
function withLevels(output: Output): pino.DestinationStream {
  const stream = {
    [Symbol.for('pino.metadata')]: true,
    lastLevel: 0,
    write: (line: string) => output.write(line, stream.lastLevel),
  };
  return stream;
}

type Fields = { readonly [name: string]: unknown };

/** Fields that distinguish kinds of lines with the same message. They have few values. */
const DISTINGUISHING_FIELDS = ['class', 'code', 'store', 'worker', 'table'];

/** Whether to write the line: not when many of its kind were written a moment ago. */
function isAdmitted(repeats: Repeats, args: readonly unknown[], write: LogMethod, level: number): boolean {
  if (level < LIMITED_FROM || level >= LIMITED_BELOW) return true;
  const [fields, message] = typeof args[0] === 'string' ? [{}, args[0]] : [(args[0] ?? {}) as Fields, args[1]];
  // The record of a request, which an operator may count.
  if (level === LIMITED_FROM && 'requestId' in fields) return true;
  const distinguishing = distinguishingFieldsOf(fields);
  return repeats.admits(JSON.stringify([level, message, distinguishing]), (lines, seconds) =>
    write({ like: message, ...distinguishing, lines, seconds }, 'similar log lines were suppressed'),
  );
}

function distinguishingFieldsOf(fields: Fields): Fields {
  const { err } = fields;
  const error = err instanceof Error ? { error: err.name, ...codeOf(err) } : {};
  const told = DISTINGUISHING_FIELDS.filter((name) => fields[name] !== undefined).map((name) => [name, fields[name]]);
  return { ...error, ...Object.fromEntries(told) };
}

/**
 * An error as it may be logged: its name, our own message, the vendor's code and the stack of our frames. Never the
 * text of the cause: ClickHouse quotes rows in its messages and drizzle quotes SQL parameters, and both are user data.
 */
export function describeError(error: unknown): Record<string, unknown> {
  if (!(error instanceof Error)) return { name: 'NonError' };
  const cause = error.cause instanceof Error ? error.cause : null;
  return {
    name: error.name,
    message: error.message,
    ...codeOf(error),
    ...(cause ? { cause: { name: cause.name, ...codeOf(cause) } } : {}),
    stack: error.stack?.slice(error.stack.indexOf('\n    at ') + 1),
  };
}

function codeOf(error: Error): { code?: string | number } {
  const code = (error as { code?: unknown }).code;
  return typeof code === 'string' || typeof code === 'number' ? { code } : {};
}
