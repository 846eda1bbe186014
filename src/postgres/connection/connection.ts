/**
 * One connection to Postgres that also works behind a pooler that assigns every transaction to another server: it
 * requests no setting at the start, which poolers refuse, and leaves none behind, which others would inherit. Time
 * limits are kept by a timer here that cancels the statement, and within a transaction by settings that end with it.
 */
import { Client, type ClientConfig } from 'pg';
import { systemClock } from '../../runtime/clock.ts';
import { cancelStatement } from './cancel.ts';
import { ConnectFailure } from './errors.ts';

/** The default time limit of a statement. */
export const STATEMENT_MS = 4_000;
/** How long a process may wait inside a transaction: a frozen one must not keep its locks. */
const IDLE_MS = 5_000;
/** The server is asked to cancel once its own timer, where it has one, has had its chance. */
const CANCEL_AFTER_MS = 200;
/** And the connection is abandoned when it does not: the server no longer runs its own timers. */
const GIVE_UP_AFTER_MS = 700;

const CONNECT_MS = 3_000;

export function connectionConfig({
  url,
  statementMs = STATEMENT_MS,
  name = 'weir',
}: {
  url: string;
  statementMs?: number;
  name?: string;
}): ClientConfig {
  return {
    connectionString: withPlainMode(url),
    application_name: name,
    keepAlive: true,
    connectionTimeoutMillis: CONNECT_MS,
    query_timeout: statementMs + GIVE_UP_AFTER_MS,
  };
}

/**
 * The driver takes these modes for `verify-full`, and warns on stderr that a later version will not. Stating that mode
 * explicitly avoids the warning.
 */
function withPlainMode(url: string): string {
  if (/[?&]uselibpqcompat=true\b/.test(url)) return url;
  return url.replace(/([?&]sslmode=)(?:prefer|require|verify-ca)(?=&|#|$)/, '$1verify-full');
}

/**
 * Begins a transaction that, once it has waited for a lock, sees what was committed meanwhile. A role or a database may
 * have another default, by which it would still see what there was before.
 */
export const BEGIN = 'BEGIN ISOLATION LEVEL READ COMMITTED';

/** Such a transaction of one statement without parameters, in one message; the second of its answers is the statement's. */
export const asTransaction = (statement: string): string => `${BEGIN}; ${statement}; COMMIT`;

/** Send it first in a transaction; it holds until the end. */
export function transactionLimits({ statementMs = STATEMENT_MS, idleMs = IDLE_MS } = {}): string {
  return `SET LOCAL statement_timeout = ${statementMs}; SET LOCAL idle_in_transaction_session_timeout = ${idleMs}`;
}

/** The pool passes a callback as the last argument, all others await. */
type Callback = (error: unknown, answer?: unknown) => void;
type Call = (...args: unknown[]) => Promise<unknown> | undefined;

/** The driver's client with the limits of `connectionConfig`. Throws `ConnectFailure` when it gets no connection. */
export class BoundedClient extends Client {
  constructor(config: ClientConfig) {
    try {
      super(config);
    } catch (error) {
      // A file that the URL names, such as the certificate of an authority, is missing.
      throw new ConnectFailure(error);
    }
    const { connect, query } = this as unknown as { connect: Call; query: Call };
    const cancelAfterMs = config.query_timeout! - GIVE_UP_AFTER_MS + CANCEL_AFTER_MS;
    Object.assign(this, {
      connect: connecting(connect.bind(this)),
      query: limited(query.bind(this), () => startLimit(this, cancelAfterMs)),
    });
  }
}

function connecting(connect: Call): Call {
  return (...args) => {
    const callback = args.at(-1) as Callback | undefined;
    if (callback === undefined) return connect()!.catch((error: unknown) => Promise.reject(new ConnectFailure(error)));
    return connect((error: unknown, client: unknown) => callback(error && new ConnectFailure(error), client));
  };
}

function limited(query: Call, start: () => Limit): Call {
  return (...args) => {
    // What speaks the protocol by itself keeps its own time.
    if (typeof (args[0] as { submit?: unknown } | undefined)?.submit === 'function') return query(...args);
    const limit = start();
    const callback = args.at(-1);
    if (typeof callback === 'function') {
      return query(...args.slice(0, -1), (error: unknown, answer: unknown) => {
        limit.end(error !== null && error !== undefined, () => (callback as Callback)(error, answer));
      });
    }
    const answered = query(...args)!;
    return new Promise((resolve, reject) => {
      answered.then(
        (answer) => limit.end(false, () => resolve(answer)),
        (error: Error) => limit.end(true, () => reject(error)),
      );
    });
  };
}

/** The time limit of a statement. */
type Limit = {
  /**
   * Marks the statement as ended and calls `deliver`: at once, unless it succeeded just when it was to be cancelled.
   * Then the server must first have taken the cancel request, which would otherwise hit the next statement. After a
   * failure the connection is abandoned.
   */
  end(hasFailed: boolean, deliver: () => void): void;
};

function startLimit(client: Client, ms: number): Limit {
  const ended = new AbortController();
  let cancelling: Promise<void> | null = null;
  void systemClock.sleep(ms, ended.signal).then(() => {
    if (!ended.signal.aborted) cancelling = cancelStatement(client, systemClock);
  });
  return {
    end(hasFailed, deliver) {
      ended.abort();
      if (hasFailed || cancelling === null) deliver();
      else void cancelling.then(deliver);
    },
  };
}
