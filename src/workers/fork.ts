/**
 * Worker processes that share one listening socket. The operating system hands a new connection to a worker that waits
 * for one, never to one that is busy, frozen or dead; no connection passes through the supervisor.
 */
import cluster from 'node:cluster';
import { createInterface } from 'node:readline';
import { hostFileOf } from '../runtime/own-files.ts';

/** `error`: why there was no process at all. */
export type Exit = {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly error?: string;
};

export type WorkerProcess = {
  readonly pid: number;
  /** Kept until the process listens. Does nothing when it is gone. */
  send(message: unknown): void;
  readonly exited: Promise<Exit>;
  kill(): void;
};

export type Fork = (onMessage: (message: unknown) => void) => WorkerProcess;

const HOST = hostFileOf('workers/worker-host');

/**
 * What a worker says once it listens. A message that arrives sooner is lost: cluster itself listens from the beginning,
 * so that Node keeps none for a later listener, and modules that an operator preloads (`NODE_OPTIONS`) may take their
 * time. They may also say something before this.
 */
export const GREETING = 'listening to messages';

/**
 * Call it once per process. The workers write to the supervisor's own standard error, unless `relay` receives all their
 * lines instead: where the descriptor cannot be reopened, each start and end of a worker would make the others' writes
 * block on the reader.
 */
export function createFork(relay: ((line: string) => void) | null): Fork {
  cluster.schedulingPolicy = cluster.SCHED_NONE;
  cluster.setupPrimary({ exec: HOST, args: [], serialization: 'advanced', silent: relay !== null });

  return (onMessage) => {
    let worker: ReturnType<typeof cluster.fork>;
    try {
      worker = cluster.fork();
    } catch (error) {
      return neverStarted(error as Error);
    }
    const exited = Promise.withResolvers<Exit>();
    for (const stream of [worker.process.stdout, worker.process.stderr]) {
      if (relay && stream) createInterface({ input: stream }).on('line', relay);
    }
    let unsent: object[] | null = [];
    worker.on('message', (message: unknown) => {
      if (unsent === null) return onMessage(message);
      if (message !== GREETING) return;
      for (const kept of unsent) deliver(kept);
      unsent = null;
    });
    worker.on('exit', (code: number | null, signal: NodeJS.Signals | null) => exited.resolve({ code, signal }));
    // Raised when a process could not be created, or when one dies while a message is sent to it.
    worker.on('error', ({ message }) => {
      if (worker.process.pid === undefined) exited.resolve({ code: null, signal: null, error: message });
    });
    return {
      pid: worker.process.pid ?? 0,
      send(message) {
        if (unsent === null) deliver(message as object);
        else unsent.push(message as object);
      },
      exited: exited.promise,
      kill: () => void worker.process.kill('SIGKILL'),
    };

    function deliver(message: object) {
      // The reply, or the end of the process, shows whether it arrived.
      if (worker.isConnected()) worker.send(message, () => {});
    }
  };
}

/** As where memory is short. */
function neverStarted({ message }: Error): WorkerProcess {
  const exited = Promise.resolve({ code: null, signal: null, error: message });
  return { pid: 0, send: () => {}, exited, kill: () => {} };
}
