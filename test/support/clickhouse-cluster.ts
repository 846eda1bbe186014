/**
 * Two real replicas of ClickHouse with a real ZooKeeper. Two things are imitated, because the library is a ClickHouse
 * without them: the port on which a server gives its parts to others (`part-exchange.ts`), and the queue by which
 * servers carry out `ON CLUSTER`: behind `front`, such a statement is carried out on each of them, as the queue would.
 */
import { randomUUID } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { type IncomingMessage, type ServerResponse, createServer } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { configOf } from '../../src/embedded/clickhouse-config.ts';
import { startStore } from '../../src/embedded/store-process.ts';
import { startPartExchange } from './part-exchange.ts';
import { freePort } from './ports.ts';
import { startZooKeeper, type ZooKeeper } from './zookeeper.ts';

/** The cluster of both, as `CLICKHOUSE_CLUSTER` names it. */
export const CLUSTER = 'weir_both';

export type Replica = {
  readonly name: string;
  /** The server itself. */
  readonly url: string;
  /** The server, with `ON CLUSTER`. */
  readonly front: string;
  /** The rows of a query, as objects; for a statement none. */
  ask<Row = Record<string, unknown>>(query: string): Promise<Row[]>;
  /** Gives its parts to nobody, or only those of one table, so that the other one lags; null gives them all. */
  holdParts(of: 'all' | { readonly table: string } | null): void;
  /** As `kill -9`. */
  kill(): Promise<void>;
  start(): Promise<void>;
};

export type Cluster = {
  readonly replicas: readonly [Replica, Replica];
  readonly keeper: ZooKeeper;
  /** Resolves when both have everything that either of them has taken. */
  settled(table: string): Promise<void>;
  stop(): Promise<void>;
};

export async function startCluster(): Promise<Cluster> {
  const dir = mkdtempSync(join(tmpdir(), 'weir-cluster-'));
  const keeper = await startZooKeeper();
  const tcpPorts = [freePort(), freePort()] as const;
  const started: Awaited<ReturnType<typeof startReplica>>[] = [];
  const both = () => started.map(({ replica }) => replica);
  const stop = async () => {
    await Promise.all(started.map((server) => server.stop()));
    await keeper.stop();
    rmSync(dir, { recursive: true, force: true });
  };
  try {
    for (const [index, name] of (['first', 'second'] as const).entries()) {
      started.push(
        await startReplica({ dir: join(dir, name), name, keeper, tcpPorts, tcpPort: tcpPorts[index]!, both }),
      );
    }
  } catch (error) {
    // A caller that gets no cluster cannot stop it.
    await stop();
    throw error;
  }
  const [first, second] = both();
  return {
    replicas: [first!, second!],
    keeper,
    settled: async (table) => void (await Promise.all(both().map(({ ask }) => ask(`SYSTEM SYNC REPLICA ${table}`)))),
    stop,
  };
}

type ReplicaOptions = {
  readonly dir: string;
  readonly name: string;
  readonly keeper: ZooKeeper;
  readonly tcpPort: number;
  readonly tcpPorts: readonly number[];
  readonly both: () => readonly Replica[];
};

