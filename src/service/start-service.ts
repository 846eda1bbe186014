import { type Demo, provideDemo } from '../composition/demo.ts';
import type { StoreAccess } from '../composition/storage.ts';
import { type StopOptions, startWeir } from '../composition/weir.ts';
import type { Config } from '../config/config.ts';
import type { Log } from '../log/log.ts';
import { systemClock } from '../runtime/clock.ts';
import { ownVersion } from '../runtime/own-files.ts';
import type { OpenWatch } from '../watch/messages.ts';
import { startSupervisor } from '../workers/supervisor.ts';
import { abandonedWorkers } from '../workers/worker-directories.ts';

/** What one process does alone, or a supervisor has its workers do. */
export type Service = {
  readonly port: number;
  readonly version: string;
  /** Tells of events as they are accepted. */
  readonly openWatch: OpenWatch;
  /** null where none is wanted. May wait for the stores. */
  findDemo(): Promise<Demo | null>;
  admitAnonymous(projectId: string): void;
  /** `unclean`: workers that did not end as they should. */
  stop(how: StopOptions): Promise<{ readonly lost: number; readonly unclean: number }>;
  /** Saves what is in memory, synchronously, and reports the outcome. */
  leave(why: string): void;
};

/** One process, unless several are configured or earlier workers left events behind. */
export async function startService({
  config,
  port,
  access,
  relay,
  log,
  signal,
}: {
  config: Config;
  port: number;
  access: StoreAccess;
  /** Receives the workers' log lines; null where they can write them themselves. */
  relay: ((line: string) => void) | null;
  log: Log;
  /** Uses the supervisor's. */
  signal: AbortSignal;
}): Promise<Service> {
  const parts = { config, access, version: ownVersion(), clock: systemClock, log };
  if (config.workers > 1 || abandonedWorkers(config.dataDir, config.workers).length > 0) {
    const { createFork } = await import('../workers/fork.ts');
    // One port for all of them, also when all of them die at the same time.
    const shared = { ...parts, config: { ...config, port } };
    const supervisor = await startSupervisor({ ...shared, fork: createFork(relay), random: Math.random, signal });
    return {
      ...supervisor,
      version: parts.version,
      leave(why) {
        supervisor.leave();
        log.fatal({ workers: config.workers }, why);
      },
    };
  }
  const weir = await startWeir(parts);
  return {
    ...weir,
    version: parts.version,
    findDemo: () => provideDemo(config, weir),
    stop: async (how) => ({ lost: (await weir.stop(how)).lost, unclean: 0 }),
    leave: (why) => log.fatal({ ...weir.saveNow() }, why),
  };
}
