/**
 * The Node clients of other services under overload: what each counts as sent is found, once, and it loses no more than
 * its page in docs/coming-from says.
 */
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { setIntake } from '../../src/operations/intake-switch.ts';
import { startHttpProxy } from '../support/fault-proxy.ts';
import { areClientsInstalled, type Marks } from '../support/sdk-app.ts';
import { type SdkWorld, SOON, startSdkWorld } from '../support/sdk-world.ts';

/**
 * When a client gives up, measured on it: after so many refusals of one request, with at most so many events in it. How
 * often it tries is an option of some, which stands in `node/` where it is not the default.
 */
type GivesUp = { readonly after: number; readonly events: number };

const NEVER: GivesUp = { after: Infinity, events: 0 };
const AT_ONCE: GivesUp = { after: 1, events: 1 };
const OTEL: GivesUp = { after: 6, events: 3 };
const POSTHOG: GivesUp = { after: 61, events: 6 };
const FOUR_TIMES: GivesUp = { after: 4, events: 3 };

const CLIENTS: Readonly<Record<string, GivesUp>> = {
  'amplitude-node': NEVER,
  'cloudevents-node': AT_ONCE,
  'jitsu-node': AT_ONCE,
  'mixpanel-node': AT_ONCE,
  'otel-logs-gzip': OTEL,
  'otel-logs-json': OTEL,
  'otel-logs-json-0.223': OTEL,
  'otel-logs-proto': OTEL,
  'otel-logs-proto-0.223': OTEL,
  'pino-http-send': { after: 61, events: 3 },
  'posthog-node-4': POSTHOG,
  'posthog-node-5': POSTHOG,
  'posthog-node-5-v1': POSTHOG,
  'rudder-node-2': FOUR_TIMES,
  'rudder-node-3': FOUR_TIMES,
  'segment-legacy': FOUR_TIMES,
  'segment-node-1': FOUR_TIMES,
  'segment-node-2': FOUR_TIMES,
  'segment-node-3': { after: 30, events: 3 },
  'umami-node': AT_ONCE,
  winston: AT_ONCE,
};
const NAMES = Object.keys(CLIENTS);
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

  test('that send more requests than their project may lose what their pages say, and nothing else', async () => {
    const perSecond = 40;
    await restartWith({ INGEST_RATE_LIMIT: `${perSecond}/s` });
    await overload('rate', {
      press: async () => void (await Promise.all(Array.from({ length: perSecond }, () => world.takes(0)))),
      relieve: async () => {},
    });
  });

  test('that find no room while inserts stand still lose what their pages say, and nothing else', async () => {
    // Only inserts stand still: a ClickHouse that answers nothing is taken for dead, and Postgres then makes room.
    const clickhouse = await startHttpProxy(world.stores.clickhouseUrl);
    onTestFinished(() => clickhouse.stop());
    await restartWith({
      CLICKHOUSE_URL: clickhouse.url,
      INGEST_EVENT_BUFFER: '100',
      INGEST_FLUSH_EVENTS: '100',
      INGEST_INSERT_TIMEOUT: '10m',
    });
    clickhouse.set({ kind: 'hang' }, { only: 'inserts' });
    await overload('full', {
      press: async () => {
        while (await world.takes(1));
      },
      relieve: async () => {
        clickhouse.set(null);
        clickhouse.cut();
      },
    });
  });

  test('that send while intake is closed lose what their pages say, and nothing else', async () => {
    await restartWith({});
    const { db } = world.stores.postgres;
    await setIntake(db, { position: 'disabled', actor: 'test' });
    await vi.waitFor(async () => expect(await world.takes(0)).toBe(false), SOON);
    await overload('closed', {
      press: async () => {},
      relieve: async () => {
        await setIntake(db, { position: 'open', actor: 'test' });
        await vi.waitFor(async () => expect(await world.takes(0)).toBe(true), SOON);
      },
    });
  });

  async function restartWith(settings: Readonly<Record<string, string>>): Promise<void> {
    await world.stop();
    await world.start(settings);
  }

  /** `press` leaves no room, again and again, until every client was refused; `relieve` makes room. */
  async function overload(
    setting: string,
    { press, relieve }: { press: () => Promise<void>; relieve: () => Promise<void> },
  ): Promise<void> {
    const watches = await world.startWatches();
    const app = world.startApp('node');
    onTestFinished(() => app.stop());
    await app.open(watches.urls);
    await press();
    const handed = await world.sendRound(app, setting, 0);
    await vi.waitFor(async () => {
      await press();
      expect(await sparedOf(watches.refused(), handed, setting)).toEqual([]);
    }, SOON);
    await relieve();
    const sent = await app.end();
    await world.isSettled(setting, { handed, sent });
    const found = await world.foundOf(setting);
    const refused = watches.refused();
    for (const name of NAMES) {
      expect(found[name]!.toSorted(), `${name}: found, and not reported as sent`).toEqual(sent[name]!.toSorted());
      const lost = handed[name]!.length - sent[name]!.length;
      const { after, events } = CLIENTS[name]!;
      const most = after === Infinity ? 0 : Math.floor(refused[name]! / after) * events;
      expect(lost, `${name}: lost after ${refused[name]} refusals`).toBeLessThanOrEqual(most);
      if (CLIENTS[name] === AT_ONCE) expect(lost, `${name}: lost`).toBe(most);
    }
  }

  /** The clients that were not refused, as far as they still have something to send. */
  async function sparedOf(refused: Readonly<Record<string, number>>, handed: Marks, setting: string) {
    const unrefused = NAMES.filter((name) => refused[name] === 0);
    if (unrefused.length === 0 || setting !== 'rate') return unrefused;
    const found = await world.foundOf(setting);
    return unrefused.filter((name) => found[name]!.length < handed[name]!.length);
  }
});
