/** Signing in, who is signed in, signing out. */
import { Hono, type Context } from 'hono';
import * as v from 'valibot';
import type { Log } from '../../log/log.ts';
import type { ConsoleSessions, SessionOwner } from '../../postgres/accounts/console-sessions.ts';
import type { OperatorRole } from '../../postgres/accounts/operators.ts';
import { PostgresFailure } from '../../postgres/connection/errors.ts';
import { HASH_OF_NONE } from '../../postgres/accounts/password-hash.ts';
import type { ConsoleEnv } from '../env.ts';
import { type ConsoleRefusal, refuse } from '../refusals.ts';
import type { SessionAnswer } from './answers.ts';
import { cookieOf, csrfOf, noCookie, sessionIdIn } from './cookie.ts';
import type { Guesses } from './guesses.ts';
import type { LinkUses } from './link-uses.ts';
import type { PasswordChecks } from './password-checks.ts';
import { type ShowEvents, operatorOf } from './signed-in.ts';

export type SignInDeps = {
  readonly sessions: ConsoleSessions;
  readonly links: LinkUses;
  /** null when no account of that name may sign in. */
  readonly findSignIn: (name: string) => Promise<{ role: OperatorRole; passwordHash: string } | null>;
  readonly passwords: PasswordChecks;
  readonly guesses: Guesses;
  readonly showEvents: ShowEvents;
  /** Whether browsers reach the console over TLS. */
  readonly isSecure: boolean;
  readonly service: SessionAnswer['service'];
  readonly log: Log;
};

type Session = { readonly id: string; readonly owner: SessionOwner };

const MAX_CHARACTERS = 1_024;
// Postgres keeps no NUL.
const Text = v.pipe(v.string(), v.maxLength(MAX_CHARACTERS), v.regex(/^[^\0]+$/));
/** What signs in: a link, or an account. */
export const SignIn = v.union([v.strictObject({ link: Text }), v.strictObject({ name: Text, password: Text })]);
const WRONG: ConsoleRefusal = { refused: 'wrong_credentials' };
const BUSY: ConsoleRefusal = { refused: 'busy', retryAfterS: 1 };

/** The path of the session, relative to the API. `POST` alone needs no session. */
export const SESSION = '/session';

/** Mounted before the check of the session: it answers only `POST`. */
export function signInRoute(deps: SignInDeps): Hono<ConsoleEnv> {
  return new Hono<ConsoleEnv>().post(SESSION, async (c) => {
    const body: unknown = await c.req.json().catch(() => undefined);
    if (body === undefined) return refuse(c, { refused: 'invalid_json' });
    const given = v.safeParse(SignIn, body);
    if (!given.success) {
      const message = 'the body must be {"link": "…"} or {"name": "…", "password": "…"}';
      return refuse(c, { refused: 'invalid_request', message });
    }
    const signIn = given.output;
    const session =
      'link' in signIn ? await byLink(deps, signIn.link) : await byGuessablePassword(deps, signIn, addressOf(c));
    if ('refused' in session) return refuse(c, session);

    deps.log.info({ ...session.owner, requestId: c.get('requestId') }, 'signed in to the console');
    // Whoever had the browser before is signed out; a session id from outside is never taken over.
    const before = sessionIdIn(c.req.header('Cookie'));
    if (before !== null) await deps.sessions.end(before);
    c.header('Set-Cookie', cookieOf(session.id, deps.isSecure));
    return c.json(answerOf(deps, session));
  });
}

/** Mounted behind it. */
export function sessionRoutes(deps: SignInDeps): Hono<ConsoleEnv> {
  return new Hono<ConsoleEnv>()
    .get(SESSION, (c) => c.json(answerOf(deps, { id: idOf(c), owner: c.get('operator') })))
    .delete(SESSION, async (c) => {
      await endOrForget(deps, idOf(c));
      c.header('Set-Cookie', noCookie(deps.isSecure));
      return c.body(null, 204);
    });
}

/** While Postgres is away, this console forgets the session, and ends it when it is shown again. */
async function endOrForget({ sessions, log }: SignInDeps, id: string): Promise<void> {
  try {
    await sessions.end(id);
  } catch (error) {
    if (!(error instanceof PostgresFailure && error.isUnavailable)) throw error;
    log.warn({ err: error }, 'signed out while postgres is away: the session ends with its idle time');
  }
}

type NameAndPassword = { readonly name: string; readonly password: string };

/** After too many wrong passwords, the right one has to wait as well. */
async function byGuessablePassword(
  deps: SignInDeps,
  given: NameAndPassword,
  address: string,
): Promise<Session | ConsoleRefusal> {
  const attempt = { name: given.name, address };
  const waitMs = deps.guesses.begin(attempt);
  if (waitMs > 0) {
    // Without the name: people type their password there.
    deps.log.warn({ address }, 'too many wrong sign-ins: slowing down');
    return { refused: 'too_many_attempts', retryAfterS: waitMs / 1_000 };
  }
  let session: Session | ConsoleRefusal;
  try {
    session = await byPassword(deps, given);
  } catch (error) {
    deps.guesses.unjudged(attempt);
    throw error;
  }
  if (!('refused' in session)) deps.guesses.succeeded(attempt);
  else if (session.refused === 'busy') deps.guesses.unjudged(attempt);
  return session;
}

async function byLink({ links, sessions }: SignInDeps, secret: string): Promise<Session | ConsoleRefusal> {
  const used = await links.use(secret);
  if (used === 'wrong') return WRONG;
  if (used === 'busy') return BUSY;
  const owner = { name: used.name, role: 'operator' } as const;
  return { id: await sessions.beginByLink(owner), owner };
}

async function byPassword(
  { findSignIn, passwords, sessions }: SignInDeps,
  { name, password }: NameAndPassword,
): Promise<Session | ConsoleRefusal> {
  const account = await findSignIn(name);
  // The same work for a name that nobody has: the time of the answer does not tell.
  const isRight = await passwords.check(password, account?.passwordHash ?? HASH_OF_NONE);
  if (isRight === null) return BUSY;
  if (account === null || !isRight) return WRONG;
  return (await sessions.beginByPassword(name, account.passwordHash)) ?? WRONG;
}

function answerOf({ showEvents, service }: SignInDeps, { id, owner }: Session): SessionAnswer {
  return { ...operatorOf(owner, showEvents), csrf: csrfOf(id), service };
}

const idOf = (c: Context<ConsoleEnv>): string => sessionIdIn(c.req.header('Cookie'))!;

/** Of the connection: what headers say about it, anybody can write. */
function addressOf(c: Context<ConsoleEnv>): string {
  return (c.env as Partial<ConsoleEnv['Bindings']>)?.incoming?.socket.remoteAddress ?? 'unknown';
}
