import type { Command } from 'commander';
import type { Removed } from '../../postgres/letter-desk.ts';
import type { CountByState, Selection } from '../../postgres/letter-lookup.ts';
import { ACTOR_OPTION, actorOf } from '../actor.ts';
import { CommandFailure, printJson, type Cli } from '../cli.ts';
import { confirmed } from '../confirm.ts';
import { createProgress } from '../progress.ts';
import { withPostgres } from '../stores.ts';
import { counted } from '../words.ts';
import {
  type SelectionOptions,
  collectId,
  countSelected,
  deskOf,
  lookupOf,
  parseProject,
  selectionOf,
  totalOf,
} from './selection.ts';

type Options = SelectionOptions & { reason: string; yes?: boolean; actor?: string; json?: boolean };

export function addDiscard(dlq: Command, cli: Cli): void {
  dlq
    .command('discard')
    .description('delete dead letters for good; the audit keeps how many events they held, who did it and why')
    .argument('[ids...]', 'ids of letters', collectId)
    .option('--group <group>', 'those with one cause, from `weir dlq groups`')
    .option('--project <id>', 'the events of one project, also out of letters that hold others', parseProject)
    .option('--all-quarantined', 'every one that waits for a person')
    .requiredOption('--reason <text>', 'why, for the audit')
    .option('--yes', 'do not ask')
    .option(...ACTOR_OPTION)
    .option('--json', 'print one JSON object')
    .addHelpText(
      'after',
      `
What is discarded is gone: \`weir dlq export\` first keeps it in a file. Letters that are being
replayed at this moment are left alone.

Examples:
  weir dlq discard 0198c0de-0000-7000-8000-000000000000 --reason "test data"
  weir dlq discard --group 6f1c0d2e9a7b4c55 --reason "broken SDK 1.2" --yes
  weir dlq discard --all-quarantined --reason "agreed with the shop team"`,
    )
    .action(async (ids: string[], options: Options, command: Command) => {
      const selection = selectionOf(command, ids, options);
      await discard(cli, selection, options);
    });
}

async function discard(cli: Cli, selection: Selection, options: Options): Promise<void> {
  const actor = actorOf(cli, options);
  const reason = options.reason.trim();
  if (reason === '') throw new CommandFailure('--reason is empty. Say why: the audit keeps it.');
  const say = createProgress(cli);
  const { removed, left } = await withPostgres(cli, async (db) => {
    const lookup = await lookupOf(db);
    const count = await countSelected(lookup, selection);
    if (totalOf(count).letters > 0) await confirmed(cli, options, questionOf(selection, count));
    const desk = await deskOf(db, actor);
    const removed = await desk.discard(selection, reason, ({ letters }) =>
      say(() => `${counted(letters, 'letter')} so far`),
    );
    return { removed, left: totalOf(await lookup.count(selection)).letters - removed.unreadable.length };
  });
  if (options.json) printJson(cli.io, { ...removed, left });
  else cli.io.stderr(describe(removed, left));
  if (left > 0 || removed.unreadable.length > 0) cli.exitWith(1);
}

function questionOf(selection: Selection, count: CountByState): string {
  const { letters, events } = totalOf(count);
  if (selection.by === 'project') {
    return `Discard the events of project ${selection.projectId} out of ${counted(letters, 'dead letter')}, for good?`;
  }
  const alive = letters - count.quarantined.letters;
  const warning = alive === 0 ? '' : `; ${counted(alive, 'letter')} among them not given up on, and still replayed`;
  return `Discard ${counted(letters, 'dead letter')} with ${counted(events, 'event')}, for good${warning}?`;
}

function describe({ letters, events, shared, doubtful, unreadable }: Removed, left: number): string {
  const lines = [`${counted(events, 'event')} discarded, out of ${counted(letters, 'letter')}.`];
  if (shared > 0) lines.push(`${counted(shared, 'letter')} held events of other projects too: those stay.`);
  if (doubtful > 0) {
    lines.push(`${counted(doubtful, 'letter')} may have landed before: look in ClickHouse if it matters.`);
  }
  if (left > 0) {
    lines.push(`${counted(left, 'letter')} being replayed at this moment, left alone: repeat the command in a minute.`);
  }
  if (unreadable.length > 0) {
    lines.push(
      `${counted(unreadable.length, 'shared letter')} cannot be read, so nobody can tell whose events they hold: ${unreadable.slice(0, 5).join(' ')}`,
      'Discard them whole, by id.',
    );
  }
  return `${lines.join('\n')}\n`;
}
