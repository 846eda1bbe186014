/**
 * Worker processes that share one listening socket. The system hands a new
 * connection to any worker that waits for one, never to one that is busy, frozen
 * or dead, and the supervisor takes part in no connection.
 */
import cluster from 'node:cluster';
import { fileURLToPath } from 'node:url';

export type Exit = { readonly code: number | null; readonly signal: NodeJS.Signals | null };

export type WorkerProcess = {
  readonly pid: number;
  /** Does nothing when the process is gone. */
  send(message: unknown): void;
  readonly exited: Promise<Exit>;
  kill(): void;
};

export type Fork = (onMessage: (message: unknown) => void) => WorkerProcess;

const HOST = fileURLToPath(new URL('worker-host.ts', import.meta.url));

/** To be called once in a process. */
export function createFork(): Fork {
  cluster.schedulingPolicy = cluster.SCHED_NONE;
  cluster.setupPrimary({ exec: HOST, args: [], serialization: 'advanced' });

  return (onMessage) => {
    const worker = cluster.fork();
    const exited = Promise.withResolvers<Exit>();
    worker.on('message', onMessage);
    worker.on('exit', (code: number | null, signal: NodeJS.Signals | null) => exited.resolve({ code, signal }));
    // Of a process that could not be made, or one that is told something as it dies.
    worker.on('error', () => {
      if (worker.process.pid === undefined) exited.resolve({ code: null, signal: null });
    });
    return {
      pid: worker.process.pid ?? 0,
      send(message) {
        // Whether it arrived shows in the answer, or in the end of the process.
        if (worker.isConnected()) worker.send(message as object, () => {});
      },
      exited: exited.promise,
      kill: () => void worker.process.kill('SIGKILL'),
    };
  };
}
