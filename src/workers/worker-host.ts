/**
 * Runs inside a process of its own: one worker, from the assignment it is sent
 * to its end. What Ctrl-C and a service manager send to the whole group is the
 * supervisor's to hear; a worker drains when it is told to, or when the
 * supervisor is gone.
 */
import cluster from 'node:cluster';
import { enableCompileCache } from 'node:module';
import { fileURLToPath } from 'node:url';
import closeWithGrace from 'close-with-grace';
import type { Worker } from './worker.ts';
import type { AskedBySupervisor, Assignment, AskedByWorker, ToldBySupervisor, ToldByWorker } from './messages.ts';

enableCompileCache(fileURLToPath(new URL('../../node_modules/.cache/weir', import.meta.url)));
const { systemClock } = await import('../clock.ts');
const { createLog } = await import('../log.ts');
const { createLink } = await import('./link.ts');
const { startWorker } = await import('./worker.ts');

/** Closing connections after the events are safe. */
const BEYOND_GRACE_MS = 3_000;
const LEFT_TO_SUPERVISOR = ['SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGTERM', 'SIGUSR2'] as const;

for (const signal of LEFT_TO_SUPERVISOR) process.on(signal, () => {});
// Otherwise Node would end this process the moment its supervisor is gone, with events in memory.
cluster.worker!.exitedAfterDisconnect = true;

const assigned = Promise.withResolvers<Assignment>();
const stopped = Promise.withResolvers<void>();
/** Before that there is nothing to save. */
let running: Worker | null = null;

const link = createLink<AskedByWorker, ToldByWorker, AskedBySupervisor, ToldBySupervisor>({
  send: (message) => {
    // Losing the supervisor is noticed below.
    if (process.connected) process.send!(message, undefined, undefined, () => {});
  },
  clock: systemClock,
  answerers: {
    look: async () => (await starting).look(),
    demo: async () => ({ demo: await (await starting).findDemo() }),
    remember: async (answers) => {
      await (await starting).remember(answers);
      return 'remembered';
    },
  },
  onTold(message) {
    if (message.kind === 'start') assigned.resolve(message);
    if (message.kind === 'stop') stopped.resolve();
    if (message.kind === 'leave') {
      saveAndLeave('second signal: leaving at once');
      process.exit(1);
    }
    // Not awaited: one that does not start has nobody to admit.
    if (message.kind === 'admit') starting.then((worker) => worker.admitAnonymous(message.projectId), ignore);
  },
  onFailure: (error, about) => log.warn({ err: error, about }, 'question of the supervisor failed'),
});
process.on('message', (message) => link.receive(message));
process.on('disconnect', () => {
  link.close();
  stopped.resolve();
});

const assignment = await Promise.race([assigned.promise, stopped.promise]);
// Told to stop before it was told to start.
if (!assignment) process.exit(0);
const { worker, config } = assignment;
const log = createLog(config.logLevel).child({ worker });
const starting = startWorker({ assignment, supervisor: link, clock: systemClock, log });

const ending = closeWithGrace(
  {
    delay: config.shutdownGraceMs + BEYOND_GRACE_MS,
    logger: false,
    skip: [...LEFT_TO_SUPERVISOR],
    onTimeout: () => saveAndLeave('shutdown took too long'),
    onSecondError: () => saveAndLeave('second error while shutting down'),
  },
  async ({ err }) => {
    if (err) log.fatal({ err }, 'unexpected error: shutting down');
    const residue = await (await starting).stop();
    link.tell({ kind: 'stopped', ...residue });
    log.info({ lost: residue.lost }, 'stopped');
    if (residue.lost > 0) throw new Error(`${residue.lost} events have no durable home`);
  },
);

try {
  running = await starting;
  await Promise.race([stopped.promise, running.delivered]);
  if (!process.connected) log.warn({}, 'supervisor is gone: shutting down');
  ending.close();
} catch (error) {
  const { isExplained } = await import('./worker.ts');
  if (!isExplained(error)) throw error;
  ending.uninstall();
  // Whoever told the supervisor has told the person.
  process.send?.({ kind: 'cannot start', message: error.message } satisfies ToldByWorker, undefined, undefined, () =>
    process.exit(1),
  );
}

function saveAndLeave(why: string) {
  if (running) log.fatal({ ...running.saveNow() }, why);
}

function ignore() {}