async function startReplica(options: ReplicaOptions) {
  const { dir, name, keeper, tcpPort, tcpPorts, both } = options;
  const dataDir = join(dir, 'data');
  mkdirSync(dataDir, { recursive: true });
  const configFile = join(dir, 'config.xml');
  writeFileSync(
    configFile,
    configOf({ name, key: null }).replace('</clickhouse>', () => clusterOf(name, keeper, tcpPorts)),
  );
  const exchange = await startPartExchange(pathOf);
  let held: Parameters<Replica['holdParts']>[0] = null;
  let server = await launch();
  const url = `http://127.0.0.1:${server.port}`;
  const front = await startFront(url, both);
  const replica: Replica = {
    name,
    url,
    front: front.url,
    ask,
    holdParts: (of) => void (held = of),
    async kill() {
      process.kill(server.pid, 'SIGKILL');
      await server.exited;
    },
    async start() {
      server = await launch(server.port);
    },
  };
  return {
    replica,
    async stop() {
      await Promise.all([server.stop(), exchange.stop(), front.stop()]);
    },
  };

  function launch(port?: number) {
    const library = join(dirname(createRequire(import.meta.url).resolve('@chdb/lib-linux-x64-gnu')), 'libchdb.so');
    return startStore(
      {
        name: `replica ${name}`,
        dir,
        hostFile: join(import.meta.dirname, 'replica-host.ts'),
        logFile: join(dir, 'clickhouse.log'),
        hostArguments: (httpPort) => [library, String(exchange.port), ...argumentsOf(httpPort)],
        isReady: (httpPort) => isAnswering(`http://127.0.0.1:${httpPort}`, name),
      },
      port === undefined ? {} : { port },
    );
  }

  function argumentsOf(httpPort: number): readonly string[] {
    return [
      'clickhouse',
      '--path',
      dataDir,
      `--config-file=${configFile}`,
      '--listen_host=127.0.0.1',
      `--http_port=${httpPort}`,
      `--tcp_port=${tcpPort}`,
      '--multiquery',
      '--query',
      `SYSTEM START LISTEN HTTP; SYSTEM START LISTEN TCP;
       SELECT sleepEachRow(3) FROM system.numbers FORMAT Null
       SETTINGS function_sleep_max_microseconds_per_block = 0, max_execution_time = 0`,
    ];
  }

  async function ask<Row>(query: string): Promise<Row[]> {
    const answer = await fetch(`${url}/?default_format=JSONEachRow&output_format_json_quote_64bit_integers=0`, {
      method: 'POST',
      body: query,
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(text.trim());
    return text
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Row);
  }

  async function pathOf(replicaPath: string, part: string): Promise<string | null> {
    const found = await ask<{ path: string; table: string }>(
      `SELECT path, table FROM system.parts WHERE name = '${part}' AND (database, table) IN
         (SELECT database, table FROM system.replicas WHERE replica_path = '${replicaPath}')`,
    );
    const [one] = found;
    return one === undefined || held === 'all' || held?.table === one.table ? null : one.path;
  }
}

/** In place of the end of a configuration file. */
const clusterOf = (name: string, keeper: ZooKeeper, tcpPorts: readonly number[]) => `
  <zookeeper>
    <node><host>127.0.0.1</host><port>${keeper.port}</port></node>
    <session_timeout_ms>4000</session_timeout_ms>
    <operation_timeout_ms>2000</operation_timeout_ms>
    <sessions_path>/sessions/${name}</sessions_path>
  </zookeeper>
  <macros><shard>one</shard><replica>${name}</replica></macros>
  <remote_servers>
    <${CLUSTER}><shard><internal_replication>true</internal_replication>
      ${tcpPorts.map((port) => `<replica><host>127.0.0.1</host><port>${port}</port></replica>`).join('')}
    </shard></${CLUSTER}>
  </remote_servers>
</clickhouse>
`;

async function isAnswering(url: string, name: string): Promise<boolean> {
  try {
    const answer = await fetch(`${url}/?query=SELECT+1`, { signal: AbortSignal.timeout(2_000) });
    await answer.arrayBuffer();
    return answer.ok && answer.headers.get('x-clickhouse-server-display-name') === name;
  } catch {
    return false; // Not yet.
  }
}

const ON_CLUSTER = new RegExp(` ON CLUSTER '?${CLUSTER}'?`);

/** Hands everything on to the server, and a statement with `ON CLUSTER` to both of them without it. */
async function startFront(url: string, both: () => readonly Replica[]) {
  const server = createServer((request, response) => void handOn(request, response));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async stop() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };

  async function handOn(request: IncomingMessage, response: ServerResponse) {
    const body = Buffer.concat(await Array.fromAsync(request as AsyncIterable<Buffer>));
    const target = new URL(request.url ?? '/', url);
    const statement = body.toString('utf8');
    try {
      if (!ON_CLUSTER.test(statement)) return await pass(target, body, request, response);
      const each = statementOnEach(statement);
      for (const other of both().filter((replica) => replica.url !== url && !isForOne(statement))) {
        const there = new URL(target.pathname + target.search, other.url);
        there.searchParams.set('query_id', randomUUID());
        const answer = await fetch(there, { method: 'POST', body: each }).catch(() => null);
        // It is away, and is not waited for.
        if (answer === null) continue;
        if (answer.ok) await answer.arrayBuffer();
        else {
          response.setHeader('X-ClickHouse-Query-Id', target.searchParams.get('query_id') ?? '');
          response.setHeader('X-ClickHouse-Exception-Code', answer.headers.get('x-clickhouse-exception-code') ?? '0');
          response.statusCode = answer.status;
          return void response.end(await answer.text());
        }
      }
      await pass(target, Buffer.from(each), request, response);
    } catch {
      response.destroy();
    }
  }
}

async function pass(target: URL, body: Buffer, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const type = request.headers['content-type'];
  const answer = await fetch(target, {
    method: request.method ?? 'POST',
    ...(request.method !== 'GET' && { body }),
    ...(type !== undefined && { headers: { 'content-type': type } }),
  });
  for (const [name, value] of answer.headers)
    if (/^(x-clickhouse|content-type)/.test(name)) response.setHeader(name, value);
  response.statusCode = answer.status;
  response.end(Buffer.from(await answer.arrayBuffer()));
}

/** Tables get the same id everywhere, as the queue sees to it: their path in the keeper has it. */
function statementOnEach(statement: string): string {
  const plain = statement.replace(ON_CLUSTER, '');
  return plain.replace(/^(CREATE TABLE (?:IF NOT EXISTS )?\S+)/, (head) => `${head} UUID '${randomUUID()}'`);
}

/** What replicated tables tell each other is carried out by one of them. */
const isForOne = (statement: string) =>
  /^ALTER TABLE (?!\S+_mv\b)/.test(statement) && !/MODIFY (COMMENT|SETTING)/.test(statement);
