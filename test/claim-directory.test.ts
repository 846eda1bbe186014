import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pid } from 'node:process';
import { expect, test } from 'vitest';
import { parseConfig } from '../src/config/config.ts';
import { createLog } from '../src/log/log.ts';
import { JournalUnusable } from '../src/composition/durability.ts';
import { claimDirectory } from '../src/service/claim-directory.ts';
import { readRuntime } from '../src/service/runtime-file.ts';

const ENDPOINTS = {
  url: 'http://127.0.0.1:8080',
  clickhouseUrl: null,
  clickhouseKey: null,
  databaseUrl: null,
  consoleUrl: null,
};

test.each(['on', 'prefer', 'off'])(
  'a runtime file that can no longer be written is said and ends nothing: %s',
  (mode) => {
    const dataDir = mkdtempSync(join(tmpdir(), 'weir-claim-'));
    const lines: string[] = [];
    const log = createLog('warn', { write: (line: string) => void lines.push(line) });
    const claim = claimDirectory(
      parseConfig({ WEIR_DATA_DIR: dataDir, INGEST_JOURNAL: mode }, () => ''),
      pid,
      log,
    );
    const path = join(dataDir, 'runtime.json');
    rmSync(path);
    mkdirSync(path);
    claim.publish(ENDPOINTS);
    expect(lines.map((line) => JSON.parse(line))).toMatchObject([
      { code: 'EISDIR', msg: 'data directory cannot be written; other commands will not find this process' },
    ]);
    // A draft would keep the room that it found from the journal.
    expect(readdirSync(dataDir)).toEqual(['runtime.json']);
    claim.release();
    expect(JSON.parse(lines.at(-1)!)).toMatchObject({
      code: 'EISDIR',
      msg: 'runtime.json cannot be removed; the next start replaces it',
    });
    rmSync(dataDir, { recursive: true });
  },
);

test('a directory whose runtime file cannot be read is none that runs, and is claimed only where no journal is needed', () => {
  const dataDir = mkdtempSync(join(tmpdir(), 'weir-claim-'));
  // Reading it fails for every user.
  mkdirSync(join(dataDir, 'runtime.json'));
  expect(readRuntime(dataDir)).toEqual({ kind: 'unreadable', code: 'EISDIR' });
  const claimed = (mode: string) => {
    const config = parseConfig({ WEIR_DATA_DIR: dataDir, INGEST_JOURNAL: mode }, () => '');
    return claimDirectory(config, pid, createLog('silent'));
  };
  expect(() => claimed('on')).toThrow(JournalUnusable);
  claimed('prefer').release();
  expect(readdirSync(dataDir)).toEqual(['runtime.json']);
  rmSync(dataDir, { recursive: true });
});

test('a file in the place of the directory is neither a running Weir nor a stack', () => {
  const dir = mkdtempSync(join(tmpdir(), 'weir-claim-'));
  const dataDir = join(dir, 'file');
  writeFileSync(dataDir, '');
  expect(readRuntime(dataDir)).toEqual({ kind: 'unreadable', code: 'ENOTDIR' });
  const config = parseConfig({ WEIR_DATA_DIR: dataDir, INGEST_JOURNAL: 'on' }, () => '');
  expect(() => claimDirectory(config, pid, createLog('silent'))).toThrow(JournalUnusable);
  rmSync(dir, { recursive: true });
});
