/** The figures of a run with all that is needed to read them later, and the file they are recorded in. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus, release, totalmem, type } from 'node:os';
import { dirname } from 'node:path';
import * as v from 'valibot';
import { type Stores, startStores } from '../../support/stores.ts';
import type { Figure } from './scenario.ts';

export type Mode = 'quick' | 'full';

export type FiguresByScenario = Readonly<Record<string, readonly Figure[]>>;

/** One run. */
export type Section = {
  readonly date: string;
  readonly mode: Mode;
  readonly seed: number;
  readonly seconds: number;
  readonly versions: {
    readonly node: string;
    readonly weir: string;
    readonly clickhouse: string;
    readonly postgres: string;
  };
  readonly machine: { readonly cpu: string; readonly cores: number; readonly memoryGiB: number; readonly os: string };
  readonly scenarios: FiguresByScenario;
};

/** What is recorded, by mode: only like is compared with like. */
export type Results = { readonly [mode in Mode]?: Section };

/** Only what the guard reads. */
const Recorded = v.object({
  scenarios: v.record(v.string(), v.array(v.looseObject({ name: v.string(), value: v.number() }))),
});
const ResultsJson = v.object({
  full: v.optional(v.looseObject(Recorded.entries)),
  quick: v.optional(v.looseObject(Recorded.entries)),
});

/** Empty where there is no such file. */
export function readResults(file: string): Results {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return {};
    throw error;
  }
  return v.parse(ResultsJson, JSON.parse(text)) as unknown as Results;
}

export function writeResults(file: string, results: Results): void {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, `${JSON.stringify(results, null, 2)}\n`);
}

/** The section of its mode is replaced; of a run of some scenarios, only theirs, and the section keeps how long all took. */
export function withSection(results: Results, section: Section, { isAll }: { isAll: boolean }): Results {
  const before = isAll ? undefined : results[section.mode];
  const { seconds, scenarios } = section;
  const merged = { ...section, seconds: before?.seconds ?? seconds, scenarios: { ...before?.scenarios, ...scenarios } };
  return { ...results, [section.mode]: merged };
}

export function machineNow(): Section['machine'] {
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    os: `${type()} ${release()}`,
  };
}

/** Of what the scenarios run on. */
export async function versionsNow(): Promise<Section['versions']> {
  const stores = await startStores();
  try {
    const manifest = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')) as {
      version: string;
    };
    return { node: process.versions.node, weir: manifest.version, ...(await versionsOf(stores)) };
  } finally {
    await stores.stop();
  }
}

async function versionsOf({ select, postgres }: Stores): Promise<{ clickhouse: string; postgres: string }> {
  const [clickhouse] = await select<{ version: string }>('SELECT version() AS version');
  const { rows } = await postgres.pool.query<{ server_version: string }>('SHOW server_version');
  return { clickhouse: clickhouse!.version, postgres: rows[0]!.server_version };
}
