/**
 * Rows sent along with a query, as tables that exist for that query alone
 * ("external data", https://clickhouse.com/docs/engines/table-engines/special/external-data).
 * Each row carries its number, so that an answer can name rows; a row that cannot
 * be read is left out by ClickHouse instead of failing the query.
 */
import { Readable } from 'node:stream';
import { inLargeChunks } from './request-chunks.ts';

/** The number of the row, a column of every such table. */
export const NUMBER = '_weir_row';

export type NumberedRow = { readonly number: number; readonly row: Buffer };

export type ExternalTable = {
  readonly name: string;
  /** Names and types of the columns that are read, beside `NUMBER`; other members of a row are skipped. */
  readonly columns: readonly { readonly name: string; readonly type: string }[];
  readonly rows: readonly NumberedRow[];
};

/** What a request needs to carry the tables: body, headers, and settings that belong into its URL. */
export type ExternalData = {
  readonly body: () => Readable;
  readonly headers: Readonly<Record<string, string>>;
  readonly settings: Readonly<Record<string, string | number>>;
};

/** No row can hold it: a line end stands before it, and a line is one row. */
const BOUNDARY = 'weir-external-rows';
const BRACE = 0x7b;
const EMPTY_ROW = /^\{\s*\}\s*$/;
/** Longer than any row that holds nothing. */
const EMPTY_ROW_BYTES = 16;

export function externalData(tables: readonly ExternalTable[]): ExternalData {
  const settings: Record<string, string | number> = {
    input_format_allow_errors_num: Math.max(...tables.map(({ rows }) => rows.length)),
    input_format_skip_unknown_fields: 1,
  };
  for (const { name, columns } of tables) {
    settings[`${name}_format`] = 'JSONEachRow';
    settings[`${name}_structure`] = [`${NUMBER} UInt64`, ...columns.map(columnText)].join(', ');
  }
  return {
    settings,
    headers: { 'content-type': `multipart/form-data; boundary=${BOUNDARY}` },
    body: () => Readable.from(inLargeChunks(partsOf(tables)), { objectMode: false }),
  };
}

const columnText = ({ name, type }: { name: string; type: string }) => `\`${name.replaceAll('`', '\\`')}\` ${type}`;

function* partsOf(tables: readonly ExternalTable[]): Generator<Buffer> {
  for (const { name, rows } of tables) {
    yield Buffer.from(
      `--${BOUNDARY}\r\nContent-Disposition: form-data; name="${name}"; filename="${name}"\r\nContent-Type: application/x-ndjson\r\n\r\n`,
    );
    for (const { number, row } of rows) {
      // What is no object is no row, and could be mistaken for the end of the table: it is not sent, and so not read.
      if (row[0] !== BRACE) continue;
      const isEmpty = row.length < EMPTY_ROW_BYTES && EMPTY_ROW.test(row.toString('latin1'));
      yield Buffer.from(`{"${NUMBER}":${number}${isEmpty ? '' : ','}`);
      yield row.subarray(1);
    }
    yield Buffer.from('\r\n');
  }
  yield Buffer.from(`--${BOUNDARY}--\r\n`);
}
