import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { AlreadyRunning, claimRuntime, readRuntime } from '../src/service/runtime-file.ts';

const ENDPOINTS = {
  url: 'http://127.0.0.1:8080',
  clickhouseUrl: 'http://127.0.0.1:8123',
  clickhouseKey: 'abc',
  databaseUrl: 'postgres://x@y/z',
  consoleUrl: 'http://127.0.0.1:8081',
};

let dataDir: string;
beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), 'weir-runtime-'));
});
afterEach(() => rmSync(dataDir, { recursive: true, force: true }));

const path = () => join(dataDir, 'runtime.json');
const edit = (changes: object) => {
  writeFileSync(path(), JSON.stringify({ ...JSON.parse(readFileSync(path(), 'utf8')), ...changes }));
};

/** A live process that is not this one, until `end` is called. */
async function startOther() {
  const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'ignore' });
  await once(child, 'spawn');
  return {
    pid: child.pid!,
    async end() {
      child.kill('SIGKILL');
      await once(child, 'exit');
    },
  };
}

test('is absent before a claim and after its release', () => {
  expect(readRuntime(dataDir)).toEqual({ kind: 'absent' });
  claimRuntime(dataDir, process.pid).release();
  expect(readRuntime(dataDir)).toEqual({ kind: 'absent' });
  expect(readdirSync(dataDir)).toEqual([]);
});

test('a claim runs before it knows where, then says where', () => {
  const claim = claimRuntime(dataDir, process.pid);
  expect(readRuntime(dataDir)).toMatchObject({ kind: 'running', pid: process.pid, url: null });
  claim.publish(ENDPOINTS);
  expect(readRuntime(dataDir)).toEqual({ kind: 'running', pid: process.pid, ...ENDPOINTS });
});

test('uses the documented field names and is for the owner alone', () => {
  claimRuntime(dataDir, process.pid).publish(ENDPOINTS);
  expect(JSON.parse(readFileSync(path(), 'utf8'))).toMatchObject({
    pid: process.pid,
    url: ENDPOINTS.url,
    clickhouse_url: ENDPOINTS.clickhouseUrl,
    clickhouse_key: ENDPOINTS.clickhouseKey,
    database_url: ENDPOINTS.databaseUrl,
    console_url: ENDPOINTS.consoleUrl,
  });
  expect(statSync(path()).mode & 0o777).toBe(0o600);
  expect(readdirSync(dataDir)).toEqual(['runtime.json']);
});

test('understands the file of a version that knew no key and no console', () => {
  claimRuntime(dataDir, process.pid).publish(ENDPOINTS);
  edit({ clickhouse_key: undefined, console_url: undefined });
  const { url, clickhouseUrl, databaseUrl } = ENDPOINTS;
  expect(readRuntime(dataDir)).toEqual({
    kind: 'running',
    pid: process.pid,
    url,
    clickhouseUrl,
    databaseUrl,
    clickhouseKey: null,
    consoleUrl: null,
  });
});

test('makes the data directory when it is missing', () => {
  const nested = join(dataDir, 'a', 'b');
  claimRuntime(nested, process.pid);
  expect(existsSync(join(nested, 'runtime.json'))).toBe(true);
});

test('a data directory that it makes is for its owner alone, and one that was there keeps its rights', () => {
  const made = join(dataDir, 'deep', 'data');
  claimRuntime(made, process.pid);
  expect(statSync(made).mode & 0o777).toBe(0o700);
  const given = join(dataDir, 'given');
  mkdirSync(given);
  chmodSync(given, 0o750);
  claimRuntime(given, process.pid);
  expect(statSync(given).mode & 0o777).toBe(0o750);
});

test('refuses the directory of a live other instance, naming both', async () => {
  const other = await startOther();
  claimRuntime(dataDir, other.pid).publish(ENDPOINTS);
  expect(() => claimRuntime(dataDir, process.pid)).toThrow(AlreadyRunning);
  expect(() => claimRuntime(dataDir, process.pid)).toThrow(
    new RegExp(`process ${other.pid}.*${dataDir}.*WEIR_DATA_DIR`),
  );
  expect(readRuntime(dataDir)).toMatchObject({ kind: 'running', pid: other.pid });
  await other.end();
});

test('is stale once its process is gone, and can then be claimed', async () => {
  const other = await startOther();
  claimRuntime(dataDir, other.pid).publish(ENDPOINTS);
  await other.end();
  expect(readRuntime(dataDir)).toEqual({ kind: 'stale', pid: other.pid, ...ENDPOINTS });
  claimRuntime(dataDir, process.pid);
  expect(readRuntime(dataDir)).toMatchObject({ kind: 'running', pid: process.pid });
});

test.runIf(existsSync('/proc/self/stat'))('is stale when another program got the process id', async () => {
  const other = await startOther();
  claimRuntime(dataDir, other.pid);
  edit({ started: 'an earlier boot 1' });
  expect(readRuntime(dataDir).kind).toBe('stale');
  claimRuntime(dataDir, process.pid);
  await other.end();
});

test('release leaves the file of a successor alone', async () => {
  const claim = claimRuntime(dataDir, process.pid);
  edit({ pid: 1 });
  claim.release();
  expect(existsSync(path())).toBe(true);
});

test.each(['', '{', '[]', '{"pid":"x"}'])('a file that holds %j is as good as none', (text) => {
  writeFileSync(path(), text);
  expect(readRuntime(dataDir)).toEqual({ kind: 'absent' });
  claimRuntime(dataDir, process.pid);
  expect(readRuntime(dataDir).kind).toBe('running');
});
