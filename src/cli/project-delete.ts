import type { Command } from 'commander';
import type { DeletedProject, DeletionProgress } from '../operations/delete-project.ts';
import { OperationRefused } from '../operations/refused.ts';
import { ACTOR_OPTION, actorOf } from './actor.ts';
import { CommandFailure, printJson, type Cli } from './cli.ts';
import { confirmed } from './confirm.ts';
import { createProgress } from './progress.ts';
import { eventStoreOf, withEvents, withPostgres } from './stores.ts';
import { counted, grouped } from '../operations/wording.ts';

type Options = { keepEvents?: boolean; yes?: boolean; actor?: string; json?: boolean };

const NAMES: Readonly<Record<string, string>> = {
  events_raw_v1: 'events',
  event_counts_hourly: 'hourly counts',
  event_copies: 'checks of hourly counts',
  event_users: 'bitmaps of users',
  identity_links: 'identity links',
  events_raw: 'events',
  identities: 'identity links',
  event_users_daily: 'bitmaps of users',
};

export function addProjectDelete(project: Command, cli: Cli): void {
  project
    .command('delete')
    .description('delete a project: its tokens, its dead letters, its rejected events and its events')
    .argument('<id>', 'the id of the project')
    .option('--keep-events', 'only revoke its tokens; keep its events, dead letters and rejected events')
    .option('--yes', 'skip the confirmation')
    .option(...ACTOR_OPTION)
    .option('--json', 'print the outcome as JSON')
    .addHelpText(
      'after',
      `
Its tokens stop working within a minute. Events accepted until then may still land afterwards: run the
command again in two minutes to remove them. The command may be repeated at any time, also after an
interruption. It needs all stores, and in ClickHouse a user with the right ALTER DELETE. Events of other
projects are never touched.

Examples:
  weir project delete 0198c0de-0000-7000-8000-000000000000
  weir project delete 0198c0de-0000-7000-8000-000000000000 --yes
  weir project delete 0198c0de-0000-7000-8000-000000000000 --keep-events --yes`,
    )
    .action((id: string, options: Options) => deleteProject(cli, id.toLowerCase(), options));
}

async function deleteProject(cli: Cli, id: string, options: Options): Promise<void> {
  const actor = actorOf(cli, options);
  await withPostgres(cli, async (db) => {
    const [{ findKnownProject }, { closeProject, deleteProject }] = await Promise.all([
      import('../operations/find-project.ts'),
      import('../operations/delete-project.ts'),
    ]);
    const project = await findKnownProject(db, id);
    const name = `"${project.name}" (${id})`;
    if (options.keepEvents) {
      await confirmed(cli, options, `Delete the project ${name} and keep its events?`);
      await closeProject(db, id, { actor });
      if (options.json) return printJson(cli.io, { deleted: id, keptEvents: true });
      return cli.io.stderr(`Project ${id} deleted: its tokens are revoked, its events and dead letters stay.\n`);
    }

    const again = project.deletedAt === null ? '' : ' (deleted before; this removes what arrived since)';
    let isBegun = false;
    const done = withEvents(cli, async (events) => {
      const [stored] = await events.countRows(id);
      await confirmed(
        cli,
        options,
        `Delete the project ${name}${again} with all its events and dead letters, for good? ${events.name} holds ${counted(stored!.rows, 'event')} of this project.`,
      );
      isBegun = true;
      const stores = { db, events, clock: cli.clock };
      report(cli, id, await deleteProject(stores, { id, actor }, progressOf(cli)), options);
    });
    await done.catch((error: unknown) => {
      const isStores = error instanceof CommandFailure || error instanceof OperationRefused;
      if (!isStores || error.cause === undefined) throw error;
      const hint = isBegun
        ? 'The tokens are revoked, but the rest is not finished: run this command again.'
        : 'Nothing was changed. To revoke its tokens at once, add --keep-events, and delete the events later.';
      throw new CommandFailure(`${error.message}\n${hint}`, { cause: error });
    });
  });
}

function progressOf(cli: Cli): DeletionProgress {
  const store = eventStoreOf(cli.config());
  const [sayLetters, sayTables] = [createProgress(cli), createProgress(cli)];
  return {
    tokensRevoked: () => cli.io.stderr('Tokens revoked.\n'),
    deadLettersDiscarded: (letters) => sayLetters(() => `Dead letters: ${counted(letters, 'letter')} so far`),
    waitingFor: (letters) =>
      sayLetters(() => `Dead letters: waiting for ${counted(letters, 'letter')} being replayed at this moment`),
    erasing: ({ table, rows, toDo, unit }) =>
      sayTables(() => `${store}: deleting ${grouped(rows)} ${NAMES[table] ?? table}, ${counted(toDo, unit)} to go`),
  };
}

function report(
  { io, exitWith, config }: Cli,
  id: string,
  { letters, rejected, tables }: DeletedProject,
  { json }: Options,
): void {
  const { removed, left } = letters;
  const isLeft = left > 0 || removed.unreadable.length > 0 || tables.some((table) => table.left > 0);
  if (isLeft) exitWith(1);
  if (json) return printJson(io, { deleted: id, deadLetters: { ...removed, left }, rejected, tables });

  const store = eventStoreOf(config());
  const lines = [
    `Dead letters: ${counted(removed.events, 'event')} removed out of ${counted(removed.letters, 'letter')}` +
      (removed.shared > 0
        ? `, ${grouped(removed.shared)} of them shared with other projects, whose events stay.`
        : '.'),
    `Rejected events: ${counted(rejected, 'event')} removed.`,
    ...tables.map(({ table, rows }) => `${store}: ${grouped(rows)} ${NAMES[table] ?? table} removed.`),
  ];
  if (left > 0) lines.push(`${counted(left, 'dead letter')} still being replayed.`);
  for (const { table, left } of tables)
    if (left > 0) lines.push(`${grouped(left)} ${NAMES[table] ?? table} arrived meanwhile.`);
  if (removed.unreadable.length > 0) {
    lines.push(
      `${counted(removed.unreadable.length, 'shared dead letter')} cannot be read, so Weir cannot tell whose events they hold: ${removed.unreadable.slice(0, 5).join(' ')}`,
      'Discard them entirely with `weir dlq discard ID`, then run this command again.',
    );
  }
  lines.push(
    isLeft
      ? `Project ${id} is deleted, but some of its data is left: run this command again.`
      : `Project ${id} deleted. Events that were still in flight may land: run this command again in two minutes to remove them.`,
  );
  io.stderr(`${lines.join('\n')}\n`);
}
