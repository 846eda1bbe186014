/**
 * The JSON of a query's answer, written while the rows arrive: `{"columns", "rows", "stats"}`. When the rest cannot be
 * read the connection is cut, so that half an answer is never taken for a complete one.
 */
export type QuerySummary = {
  readonly rows: number;
  /** The client received everything up to the closing brace. */
  readonly isWhole: boolean;
  /** There were more rows than an answer holds. */
  readonly isTruncated: boolean;
};

type Source = {
  readonly columns: readonly { readonly name: string; readonly type: string }[];
  readonly rows: AsyncIterable<readonly string[]>;
};

type Options = {
  readonly maxRows: number;
  readonly maxBytes: number;
  readonly elapsedMs: () => number;
  /** Resolves when a chunk has waited too long to be read, and also when it is read: `taken` aborts then. */
  readonly stalled: (taken: AbortSignal) => Promise<void>;
  /** Ends the connection at once, so that what was sent is not taken for everything. */
  readonly cut: () => void;
  /** Called once, however the answer ends. */
  readonly onEnd: (summary: QuerySummary) => void;
};

/** The size of a chunk: a client that reads less than this before it would count as gone is as good as gone. */
const CHUNK_BYTES = 64 * 1024;

/** Reads nothing from `rows` before the client has read what came before it. */
export function jsonAnswer(source: Source, options: Options): ReadableStream<Uint8Array> {
  const { cut, onEnd, stalled } = options;
  const progress = { rows: 0, isTruncated: false };
  const chunks = encoded(chunksOf(source, options, progress));
  let hasEnded = false;
  let taken = new AbortController();

  return new ReadableStream(
    {
      async pull(controller) {
        taken.abort();
        try {
          const chunk = await chunks.next();
          if (!chunk.done) {
            controller.enqueue(chunk.value);
            return watch();
          }
          controller.close();
          end(true);
        } catch {
          // Not as the stream's error: the server around it would print that, and ClickHouse's message quotes rows.
          cut();
          controller.close();
          end(false);
        }
      },
      async cancel() {
        end(false);
        await chunks.return(undefined);
      },
    },
    { highWaterMark: 0 },
  );

  /** From here on the rest depends on the client. */
  function watch() {
    taken = new AbortController();
    const { signal } = taken;
    void stalled(signal).then(async () => {
      if (signal.aborted || hasEnded) return;
      cut();
      end(false);
      await chunks.return(undefined);
    });
  }

  function end(isWhole: boolean) {
    if (hasEnded) return;
    hasEnded = true;
    taken.abort();
    onEnd({ ...progress, isWhole });
  }
}

async function* chunksOf(
  { columns, rows }: Source,
  { maxRows, maxBytes, elapsedMs }: Options,
  progress: { rows: number; isTruncated: boolean },
): AsyncGenerator<string, void, undefined> {
  yield `{"columns":${JSON.stringify(columns)},"rows":[`;
  let bytes = 0;
  for await (const group of rows) {
    const fitting: string[] = [];
    for (const row of group) {
      bytes += Buffer.byteLength(row);
      progress.isTruncated = progress.rows + fitting.length >= maxRows || bytes > maxBytes;
      if (progress.isTruncated) break;
      fitting.push(row);
    }
    const separator = progress.rows > 0 ? ',\n' : '\n';
    progress.rows += fitting.length;
    if (fitting.length > 0) yield separator + fitting.join(',\n');
    if (progress.isTruncated) break;
  }
  const stats = { rows: progress.rows, truncated: progress.isTruncated, elapsed_ms: elapsedMs() };
  yield `\n],"stats":${JSON.stringify(stats)}}\n`;
}

async function* encoded(texts: AsyncGenerator<string, void, undefined>): AsyncGenerator<Uint8Array, void, undefined> {
  for await (const text of texts) {
    const bytes = Buffer.from(text);
    for (let at = 0; at < bytes.length; at += CHUNK_BYTES) yield bytes.subarray(at, at + CHUNK_BYTES);
  }
}
