import type { StoreAccess } from '../composition/storage.ts';
import type { Config } from '../config/config.ts';
import type { ConsoleProcess } from '../console/fork.ts';
import type { Log } from '../log/log.ts';
import { banner } from './banner.ts';
import type { Embedded } from './missing-stores.ts';
import type { Endpoints, RuntimeClaim } from './runtime-file.ts';
import type { Service } from './start-service.ts';

type Running = {
  readonly service: Service;
  /** Where clients of this machine send events. */
  readonly url: string;
  /** null where it is off. */
  readonly openedConsole: ConsoleProcess | null;
  readonly embedded: Embedded;
  readonly runtime: RuntimeClaim;
  readonly config: Config;
  readonly log: Log;
  /** For the person at the terminal. Must not block. */
  readonly print: (text: string) => void;
};

/** What the banner prints: good until it is used, at most an hour. */
const FIRST_LINK = { name: 'console', validMs: 3_600_000 } as const;

/**
 * Announces the running service to scripts (runtime.json), to the log and, outside production, to the person at the
 * terminal.
 */
export async function announce({
  service,
  url,
  openedConsole,
  embedded,
  runtime,
  config,
  log,
  print,
}: Running): Promise<void> {
  const { databaseUrl, clickhouse } = embedded.access;
  const endpoints: Endpoints = {
    url,
    clickhouseUrl: clickhouse && withCredentials(clickhouse),
    clickhouseKey: clickhouse?.key ?? null,
    databaseUrl,
    consoleUrl: null,
  };
  runtime.publish(endpoints);
  log.info({ url, settings: config.effective.filter(({ source }) => source !== 'default') }, 'listening');
  const consoleUrl = (await openedConsole?.listening) ?? null;
  if (consoleUrl !== null) runtime.publish({ ...endpoints, consoleUrl });
  if (config.production) return;

  const demo = await service.findDemo();
  if (demo && config.anonymousProject === null) service.admitAnonymous(demo.project_id);
  const link = consoleUrl === null ? null : await openedConsole!.link(FIRST_LINK.name, FIRST_LINK.validMs);
  print(
    banner({
      url,
      dataDir: config.dataDir,
      token: demo?.public_token ?? null,
      isEmbedded: embedded.stores.length > 0,
      console: consoleUrl === null ? null : (link ?? consoleUrl),
    }),
  );
}

/** The address in a form that a script can use; only its owner can read `runtime.json`. */
function withCredentials({ url, username, password }: NonNullable<StoreAccess['clickhouse']>): string {
  const full = new URL(url);
  if (username !== 'default' || password !== '') Object.assign(full, { username, password });
  return full.href.replace(/\/$/, '');
}
