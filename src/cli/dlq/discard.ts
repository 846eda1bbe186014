import type { Command } from 'commander';
import { totalOf } from '../../operations/selected-dead-letters.ts';
import type { CountByState } from '../../postgres/dead-letters/dead-letter-statistics.ts';
import type { DiscardedDeadLetters } from '../../postgres/dead-letters/operator-actions.ts';
import type { Selection } from '../../postgres/dead-letters/selection.ts';
import { ACTOR_OPTION, actorOf } from '../actor.ts';
import { printJson, type Cli } from '../cli.ts';
import { confirmed } from '../confirm.ts';
import { deadLetterProgress } from '../progress.ts';
import { withPostgres } from '../stores.ts';
import { counted } from '../../operations/wording.ts';
import { type SelectionOptions, collectId, parseProject, selectionOf } from './selection.ts';

type Options = SelectionOptions & { reason: string; yes?: boolean; actor?: string; json?: boolean };

export function addDiscard(dlq: Command, cli: Cli): void {
  dlq
    .command('discard')
    .description('delete dead letters for good; the audit keeps how many events they held, who did it and why')
    .argument('[ids...]', 'ids of letters', collectId)
    .option('--group <group>', 'letters with one cause, from `weir dlq groups`')
    .option('--project <id>', 'the events of one project, even in letters that hold other events too', parseProject)
    .option('--all-quarantined', 'every quarantined letter')
    .requiredOption('--reason <text>', 'the reason, for the audit')
    .option('--yes', 'skip the confirmation')
    .option(...ACTOR_OPTION)
    .option('--json', 'print one JSON object')
    .addHelpText(
      'after',
      `
Discarded events are gone: \`weir dlq export\` first to keep a copy. Letters that a running Weir is
replaying at this moment are skipped.

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
  const { reason } = options;
  const { removed, left } = await withPostgres(cli, async (db) => {
    const { discardDeadLetters } = await import('../../operations/discard-dead-letters.ts');
    const confirm = (count: CountByState) => confirmed(cli, options, questionOf(selection, count));
    return discardDeadLetters(db, { selection, reason, actor, confirm }, deadLetterProgress(cli));
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
  const warning = alive === 0 ? '' : `; Weir still replays ${counted(alive, 'letter')} of them`;
  return `Discard ${counted(letters, 'dead letter')} with ${counted(events, 'event')}, for good${warning}?`;
}

function describe({ letters, events, shared, doubtful, unreadable }: DiscardedDeadLetters, left: number): string {
  const lines = [`${counted(events, 'event')} discarded, out of ${counted(letters, 'letter')}.`];
  if (shared > 0) lines.push(`${counted(shared, 'letter')} also held events of other projects, which stay.`);
  if (doubtful > 0) {
    lines.push(`${counted(doubtful, 'letter')} may already have landed: look among the stored events if that matters.`);
  }
  if (left > 0) {
    lines.push(`${counted(left, 'letter')} skipped: a running Weir is replaying them. Repeat the command in a minute.`);
  }
  if (unreadable.length > 0) {
    lines.push(
      `${counted(unreadable.length, 'shared letter')} cannot be read, so Weir cannot tell whose events they hold: ${unreadable.slice(0, 5).join(' ')}`,
      'Discard them entirely, by id.',
    );
  }
  return `${lines.join('\n')}\n`;
}
