/**
 * The Node clients of other services, unchanged, against Weir as a process: what a client counts as sent is found, and
 * nothing is found twice.
 */
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import type { HttpFault } from '../support/fault-proxy.ts';
import { areClientsInstalled, type SdkApp } from '../support/sdk-app.ts';
import { type SdkWorld, SOON, startSdkWorld, together } from '../support/sdk-world.ts';

/** `busy`: answered with 503. `cut`: forwarded, and the connection breaks before the answer. */
type Fault = 'busy' | 'cut';

/** After which faults each client sends again by itself. What the others then lose, they report. */
const CLIENTS: Readonly<Record<string, readonly Fault[]>> = {
  'amplitude-node': ['busy'],
  'cloudevents-node': [],
  'jitsu-node': [],
  'mixpanel-node': [],
  'otel-logs-gzip': ['busy', 'cut'],
  'otel-logs-json-0.223': ['busy', 'cut'],
  'otel-logs-proto-0.223': ['busy', 'cut'],
  'otel-logs-json': ['busy', 'cut'],
  'otel-logs-proto': ['busy', 'cut'],
  'pino-http-send': ['busy', 'cut'],
  'posthog-node-4': ['busy', 'cut'],
  'posthog-node-5': ['busy', 'cut'],
  'posthog-node-5-v1': ['busy', 'cut'],
  'rudder-node-2': ['busy', 'cut'],
  'rudder-node-3': ['busy', 'cut'],
  'segment-legacy': ['busy', 'cut'],
  'segment-node-1': ['busy', 'cut'],
  'segment-node-2': ['busy', 'cut'],
  'segment-node-3': ['busy', 'cut'],
  'umami-node': [],
  winston: [],
};
const NAMES = Object.keys(CLIENTS);
// Clients wait between their tries, each as long as it likes.
vi.setConfig({ testTimeout: 300_000, hookTimeout: 300_000 });

const isRequired = Boolean(process.env['CI']);
const isInstalled = areClientsInstalled();
if (!isInstalled && !isRequired) {
  console.warn('NOT RUN: the clients of other services. Install them first: npm ci --prefix test/sdk --ignore-scripts');
}

describe.skipIf(!isInstalled && !isRequired)('the Node clients of other services', () => {
  let world: SdkWorld;

  beforeAll(async () => {
    expect(isInstalled, 'the packages of test/sdk are not installed, and in CI they have to be').toBe(true);
    world = await startSdkWorld(NAMES);
  });
  afterAll(() => world?.discard());

  test('of a healthy Weir: each reports success, and exactly what it sent is there, once', async () => {
    const app = await openApp();
    const handed = await world.sendRound(app, 'healthy', 0);
    const sent = await app.end();
    expect(sent).toEqual(handed);
    await vi.waitFor(async () => expect(await world.foundOf('healthy')).toEqual(handed), SOON);
  });

  test.each<[Fault, HttpFault]>([
    ['busy', { kind: 'answer', status: 503, headers: { 'Retry-After': '1' } }],
    ['cut', { kind: 'cut-answer' }],
  ])(
    'through a proxy that is %s at first: nothing counts as sent that is lost, nothing is doubled',
    async (setting, fault) => {
      const proxies = await world.startProxies();
      for (const proxy of proxies.all) proxy.set(fault, { times: 2 });
      const app = await openApp(proxies.urls);
      const handed = await world.sendRound(app, setting, 0);
      const sent = await app.end();
      expect(proxies.spared()).toEqual([]);
      for (const name of NAMES) if (CLIENTS[name]!.includes(setting)) expect(sent[name], name).toEqual(handed[name]);
      // What was refused did not arrive; what was cut did, whatever its client thinks of it.
      await world.isSettled(setting, { handed, sent: setting === 'cut' ? handed : sent });
      expect(await world.foundOf(setting)).toEqual(setting === 'cut' ? handed : sent);
      if (setting === 'cut') await isCountedOnce('Ordered');
    },
  );

  test('through a restart of Weir in the middle: nothing counts as sent that is lost, nothing is doubled', async () => {
    const app = await openApp();
    const before = await world.sendRound(app, 'restart', 0);
    await world.stop();
    const during = await world.sendRound(app, 'restart', 1);
    await world.start();
    const after = await world.sendRound(app, 'restart', 2);
    const sent = await app.end();
    for (const name of NAMES) expect(sent[name], name).toEqual(expect.arrayContaining([...after[name]!]));
    await world.isSettled('restart', { handed: together(before, during, after), sent });
  });

  /** Resolves once `/metrics` counts each event of this name once, although some landed twice. */
  async function isCountedOnce(name: string): Promise<void> {
    await vi.waitFor(async () => {
      const { landed, rows, counted } = await world.countPast(name);
      expect(landed).toBeGreaterThan(rows);
      expect(counted).toBe(rows);
    }, SOON);
  }

  /** A process for each setting: some of the clients cannot be closed. */
  async function openApp(urls = world.directUrls()): Promise<SdkApp> {
    const app = world.startApp('node');
    onTestFinished(() => app.stop());
    await app.open(urls);
    return app;
  }
});
