/**
 * The JSON of a query's answer, made while the rows arrive: `{"columns", "rows",
 * "stats"}`. When the rest cannot be had the connection is cut, so that half an
 * answer is never taken for a whole one.
 */
export type QuerySummary = {
  readonly rows: number;
  /** The client was given everything up to the closing brace. */
  readonly isWhole: boolean;
  /** There were more rows than are given out. */
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
  /** Ends the connection at once, so that what was sent is not taken for everything. */
  readonly cut: () => void;
  /** Heard once, however the answer ends. */
  readonly onEnd: (summary: QuerySummary) => void;
};

/** Nothing is read from `rows` before the client takes what came before it. */
export function jsonAnswer(source: Source, options: Options): ReadableStream<Uint8Array> {
  const { cut, onEnd } = options;
  const encoder = new TextEncoder();
  const progress = { rows: 0, isTruncated: false };
  const pieces = piecesOf(source, options, progress);
  let hasEnded = false;

  return new ReadableStream(
    {
      async pull(controller) {
        try {
          const piece = await pieces.next();
          if (!piece.done) return controller.enqueue(encoder.encode(piece.value));
          controller.close();
          end(true);
        } catch {
          // Not as the stream's error: the server around it would print that, and ClickHouse's sentence quotes rows.
          cut();
          controller.close();
          end(false);
        }
      },
      async cancel() {
        end(false);
        await pieces.return(undefined);
      },
    },
    { highWaterMark: 0 },
  );

  function end(isWhole: boolean) {
    if (hasEnded) return;
    hasEnded = true;
    onEnd({ ...progress, isWhole });
  }
}

async function* piecesOf(
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
