import { InvalidArgumentError, type Command } from 'commander';
import { splitRows } from '../../event/rows.ts';
import { findUnreadableRows } from '../../pipeline/isolate.ts';
import type { LetterLookup, OpenedLetter, Selection } from '../../postgres/letter-lookup.ts';
import { ACTOR_OPTION, actorOf } from '../actor.ts';
import { CommandFailure, printJson, type Cli } from '../cli.ts';
import { createProgress } from '../progress.ts';
import { withClickHouse, withPostgres } from '../stores.ts';
import { textTable } from '../table.ts';
import { counted, grouped } from '../words.ts';
import {
  type SelectionOptions,
  collectId,
  countSelected,
  deskOf,
  lookupOf,
  parseProject,
  selectionOf,
} from './selection.ts';

type Options = SelectionOptions & { dryRun?: boolean; rate?: number; actor?: string; json?: boolean };

/** What ClickHouse says to one letter. `unknown` rows were not looked at any more. */
type Trial = {
  readonly id: string;
  readonly events: number;
  readonly wouldPass: number;
  readonly refused: number;
  readonly unknown: number;
  readonly reasons: readonly { readonly row: number; readonly code: number | null; readonly message: string }[];
};

/** Statements one letter may cost: about a hundred bad rows. */
const STATEMENTS_PER_LETTER = 256;
const REASONS_KEPT = 20;
const SHOWN = 50;

export function addReplay(dlq: Command, cli: Cli): void {
  dlq
    .command('replay')
    .description('make dead letters due again, quarantined ones too, as if they had never been tried')
    .argument('[ids...]', 'ids of letters', collectId)
    .option('--group <group>', 'those with one cause, from `weir dlq groups`')
    .option('--project <id>', 'those that hold events of one project, with what else is in them', parseProject)
    .option('--all', 'every one')
    .option('--dry-run', 'only say which rows ClickHouse would read and which not; changes nothing')
    .option('--rate <letters>', 'letters a second at most', parseRate)
    .option(...ACTOR_OPTION)
    .option('--json', 'print one JSON object')
    .addHelpText(
      'after',
      `
The running Weir does the work; this makes the letters due and resets their attempts. Letters that
are being replayed at this moment are left alone. Replaying cannot make duplicates.

A dry run sees what goes wrong while rows are read. What only happens while they are stored
(constraints, views) it cannot see.

Examples:
  weir dlq replay --group 6f1c0d2e9a7b4c55 --dry-run
  weir dlq replay --group 6f1c0d2e9a7b4c55
  weir dlq replay --all --rate 5
  weir dlq replay 0198c0de-0000-7000-8000-000000000000`,
    )
    .action(async (ids: string[], options: Options, command: Command) => {
      const selection = selectionOf(command, ids, options);
      await (options.dryRun ? dryRun(cli, selection, options) : replay(cli, selection, options));
    });
}

async function replay(cli: Cli, selection: Selection, options: Options): Promise<void> {
  const actor = actorOf(cli, options);
  const say = createProgress(cli);
  const { changed, replaying, drain } = await withPostgres(cli, async (db) => {
    const [{ createSwitchboard }, desk] = await Promise.all([
      import('../../postgres/switchboard.ts'),
      deskOf(db, actor),
    ]);
    const { replaying } = await countSelected(await lookupOf(db), selection);
    const changed = await desk.replay(selection, options.rate ?? null, ({ letters }) =>
      say(() => `${counted(letters, 'letter')} so far`),
    );
    return { changed, replaying: replaying.letters, drain: (await createSwitchboard(db).read('drain')).position };
  });
  if (options.json) return printJson(cli.io, { ...changed, replaying, drain });
  const { letters, events } = changed;
  const lastSeconds =
    options.rate && letters > 1 ? `, the last one in ${Math.ceil((letters - 1) / options.rate)} s` : '';
  cli.io.stderr(`${counted(letters, 'letter')} (${counted(events, 'event')}) due again${lastSeconds}.\n`);
  if (replaying > 0) {
    cli.io.stderr(`${counted(replaying, 'letter')} being replayed at this moment, left alone.\n`);
  }
  if (drain === 'paused') cli.io.stderr('The drain is paused, so nothing happens yet: `weir dlq resume`.\n');
}

