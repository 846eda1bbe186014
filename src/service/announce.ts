import type { StoreAccess } from '../composition/storage.ts';
import type { Config } from '../config/config.ts';
import type { Log } from '../log/log.ts';
import type { Io } from '../runtime/io.ts';
import { banner } from './banner.ts';
import type { Embedded } from './missing-stores.ts';
import type { RuntimeClaim } from './runtime-file.ts';
import type { Service } from './start-service.ts';

type Running = {
  readonly service: Service;
  readonly embedded: Embedded;
  readonly runtime: RuntimeClaim;
  readonly config: Config;
  readonly log: Log;
  readonly io: Io;
};

/**
 * Announces the running service to scripts (runtime.json), to the log and, outside production, to the person at the
 * terminal.
 */
export async function announce({ service, embedded, runtime, config, log, io }: Running): Promise<void> {
  const host = config.host === '0.0.0.0' || config.host === '::' ? 'localhost' : config.host;
  const url = `http://${host}:${service.port}`;
  const { databaseUrl, clickhouse } = embedded.access;
  runtime.publish({
    url,
    clickhouseUrl: clickhouse && withCredentials(clickhouse),
    clickhouseKey: clickhouse?.key ?? null,
    databaseUrl,
  });
  log.info({ url, settings: config.effective.filter(({ source }) => source !== 'default') }, 'listening');
  if (config.production) return;

  const demo = await service.findDemo();
  if (demo && config.anonymousProject === null) service.admitAnonymous(demo.project_id);
  io.stdout(
    banner({ url, dataDir: config.dataDir, token: demo?.public_token ?? null, isEmbedded: embedded.stores.length > 0 }),
  );
}

/** The address in a form that a script can use; only its owner can read `runtime.json`. */
function withCredentials({ url, username, password }: NonNullable<StoreAccess['clickhouse']>): string {
  const full = new URL(url);
  if (username !== 'default' || password !== '') Object.assign(full, { username, password });
  return full.href.replace(/\/$/, '');
}
