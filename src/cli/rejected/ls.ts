import type { Command } from 'commander';
import { printJson, type Cli } from '../cli.ts';
import { parseCount, parseProject } from '../dlq/selection.ts';
import { counted, grouped } from '../../operations/wording.ts';
import { withProgress } from '../progress.ts';
import { withPostgres } from '../stores.ts';
import { textTable } from '../table.ts';
import { parseDoor, parseReason, type SelectionOptions, selectionOf } from './selection.ts';

const SHOWN = 20;

export function addLs(rejected: Command, cli: Cli): void {
  rejected
    .command('ls')
    .description('list the rejected events that were kept, newest first')
    .option('--project <id>', 'only events of one project', parseProject)
    .option('--door <source>', 'only events that came by one family of doors, such as segment', parseDoor)
    .option('--reason <kind>', 'only events rejected for one kind of reason, such as missing_field', parseReason)
    .option('--limit <count>', 'the maximum number to list', parseCount, SHOWN)
    .option('--json', 'print one JSON object')
    .addHelpText(
      'after',
      '\nExamples:\n  weir rejected ls\n  weir rejected ls --door posthog --reason missing_field --limit 100',
    )
    .action(async (options: SelectionOptions & { limit: number; json?: boolean }) => {
      const selection = selectionOf([], options);
      const { events, total } = await withPostgres(cli, async (db) => {
        const queries = await import('../../postgres/rejected-events/rejected-queries.ts');
        const events = await withProgress(cli, 'Listing', queries.listRejected(db, selection, options.limit));
        return { events, total: await withProgress(cli, 'Counting', queries.countRejected(db, selection)) };
      });
      const more = Math.max(0, total - events.length);
      if (options.json) return printJson(cli.io, { events, more });
      if (events.length === 0) return sayNone(cli);
      cli.io.stdout(
        textTable(
          ['ID', 'RECEIVED', 'PROJECT', 'DOOR', 'KIND', 'BYTES', 'REASON'],
          events.map(({ id, receivedAt, projectId, door, kind, size, reason }) => [
            id,
            receivedAt.toISOString(),
            projectId,
            door,
            kind,
            grouped(size),
            reason,
          ]),
        ),
      );
      if (more > 0) cli.io.stderr(`… and ${counted(more, 'more', 'more')}: --limit shows them.\n`);
    });
}

function sayNone({ io, config }: Cli): void {
  const isOff = config().rejected.keep === 0;
  io.stderr(
    `No such rejected events are kept.${isOff ? ' INGEST_KEEP_REJECTED is 0 here: a Weir with that setting keeps none.' : ''}\n`,
  );
}
