/** The console's app with everything around it replaced by small working parts: sessions in memory, no stores. */
import { Hono } from 'hono';
import { createConsoleApp, type ConsoleAppDeps } from '../../src/console/app.ts';
import type { ConsoleEnv } from '../../src/console/env.ts';
import { createGuesses } from '../../src/console/session/guesses.ts';
import { createLinkUses } from '../../src/console/session/link-uses.ts';
import { createPasswordChecks } from '../../src/console/session/password-checks.ts';
import type { SignInDeps } from '../../src/console/session/session-routes.ts';
import { createLog } from '../../src/log/log.ts';
import type { SessionOwner } from '../../src/postgres/accounts/console-sessions.ts';
import type { OperatorRole } from '../../src/postgres/accounts/operators.ts';
import { createManualClock } from './clock.ts';

const HOST = '127.0.0.1:8081';
export const ORIGIN = `http://${HOST}`;

export type ConsoleWorld = {
  readonly clock: ReturnType<typeof createManualClock>;
  /** By id. */
  readonly sessions: Map<string, SessionOwner>;
  /** By secret: the name of who made it. */
  readonly links: Map<string, string>;
  /** By name; the hash is the password itself. */
  readonly accounts: Map<string, { role: OperatorRole; password: string }>;
  /** What passwords were compared with, in order. */
  readonly compared: string[];
  /** How often a session was looked up. */
  lookUps(): number;
  /** Thrown by every look-up while it is set. */
  outage: Error | null;
  /** Asks as the console's own page does, signed in as whom `cookie` says. */
  ask(method: string, path: string, asked?: Asked): Promise<Answer>;
  /** A path that is read, its answer as it comes. */
  open(path: string, asked: Asked): Promise<Response>;
  /** Every route of the app. */
  readonly routes: readonly { readonly method: string; readonly path: string }[];
  /** A session of that role, and what its page sends. */
  signIn(role: OperatorRole): { readonly cookie: string; readonly csrf: string };
};

type Asked = {
  readonly cookie?: string | undefined;
  readonly csrf?: string | undefined;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: unknown;
};
export type Answer = {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  readonly json: unknown;
};

export async function createConsoleWorld(
  families: readonly Hono<ConsoleEnv>[] = [],
  { showEvents = 'operators', isSecure = false }: Partial<Pick<SignInDeps, 'showEvents' | 'isSecure'>> = {},
): Promise<ConsoleWorld> {
  const { csrfOf } = await import('../../src/console/session/cookie.ts');
  const clock = createManualClock();
  const log = createLog('silent');
  const sessions = new Map<string, SessionOwner>();
  const links = new Map<string, string>();
  const accounts: ConsoleWorld['accounts'] = new Map();
  const compared: string[] = [];
  let made = 0;
  let lookUps = 0;
  const newId = () => String(++made).padStart(43, 's');
  const begin = (owner: SessionOwner) => {
    const id = newId();
    sessions.set(id, owner);
    return id;
  };
  const unlessAway = <T>(answer: () => T) => {
    if (world.outage) return Promise.reject(world.outage);
    return Promise.resolve(answer());
  };
  const signIn: SignInDeps = {
    sessions: {
      beginByLink: async (owner) => begin(owner),
      beginByPassword: async (name) => {
        const owner = { name, role: accounts.get(name)!.role };
        return { id: begin(owner), owner };
      },
      find(id) {
        lookUps++;
        return unlessAway(() => sessions.get(id) ?? null);
      },
      end: (id) => unlessAway(() => void sessions.delete(id)),
    },
    links: createLinkUses((secret) =>
      unlessAway(() => {
        const name = links.get(secret) ?? null;
        links.delete(secret);
        return name;
      }),
    ),
    findSignIn: (name) =>
      unlessAway(() => {
        const account = accounts.get(name);
        return account ? { role: account.role, passwordHash: account.password } : null;
      }),
    passwords: createPasswordChecks(async (password, stored) => {
      compared.push(stored);
      return password === stored;
    }),
    guesses: createGuesses({ clock }),
    showEvents,
    isSecure,
    service: { url: 'http://127.0.0.1:8080', version: '0', eventStore: 'clickhouse', production: false, role: 'all' },
    log,
  };
  const deps: ConsoleAppDeps = {
    address: { host: '127.0.0.1', port: 8081, publicOrigin: isSecure ? 'https://weir.example.com' : null },
    signIn,
    families,
    page: new Hono<ConsoleEnv>().get('/', (c) => c.text('page')),
    newRequestId: () => 'id',
    clock,
    log,
  };
  const app = createConsoleApp(deps);
  const world: ConsoleWorld = {
    clock,
    sessions,
    links,
    accounts,
    compared,
    lookUps: () => lookUps,
    outage: null,
    async ask(method, path, { cookie, csrf, headers = {}, body } = {}) {
      const own: Record<string, string> = { Host: HOST };
      if (method !== 'GET' && method !== 'HEAD') own['Origin'] = ORIGIN;
      if (body !== undefined) own['Content-Type'] = 'application/json';
      if (cookie !== undefined) own['Cookie'] = cookie;
      if (csrf !== undefined) own['X-Weir-Csrf'] = csrf;
      const sent = typeof body === 'string' ? body : JSON.stringify(body);
      const answer = await app.request(`http://x${path}`, {
        method,
        headers: { ...own, ...headers },
        ...(body !== undefined && { body: sent }),
      });
      const text = await answer.text();
      const isJson = text !== '' && answer.headers.get('Content-Type')?.startsWith('application/json');
      return { status: answer.status, headers: answer.headers, text, json: isJson ? JSON.parse(text) : null };
    },
    routes: app.routes,
    open: async (path, { cookie = '' }) => app.request(`http://x${path}`, { headers: { Host: HOST, Cookie: cookie } }),
    signIn(role) {
      const id = begin({ name: `a ${role}`, role });
      return { cookie: `weir_console=${id}`, csrf: csrfOf(id) };
    },
  };
  return world;
}
