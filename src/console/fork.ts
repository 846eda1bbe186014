/** The service's side of its console: a process of its own, started again whenever it ends. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Log } from '../log/log.ts';
import type { Clock } from '../runtime/clock.ts';
import { hostFileOf } from '../runtime/own-files.ts';
import type { OpenWatch } from '../watch/messages.ts';
import { type IpcChannel, createIpcChannel } from '../workers/ipc-channel.ts';
import { createRestarts } from '../workers/restarts.ts';
import { createViewer } from '../workers/shared-watch.ts';
import type {
  ConsoleAssignment,
  ConsoleMessage,
  ConsoleRequests,
  ServiceMessage,
  ServiceRequests,
} from './messages.ts';

export type ConsoleProcess = {
  /** Where people open it, once it listens; null when the first of its processes ended before it did. */
  readonly listening: Promise<string | null>;
  /** A link that signs in, once, under that name; null when the console cannot make one now. */
  link(name: string, validMs: number): Promise<string | null>;
  /** Ends it, with what is under way in it, and starts no other. Never rejects. */
  stop(): Promise<void>;
};

export type ConsoleProcessDeps = {
  readonly assignment: ConsoleAssignment;
  /** Lets it look at the service's events. */
  readonly openWatch: OpenWatch;
  /** Receives its log lines; null where it can write them itself. */
  readonly relay: ((line: string) => void) | null;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
};

type Running = {
  readonly channel: IpcChannel<ConsoleRequests, ServiceMessage>;
  readonly kill: () => void;
};

const HOST = hostFileOf('console/console-host');
const LINK_WITHIN_MS = 10_000;
/** How long it may take to end before it is killed: it holds nothing that would be lost. */
const STOP_WITHIN_MS = 5_000;

/** Starts it. The service needs nothing of it, and does not notice its end. */
export function startConsoleProcess(deps: ConsoleProcessDeps): ConsoleProcess {
  const { clock, log } = deps;
  const listening = Promise.withResolvers<string | null>();
  const stopping = new AbortController();
  let { port } = deps.assignment;
  let running: Running | null = null;
  const keeping = keepRunning();

  return {
    listening: listening.promise,
    async link(name, validMs) {
      const answer = await running?.channel.ask('link', { name, validMs }, LINK_WITHIN_MS);
      return answer?.url ?? null;
    },
    async stop() {
      stopping.abort();
      running?.channel.tell({ kind: 'stop' });
      const done = new AbortController();
      const killing = clock.sleep(STOP_WITHIN_MS, done.signal).then(() => {
        if (!done.signal.aborted) running?.kill();
      });
      await keeping;
      done.abort();
      await killing;
    },
  };

  async function keepRunning(): Promise<void> {
    const restarts = createRestarts(deps.random);
    while (!stopping.signal.aborted) {
      const startedAt = clock.elapsed();
      const exit = await runOnce();
      listening.resolve(null);
      if (stopping.signal.aborted) break;
      const { delayMs, inARow, isTrouble } = restarts.ended(clock.elapsed() - startedAt);
      const fields = { ...exit, delayMs, inARow };
      if (isTrouble) log.error({ ...fields }, 'console keeps ending; restarting it after longer and longer delays');
      else log.warn({ ...fields }, 'console ended; restarting it');
      await clock.sleep(delayMs, stopping.signal);
    }
  }

  async function runOnce() {
    let child: ChildProcess;
    let reason: string | null = null;
    try {
      child = fork(HOST, [], { serialization: 'advanced', silent: deps.relay !== null });
    } catch (error) {
      // As where memory is short.
      return { pid: null, code: null, signal: null, reason: (error as Error).message };
    }
    const viewer = createViewer(deps.openWatch, (report) => channel.tell({ kind: 'watched', report }));
    const channel = createIpcChannel<ConsoleRequests, ServiceMessage, ServiceRequests, ConsoleMessage>({
      send: (message) => {
        // The reply, or the end of the process, shows whether it arrived.
        if (child.connected) child.send(message as object, () => {});
      },
      clock,
      answerers: { pending: viewer.find },
      onMessage(message) {
        if (message.kind === 'watch') void viewer.order(message.streams);
        else if (message.kind === 'cannot start') reason = message.message;
        else if (message.kind === 'listening') noteListening(message);
      },
      onFailure: (error, about) => log.error({ err: error, about }, 'request from the console failed'),
    });
    for (const stream of [child.stdout, child.stderr]) {
      if (deps.relay && stream) createInterface({ input: stream }).on('line', deps.relay);
    }
    child.on('message', (message) => channel.receive(message));
    const ended = new AbortController();
    // Raised when a process could not be created, or when one dies while a message is sent to it.
    child.on('error', ({ message }) => {
      if (child.pid !== undefined) return;
      reason = message;
      ended.abort();
    });
    child.on('exit', () => ended.abort());
    running = { channel, kill: () => void child.kill('SIGKILL') };
    channel.tell({ kind: 'start', ...deps.assignment, port });
    if (!ended.signal.aborted) await once(ended.signal, 'abort');
    running = null;
    channel.close();
    await viewer.order(null);
    return { pid: child.pid ?? null, code: child.exitCode, signal: child.signalCode, reason };
  }

  function noteListening({ origin, port: taken }: Extract<ConsoleMessage, { kind: 'listening' }>) {
    port = taken;
    log.info({ url: origin }, 'console listening');
    listening.resolve(origin);
  }
}
