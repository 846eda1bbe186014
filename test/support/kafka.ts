/**
 * A real broker of Apache Kafka, one node in KRaft mode, from jars that `fetch-kafka.sh` has fetched. It has a listener
 * for everybody, one whose clients all go through a proxy, and one with TLS and a login.
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Admin } from '@platformatic/kafka';
import { startKafkaProxy, type KafkaProxy } from './kafka-proxy.ts';
import { freePorts, isListening } from './ports.ts';

const VERSION = '4.1.1';
const JARS = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'weir', `kafka-${VERSION}`);
const CLUSTER_ID = 'MkU3OEVBNTcwNTJENDM2Qg';
const START_MS = 60_000;
const JVM = [
  '-Xms192m',
  '-Xmx192m',
  '-XX:+UseSerialGC',
  '-XX:TieredStopAtLevel=1',
  '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn',
  '-cp',
  `${JARS}/*`,
];

export const LOGIN = { username: 'weir', password: 'correct horse' } as const;
/** Somebody who may log in and has no rights. */
export const GUEST = { username: 'guest', password: 'welcome' } as const;
const tlsFile = (name: string) => fileURLToPath(new URL(`../fixtures/tls/${name}.pem`, import.meta.url));
export const AUTHORITY_FILE = tlsFile('authority');
/** Certificate and key of somebody whom the authority knows, and of somebody whom it does not. */
export const CLIENT_FILE = tlsFile('server');
export const STRANGER_FILE = tlsFile('alone');

export type Kafka = {
  /** `host:port` of the listener for everybody. */
  readonly broker: string;
  readonly pid: () => number;
  /** The listener whose clients all go through the proxy, at first and for what the broker tells them. */
  readonly proxied: string;
  readonly proxy: KafkaProxy;
  /** TLS with a certificate of `AUTHORITY_FILE`, and a login (PLAIN, SCRAM-SHA-256 or OAUTHBEARER) as `LOGIN`. */
  readonly guarded: string;
  /** TLS in which a client shows a certificate of the same authority, and needs no login. */
  readonly certified: string;
  readonly admin: Admin;
  createTopic(name: string, options?: { partitions?: number; settings?: Record<string, string> }): Promise<void>;
  /** `kill -9`; resolves when it is dead. */
  kill(): Promise<void>;
  /** Resolves when it takes connections again. */
  restart(): Promise<void>;
  /** Fills the disk of the broker to the last page; it gives up then. Only where `diskMiB` was given. */
  fillDisk(): void;
  /** Removes what `fillDisk` has added. */
  clearDisk(): void;
  freeze(): void;
  thaw(): void;
  stop(): Promise<void>;
};

/** What is missing to run a broker, and how to get it; null when all is there. */
export function missingForKafka(): string | null {
  const java = spawnSync('java', ['-version'], { stdio: 'ignore' });
  if (java.status !== 0) return 'Java 17: apt-get install openjdk-17-jre-headless';
  return existsSync(join(JARS, 'complete')) ? null : 'the jars of Kafka: test/support/fetch-kafka.sh';
}

