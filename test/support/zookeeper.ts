/** The real ZooKeeper, as the Debian package of that name installs it: to ClickHouse the same as its own keeper. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { freePort } from './ports.ts';

const JAR = '/usr/share/java/zookeeper.jar';
const JAVA = '/usr/bin/java';
const START_MS = 30_000;

export type ZooKeeper = {
  readonly port: number;
  /** Freezes it: sessions end when their time is over. */
  pause(): void;
  resume(): void;
  stop(): Promise<void>;
};

/** Whether it can be started here. */
export const hasZooKeeper = (): boolean => existsSync(JAR) && existsSync(JAVA);

export async function startZooKeeper(): Promise<ZooKeeper> {
  const dir = mkdtempSync(join(tmpdir(), 'weir-zookeeper-'));
  const port = freePort();
  const settings = {
    tickTime: 500,
    dataDir: join(dir, 'data'),
    clientPort: port,
    clientPortAddress: '127.0.0.1',
    'admin.enableServer': false,
    maxClientCnxns: 0,
    forceSync: 'no',
  };
  const file = join(dir, 'zoo.cfg');
  writeFileSync(
    file,
    Object.entries(settings)
      .map(([name, value]) => `${name}=${value}\n`)
      .join(''),
  );
  const memory = ['-Xms64m', '-Xmx128m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1'];
  const main = ['-cp', JAR, 'org.apache.zookeeper.server.ZooKeeperServerMain', file];
  // However the tests end, it ends with them.
  const server = spawn('setpriv', ['--pdeathsig', 'KILL', JAVA, ...memory, ...main], { stdio: 'ignore' });
  await answers(server, port);
  return {
    port,
    pause: () => void server.kill('SIGSTOP'),
    resume: () => void server.kill('SIGCONT'),
    async stop() {
      server.kill('SIGKILL');
      if (server.exitCode === null && server.signalCode === null) await once(server, 'exit');
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

async function answers(server: ChildProcess, port: number): Promise<void> {
  const until = performance.now() + START_MS;
  while (performance.now() < until) {
    if (server.exitCode !== null) throw new Error(`ZooKeeper ended with ${server.exitCode}`);
    const socket = connect({ port, host: '127.0.0.1' });
    const isOpen = await Promise.race([
      once(socket, 'connect').then(() => true),
      once(socket, 'error').then(() => false),
    ]).catch(() => false);
    socket.destroy();
    if (isOpen) return;
    await delay(20);
  }
  server.kill('SIGKILL');
  throw new Error('ZooKeeper does not answer');
}
