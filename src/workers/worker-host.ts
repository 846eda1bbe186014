/**
 * Runs inside a process of its own: one worker, from its assignment to its end. Signals that Ctrl-C and a service
 * manager send to the whole process group are left to the supervisor; a worker drains when it is told to, or when the
 * supervisor is gone.
 */
import cluster from 'node:cluster';
import { enableCompileCache } from 'node:module';
import closeWithGrace from 'close-with-grace';
import type { StopOptions } from '../composition/weir.ts';
import { compileCacheDir } from '../runtime/own-files.ts';
import { CRASHES, LEFT_TO_SERVICE } from '../runtime/signals.ts';
import type { Worker } from './worker.ts';
import type { SupervisorRequests, Assignment, WorkerRequests, SupervisorMessage, WorkerMessage } from './messages.ts';

// Before anything else is loaded.
for (const signal of LEFT_TO_SERVICE) process.on(signal, () => {});

enableCompileCache(compileCacheDir());
const { systemClock } = await import('../runtime/clock.ts');
const { createLog, openStandardError } = await import('../log/log.ts');
const { createIpcChannel } = await import('./ipc-channel.ts');
const { GREETING } = await import('./fork.ts');
const { collectStartupGarbage } = await import('../runtime/startup-garbage.ts');
const { startWorker } = await import('./worker.ts');

// There is nowhere left to report it. Creating the stream also makes writes to a pipe non-blocking.
process.stderr.on('error', ignore);
process.stdout.on('error', ignore);
const output = openStandardError(systemClock);
process.on('exit', () => output.finish(FOR_LAST_LINES_MS));

/** Closing connections after the events are safe. */
const BEYOND_GRACE_MS = 3_000;
/** Time for the last log lines when their reader is slow or absent. */
const FOR_LAST_LINES_MS = 500;

// Otherwise Node would end this process when its supervisor is gone, with events in memory.
cluster.worker!.exitedAfterDisconnect = true;

const assigned = Promise.withResolvers<Assignment>();
const stopped = Promise.withResolvers<StopOptions>();
const abandoned = new AbortController();
const AT_ONCE: StopOptions = { isAnnounced: false };
/** null before the start: there is nothing to save yet. */
let running: Worker | null = null;

const send = (message: unknown) => {
  // The code below notices the end of the supervisor.
  if (process.connected) process.send!(message, undefined, undefined, () => {});
};
const supervisor = createIpcChannel<WorkerRequests, WorkerMessage, SupervisorRequests, SupervisorMessage>({
  send,
  clock: systemClock,
  answerers: {
    snapshot: async () => (await starting).snapshot(),
    demo: async () => ({ demo: await (await starting).findDemo() }),
    remember: async (answers) => {
      await (await starting).remember(answers);
      return 'remembered';
    },
    pending: async (question) => (await starting).findPending(question),
  },
  onMessage(message) {
    if (message.kind === 'start') assigned.resolve(message);
    if (message.kind === 'stop') stopped.resolve(message);
    if (message.kind === 'leave') {
      saveAndLeave('second signal: exiting at once');
      process.exit(1);
    }
    // Not awaited: a worker that does not start admits no requests.
    if (message.kind === 'watch') starting.then((worker) => worker.watch(message.streams), ignore);
    if (message.kind === 'admit') starting.then((worker) => worker.admitAnonymous(message.projectId), ignore);
  },
  onFailure: (error, about) => log.warn({ err: error, about }, 'request from the supervisor failed'),
});
process.on('message', (message) => supervisor.receive(message));
process.on('disconnect', loseSupervisor);
send(GREETING);
// If the supervisor is already gone, there is no further event.
if (!process.connected) loseSupervisor();

const assignment = await Promise.race([assigned.promise, stopped.promise]);
// Told to stop before the start, or the supervisor is gone.
if (!('worker' in assignment) || abandoned.signal.aborted) process.exit(0);
const { worker, config } = assignment;
const log = createLog(config.logLevel, output).child({ worker });
const starting = startWorker({
  assignment,
  supervisor,
  abandoned: abandoned.signal,
  clock: systemClock,
  log,
});

/** How to end, once the worker is told to. */
let how: StopOptions = AT_ONCE;
const ending = closeWithGrace(
  {
    delay: config.drainDelayMs + config.shutdownGraceMs + BEYOND_GRACE_MS,
    logger: { error: (err: unknown) => log.error({ err }, 'shutdown failed') },
    skip: [...LEFT_TO_SERVICE, ...CRASHES],
    onTimeout: () => saveAndLeave('shutdown took too long'),
    onSecondError: () => saveAndLeave('second error while shutting down'),
  },
  async ({ err }) => {
    if (err) log.fatal({ err }, 'unexpected error: shutting down');
    const leftovers = await (await starting).stop(how);
    supervisor.tell({ kind: 'stopped', ...leftovers });
    log.info({ lost: leftovers.lost }, 'stopped');
    if (leftovers.lost > 0) throw new Error(`${leftovers.lost} events have no durable home`);
  },
);

try {
  running = await starting;
  collectStartupGarbage(systemClock);
  how = (await Promise.race([stopped.promise, running.delivered])) ?? AT_ONCE;
  if (!process.connected) log.warn({}, 'supervisor is gone: shutting down');
  ending.close();
} catch (error) {
  const { isExplained } = await import('./worker.ts');
  if (!isExplained(error)) throw error;
  ending.uninstall();
  if (!process.connected) log.warn({ err: error }, 'supervisor is gone: abandoning the start');
  // The supervisor prints the message.
  process.send?.({ kind: 'cannot start', message: error.message } satisfies WorkerMessage, undefined, undefined, () =>
    process.exit(1),
  );
}

function saveAndLeave(why: string) {
  if (running) log.fatal({ ...running.saveNow() }, why);
}

function loseSupervisor() {
  supervisor.close();
  abandoned.abort();
  stopped.resolve(AT_ONCE);
}

function ignore() {}