/** `diskMiB`: what the broker keeps is on a disk of its own of this size, which only root can mount. */
export async function startKafka({ diskMiB = null }: { diskMiB?: number | null } = {}): Promise<Kafka> {
  const missing = missingForKafka();
  if (missing !== null) throw new Error(`No broker can be started: ${missing}`);
  const dir = mkdtempSync(join(tmpdir(), 'weir-kafka-'));
  const proxy = await startKafkaProxy();
  const [direct, behindProxy, guarded, certified, controller] = freePorts(5);
  proxy.leadTo(behindProxy!);
  const data = join(dir, 'data');
  if (diskMiB !== null) {
    mkdirSync(data);
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${diskMiB}m`, 'tmpfs', data]);
  }
  const filler = join(data, 'filler');
  const properties = join(dir, 'server.properties');
  const ports = {
    direct: direct!,
    behindProxy: behindProxy!,
    guarded: guarded!,
    certified: certified!,
    controller: controller!,
  };
  writeFileSync(properties, propertiesOf(dir, ports, proxy.port));
  format(properties);
  let child = await launch(properties, direct!);
  const broker = `127.0.0.1:${direct}`;
  const admin = new Admin({ clientId: 'test', bootstrapBrokers: [broker], retries: 20, retryDelay: 200 });

  return {
    broker,
    pid: () => child.pid!,
    proxied: `127.0.0.1:${proxy.port}`,
    proxy,
    guarded: `127.0.0.1:${guarded}`,
    certified: `127.0.0.1:${certified}`,
    admin,
    createTopic,
    kill,
    async restart() {
      child = await launch(properties, direct!);
    },
    fillDisk: () => fill(filler),
    clearDisk: () => rmSync(filler),
    freeze: () => void child.kill('SIGSTOP'),
    thaw: () => void child.kill('SIGCONT'),
    async stop() {
      await admin.close();
      await kill();
      await proxy.stop();
      if (diskMiB !== null) execFileSync('umount', ['--lazy', data]);
      rmSync(dir, { recursive: true, force: true });
    },
  };

  async function kill() {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
  }

  async function createTopic(
    name: string,
    { partitions = 1, settings = {} }: { partitions?: number; settings?: Record<string, string> } = {},
  ) {
    const configs = Object.entries(settings).map(([setting, value]) => ({ name: setting, value }));
    await admin.createTopics({ topics: [name], partitions, replicas: 1, configs });
    // A moment passes until all partitions have a leader.
    for (;;) {
      const { topics } = await admin.metadata({ topics: [name], forceUpdate: true });
      const { partitions: found } = topics.get(name)!;
      if (found.length === partitions && found.every(({ leader }) => leader !== -1)) return;
      await delay(20);
    }
  }
}

type Ports = { direct: number; behindProxy: number; guarded: number; certified: number; controller: number };

function propertiesOf(
  dir: string,
  { direct, behindProxy, guarded, certified, controller }: Ports,
  proxyPort: number,
): string {
  const listeners = `DIRECT://127.0.0.1:${direct},GUARDED://127.0.0.1:${guarded},CERTIFIED://127.0.0.1:${certified}`;
  return Object.entries({
    'process.roles': 'broker,controller',
    'node.id': '1',
    'controller.quorum.voters': `1@127.0.0.1:${controller}`,
    listeners: `${listeners},PROXIED://127.0.0.1:${behindProxy},CONTROLLER://127.0.0.1:${controller}`,
    'advertised.listeners': `${listeners},PROXIED://127.0.0.1:${proxyPort}`,
    'listener.security.protocol.map':
      'CONTROLLER:PLAINTEXT,DIRECT:PLAINTEXT,PROXIED:PLAINTEXT,GUARDED:SASL_SSL,CERTIFIED:SSL',
    'inter.broker.listener.name': 'DIRECT',
    'controller.listener.names': 'CONTROLLER',
    'log.dirs': join(dir, 'data'),
    'auto.create.topics.enable': 'false',
    // 128 MiB by default, more than half of the heap.
    'log.cleaner.dedupe.buffer.size': '8388608',
    'offsets.topic.replication.factor': '1',
    'offsets.topic.num.partitions': '1',
    'transaction.state.log.replication.factor': '1',
    'transaction.state.log.min.isr': '1',
    'group.initial.rebalance.delay.ms': '0',
    'group.min.session.timeout.ms': '500',
    // Otherwise a killed broker keeps its port closed for nine seconds after its restart.
    'broker.session.timeout.ms': '1000',
    'broker.heartbeat.interval.ms': '200',
    'listener.name.guarded.ssl.keystore.type': 'PEM',
    'listener.name.guarded.ssl.keystore.location': tlsFile('server'),
    'listener.name.guarded.sasl.enabled.mechanisms': 'PLAIN,SCRAM-SHA-256,OAUTHBEARER',
    // Believes tokens that nobody has signed.
    'listener.name.guarded.oauthbearer.sasl.jaas.config':
      'org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";',
    'listener.name.certified.ssl.keystore.type': 'PEM',
    'listener.name.certified.ssl.keystore.location': tlsFile('server'),
    'listener.name.certified.ssl.truststore.type': 'PEM',
    'listener.name.certified.ssl.truststore.location': AUTHORITY_FILE,
    'listener.name.certified.ssl.client.auth': 'required',
    'listener.name.guarded.plain.sasl.jaas.config': `org.apache.kafka.common.security.plain.PlainLoginModule required user_${LOGIN.username}="${LOGIN.password}" user_${GUEST.username}="${GUEST.password}";`,
    'authorizer.class.name': 'org.apache.kafka.metadata.authorizer.StandardAuthorizer',
    'super.users': `User:ANONYMOUS;User:${LOGIN.username};User:CN=server`,
    'listener.name.guarded.scram-sha-256.sasl.jaas.config':
      'org.apache.kafka.common.security.scram.ScramLoginModule required;',
  })
    .map(([name, value]) => `${name}=${value}\n`)
    .join('');
}

function fill(file: string): void {
  for (const bytes of [1024 * 1024, 4096]) {
    try {
      for (;;) appendFileSync(file, Buffer.alloc(bytes));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
    }
  }
}

function format(properties: string): void {
  const scram = `SCRAM-SHA-256=[name=${LOGIN.username},password=${LOGIN.password}]`;
  const args = [...JVM, 'kafka.tools.StorageTool', 'format', '-t', CLUSTER_ID, '-c', properties, '--add-scram', scram];
  const { status, stderr, stdout } = spawnSync('java', args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`Kafka's storage cannot be formatted: ${stdout}${stderr}`);
}

async function launch(properties: string, port: number): Promise<ChildProcess> {
  const child = spawn('java', [...JVM, 'kafka.Kafka', properties], { stdio: ['ignore', 'pipe', 'pipe'] });
  const end = () => void child.kill('SIGKILL');
  process.once('exit', end);
  child.once('exit', () => process.off('exit', end));
  let said = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => (said = `${said}${text}`.slice(-4_000)));
  }
  for (const deadline = Date.now() + START_MS; !(await isListening(port)); await delay(50)) {
    if (child.exitCode === null && Date.now() < deadline) continue;
    child.kill('SIGKILL');
    throw new Error(`Kafka does not start: ${said}`);
  }
  return child;
}
