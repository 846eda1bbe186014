/** Weir with its console as processes, on stores of their own, and a browser that looks at it. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BrowserContextOptions, Page } from 'playwright-core';
import { vi } from 'vitest';
import { createProjects } from '../../src/postgres/accounts/projects.ts';
import { createTokens } from '../../src/postgres/accounts/tokens.ts';
import { readRuntime } from '../../src/service/runtime-file.ts';
import { startChromium } from './chromium.ts';
import { EVENTS_PATH } from './door.ts';
import { freePorts } from './ports.ts';
import { startStores } from './stores.ts';
import { commandWeir, startWeir } from './weir.ts';

/** However busy the machine is. */
export const SOON = { timeout: 90_000, interval: 100 };
const SOON_MS = SOON.timeout;

export type ConsoleWorld = Awaited<ReturnType<typeof startConsoleWorld>>;

export async function startConsoleWorld(settings: Readonly<Record<string, string>> = {}) {
  const [stores, browser] = await Promise.all([startStores(), startChromium()]);
  const [port, consolePort] = freePorts(2);
  const cwd = mkdtempSync(join(tmpdir(), 'weir-console-'));
  const env = {
    WEIR_DATA_DIR: join(cwd, 'data'),
    DATABASE_URL: stores.databaseUrl,
    CLICKHOUSE_URL: stores.clickhouseUrl,
    HOST: '127.0.0.1',
    PORT: String(port),
    CONSOLE_PORT: String(consolePort),
    INGEST_FLUSH_INTERVAL: '200ms',
    DLQ_DRAIN_INTERVAL: '200ms',
    INGEST_KEEP_REJECTED: '100',
    ...settings,
  };
  const weir = startWeir(['serve'], { cwd, env });
  const started = await vi.waitUntil(() => urlsIn(env.WEIR_DATA_DIR), SOON);
  await vi.waitUntil(async () => (await fetch(`${started.url}/ready`)).ok, SOON);
  const { id: projectId } = await createProjects(stores.postgres.db).create({
    name: 'shop',
    retentionSeconds: null,
    allowedOrigins: [],
  });
  const token = (await createTokens(stores.postgres.db).create({
    projectId,
    kind: 'public',
    name: 'website',
    imported: null,
  }))!.plaintext;

  return {
    stores,
    ...started,
    projectId,
    token,
    /** What Weir logged. */
    log: () => weir.written(),
    /** A command of the same Weir. Rejects when it fails. */
    async command(...args: readonly string[]): Promise<string> {
      const { code, stdout, stderr } = await commandWeir(args, { cwd, env });
      if (code !== 0) throw new Error(`weir ${args.join(' ')}: ${stderr}`);
      return stdout.trim();
    },
    async addOperator(name: string, role: 'viewer' | 'operator', password: string): Promise<void> {
      const args = ['operator', 'add', name, '--role', role, '--password-stdin'];
      const { code, stderr } = await commandWeir(args, { cwd, env, stdin: password });
      if (code !== 0) throw new Error(stderr);
    },
    /** A page of a browser that nobody has signed in. */
    async openPage(options: BrowserContextOptions = {}): Promise<Page> {
      const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
      context.setDefaultTimeout(SOON_MS);
      return context.newPage();
    },
    /** A page that was signed in by a link. */
    async signedInPage(options: BrowserContextOptions = {}): Promise<Page> {
      const page = await this.openPage(options);
      await page.goto(await this.command('console', 'link'));
      await page.getByRole('heading', { name: 'Now' }).waitFor();
      return page;
    },
    /** Sends events as a client does. Resolves with the answer's status. */
    async send(events: readonly object[], query = ''): Promise<number> {
      const answer = await fetch(`${started.url}${EVENTS_PATH}${query}`, {
        method: 'POST',
        headers: { authorization: `Bearer ${token}` },
        body: JSON.stringify({ events }),
      });
      await answer.text();
      return answer.status;
    },
    async stop(): Promise<void> {
      await browser.close();
      weir.child.kill('SIGTERM');
      await weir.finished;
      await stores.stop();
      rmSync(cwd, { recursive: true, force: true });
    },
  };
}

function urlsIn(dataDir: string): { readonly url: string; readonly consoleUrl: string } | null {
  const runtime = readRuntime(dataDir);
  if (runtime.kind !== 'running' || runtime.url === null || runtime.consoleUrl === null) return null;
  return { url: runtime.url, consoleUrl: runtime.consoleUrl };
}

/** An event as clients send it. */
export const eventOf = (id: string, properties: object = {}, event = 'order_paid') => ({
  event,
  event_id: id,
  user_id: 'u1',
  timestamp: new Date().toISOString(),
  properties,
});
