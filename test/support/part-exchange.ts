/**
 * Gives replicas the parts of each other. Between servers ClickHouse does that itself, over a port that the embedded
 * one does not open; its side that fetches is the real one.
 */
import { readFileSync, readdirSync } from 'node:fs';
import { type IncomingMessage, type ServerResponse, createServer } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { hashOfFile } from './city-hash.ts';

/** How parts are sent: with their size, their TTLs and their type. */
const PROTOCOL = 3;

/** `pathOf`: the directory of a part of the table that has this path in the keeper; null when there is none to give. */
export async function startPartExchange(pathOf: (replicaPath: string, part: string) => Promise<string | null>) {
  const server = createServer((request, response) => void answer(request, response));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;

  return {
    port,
    async stop() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };

  async function answer(request: IncomingMessage, response: ServerResponse) {
    request.resume();
    const { searchParams } = new URL(request.url ?? '/', 'http://localhost');
    const [, replicaPath = ''] = (searchParams.get('endpoint') ?? '').split(':/');
    try {
      const path = await pathOf(`/${replicaPath}`, searchParams.get('part') ?? '');
      if (path === null) throw new Error('no such part');
      const body = encoded(path);
      response.setHeader('Set-Cookie', `server_protocol_version=${PROTOCOL}`);
      response.end(body);
    } catch (error) {
      response.statusCode = 500;
      response.end(`Code: 232. DB::Exception: ${String(error)}. (NO_SUCH_DATA_PART)`);
    }
  }
}

function encoded(path: string): Buffer {
  const files = readdirSync(path, { withFileTypes: true }).filter((entry) => entry.isFile());
  const contents = files.map(({ name }) => ({ name, bytes: readFileSync(join(path, name)) }));
  const named = (name: string) => contents.find((file) => file.name === name)?.bytes;
  const isCompact = named('data.bin') !== undefined;
  return Buffer.concat([
    number(contents.reduce((sum, { bytes }) => sum + bytes.length, 0)),
    text(named('ttl.txt') ?? Buffer.from('ttl format version: 1\n{}')),
    text(Buffer.from(isCompact ? 'Compact' : 'Wide')),
    number(contents.length),
    ...contents.flatMap(({ name, bytes }) => [text(Buffer.from(name)), number(bytes.length), bytes, hashOfFile(bytes)]),
  ]);
}

function number(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}

function text(bytes: Buffer): Buffer {
  const length: number[] = [];
  let rest = bytes.length;
  for (; rest >= 128; rest = Math.floor(rest / 128)) length.push((rest % 128) + 128);
  return Buffer.concat([Buffer.from([...length, rest]), bytes]);
}
