/**
 * Rebuilds the table of events under another sorting key while it is written to
 * and read: a second table, a view that feeds it with every insert, a walk that
 * copies what is there, one that looks for what is missing, and an exchange of
 * names; then the same look again, for what was inserted across the exchange.
 *
 * Every step leaves a state that `nextStep` knows, whoever takes the next one,
 * and after whatever has ended this process.
 */
import type { ClickHouseClient, ClickHouseSettings } from '@clickhouse/client';
import type { RebuildState, TableRebuild } from '../../pipeline/storage-port.ts';
import { explainFailure } from '../connection/connection-errors.ts';
import { askOf } from '../connection/ask.ts';
import { quoted } from '../connection/quoting.ts';
import { type Chunk, type Cursor, nextSize } from './chunks.ts';
import { EVENTS, MIRROR, MISSING, NEW_KEY, PROGRESS, REBUILT, RETIRED } from './event-tables.ts';
import {
  countParts,
  findChunk,
  obstacleOf,
  olderStatements,
  openMutations,
  readSituation,
  whyToPause,
} from './rebuild-reading.ts';
import { type Phase, type Situation, type Step, createRebuilt, nextStep } from './rebuild-state.ts';
import { AFTER, BEFORE, createRowCopy } from './row-copy.ts';

const FIRST_CHUNK_ROWS = 200_000;
/** A view is dropped when no insert uses it; inserts behind one that waits for that would wait as well. */
const DROP_WITHIN_S = 1;
const LOCK_NOT_TAKEN = '473';
const NO_RIGHT = '497';

const DOING: Record<Phase, Extract<RebuildState, { kind: 'running' }>['doing']> = {
  copy: 'copying',
  check: 'checking',
  settle: 'finishing',
};

function running({ progress }: Situation, waitsFor: string | null = null): RebuildState {
  const { phase, rows, total } = progress ?? { phase: 'copy', rows: 0, total: 0 };
  return { kind: 'running', doing: DOING[phase], rows, total: Math.max(rows, total), waitsFor };
}

type Written = {
  readonly phase: Phase;
  readonly isEnded: boolean;
  readonly cursor: Cursor | null;
  readonly rows: number;
};

