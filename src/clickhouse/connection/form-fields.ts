import { Readable } from 'node:stream';

/** The values that a query parameter may have when it is sent in a form. */
export type Param = string | number | readonly string[];

/**
 * A query's parameters as a form for `exec`, outside the URL: proxies accept a few thousand characters there, and a
 * list of ids is longer.
 */
export function formOf(params: Readonly<Record<string, Param>>) {
  const fields = Object.entries(params).map(([name, value]) => [`param_${name}`, fieldOf(value)] as const);
  let boundary = '----weir';
  while (fields.some(([, text]) => text.includes(boundary))) boundary += 'x';
  const parts = fields.map(
    ([name, text]) => `--${boundary}\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${text}\r\n`,
  );
  return {
    values: Readable.from([`${parts.join('')}--${boundary}--\r\n`], { objectMode: false }),
    http_headers: { 'Content-Type': `multipart/form-data; boundary=${boundary}` },
  };
}

/** ClickHouse's parameter syntax: characters that would end or change the value are escaped. */
function fieldOf(value: Param): string {
  if (typeof value === 'number') return String(value);
  if (typeof value === 'string') return escaped(value);
  return `[${value.map((text) => `'${escaped(text)}'`).join(',')}]`;
}

const ESCAPES: Readonly<Record<string, string>> = { '\t': '\\t', '\n': '\\n', '\r': '\\r', "'": "\\'", '\\': '\\\\' };
const escaped = (text: string) => text.replaceAll(/[\t\n\r'\\]/g, (character) => ESCAPES[character]!);
