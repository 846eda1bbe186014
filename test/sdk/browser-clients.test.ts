/**
 * The clients of other services for browsers, unchanged, in Chromium against Weir as a process. Those that tell their page
 * what was sent must be right, those that keep and resend must lose nothing, and none may double anything.
 */
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import type { HttpFault } from '../support/fault-proxy.ts';
import { areClientsInstalled, findChromium, type Marks, type SdkApp } from '../support/sdk-app.ts';
import { type SdkWorld, SOON, startSdkWorld, together } from '../support/sdk-world.ts';

/** `busy`: answered with 503. `restart`: Weir is away. `leave`: the page is left at once. */
type Fault = 'busy' | 'restart' | 'leave';

type Client = {
  /** After which faults it loses nothing. */
  readonly keeps: readonly Fault[];
  /** It tells its page of each event whether it was sent. */
  readonly tells?: true;
  /** Of a round, when its first two requests are answered with 503. */
  readonly losesWhenBusy?: number;
};

/**
 * Plausible’s and Jitsu’s send an event once, and at once; a beacon, here of three events, is sent once too. Mixpanel’s
 * gives up what found no server, OpenTelemetry’s what found none in six tries. Only what is written to a beacon as soon
 * as it is tracked survives that the page is left at once: the others are still busy with it, and some keep it for the
 * next visit.
 */
const CLIENTS: Readonly<Record<string, Client>> = {
  'amplitude-browser': { keeps: ['busy', 'restart'], tells: true },
  'jitsu-browser': { keeps: [], tells: true, losesWhenBusy: 2 },
  'mixpanel-browser': { keeps: ['busy'] },
  'otel-logs-browser': { keeps: ['busy'], tells: true },
  'plausible-tracker': { keeps: ['leave'], tells: true, losesWhenBusy: 2 },
  'plausible-tracker-0.3': { keeps: [], losesWhenBusy: 2 },
  'posthog-js': { keeps: ['busy', 'restart', 'leave'] },
  'posthog-js-1.400': { keeps: ['busy', 'restart', 'leave'] },
  'posthog-js-1.360': { keeps: ['busy', 'restart', 'leave'] },
  'posthog-js-1.172': { keeps: ['busy', 'restart', 'leave'] },
  'rudder-browser': { keeps: ['busy', 'restart'] },
  'rudder-browser-batches': { keeps: ['busy', 'restart'] },
  'rudder-browser-beacons': { keeps: [], losesWhenBusy: 6 },
  'segment-browser': { keeps: ['busy', 'restart'] },
  'segment-browser-batches': { keeps: ['busy', 'restart'] },
  'segment-browser-1.76': { keeps: ['busy', 'restart'] },
  'segment-browser-1.76-batches': { keeps: ['busy', 'restart'] },
};
const NAMES = Object.keys(CLIENTS);
const TELLING = NAMES.filter((name) => CLIENTS[name]!.tells);
// Clients wait between their tries, each as long as it likes.
vi.setConfig({ testTimeout: 300_000, hookTimeout: 300_000 });

const isRequired = Boolean(process.env['CI']);
const missing = !areClientsInstalled()
  ? 'npm ci --prefix test/sdk --ignore-scripts'
  : findChromium() === null
    ? 'apt-get install chromium'
    : null;
if (missing !== null && !isRequired) {
  console.warn(`NOT RUN: the clients of other services in a browser. Install what is missing: ${missing}`);
}