export function createRebuild(client: ClickHouseClient, database: string): TableRebuild {
  const ask = askOf(client, database);
  const copy = createRowCopy(client, database);
  let chunkRows = FIRST_CHUNK_ROWS;

  return { read, take };

  async function read() {
    const situation = await readSituation(ask);
    const step = nextStep(situation);
    const state = await stateOf(situation, step);
    // What may not begin is not taken either, whoever asks.
    return { state, next: state.kind === 'running' && step.kind !== 'blocked' ? step.kind : 'none' } as const;
  }

  async function stateOf(situation: Situation, step: Step): Promise<RebuildState> {
    if (step.kind === 'none') return { kind: 'done' };
    if (step.kind === 'blocked') return step;
    if (step.kind === 'tables' && step.do === 'begin') {
      const why = await obstacleOf(ask, situation.events!);
      if (why !== null) return { kind: 'blocked', why };
    }
    return running(situation);
  }

  async function take(what: 'tables' | 'rows'): Promise<RebuildState> {
    const situation = await readSituation(ask);
    const step = nextStep(situation);
    // Somebody else has brought it on: that step needs another lock.
    if (step.kind !== what) return stateOf(situation, step);
    let waitsFor: string | null;
    try {
      waitsFor = step.kind === 'tables' ? await changeTables(situation, step.do) : await moveRows(step);
    } catch (error) {
      if ((error as { code?: unknown }).code !== NO_RIGHT) throw error;
      return { kind: 'blocked', why: explainFailure(error) };
    }
    const after = await readSituation(ask);
    return waitsFor === null ? stateOf(after, nextStep(after)) : running(after, waitsFor);
  }

  /** What the step waits for; null when it is done. */
  async function changeTables({ events }: Situation, what: Extract<Step, { kind: 'tables' }>['do']) {
    switch (what) {
      case 'begin':
        if ((await obstacleOf(ask, events!)) !== null) return null;
        await dropRemains();
        await run(`CREATE TABLE ${of(REBUILT)} ${createRebuilt(events!)}`);
        return null;
      case 'start over': {
        const waitsFor = await dropMirror();
        if (waitsFor === null) await run(`RENAME TABLE ${of(REBUILT)} TO ${of(RETIRED)}`);
        return waitsFor;
      }
      case 'mirror':
        await createMirror();
        return null;
      case 'check':
        if ((await olderStatements(ask, 'mirror')) > 0) return 'inserts that began before the copy';
        await note({ phase: 'check', isEnded: false, cursor: null, rows: 0 });
        return null;
      case 'exchange':
        await run(`EXCHANGE TABLES ${of(EVENTS)} AND ${of(REBUILT)}`);
        return null;
      case 'note exchange':
        await note({ phase: 'settle', isEnded: false, cursor: null, rows: 0 });
        return null;
      case 'drop mirror':
        return dropMirror();
      case 'retire':
        await run(`RENAME TABLE ${of(REBUILT)} TO ${of(RETIRED)}`);
        return null;
      case 'drop retired':
        await run(`DROP TABLE ${of(RETIRED)}`, { max_table_size_to_drop: '0' });
        return null;
      case 'tidy':
        await dropView();
        await dropRemains();
        return null;
    }
  }

  /** With the walk that copies, when there is none yet; a mirror that was gone for a while has missed rows, which the check finds. */
  async function createMirror() {
    await run(`CREATE TABLE IF NOT EXISTS ${of(PROGRESS)}
      (step UInt64, at DateTime64(3, 'UTC') DEFAULT now64(3), phase String, ended UInt8, partition String,
       has_key UInt8, project_id UUID, event String, until_ms Int64, rows UInt64, total UInt64)
      ENGINE = MergeTree ORDER BY step COMMENT 'How far the rebuild of ${EVENTS} is; gone when it is done.'`);
    const { progress, hasMirror } = await readSituation(ask);
    if (!hasMirror) {
      await run(
        `CREATE MATERIALIZED VIEW IF NOT EXISTS ${of(MIRROR)} TO ${of(REBUILT)} AS SELECT * FROM ${of(EVENTS)}`,
      );
    }
    if (progress === null) await note({ phase: 'copy', isEnded: false, cursor: null, rows: 0 });
    // What was inserted without it is found by a check from the start.
    else if (progress.phase !== 'copy') await note({ ...progress, phase: 'copy', isEnded: true });
  }

  async function dropMirror() {
    const { events } = await readSituation(ask);
    if (events?.sortingKey === NEW_KEY && (await olderStatements(ask, 'exchange')) > 0)
      return 'inserts that began before the exchange';
    try {
      await dropView();
      return null;
    } catch (error) {
      if ((error as { code?: unknown }).code !== LOCK_NOT_TAKEN) throw error;
      return 'an insert that takes its time';
    }
  }

  async function moveRows({ phase, cursor, rows }: Extract<Step, { kind: 'rows' }>): Promise<string | null> {
    const from = phase === 'settle' ? REBUILT : EVENTS;
    // What is copied while rows are deleted or changed would be as it was before.
    if ((await openMutations(ask, from)) > 0)
      return `a change of rows that ClickHouse has not finished (system.mutations, ${from})`;
    const short = await whyToPause(ask);
    if (short !== null) return short;
    const found = await findChunk(ask, database, { table: from, cursor, rows: chunkRows });
    if (found === null) {
      await note({ phase, isEnded: true, cursor, rows });
      return null;
    }
    const { elapsedMs } = await moved(found.chunk, phase);
    chunkRows = nextSize(chunkRows, elapsedMs);
    const { partition, upTo } = found.chunk;
    await note({ phase, isEnded: false, cursor: { partition, key: upTo }, rows: rows + found.rows });
    return null;
  }

  async function moved(chunk: Chunk, phase: Phase) {
    try {
      return await (phase === 'copy' ? copy.all(chunk) : copy.missing(chunk, phase === 'check' ? BEFORE : AFTER));
    } catch (error) {
      // It may have been too much at once: for ClickHouse's memory, or for a time limit in between.
      chunkRows = nextSize(chunkRows, Infinity);
      throw error;
    }
  }

  async function note({ phase, isEnded, cursor, rows }: Written) {
    const total = (await countParts(ask, phase === 'settle' ? REBUILT : EVENTS)).rows;
    const key = cursor?.key ?? null;
    await client.command({
      query: `INSERT INTO ${of(PROGRESS)} (step, phase, ended, partition, has_key, project_id, event, until_ms, rows, total)
        SELECT (SELECT max(step) + 1 FROM ${of(PROGRESS)}), {phase:String}, {ended:UInt8}, {partition:String}, {hasKey:UInt8},
          {project:UUID}, unhex({event:String}), {until:Int64}, {rows:UInt64}, {total:UInt64}`,
      query_params: {
        phase,
        ended: Number(isEnded),
        partition: cursor?.partition ?? '',
        hasKey: Number(key !== null),
        project: key?.project ?? '00000000-0000-0000-0000-000000000000',
        event: key?.eventHex ?? '',
        until: String(key?.untilMs ?? 0),
        rows: String(rows),
        total: String(total),
      },
      clickhouse_settings: { async_insert: 0, wait_end_of_query: 1 },
    });
  }

  async function dropView() {
    await run(`DROP TABLE IF EXISTS ${of(MIRROR)} SYNC`, { lock_acquire_timeout: DROP_WITHIN_S });
  }

  async function dropRemains() {
    for (const table of [PROGRESS, MISSING]) await run(`DROP TABLE IF EXISTS ${of(table)} SYNC`);
  }

  async function run(query: string, settings: ClickHouseSettings = {}) {
    await client.command({ query, clickhouse_settings: { wait_end_of_query: 1, ...settings } });
  }

  function of(table: string) {
    return `${quoted(database)}.${table}`;
  }
}
