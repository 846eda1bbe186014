import { Hono } from 'hono';
import { beforeEach, describe, expect, test } from 'vitest';
import type { ConsoleEnv } from '../src/console/env.ts';
import { endingWith } from '../src/console/session/ending-streams.ts';
import { createGuesses } from '../src/console/session/guesses.ts';
import { createLinkUses } from '../src/console/session/link-uses.ts';
import { createPasswordChecks } from '../src/console/session/password-checks.ts';
import { REMEMBERED_MS, rememberSessions } from '../src/console/session/remembered-sessions.ts';
import { HASH_OF_NONE, hashPassword, isPassword } from '../src/postgres/accounts/password-hash.ts';
import { PostgresFailure } from '../src/postgres/connection/errors.ts';
import { createManualClock, settled } from './support/clock.ts';
import { type ConsoleWorld, createConsoleWorld } from './support/console-app.ts';

const SESSION = '/api/v1/operator/session';
const READ = '/api/v1/operator/thing';
const SECRET = 'l'.repeat(43);
const AWAY = new PostgresFailure(Object.assign(new Error('away'), { code: 'ECONNREFUSED' }));

let world: ConsoleWorld;
beforeEach(async () => {
  const family = new Hono<ConsoleEnv>()
    .get('/thing', (c) => c.json(c.get('operator')))
    .post('/thing', (c) => c.json(c.get('operator')));
  world = await createConsoleWorld([family]);
});

const linkOf = (number: number) => String(number).padStart(43, 'l');
const signInBy = (body: unknown) => world.ask('POST', SESSION, { body });
const cookieIn = (headers: Headers) => headers.get('Set-Cookie')?.split(';')[0];

describe('a link', () => {
  test('signs in once, under the name of who made it, as an operator', async () => {
    world.links.set(SECRET, 'mira');
    const answer = await signInBy({ link: SECRET });
    expect(answer).toMatchObject({ status: 200, json: { name: 'mira', role: 'operator', showsEvents: true } });
    const seen = await world.ask('GET', SESSION, { cookie: cookieIn(answer.headers) });
    expect(seen.json).toEqual(answer.json);
    expect((await signInBy({ link: SECRET })).status).toBe(401);
  });

  test('begins a session in a cookie that no script and no other site can use', async () => {
    world.links.set(SECRET, 'mira');
    const { headers } = await signInBy({ link: SECRET });
    expect(headers.get('Set-Cookie')).toMatch(
      /^weir_console=[\w-]{43}; Path=\/; Max-Age=43200; HttpOnly; SameSite=Strict$/,
    );
  });

  test('begins one that is sent over TLS only, where browsers come over TLS', async () => {
    const behind = await createConsoleWorld([], { isSecure: true });
    behind.links.set(SECRET, 'mira');
    const { headers } = await behind.ask('POST', SESSION, { body: { link: SECRET } });
    expect(headers.get('Set-Cookie')).toMatch(/; Secure$/);
  });
});

describe('a link beside guesses', () => {
  test('gets in while everybody of its address has to wait, however long that has gone on', async () => {
    world.links.set(SECRET, 'mira');
    for (let guess = 0; guess < 40; guess++) await signInBy({ name: `name ${guess}`, password: 'guess' });
    expect((await signInBy({ name: 'another', password: 'guess' })).status).toBe(429);
    expect((await signInBy({ link: SECRET })).status).toBe(200);
  });

  test('that is wrong has nobody wait', async () => {
    world.accounts.set('mira', { role: 'viewer', password: 'right' });
    for (let guess = 0; guess < 100; guess++) expect((await signInBy({ link: linkOf(guess) })).status).toBe(401);
    expect((await signInBy({ name: 'mira', password: 'right' })).status).toBe(200);
  });
});

/** Work that lasts until it is told to end, and how much of it ran at once. */
function slowWork<Result>(result: Result) {
  const ends: (() => void)[] = [];
  let running = 0;
  let most = 0;
  return {
    async work(): Promise<Result> {
      most = Math.max(most, ++running);
      await new Promise<void>((resolve) => ends.push(resolve));
      running--;
      return result;
    },
    /** Ends so many, one after the other. */
    async end(count: number) {
      await settled();
      for (let ended = 0; ended < count; ended++) {
        ends[ended]!();
        await settled();
      }
    },
    most: () => most,
  };
}

