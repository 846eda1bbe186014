/**
 * Postgres's own parser, as WebAssembly. It is loaded when it is first needed: whoever asks nothing in SQL does not pay
 * for it.
 */
import { createRequire } from 'node:module';
import { setFlagsFromString } from 'node:v8';
import type { Tree } from './query-guard.ts';

/** Of the parser: `position` counts characters of the text from 0. */
export type SyntaxError = { readonly message: string; readonly position: number };

export type QueryParser = { parse(sql: string): Promise<Tree | { readonly error: SyntaxError }> };

/** What the module of the package offers; its own wrapper keeps one instance for ever, and a query can break that. */
type Module = {
  readonly HEAPU8: Uint8Array;
  _malloc(bytes: number): number;
  _free(at: number): void;
  _wasm_parse_query_raw(text: number): number;
  _wasm_free_parse_result(result: number): void;
  lengthBytesUTF8(text: string): number;
  stringToUTF8(text: string, at: number, bytes: number): void;
  UTF8ToString(at: number): string;
  getValue(at: number, type: 'i32'): number;
};

/** Its memory never shrinks; it begins with 128 MiB, of which a query touches one. */
const MAX_MEMORY_BYTES = 192 * 1024 * 1024;
const TOO_DEEP: SyntaxError = { message: 'the query is nested too deeply', position: 0 };

export function createQueryParser(): QueryParser {
  let loading: Promise<Module> | null = null;
  return { parse };

  async function parse(sql: string): Promise<Tree | { readonly error: SyntaxError }> {
    loading ??= load();
    const module = await loading.catch((error: unknown) => {
      loading = null;
      throw error;
    });
    try {
      const parsed = parseBy(module, sql);
      if (module.HEAPU8.length > MAX_MEMORY_BYTES) loading = null;
      return parsed;
    } catch {
      // It ran out of its stack, and is in no state to parse anything else.
      loading = null;
      return { error: TOO_DEEP };
    }
  }
}

const require = createRequire(import.meta.url);

/** Of no function: V8 compiles those with another index once. */
const NO_FUNCTION = 2 ** 30;

/**
 * V8 would compile the grammar's huge functions a second time, better, as soon as they are used, and takes half a
 * gigabyte for that.
 */
function load(): Promise<Module> {
  setFlagsFromString(`--wasm-tier-up-filter=${NO_FUNCTION}`);
  return (require('libpg-query/wasm/libpg-query.js') as () => Promise<Module>)();
}

/** The layout of the answer is that of libpg_query's PgQueryParseResult and PgQueryError. */
function parseBy(module: Module, sql: string): Tree | { readonly error: SyntaxError } {
  const bytes = module.lengthBytesUTF8(sql) + 1;
  const text = module._malloc(bytes);
  module.stringToUTF8(sql, text, bytes);
  const result = module._wasm_parse_query_raw(text);
  try {
    const failure = module.getValue(result + 8, 'i32');
    if (failure !== 0) {
      const position = module.getValue(failure + 16, 'i32');
      const message = module.UTF8ToString(module.getValue(failure, 'i32'));
      return { error: { message, position: Math.max(0, position - 1) } };
    }
    return JSON.parse(module.UTF8ToString(module.getValue(result, 'i32'))) as Tree;
  } finally {
    module._free(text);
    if (result !== 0) module._wasm_free_parse_result(result);
  }
}
