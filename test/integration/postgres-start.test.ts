/** Starting a Weir that stores events in Postgres: as a newcomer does, and in production. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { rememberedEventStore } from '../../src/service/event-store.ts';
import { readRuntime } from '../../src/service/runtime-file.ts';
import { freePort } from '../support/ports.ts';
import { startPostgresOnly } from '../support/stores.ts';
import { type Running, commandWeir, startWeir } from '../support/weir.ts';

const WAIT = { timeout: 60_000, interval: 50 };

let cwd: string;
let dataDir: string;
let running: Running | null = null;
beforeEach(() => {
  cwd = mkdtempSync(join(tmpdir(), 'weir-start-'));
  dataDir = join(cwd, '.weir');
});
afterEach(async () => {
  running?.child.kill('SIGKILL');
  await running?.finished;
  running = null;
  rmSync(cwd, { recursive: true, force: true });
});

/** Resolves with its address when the stores are ready. */
async function start(settings: Record<string, string>): Promise<{ url: string; weir: Running }> {
  const weir = startWeir(['serve'], {
    cwd,
    env: { PORT: String(freePort()), INGEST_FLUSH_INTERVAL: '50ms', ...settings },
  });
  running = weir;
  const url = await vi.waitFor(() => {
    const runtime = readRuntime(dataDir);
    if (runtime.kind !== 'running' || runtime.url === null) throw new Error(`it is still starting: ${weir.written()}`);
    return runtime.url;
  }, WAIT);
  await vi.waitFor(async () => expect((await fetch(`${url}/ready`)).status).toBe(200), WAIT);
  return { url, weir };
}

async function stop({ weir }: { weir: Running }) {
  weir.child.kill('SIGTERM');
  expect((await weir.finished).code).toBe(0);
}

/** What a shell prints for the lines of the banner that can be pasted, without `npm run -s weir --`. */
const linesIn = (written: string) => written.split('\n').filter((line) => line.startsWith('    '));

test('a newcomer needs one setting: the lines of the banner work, and the next start finds the same store', async () => {
  const first = await start({ EVENT_STORE: 'postgres' });
  const written = await vi.waitFor(() => {
    const text = first.weir.written();
    expect(text).toContain('Ctrl-C stops everything.');
    return text;
  }, WAIT);
  expect(written).not.toMatch(/clickhouse/i);
  expect(existsSync(join(dataDir, 'clickhouse'))).toBe(false);
  expect(readRuntime(dataDir)).toMatchObject({ clickhouseUrl: null, clickhouseKey: null });

  const [, token] = /Bearer (mere_pub_[0-9a-f]{64})/.exec(written)!;
  const sent = await fetch(`${first.url}/api/v1/ingest/events?ack=stored`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}` },
    body: JSON.stringify({
      events: [{ event: 'hello', user_id: 'me', timestamp: Date.now(), properties: { from: 'me' } }],
    }),
  });
  expect([sent.status, sent.headers.get('weir-ack')]).toEqual([202, 'stored']);
  const query = /query "(.*)"/.exec(linesIn(written).at(-1)!)![1]!;
  const asked = await commandWeir(['query', '--json', query], { cwd });
  expect(asked.stderr).toBe('');
  expect(JSON.parse(asked.stdout)).toMatchObject({ event: 'hello', distinct_id: 'me', properties: { from: 'me' } });
  await stop(first);

  // A ClickHouse could be embedded here.
  const second = await start({});
  expect(readRuntime(dataDir)).toMatchObject({ clickhouseUrl: null });
  expect(second.weir.written()).not.toContain('EVENT_STORE');
  expect((await commandWeir(['query', 'SELECT count(*) FROM events'], { cwd })).stdout).toBe('count\n    1\n');
  await stop(second);

  const third = await start({ EVENT_STORE: 'clickhouse' });
  expect(third.weir.written()).toContain('Bring them over with: weir copy --to clickhouse');
  expect(rememberedEventStore(dataDir)).toBe('clickhouse');
  await stop(third);
});

test('production needs DATABASE_URL alone, also with several workers', async () => {
  const postgres = await startPostgresOnly();
  try {
    const { url, weir } = await start({
      EVENT_STORE: 'postgres',
      DATABASE_URL: postgres.url,
      NODE_ENV: 'production',
      HOST: '127.0.0.1',
      WEIR_WORKERS: '2',
    });
    const health = await vi.waitFor(async () => {
      const found = (await (await fetch(`${url}/health`)).json()) as { status: string };
      expect(found.status).toBe('ok');
      return found;
    }, WAIT);
    expect(JSON.stringify(health) + weir.written()).not.toMatch(/clickhouse/i);
    await stop({ weir });
  } finally {
    await postgres.discard();
  }
});

test('without it, production says what is missing and that Postgres would do', async () => {
  const { code, stderr } = await startWeir(['serve'], {
    cwd,
    env: { DATABASE_URL: 'postgres://h/d', NODE_ENV: 'production' },
  }).finished;
  expect([code, stderr]).toEqual([1, expect.stringContaining('or set EVENT_STORE=postgres')]);
});
