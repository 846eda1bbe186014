/** Ports of this machine: free ones for servers of tests, and whether somebody listens. */
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';

/**
 * Below the range from which the system hands out ports (32768 on Linux, `ip_local_port_range`): there, one that was
 * free a moment ago soon belongs to a connection or a server of another test.
 */
const FIRST_PORT = 10_000;
/** For each process of a test run; they number themselves from 1. */
const PORTS_OF_PROCESS = 1_000;
const PROCESSES = 22;

const first = FIRST_PORT + (Number(process.env['VITEST_POOL_ID'] ?? process.pid) % PROCESSES) * PORTS_OF_PROCESS;
/** Not at the same place in every run: others may run at the same time. */
let next = Math.floor(Math.random() * PORTS_OF_PROCESS);

/** Different from each other, and from all that this process was given lately; nothing else keeps them free. */
export function freePorts(count: number): number[] {
  const taken = takenPorts();
  const ports: number[] = [];
  for (let tries = 0; ports.length < count && tries < PORTS_OF_PROCESS; tries++) {
    const port = first + next;
    next = (next + 1) % PORTS_OF_PROCESS;
    if (!taken.has(port)) ports.push(port);
  }
  if (ports.length < count) throw new Error(`no ${count} ports are free from ${first} on`);
  return ports;
}

export const freePort = (): number => freePorts(1)[0]!;

/** Local ports of all sockets, as the kernel lists them: `sl local_address …`, an address being `<hex>:<hex port>`. */
function takenPorts(): Set<number> {
  const lines = ['/proc/net/tcp', '/proc/net/tcp6'].flatMap((file) => readFileSync(file, 'utf8').split('\n').slice(1));
  return new Set(lines.map((line) => parseInt(/^\s*\d+: [0-9A-F]+:([0-9A-F]{4}) /.exec(line)?.[1] ?? '0', 16)));
}

export function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
}
