import { InvalidArgumentError, type Command } from 'commander';
import { type RowChoice, parseRowChoice } from '../../operations/row-choice.ts';
import { SAMPLE_SIZE } from '../../operations/selected-dead-letters.ts';
import type { Trial } from '../../operations/try-dead-letters.ts';
import type { Selection } from '../../postgres/dead-letters/selection.ts';
import { ACTOR_OPTION, actorOf } from '../actor.ts';
import { printJson, type Cli } from '../cli.ts';
import { deadLetterProgress } from '../progress.ts';
import { withEvents, withPostgres } from '../stores.ts';
import { textTable } from '../table.ts';
import { counted, grouped } from '../../operations/wording.ts';
import { type SelectionOptions, collectId, parseCount, parseProject, selectionOf } from './selection.ts';

type Options = SelectionOptions & {
  only?: RowChoice;
  dryRun?: boolean;
  sample?: number;
  rate?: number;
  actor?: string;
  json?: boolean;
};

/** How many letters of a dry run are listed. */
const SHOWN = 50;

export function addReplay(dlq: Command, cli: Cli): void {
  dlq
    .command('replay')
    .description('make dead letters due again, quarantined ones too, as if they had never been tried')
    .argument('[ids...]', 'ids of letters', collectId)
    .option('--group <group>', 'letters with one cause, from `weir dlq groups`')
    .option('--project <id>', 'letters that hold events of one project, including their other events', parseProject)
    .option('--all', 'every one')
    .option('--only <rows>', 'rows of one letter: numbers such as 1,4-6 as in `weir dlq show`, or event ids', parseRows)
    .option('--dry-run', 'report which rows would be accepted or refused; changes nothing')
    .option('--sample <letters>', 'with --dry-run: the number of letters to try, the oldest and the newest', parseCount)
    .option('--rate <letters>', 'maximum letters per second', parseRate)
    .option(...ACTOR_OPTION)
    .option('--json', 'print one JSON object')
    .addHelpText(
      'after',
      `
This command makes the letters due and resets their attempts; the running Weir replays them. Letters that
it is replaying at this moment are skipped. Replaying cannot make duplicates.

A dry run finds failures of reading rows, of computed columns and of constraints. It cannot find failures
that only occur while rows are stored (views, partitions). With more than ${SAMPLE_SIZE} letters it tries a sample, half of
it the oldest and half the newest, and says so.

Examples:
  weir dlq replay --group 6f1c0d2e9a7b4c55 --dry-run
  weir dlq replay --group 6f1c0d2e9a7b4c55
  weir dlq replay --all --rate 5
  weir dlq replay 0198c0de-0000-7000-8000-000000000000 --only 1,4-6
  weir dlq replay 0198c0de-0000-7000-8000-000000000000`,
    )
    .action(async (ids: string[], options: Options, command: Command) => {
      const selection = selectionOf(command, ids, options);
      if (options.only) return replayOnly(cli, command, selection, options.only, options);
      if (options.sample && !options.dryRun) command.error('error: --sample needs --dry-run');
      await (options.dryRun ? dryRun(cli, selection, options) : replay(cli, selection, options));
    });
}

async function replay(cli: Cli, selection: Selection, options: Options): Promise<void> {
  const actor = actorOf(cli, options);
  const done = await withPostgres(cli, async (db) => {
    const { replayDeadLetters } = await import('../../operations/replay-dead-letters.ts');
    return replayDeadLetters(db, { selection, perSecond: options.rate ?? null, actor }, deadLetterProgress(cli));
  });
  if (options.json) return printJson(cli.io, done);
  const { letters, events, replaying, drain } = done;
  const lastSeconds =
    options.rate && letters > 1 ? `, the last one in ${Math.ceil((letters - 1) / options.rate)} s` : '';
  cli.io.stderr(`${counted(letters, 'letter')} (${counted(events, 'event')}) due again${lastSeconds}.\n`);
  if (replaying > 0) {
    cli.io.stderr(`${counted(replaying, 'letter')} skipped: a running Weir is replaying them.\n`);
  }
  if (drain === 'paused') cli.io.stderr('The drain is paused, so nothing is replayed yet: run `weir dlq resume`.\n');
}

/** Makes some events of one letter due; the others stay in a letter of their own. */
async function replayOnly(cli: Cli, command: Command, selection: Selection, only: RowChoice, options: Options) {
  if (selection.by !== 'ids' || selection.ids.length !== 1 || options.dryRun || options.rate) {
    command.error('error: --only requires the id of exactly one letter, and excludes --dry-run and --rate');
  }
  const [id] = (selection as Selection & { by: 'ids' }).ids as [string];
  const actor = actorOf(cli, options);
  const { deadLetterId, events, left, leftId } = await withPostgres(cli, async (db) => {
    const { replayRows } = await import('../../operations/replay-rows.ts');
    return replayRows(db, { id, isMeant: only, actor });
  });
  if (options.json) return printJson(cli.io, { letterId: deadLetterId, events, left, leftId });
  const rest = leftId === null ? '' : `; ${grouped(left)} remain, as letter ${leftId}`;
  cli.io.stderr(`${counted(events, 'event')} due again, as letter ${deadLetterId}${rest}.\n`);
}

async function dryRun(cli: Cli, selection: Selection, options: Options): Promise<void> {
  const timeoutMs = cli.config().insertTimeoutMs;
  const { letters: trials, total } = await withPostgres(cli, (db) =>
    withEvents(cli, async ({ name, inspection }) => {
      const { tryDeadLetters } = await import('../../operations/try-dead-letters.ts');
      const events = { name, store: inspection(timeoutMs) };
      const progress = deadLetterProgress(cli, 'tried so far');
      return tryDeadLetters({ db, events }, { selection, sample: options.sample ?? null }, progress);
    }),
  );
  if (options.json) return printJson(cli.io, { letters: trials, total });
  if (trials.length === 0) return cli.io.stderr('There are no such dead letters.\n');

  // Letters that need a person come first.
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
  if (trials.length < total) {
    cli.io.stderr(
      `This was a sample of ${counted(total, 'letter')}, the oldest and the newest: use --sample to try more.\n`,
    );
  }
}

function parseRows(text: string): RowChoice {
  const choice = parseRowChoice(text);
  if (choice === null) throw new InvalidArgumentError('Rows such as 1,4-6, or event ids.');
  return choice;
}

function parseRate(text: string): number {
  const rate = Number(text);
  if (!/^\d{1,5}(\.\d{1,3})?$/.test(text) || rate <= 0) {
    throw new InvalidArgumentError('Letters a second, such as 5 or 0.5.');
  }
  return rate;
}