describe('looking up links', () => {
  test('goes on for two at a time, has two hundred wait, and turns others away', async () => {
    const slow = slowWork('mira');
    const links = createLinkUses(slow.work);
    const answers = Array.from({ length: 250 }, (_, n) => links.use(linkOf(n)));
    await slow.end(202);
    const given = await Promise.all(answers);
    expect(given.filter((answer) => answer === 'busy')).toHaveLength(48);
    expect(slow.most()).toBe(2);
  });

  test('needs no store for what cannot be a link', async () => {
    const links = createLinkUses(() => Promise.reject(AWAY));
    for (const text of ['', 'short', 'l'.repeat(44), `${'l'.repeat(42)}.`]) expect(await links.use(text)).toBe('wrong');
  });

  test('that fails gives its place back', async () => {
    const links = createLinkUses(() => Promise.reject(AWAY));
    for (let time = 0; time < 5; time++) await expect(links.use(SECRET)).rejects.toThrow(AWAY);
  });
});

describe('a password', () => {
  beforeEach(() => world.accounts.set('mira', { role: 'viewer', password: 'right' }));

  test('signs in, with the role of the account', async () => {
    const answer = await signInBy({ name: 'mira', password: 'right' });
    expect(answer).toMatchObject({ status: 200, json: { name: 'mira', role: 'viewer', showsEvents: false } });
  });

  test('for a name that nobody has is compared like any other, and answered like a wrong one', async () => {
    const unknown = await signInBy({ name: 'nobody', password: 'right' });
    const wrong = await signInBy({ name: 'mira', password: 'wrong' });
    expect(world.compared).toEqual([HASH_OF_NONE, 'right']);
    expect([unknown.status, unknown.text]).toEqual([wrong.status, wrong.text]);
    expect(unknown.status).toBe(401);
  });

  test('of the hash of nobody there is none', async () => {
    expect(await isPassword('', HASH_OF_NONE)).toBe(false);
    expect(await isPassword('A'.repeat(43), HASH_OF_NONE)).toBe(false);
  });

  test('is right however its letters are composed, and wrong in any other way', async () => {
    const stored = await hashPassword('Ünïcödé and more');
    expect(stored).not.toContain('more');
    expect(await isPassword('Ünïcödé and more'.normalize('NFD'), stored)).toBe(true);
    expect(await isPassword('Ünïcödé and mord', stored)).toBe(false);
    expect(await hashPassword('Ünïcödé and more')).not.toBe(stored);
  });

  test('that is guessed has to wait longer and longer, the right one too, before it is compared', async () => {
    const statuses = [];
    for (let guess = 0; guess < 7; guess++) {
      statuses.push((await signInBy({ name: 'mira', password: `guess ${guess}` })).status);
    }
    expect(statuses).toEqual([401, 401, 401, 401, 401, 429, 429]);
    const waiting = await signInBy({ name: 'mira', password: 'right' });
    expect(waiting).toMatchObject({ status: 429, json: { code: 'too_many_attempts' } });
    expect(waiting.headers.get('Retry-After')).toBe('1');
    expect(world.compared).toHaveLength(5);
    await world.clock.advance(1_000);
    expect((await signInBy({ name: 'mira', password: 'guess' })).status).toBe(401);
    expect((await signInBy({ name: 'mira', password: 'right' })).headers.get('Retry-After')).toBe('2');
    await world.clock.advance(2_000);
    expect((await signInBy({ name: 'mira', password: 'right' })).status).toBe(200);
    expect((await signInBy({ name: 'mira', password: 'wrong' })).status).toBe(401);
  });

  test('that is guessed a hundred times at once is compared five times', async () => {
    await Promise.all(Array.from({ length: 100 }, (_, n) => signInBy({ name: 'mira', password: `guess ${n}` })));
    expect(world.compared).toHaveLength(5);
  });

  test('that nobody could look at, because Postgres is away, is no guess', async () => {
    world.outage = AWAY;
    for (let tries = 0; tries < 20; tries++) {
      expect((await signInBy({ name: 'mira', password: 'right' })).status).toBe(503);
    }
    world.outage = null;
    expect((await signInBy({ name: 'mira', password: 'right' })).status).toBe(200);
  });
});

describe('guesses from one address', () => {
  test('of ever new names are slowed as well, and one good account does not help', () => {
    const clock = createManualClock();
    const guesses = createGuesses({ clock });
    const own = { name: 'own', address: 'a' };
    let allowed = 0;
    for (let guess = 0; guess < 200; guess++) {
      if (guesses.begin({ name: `name ${guess}`, address: 'a' }) === 0) allowed++;
      if (guesses.begin(own) === 0) guesses.succeeded(own);
    }
    expect(allowed).toBe(30);
    expect(guesses.begin({ name: 'mira', address: 'b' })).toBe(0);
  });

  test('are forgotten after a while, and wait a minute at most', async () => {
    const clock = createManualClock();
    const guesses = createGuesses({ clock });
    const attempt = { name: 'mira', address: 'a' };
    for (let guess = 0; guess < 100; guess++) await clock.advance(guesses.begin(attempt));
    expect(guesses.begin(attempt)).toBeLessThanOrEqual(60_000);
    await clock.advance(15 * 60_000);
    expect(guesses.begin(attempt)).toBe(0);
  });
});

