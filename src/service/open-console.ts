/** The console beside the service: whether there is one, and its process. Where it is off, nothing of it is loaded. */
import type { Config } from '../config/config.ts';
import type { StoreAccess } from '../composition/storage.ts';
import type { ConsoleProcess } from '../console/fork.ts';
import { findFreePort } from '../http/listener/server.ts';
import type { Log } from '../log/log.ts';
import { hostInUrl, isEveryAddress } from '../net/hosts.ts';
import { systemClock } from '../runtime/clock.ts';
import type { Service } from './start-service.ts';

const NAMES = { host: 'CONSOLE_HOST', port: 'CONSOLE_PORT' } as const;

/**
 * A port that a person named and cannot be had ends the start, as the service's own does. Once the service runs, it no
 * longer depends on the console's. Throws `CannotListen`.
 */
export async function checkConsolePort({ host, port }: Config['console']): Promise<void> {
  if (typeof port === 'number') await findFreePort({ host, port }, NAMES);
}

/** Where clients of this machine reach the service. */
export function urlOf({ host }: Pick<Config, 'host'>, port: number): string {
  return `http://${isEveryAddress(host) ? 'localhost' : hostInUrl(host)}:${port}`;
}

/** null where it is off. The console starts by itself; nothing waits for it. */
export async function openConsole({
  config,
  access,
  service,
  url,
  relay,
  log,
}: {
  config: Config;
  access: StoreAccess;
  service: Pick<Service, 'version' | 'openWatch'>;
  /** The service's. */
  url: string;
  relay: ((line: string) => void) | null;
  log: Log;
}): Promise<ConsoleProcess | null> {
  const { port } = config.console;
  if (port === 'off') return null;
  const { startConsoleProcess } = await import('../console/fork.ts');
  const assignment = { config, access, version: service.version, serviceUrl: url, port };
  const { openWatch } = service;
  return startConsoleProcess({ assignment, openWatch, relay, clock: systemClock, random: Math.random, log });
}