describe.skipIf(missing !== null && !isRequired)('the clients of other services in a browser', () => {
  let world: SdkWorld;
  let app: SdkApp;

  beforeAll(async () => {
    expect(missing, 'something is not installed that in CI has to be').toBeNull();
    world = await startSdkWorld(NAMES);
    app = world.startApp('browser');
  });
  afterAll(async () => {
    await app?.stop();
    await world?.discard();
  });

  test('of a healthy Weir: exactly what they sent is there, once, and what a beacon takes as the page is left', async () => {
    await app.open(world.directUrls());
    const first = await world.sendRound(app, 'healthy', 0);
    await world.isSettled('healthy', { handed: first, sent: first });
    expect(await told()).toEqual(onlyOf(TELLING, first));
    const last = await world.sendRound(app, 'healthy', 1);
    await app.end();
    const sent = together(first, keptAfter('leave', last));
    await world.isSettled('healthy', { handed: together(first, last), sent });
  });

  test('through a proxy that answers 503 at first: those that resend lose nothing, nothing is doubled', async () => {
    const proxies = await world.startProxies();
    const origin = await app.open(proxies.urls);
    const busy: HttpFault = { kind: 'answer', status: 503, headers: { 'Retry-After': '1', ...crossOrigin(origin!) } };
    for (const proxy of proxies.all) proxy.set(busy, { times: 2, only: 'posts' });
    const handed = await world.sendRound(app, 'busy', 0);
    const sent = keptAfter('busy', handed);
    await world.isSettled('busy', { handed, sent });
    const said = await told();
    await app.end();
    expect(proxies.spared()).toEqual([]);
    const lost = Object.fromEntries(NAMES.map((name) => [name, CLIENTS[name]!.losesWhenBusy ?? 0]));
    await vi.waitFor(async () => expect(await lostOf('busy', handed)).toEqual(lost), SOON);
    await world.isSettled('busy', { handed, sent: together(sent, said) });
    expect(onlyOf(TELLING, await world.foundOf('busy'))).toEqual(said);
  });

  test('through a proxy that forwards and cuts before the answer at first: all is there, once', async () => {
    const proxies = await world.startProxies();
    await app.open(proxies.urls);
    for (const proxy of proxies.all) proxy.set({ kind: 'cut-answer' }, { times: 2, only: 'posts' });
    const handed = await world.sendRound(app, 'cut', 0);
    await world.isSettled('cut', { handed, sent: handed });
    await app.end();
    expect(proxies.spared()).toEqual([]);
    await world.isSettled('cut', { handed, sent: handed });
  });

  test('through a restart of Weir in the middle: those that resend lose nothing, nothing is doubled', async () => {
    await app.open(world.directUrls());
    const before = await world.sendRound(app, 'restart', 0);
    await world.stop();
    const during = await world.sendRound(app, 'restart', 1);
    await world.start();
    const after = await world.sendRound(app, 'restart', 2);
    const sent = together(keptAfter('restart', together(before, during)), after);
    const handed = together(before, during, after);
    await world.isSettled('restart', { handed, sent });
    const said = await told();
    await app.end();
    await world.isSettled('restart', { handed, sent: together(sent, said) });
  });

  /** What the clients that tell their page say was sent. */
  async function told(): Promise<Marks> {
    return onlyOf(TELLING, await app.told());
  }

  /** How many of each client’s events are not found. */
  async function lostOf(setting: string, handed: Marks): Promise<Readonly<Record<string, number>>> {
    const found = await world.foundOf(setting);
    return Object.fromEntries(NAMES.map((name) => [name, handed[name]!.length - found[name]!.length]));
  }
});

/** Of the others nothing. */
const onlyOf = (names: readonly string[], marks: Marks): Marks =>
  Object.fromEntries(NAMES.map((name) => [name, names.includes(name) ? marks[name]! : []]));

/** Of what was handed over, that of the clients that lose nothing after this fault. */
const keptAfter = (fault: Fault, handed: Marks): Marks =>
  Object.fromEntries(NAMES.map((name) => [name, CLIENTS[name]!.keeps.includes(fault) ? handed[name]! : []]));

/** As Weir itself says it: without it a page sees no status, just that something failed. */
const crossOrigin = (origin: string) => ({
  'Access-Control-Allow-Origin': origin,
  'Access-Control-Allow-Credentials': 'true',
});
