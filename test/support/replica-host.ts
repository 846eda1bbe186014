/**
 * Runs inside a process of its own, as `src/embedded/clickhouse-host.ts` does, a ClickHouse that can be a replica. The
 * library has all of replication except the port on which a server gives its parts to others, and without the number
 * of such a port tables stay read-only. So it is told that of the tests' own exchange of parts
 * (`part-exchange.ts`). Arguments: the library's path, the port of the exchange, then ClickHouse's own.
 */
import { closeSync, openSync, readFileSync, readSync, writeSync } from 'node:fs';
import { DataType, load, open } from 'ffi-rs';
import { pidLine } from '../../src/embedded/pid-line.ts';

/** How `Context::getInterserverIOAddress` begins, in this version of the library. */
const BEGINNING = Buffer.from('4156534883ec484c8b36490fbe8e67010000', 'hex');
const CHUNK_BYTES = 64 * 1024 * 1024;
/** So far before it begins `Context::getInterserverCredentials`, which has none without that port, and ends the process. */
const CREDENTIALS_BEFORE = 0x80;
/** So far behind it begins `Context::getInterserverScheme`. */
const SCHEME_BEHIND = 0x100;
/** A function that answers the address of the zeros behind it: no name, no password, nobody who counts on them. */
const NO_CREDENTIALS = Buffer.concat([Buffer.from('488d050900000031d2c3', 'hex'), Buffer.alloc(6 + 96)]);

process.stderr.on('error', () => {});
process.stdout.on('error', () => {});
const [libraryPath = '', port = '', ...args] = process.argv.slice(2);
process.stdin.on('end', () => process.kill(process.pid, 'SIGKILL')).resume();
process.stdout.write(pidLine(process.pid));

open({ library: 'chdb', path: libraryPath });
replaceFunctions(Number(port));
await load({
  library: 'chdb',
  funcName: 'chdb_query_cmdline',
  retType: DataType.I64,
  paramsType: [DataType.I32, DataType.StringArray],
  paramsValue: [args.length, args],
  runInNewThread: true,
});
process.exit(1);

function replaceFunctions(exchangePort: number) {
  const address = addressOf(offsetInFile());
  const memory = openSync('/proc/self/mem', 'r+');
  writeSync(memory, answering('127.0.0.1', exchangePort), 0, null, address);
  writeSync(memory, answering('http'), 0, null, address + SCHEME_BEHIND);
  writeSync(memory, NO_CREDENTIALS, 0, null, address - CREDENTIALS_BEFORE);
  closeSync(memory);
}

/** A function that answers a text of C++ (a short one lies in three words, with its length in the last byte), and a number. */
function answering(text: string, number = 0): Buffer {
  const words = Buffer.alloc(24);
  words.write(text);
  words[23] = text.length;
  const word = (index: number) => words.subarray(index * 8, index * 8 + 8);
  // mov rax, …; mov [rdi + …], rax
  const stored = [0, 1, 2].flatMap((index) => [[0x48, 0xb8], word(index), [0x48, 0x89, 0x47, index * 8]]);
  // mov word [rdi + 24], …; mov rax, rdi; ret
  const rest = [
    [0x66, 0xc7, 0x47, 0x18, number & 0xff, number >> 8],
    [0x48, 0x89, 0xf8, 0xc3],
  ];
  return Buffer.concat([...stored, ...(number === 0 ? rest.slice(1) : rest)].map((bytes) => Buffer.from(bytes)));
}

function offsetInFile(): number {
  const file = openSync(libraryPath, 'r');
  const chunk = Buffer.alloc(CHUNK_BYTES);
  for (let from = 0; ; from += CHUNK_BYTES - BEGINNING.length) {
    const size = readSync(file, chunk, 0, CHUNK_BYTES, from);
    const found = chunk.subarray(0, size).indexOf(BEGINNING);
    if (found >= 0) return from + found;
    if (size < CHUNK_BYTES)
      throw new Error('another version of the library: test/support/replica-host.ts has to be adapted');
  }
}

function addressOf(offset: number): number {
  const mapped = readFileSync('/proc/self/maps', 'latin1')
    .split('\n')
    .filter((line) => line.endsWith(libraryPath));
  for (const line of mapped) {
    const [, start = '', end = '', from = ''] = /^([0-9a-f]+)-([0-9a-f]+) \S+ ([0-9a-f]+)/.exec(line) ?? [];
    const within = offset - parseInt(from, 16);
    if (within >= 0 && within < parseInt(end, 16) - parseInt(start, 16)) return parseInt(start, 16) + within;
  }
  throw new Error('the library is not where it was loaded');
}
