import type { Command } from 'commander';
import type { ReplayedRejected } from '../../operations/replay-rejected.ts';
import type { RejectedSelection } from '../../postgres/rejected-events/rejected-queries.ts';
import { ACTOR_OPTION, actorOf } from '../actor.ts';
import { printJson, type Cli } from '../cli.ts';
import { idsShownBy, parseProject } from '../dlq/selection.ts';
import { counted, grouped } from '../../operations/wording.ts';
import { createProgress } from '../progress.ts';
import { withPostgres } from '../stores.ts';
import { textTable } from '../table.ts';
import { parseDoor, parseReason, type SelectionOptions, selectionOf } from './selection.ts';

type Options = SelectionOptions & { all?: boolean; dryRun?: boolean; actor?: string; json?: boolean };

export function addReplay(rejected: Command, cli: Cli): void {
  rejected
    .command('replay')
    .description('decode rejected events once more, and store those that are accepted now')
    .argument('[ids...]', 'ids, from `weir rejected ls`', idsShownBy('weir rejected ls').collect)
    .option('--project <id>', 'events of one project', parseProject)
    .option('--door <source>', 'events that came by one family of doors, such as segment', parseDoor)
    .option('--reason <kind>', 'events rejected for one kind of reason, such as missing_field', parseReason)
    .option('--all', 'every event that is kept')
    .option('--dry-run', 'only say what would be accepted')
    .option(...ACTOR_OPTION)
    .option('--json', 'print one JSON object')
    .addHelpText(
      'after',
      `
Each event is decoded as the door it came by would decode it today, with the time it was received then.
Those that are accepted become dead letters, and a running Weir stores them within seconds; those that
are not stay, with the reason of today. An event is stored once, however often it is replayed. The
options narrow each other.

Examples:
  weir rejected replay --door segment --dry-run
  weir rejected replay --door segment --reason missing_field
  weir rejected replay 0198c0de-0000-7000-8000-000000000000`,
    )
    .action(async (ids: string[], options: Options, command: Command) => {
      const { all, project, door, reason } = options;
      const isNarrowed = ids.length > 0 || (project ?? door ?? reason) !== undefined;
      if (isNarrowed === (all ?? false))
        command.error('error: say which events: ids, the options that select them, or --all');
      await replay(cli, selectionOf(ids, options), options);
    });
}

async function replay(cli: Cli, selection: RejectedSelection, options: Options): Promise<void> {
  const actor = actorOf(cli, options);
  const { maxFutureMs } = cli.config();
  const isTrial = options.dryRun ?? false;
  const done = await withPostgres(cli, async (db) => {
    const [{ replayRejected }, { decodeKept }, { DOORS }] = await Promise.all([
      import('../../operations/replay-rejected.ts'),
      import('../../http/ingest/kept-event.ts'),
      import('../../http/app.ts'),
    ]);
    const say = createProgress(cli);
    return replayRejected(
      db,
      {
        selection,
        actor,
        isTrial,
        decode: (event, retentionSeconds) => decodeKept(event, DOORS, { maxFutureMs, retentionSeconds }),
      },
      (count) => say(() => `${counted(count, 'event')} so far`),
    );
  });
  if (options.json) printJson(cli.io, { ...done, dryRun: isTrial });
  else describe(cli, done, isTrial);
}

function describe({ io }: Cli, { accepted, rejected, passedOver }: ReplayedRejected, isTrial: boolean): void {
  const reasons = Object.entries(rejected).toSorted(([, a], [, b]) => b - a);
  if (reasons.length > 0) {
    io.stdout(
      textTable(
        ['EVENTS', 'STILL REJECTED'],
        reasons.map(([reason, count]) => [grouped(count), reason]),
      ),
    );
  }
  const still = reasons.reduce((sum, [, count]) => sum + count, 0);
  const lines = isTrial
    ? [`${counted(accepted, 'event')} would be stored, ${grouped(still)} rejected again. Nothing was changed.`]
    : [
        `${counted(accepted, 'event')} accepted, ${grouped(still)} rejected again.`,
        ...(accepted > 0 ? ['A running Weir stores them within seconds: weir dlq ls.'] : []),
      ];
  if (passedOver > 0) {
    lines.push(`${counted(passedOver, 'event')} passed over: another command has them, or their project is deleted.`);
  }
  io.stderr(`${lines.join('\n')}\n`);
}
