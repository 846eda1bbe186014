/** One running console: its stores, its routes, its socket. */
import { randomFillSync } from 'node:crypto';
import type { Hono } from 'hono';
import { createRequestIds } from '../http/answers/request-ids.ts';
import type { Log } from '../log/log.ts';
import { makeConsoleLink } from '../operations/console-link.ts';
import { createConsoleLinks } from '../postgres/accounts/console-links.ts';
import { createConsoleSessions } from '../postgres/accounts/console-sessions.ts';
import { findSignIn } from '../postgres/accounts/operators.ts';
import { isPassword } from '../postgres/accounts/password-hash.ts';
import { createPostgres } from '../postgres/connection/pool.ts';
import type { Clock } from '../runtime/clock.ts';
import { fileOfRoot } from '../runtime/own-files.ts';
import type { WatchReport } from '../watch/messages.ts';
import { createConsoleApp } from './app.ts';
import { SESSION_ROUTES } from './described-session.ts';
import type { ConsoleEnv } from './env.ts';
import { listenConsole } from './listener.ts';
import type { ConsoleAssignment } from './messages.ts';
import { openOperator } from './operator/open-operator.ts';
import { pageFiles } from './page-files.ts';
import type { SessionAnswer } from './session/answers.ts';
import { createGuesses } from './session/guesses.ts';
import { createLinkUses } from './session/link-uses.ts';
import { originsOf } from './session/own-page.ts';
import { createPasswordChecks } from './session/password-checks.ts';
import type { SignInDeps } from './session/session-routes.ts';
import { WATCHING } from './operator/watching.ts';
import { type WatchAccess, openWatch } from './watch/open-watch.ts';

export type Console = {
  readonly port: number;
  /** Where people open it. */
  readonly origin: string;
  /** A link that signs in, once, under that name. Throws `PostgresFailure`. */
  link(of: { readonly name: string; readonly validMs: number }): Promise<string>;
  /** Call it with what the service tells of events. */
  receive(report: WatchReport): void;
  stop(): Promise<void>;
};

/** A page asks for a few things at a time, and long questions have pools of their own. */
const POSTGRES_CONNECTIONS = 4;
const PAGE = fileOfRoot('dist/console');

/** Throws `CannotListen`; never waits for a store. */
export async function startConsole(
  { config, access, version, serviceUrl, port }: ConsoleAssignment,
  { watched, clock, log }: { watched: Pick<WatchAccess, 'order' | 'findPending'>; clock: Clock; log: Log },
): Promise<Console> {
  const { host, publicOrigin, showEvents } = config.console;
  const { pool, db } = createPostgres({ url: access.databaseUrl, maxConnections: POSTGRES_CONNECTIONS }, log);
  const { role, production } = config;
  const eventStore = access.clickhouse === null ? 'postgres' : 'clickhouse';
  const service: SessionAnswer['service'] = {
    url: serviceUrl,
    version,
    eventStore: role === 'ingest' ? null : eventStore,
    production,
    role,
  };
  const signIn: SignInDeps = {
    sessions: createConsoleSessions(db),
    links: createLinkUses(createConsoleLinks(db).use),
    findSignIn: (name) => findSignIn(db, name),
    passwords: createPasswordChecks(isPassword),
    guesses: createGuesses({ clock }),
    showEvents,
    isSecure: publicOrigin?.startsWith('https:') ?? false,
    service,
    log,
  };
  const watch = openWatch({ config, access, serviceUrl, ...watched }, { clock, log });
  const others = [...SESSION_ROUTES, ...WATCHING];
  const operator = openOperator({ config, access, serviceUrl, version, others }, { clock, log });
  const families: readonly Hono<ConsoleEnv>[] = [watch.routes, operator.routes];
  const newRequestId = createRequestIds(randomFillSync);
  const makeApp = (port: number) =>
    createConsoleApp({
      address: { host, port, publicOrigin },
      signIn,
      families,
      page: pageFiles(PAGE),
      newRequestId,
      clock,
      log,
    });
  const server = await listenConsole(makeApp, { host, port, log }).catch(async (error: unknown) => {
    await Promise.all([watch.close(), operator.close(), pool.end()]);
    throw error;
  });
  const [origin] = originsOf({ host, port: server.port, publicOrigin });
  return {
    port: server.port,
    origin: origin!,
    link: (of) => makeConsoleLink(db, { origin: origin!, ...of }),
    receive: watch.receive,
    async stop() {
      await Promise.all([watch.close(), server.close(), operator.close()]);
      await pool.end();
    },
  };
}
