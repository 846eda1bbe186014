/** A Weir inside the test's process, with real HTTP around it and its whole log kept. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../src/runtime/clock.ts';
import { parseConfig } from '../../src/config/config.ts';
import { createLog } from '../../src/log/log.ts';
import { startWeir, type Weir } from '../../src/composition/weir.ts';

export const EVENTS_PATH = '/api/v1/ingest/events';

export type Reply = {
  readonly status: number;
  readonly headers: Headers;
  /** The body as it came. */
  readonly text: string;
  /** The body as JSON; null when it is none. */
  readonly json: Record<string, unknown> | null;
};

export type OpenDoor = {
  readonly weir: Weir;
  readonly url: string;
  readonly port: number;
  /** Everything logged so far. */
  logged(): string;
  /** Every body answered so far. */
  answered(): string;
  ask(path: string, init?: RequestInit): Promise<Reply>;
  /** POSTs to the native door: text and bytes unchanged, anything else as JSON. */
  send(body: unknown, headers?: Record<string, string>, query?: string): Promise<Reply>;
  health(): Promise<Record<string, unknown>>;
  stop(): Promise<void>;
};

/** Starts a Weir on a free port against the given stores. Without `clickhouseUrl` Postgres stores the events. */
export async function openDoor(
  stores: { databaseUrl: string; clickhouseUrl?: string },
  settings: Record<string, string> = {},
): Promise<OpenDoor> {
  const { clickhouseUrl } = stores;
  const dataDir = mkdtempSync(join(tmpdir(), 'weir-door-'));
  const lines: string[] = [];
  const bodies: string[] = [];
  const config = parseConfig(
    {
      PORT: '0',
      HOST: '127.0.0.1',
      DATABASE_URL: stores.databaseUrl,
      ...(clickhouseUrl === undefined ? { EVENT_STORE: 'postgres' } : { CLICKHOUSE_URL: clickhouseUrl }),
      WEIR_DATA_DIR: dataDir,
      ...settings,
    },
    (path) => readFileSync(path, 'utf8'),
  );
  const weir = await startWeir({
    config,
    access: {
      databaseUrl: stores.databaseUrl,
      clickhouse:
        clickhouseUrl === undefined ? null : { url: clickhouseUrl, username: 'default', password: '', key: null },
    },
    version: 'test',
    clock: systemClock,
    log: createLog('trace', { write: (line: string) => void lines.push(line) }),
  });
  const url = `http://127.0.0.1:${weir.port}`;

  return {
    weir,
    url,
    port: weir.port,
    logged: () => lines.join(''),
    answered: () => bodies.join('\n'),
    ask,
    send,
    health,
    stop,
  };

  async function ask(path: string, init: RequestInit = {}): Promise<Reply> {
    const response = await fetch(url + path, init);
    const text = await response.text();
    bodies.push(text);
    return { status: response.status, headers: response.headers, text, json: jsonOf(text) };
  }

  function send(body: unknown, headers: Record<string, string> = {}, query = '') {
    const isRaw = typeof body === 'string' || body instanceof Uint8Array || body instanceof ReadableStream;
    const content = isRaw ? body : JSON.stringify(body);
    return ask(EVENTS_PATH + query, { method: 'POST', headers, body: content, duplex: 'half' });
  }

  async function health() {
    return (await ask('/health')).json!;
  }

  async function stop() {
    await weir.stop();
    rmSync(dataDir, { recursive: true, force: true });
  }
}

function jsonOf(text: string): Record<string, unknown> | null {
  try {
    return JSON.parse(text) as Record<string, unknown>;
  } catch {
    return null; // An empty body, or a page of metrics.
  }
}
