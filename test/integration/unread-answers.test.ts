/** Clients that ask and do not read: what they can make a Weir of its own process keep in memory. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Line, dial } from '../support/line.ts';
import { type Running, startWeir } from '../support/weir.ts';

const MIB = 1024 * 1024;
const CONNECTIONS = 10;
const REQUESTS = 1_500;

let dataDir: string;
let weir: Running;
let port: number;

/** None of this needs a store. */
beforeAll(async () => {
  dataDir = mkdtempSync(join(tmpdir(), 'weir-unread-'));
  weir = startWeir(['serve'], {
    cwd: dataDir,
    env: {
      NODE_ENV: 'production',
      PORT: '0',
      WEIR_DATA_DIR: dataDir,
      DATABASE_URL: 'postgres://weir@127.0.0.1:9/weir',
      CLICKHOUSE_URL: 'http://127.0.0.1:9',
    },
  });
  for (;;) {
    const listening = /"url":"http:[^"]+:(\d+)"/.exec(weir.written());
    if (listening) {
      port = Number(listening[1]);
      return;
    }
    expect(weir.child.exitCode, weir.written()).toBeNull();
    await sleep(20);
  }
});
afterAll(async () => {
  weir.child.kill('SIGTERM');
  await weir.finished;
  rmSync(dataDir, { recursive: true, force: true });
});

function residentBytes(): number {
  const [, kib] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${weir.child.pid}/status`, 'utf8'))!;
  return Number(kib) * 1024;
}

test.each([
  ['the description', 'GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n'],
  ['the metrics', 'GET /internal/metrics HTTP/1.1\r\nHost: x\r\n\r\n'],
  ['the health', 'GET /health HTTP/1.1\r\nHost: x\r\n\r\n'],
  ['whether a person is needed', 'GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n'],
  ['life', 'GET /livez HTTP/1.1\r\nHost: x\r\n\r\n'],
  ['readiness', 'GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n'],
  ['the stores', 'GET /ready HTTP/1.1\r\nHost: x\r\n\r\n'],
  ['counts', 'GET /metrics?event_name=a HTTP/1.1\r\nHost: x\r\n\r\n'],
  ['a schema', 'GET /api/v1/projects/x/schema HTTP/1.1\r\nHost: x\r\n\r\n'],
  ['what is not there', 'GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n'],
  ['an event without a token', 'POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n{'],
])('ten connections that send 1 500 requests for %s and read nothing', async (_what, request) => {
  const lines: Line[] = [];
  // What is made once, or by the first requests, is none of theirs.
  await fetch(`http://127.0.0.1:${port}${request.split(' ')[1]}`);
  const before = residentBytes();
  let most = 0;
  for (let i = 0; i < CONNECTIONS; i += 1) {
    const line = await dial(port);
    line.socket.pause();
    line.write(request.repeat(REQUESTS));
    lines.push(line);
  }
  for (let asked = 0; asked < 15; asked += 1) {
    expect((await fetch(`http://127.0.0.1:${port}/livez`)).status).toBe(200);
    most = Math.max(most, residentBytes() - before);
    await sleep(50);
  }
  for (const { socket } of lines) socket.destroy();
  expect(most).toBeLessThan(64 * MIB);
});