async function dryRun(cli: Cli, selection: Selection, options: Options): Promise<void> {
  const trials = await withPostgres(cli, async (db) => {
    const lookup = await lookupOf(db);
    await countSelected(lookup, selection);
    return tryAll(cli, lookup, selection);
  });
  if (options.json) return printJson(cli.io, { letters: trials });
  if (trials.length === 0) return cli.io.stderr('There are no such dead letters.\n');

  // Those that need a person come first.
  const sorted = [...trials].sort((a, b) => b.refused + b.unknown - (a.refused + a.unknown));
  const lines = sorted
    .slice(0, SHOWN)
    .map(({ id, events, wouldPass, refused, unknown, reasons }) => [
      id,
      grouped(events),
      grouped(wouldPass),
      grouped(refused),
      grouped(unknown),
      [...new Set(reasons.map(({ message }) => message))].slice(0, 3).join(' | '),
    ]);
  cli.io.stdout(textTable(['ID', 'EVENTS', 'WOULD PASS', 'REFUSED', 'NOT TRIED', 'WHY'], lines));
  if (sorted.length > SHOWN) cli.io.stderr(`… and ${grouped(sorted.length - SHOWN)} more: --json shows them.\n`);
  const sum = (of: (trial: Trial) => number) => trials.reduce((so, trial) => so + of(trial), 0);
  cli.io.stderr(
    `${counted(trials.length, 'letter')}: ${counted(
      sum(({ wouldPass }) => wouldPass),
      'event',
    )} would pass, ` +
      `${grouped(sum(({ refused }) => refused))} would be refused, ${grouped(sum(({ unknown }) => unknown))} not tried. Nothing was changed.\n`,
  );
}

async function tryAll(cli: Cli, lookup: LetterLookup, selection: Selection): Promise<Trial[]> {
  const { createEventStore } = await import('../../clickhouse/event-store.ts');
  const timeoutMs = cli.config().insertTimeoutMs;
  const say = createProgress(cli);
  return withClickHouse(cli, async (client, database) => {
    const events = createEventStore({ client, clock: cli.clock }, { database, timeoutMs });
    const trials: Trial[] = [];
    for await (const opened of lookup.openAll(selection)) {
      trials.push(await tryLetter(opened, (rows) => events.dryRun(rows)));
      say(() => `${counted(trials.length, 'letter')} tried so far`);
    }
    return trials;
  });
}

async function tryLetter(
  { letter: { id, eventCount }, rows }: OpenedLetter,
  read: (rows: readonly Buffer[]) => Promise<void>,
): Promise<Trial> {
  if (rows === null) {
    const reasons = [{ row: 0, code: null, message: 'the payload is damaged and cannot be read' }];
    return { id, events: eventCount, wouldPass: 0, refused: eventCount, unknown: 0, reasons };
  }
  const all = splitRows(rows);
  const { bad, isComplete, interruptedBy } = await findUnreadableRows(all, read, { left: STATEMENTS_PER_LETTER });
  if (interruptedBy) {
    throw new CommandFailure(
      `ClickHouse has other trouble than these rows (${interruptedBy.failureClass}): ${interruptedBy.message}. See \`weir doctor\`. Nothing was changed.`,
      { cause: interruptedBy },
    );
  }
  const rest = all.length - bad.size;
  return {
    id,
    events: all.length,
    wouldPass: isComplete ? rest : 0,
    refused: bad.size,
    unknown: isComplete ? 0 : rest,
    reasons: [...bad].slice(0, REASONS_KEPT).map(([row, { code, message }]) => ({ row, code, message })),
  };
}

function parseRate(text: string): number {
  const rate = Number(text);
  if (!/^\d{1,5}(\.\d{1,3})?$/.test(text) || rate <= 0) {
    throw new InvalidArgumentError('Letters a second, such as 5 or 0.5.');
  }
  return rate;
}