describe('comparing passwords', () => {
  test('goes on for two at a time, has twenty wait, and turns others away', async () => {
    const slow = slowWork(true);
    const passwords = createPasswordChecks(slow.work);
    const answers = Array.from({ length: 30 }, () => passwords.check('p', 'h'));
    await slow.end(22);
    expect(slow.most()).toBe(2);
    const given = await Promise.all(answers);
    expect(given.filter((answer) => answer === null)).toHaveLength(8);
  });

  test('that fails gives its place back', async () => {
    const passwords = createPasswordChecks((_, stored) =>
      stored === 'broken' ? Promise.reject(new Error('unreadable')) : Promise.resolve(true),
    );
    for (let time = 0; time < 5; time++) await expect(passwords.check('p', 'broken')).rejects.toThrow('unreadable');
    expect(await passwords.check('p', 'h')).toBe(true);
  });
});

describe('while Postgres is away', () => {
  test('whoever was seen before still reads, and changes nothing', async () => {
    const seen = world.signIn('operator');
    const unseen = world.signIn('operator');
    await world.ask('GET', READ, seen);
    world.outage = AWAY;
    expect(await world.ask('GET', READ, seen)).toMatchObject({ status: 200, json: { name: 'a operator' } });
    expect((await world.ask('POST', READ, seen)).status).toBe(503);
    expect((await world.ask('GET', READ, unseen)).status).toBe(503);
  });

  test('nobody reads for longer than some minutes, nor longer than a session lasts', async () => {
    const [seen, late] = [world.signIn('operator'), world.signIn('operator')];
    await world.ask('GET', READ, late);
    await world.clock.advance(12 * 3_600_000 - 60_000);
    for (const session of [seen, late]) await world.ask('GET', READ, session);
    world.outage = AWAY;
    expect((await world.ask('GET', READ, late)).status).toBe(200);
    await world.clock.advance(REMEMBERED_MS);
    // Reading does not make it longer.
    expect((await world.ask('GET', READ, seen)).status).toBe(200);
    expect((await world.ask('GET', READ, late)).status).toBe(503);
    await world.clock.advance(1);
    expect((await world.ask('GET', READ, seen)).status).toBe(503);
    world.outage = null;
    expect((await world.ask('GET', READ, seen)).status).toBe(200);
  });

  test('nobody reads whose session was found to be over before', async () => {
    const out = world.signIn('operator');
    await world.ask('GET', READ, out);
    world.sessions.clear();
    expect((await world.ask('GET', READ, out)).status).toBe(401);
    world.outage = AWAY;
    expect((await world.ask('GET', READ, out)).status).toBe(503);
  });

  test('nobody reads who signed out before, or had the browser before somebody else signed in', async () => {
    const [out, replaced] = [world.signIn('operator'), world.signIn('operator')];
    for (const session of [out, replaced]) await world.ask('GET', READ, session);
    world.links.set(SECRET, 'mira');
    expect((await world.ask('DELETE', SESSION, out)).status).toBe(204);
    expect((await world.ask('POST', SESSION, { cookie: replaced.cookie, body: { link: SECRET } })).status).toBe(200);
    world.outage = AWAY;
    for (const session of [out, replaced]) expect((await world.ask('GET', READ, session)).status).toBe(503);
  });

  test('signing out needs no Postgres: the cookie goes, nobody reads on, and the session ends when it is shown again', async () => {
    const session = world.signIn('operator');
    await world.ask('GET', READ, session);
    world.outage = AWAY;
    const out = await world.ask('DELETE', SESSION, session);
    expect(out.status).toBe(204);
    expect(out.headers.get('Set-Cookie')).toMatch(/Max-Age=0/);
    expect((await world.ask('GET', READ, session)).status).toBe(503);
    world.outage = null;
    expect(world.sessions.size).toBe(1);
    expect((await world.ask('GET', READ, session)).status).toBe(401);
    expect(world.sessions.size).toBe(0);
  });

  test('nobody reads who signed out while a look-up was on its way', async () => {
    const owner = { name: 'mira', role: 'operator' } as const;
    const slow = Promise.withResolvers<typeof owner>();
    const answers = [async () => owner, () => slow.promise, () => Promise.reject(AWAY)];
    const never = () => Promise.reject(new Error('not asked'));
    const sessions = rememberSessions(
      { find: () => answers.shift()!(), end: async () => {}, beginByLink: never, beginByPassword: never },
      { clock: createManualClock() },
    );
    await sessions.find('id');
    const looking = sessions.find('id');
    await sessions.end('id');
    slow.resolve(owner);
    await looking;
    await expect(sessions.findOrRemember('id')).rejects.toBe(AWAY);
  });
});

