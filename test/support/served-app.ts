/** All of the HTTP surface in front of a channel, without stores: what clients send, and the rows it becomes. */
import { createApp } from '../../src/http/app.ts';
import type { RateLimit } from '../../src/http/access/rate-limit.ts';
import type { ClientFactsOptions } from '../../src/http/ingest/client-facts.ts';
import { createIdempotency } from '../../src/http/ingest/idempotency.ts';
import { listen } from '../../src/http/listener/server.ts';
import { createFairScheduler } from '../../src/http/request/fair-scheduling.ts';
import { createLog } from '../../src/log/log.ts';
import { createAccept } from '../../src/pipeline/accept.ts';
import { createFlags } from '../../src/pipeline/flags.ts';
import { createLedger } from '../../src/pipeline/ledger.ts';
import { createWaitingRoom } from '../../src/pipeline/waiting-room.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { OTHER_PROJECT, PROJECT, channelOn } from './factory.ts';

/** The token of the recorded requests, and one of another project. */
export const TOKEN = 'wk_test_0123456789';
export const OTHER_TOKEN = 'wk_other_0123456789';

export type Row = Record<string, unknown> & {
  readonly event_id: string;
  readonly properties: Record<string, unknown>;
  readonly extras: Record<string, unknown>;
};

/** Serves the app on a free port. `at`: the time of its clock, which can be set. */
export async function serveApp({
  at = Date.now(),
  client,
  rateLimit = null,
}: { at?: number; client?: ClientFactsOptions; rateLimit?: RateLimit | null } = {}) {
  const time = { at };
  const clock = { ...systemClock, now: () => time.at };
  const channel = channelOn(clock, {
    maxEvents: 20_000,
    maxBytes: 50_000_000,
    batch: { maxEvents: 20_000, maxBytes: 50_000_000, maxWaitMs: 1 },
  });
  const waitingRoom = createWaitingRoom({ channel, clock });
  const ledger = createLedger();
  const flags = createFlags({ intake: 'open' }, () => {});
  const lines: string[] = [];
  const log = createLog('trace', { write: (line: string) => void lines.push(line) });
  const credentialOf = (projectId: typeof PROJECT) =>
    ({ projectId, kind: 'public', retentionSeconds: null, allowedOrigins: [] }) as const;
  const known = new Map([
    [TOKEN, credentialOf(PROJECT)],
    [OTHER_TOKEN, credentialOf(OTHER_PROJECT)],
  ]);
  let made = 0;
  const nothing = new Proxy({}, { get: () => () => nothing }) as never;
  const observed: string[] = [];
  const app = createApp(
    {
      ingest: {
        flags,
        channel,
        waitingRoom,
        accept: createAccept({ waitingRoom, journal: null, ledger }, { isRequired: false }),
        watch: { watcher: null },
        journalRefusal: () => null,
        credentials: {
          find: async (token: string) => known.get(token) ?? null,
          anonymous: async () => null,
          admitAnonymous: () => {},
          hasUsable: () => true,
        },
        idempotency: createIdempotency({ clock }),
        rateLimit,
        scheduler: createFairScheduler(),
        ledger,
        clock,
        newEventId: () => `0198c0de-0000-7000-8000-${String(++made).padStart(12, '0')}`,
      },
      health: nothing,
      countEvents: nothing,
      query: nothing,
      metricsText: nothing,
      newRequestId: () => 'r-1',
      onRequest: ({ method, route, status }) => void observed.push(`${method} ${route} ${status}`),
      log,
    },
    {
      ingest: {
        maxBodyBytes: 10 * 1024 * 1024,
        maxFutureMs: 24 * 60 * 60_000,
        defaultAck: 'queued',
        ...(client && { client }),
      },
      query: { maxExecutionS: 1, maxRows: 1, maxResultBytes: 1, maxAtOnce: 1 },
      allowedOrigins: [],
      depth503Threshold: 0,
      metricsToken: null,
    },
  );
  const server = await listen(app, { clock: systemClock, log }, { host: '127.0.0.1', port: 0 });
  return {
    port: server.port,
    url: `http://127.0.0.1:${server.port}`,
    server,
    time,
    flags,
    channel,
    ledger,
    lines,
    observed,
    taken,
  };

  /** The rows taken since the last call, as they will be stored. */
  async function taken(): Promise<Row[]> {
    const rows: Row[] = [];
    while (channel.usage().events > 0) {
      const batch = (await channel.take())!;
      const text = Buffer.concat([...batch.chunks]).toString();
      channel.settle(batch, 'stored');
      for (const line of text.trimEnd().split('\n')) rows.push(JSON.parse(line) as Row);
    }
    return rows;
  }
}

export type ServedApp = Awaited<ReturnType<typeof serveApp>>;
