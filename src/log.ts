import pino from 'pino';

export type Log = pino.Logger;

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent';

/**
 * The program's logger: JSON lines on stderr, so that stdout stays free for
 * what a command prints. Written synchronously: the last line before an exit is
 * the one that matters most, and there are few of them.
 */
export function createLog(
  level: LogLevel,
  destination: pino.DestinationStream = pino.destination({ fd: 2, sync: true }),
): Log {
  return pino(
    { level, base: null, timestamp: pino.stdTimeFunctions.isoTime, serializers: { err: describeError } },
    destination,
  );
}

/**
 * An error as it may be logged: its name, our own message, the vendor's code
 * and the stack of our frames. Never the text of the cause: ClickHouse quotes
 * rows in its messages and drizzle quotes SQL parameters, both are user data.
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