describe('a stream', () => {
  const endless = () => {
    let isCancelled = false;
    const family = new Hono<ConsoleEnv>().get('/stream', () => {
      const body = new ReadableStream({
        pull: (controller) => controller.enqueue(new TextEncoder().encode('data: 1\n\n')),
        cancel: () => void (isCancelled = true),
      });
      return new Response(body, { headers: { 'Content-Type': 'text/event-stream' } });
    });
    return { family, isCancelled: () => isCancelled };
  };

  test('ends with its session, for its source too', async () => {
    const { family, isCancelled } = endless();
    world = await createConsoleWorld([family]);
    const session = world.signIn('viewer');
    const answer = await world.open('/api/v1/operator/stream', session);
    const reader = answer.body!.getReader();
    expect((await reader.read()).done).toBe(false);
    await world.clock.advance(60_000);
    expect((await reader.read()).done).toBe(false);
    world.outage = AWAY;
    await world.clock.advance(60_000);
    expect((await reader.read()).done).toBe(false);
    world.outage = null;
    world.sessions.clear();
    await world.clock.advance(30_000);
    await settled();
    expect((await reader.read()).done).toBe(true);
    expect(isCancelled()).toBe(true);
  });

  test('whose reader leaves while its session is looked up ends once', async () => {
    const clock = createManualClock();
    const live = Promise.withResolvers<boolean>();
    const source = new ReadableStream({ pull: () => new Promise(() => {}) });
    const answer = endingWith(new Response(source), { isLive: () => live.promise, clock });
    const reader = answer.body!.getReader();
    await clock.advance(30_000);
    await reader.cancel();
    const troubles: unknown[] = [];
    const note = (trouble: unknown) => troubles.push(trouble);
    process.on('unhandledRejection', note);
    live.resolve(false);
    await settled();
    await new Promise((resolve) => setImmediate(resolve));
    process.off('unhandledRejection', note);
    expect(troubles).toEqual([]);
  });

  test('ends in an outage when its session is no longer remembered', async () => {
    const { family, isCancelled } = endless();
    world = await createConsoleWorld([family]);
    const answer = await world.open('/api/v1/operator/stream', world.signIn('viewer'));
    const reader = answer.body!.getReader();
    world.outage = AWAY;
    await world.clock.advance(REMEMBERED_MS - 30_000);
    expect((await reader.read()).done).toBe(false);
    await world.clock.advance(60_000);
    await settled();
    expect((await reader.read()).done).toBe(true);
    expect(isCancelled()).toBe(true);
  });

  test('that HEAD asks about is left at once, and its session no longer looked up', async () => {
    const { family, isCancelled } = endless();
    world = await createConsoleWorld([family]);
    const { cookie } = world.signIn('viewer');
    const answer = await world.ask('HEAD', '/api/v1/operator/stream', { cookie });
    expect(answer).toMatchObject({ status: 200, text: '' });
    expect(answer.headers.get('Content-Type')).toBe('text/event-stream');
    expect(isCancelled()).toBe(true);
    const lookedUp = world.lookUps();
    await world.clock.advance(600_000);
    expect(world.lookUps()).toBe(lookedUp);
  });

  test('that its reader leaves is left by its source', async () => {
    const { family, isCancelled } = endless();
    world = await createConsoleWorld([family]);
    const answer = await world.open('/api/v1/operator/stream', world.signIn('viewer'));
    await answer.body!.cancel();
    expect(isCancelled()).toBe(true);
  });
});

test('CONSOLE_SHOW_EVENTS decides who sees events', async () => {
  const shows = async (showEvents: 'operators' | 'everyone' | 'off') => {
    const asked = await createConsoleWorld([], { showEvents });
    const seen = (['operator', 'viewer'] as const).map(async (role) => {
      const { json } = await asked.ask('GET', SESSION, asked.signIn(role));
      return (json as { showsEvents: boolean }).showsEvents;
    });
    return Promise.all(seen);
  };
  expect(await shows('operators')).toEqual([true, false]);
  expect(await shows('everyone')).toEqual([true, true]);
  expect(await shows('off')).toEqual([false, false]);
});
