/**
 * One statement of a client, run by Postgres's extended protocol: the text goes alone, so it cannot be more than one
 * statement, and its rows come as texts, no faster than they are taken.
 */
import type { Client, Connection } from 'pg';
import { isSqlState } from '../connection/errors.ts';

export type Field = { readonly name: string; readonly typeId: number };
export type Row = readonly (string | null)[];

export type RowStream = {
  /** What the answer begins with, once so much of it is there that a failure is no longer an early one. Throws the driver's error. */
  readonly fields: Promise<readonly Field[]>;
  /** The rows that have come since; null after the last. Throws the driver's error. */
  take(): Promise<readonly Row[] | null>;
  /** Lets whatever still comes go by. */
  discard(): void;
  /** Resolves when the server is through with the statement, or the connection is lost: `isLost`. */
  readonly over: Promise<{ readonly isLost: boolean }>;
};

/** So much is held before Postgres has to wait; and before an answer begins, unless it ends before. */
const MAX_HELD_BYTES = 1024 * 1024;
/** The connection is cut in a row that is longer. */
export const MAX_ROW_BYTES = 32 * 1024 * 1024;

/** What the driver's types leave out. */
type Wire = Connection & { readonly stream: NodeJS.ReadableStream & { destroy(): void } };
type WithWire = Client & { readonly connection: Wire };

export class RowTooLarge extends Error {
  override readonly name = 'RowTooLarge';

  constructor() {
    super(`a row is larger than ${MAX_ROW_BYTES / 1024 ** 2} MiB`);
  }
}

/** Only on a connection that runs nothing else. */
export function streamRows(client: Client, text: string): RowStream {
  const { connection } = client as WithWire;
  const { stream } = connection;
  const begun = Promise.withResolvers<readonly Field[]>();
  const over = Promise.withResolvers<{ readonly isLost: boolean }>();
  // Who asks for no row asks for no failure either.
  begun.promise.catch(() => {});
  let fields: readonly Field[] = [];
  let held: Row[] = [];
  let heldBytes = 0;
  let bytesOfRow = 0;
  let hasEnded = false;
  let isDiscarded = false;
  let failure: Error | null = null;
  let wake: () => void = nothing;

  const measure = (chunk: Buffer) => {
    bytesOfRow += chunk.length;
    if (bytesOfRow <= MAX_ROW_BYTES) return;
    failure ??= new RowTooLarge();
    stream.destroy();
  };

  const query = {
    callback: nothing,
    submit(): null {
      // After the driver's own listener: what is left then belongs to a row that is not whole yet.
      stream.on('data', measure);
      connection.parse({ name: '', text, types: [] }, true);
      connection.bind({ portal: '', statement: '', values: [], binary: false } as never, true);
      connection.describe({ type: 'P', name: '' }, true);
      connection.execute({ portal: '', rows: '0' }, true);
      connection.sync();
      return null;
    },
    handleRowDescription(message: { fields: readonly { name: string; dataTypeID: number }[] }) {
      fields = message.fields.map(({ name, dataTypeID }) => ({ name, typeId: dataTypeID }));
    },
    handleDataRow(message: { fields: Row; length: number }) {
      bytesOfRow = 0;
      if (isDiscarded) return;
      held.push(message.fields);
      heldBytes += message.length;
      if (heldBytes >= MAX_HELD_BYTES) {
        stream.pause();
        begun.resolve(fields);
      }
      wake();
    },
    handleCommandComplete() {},
    handleEmptyQuery() {},
    handlePortalSuspended() {},
    handleCopyInResponse() {},
    handleCopyData() {},
    handleReadyForQuery: () => end(null),
    handleError: (error: Error) => end(error),
  };
  client.query(query as never);

  return { fields: begun.promise, take, discard, over: over.promise };

  function end(error: Error | null) {
    if (hasEnded) return;
    hasEnded = true;
    stream.off('data', measure);
    // Nobody else on this connection would.
    stream.resume();
    failure ??= error;
    query.callback();
    if (failure === null) begun.resolve(fields);
    else begun.reject(failure);
    over.resolve({ isLost: error !== null && !isOfServer(error) });
    wake();
  }

  async function take(): Promise<readonly Row[] | null> {
    if (held.length === 0 && !hasEnded) await new Promise<void>((resolve) => (wake = resolve));
    if (held.length === 0 && failure !== null) throw failure;
    if (held.length === 0) return null;
    const rows = held;
    held = [];
    heldBytes = 0;
    stream.resume();
    return rows;
  }

  function discard() {
    isDiscarded = true;
    held = [];
    stream.resume();
  }
}

const nothing = () => {};

const isOfServer = (error: Error): boolean => {
  const { code } = error as { code?: unknown };
  return typeof code === 'string' && isSqlState(code);
};
