/**
 * Deleting a project ends its tokens first, so that nothing new comes in, and
 * then removes what is kept of it: dead letters, then events. Every step may be
 * repeated; after a crash, or for events that were still under way, the same
 * command cleans up what is left.
 */
import type { Command } from 'commander';
import type { Forgotten } from '../clickhouse/forget.ts';
import type { LetterDesk, Removed } from '../postgres/letter-desk.ts';
import type { LetterLookup } from '../postgres/letter-lookup.ts';
import { ACTOR_OPTION, actorOf } from './actor.ts';
import { CommandFailure, printJson, type Cli } from './cli.ts';
import { confirmed } from './confirm.ts';
import { createProgress } from './progress.ts';
import { withClickHouse, withPostgres } from './stores.ts';
import { counted, grouped } from './words.ts';

type Options = { keepEvents?: boolean; yes?: boolean; actor?: string; json?: boolean };

/** A drain's lease on a letter ends within an insert and a half. */
const WAIT_FOR_LEASES_MS = 120_000;
const POLL_MS = 1_000;
const REASON = 'project deleted';

const NAMES: Readonly<Record<string, string>> = {
  events_raw_v1: 'events',
  event_counts_hourly: 'hourly counts',
  event_users: 'bitmaps of users',
  identity_links: 'identity links',
};

type Emptied = { readonly removed: Removed; readonly left: number };

export function addProjectDelete(project: Command, cli: Cli): void {
  project
    .command('delete')
    .description('delete a project: its tokens, its dead letters and its events in ClickHouse')
    .argument('<id>', 'the id of the project')
    .option('--keep-events', 'only revoke its tokens; events and dead letters stay')
    .option('--yes', 'do not ask')
    .option(...ACTOR_OPTION)
    .option('--json', 'print the outcome as JSON')
    .addHelpText(
      'after',
      `
Its tokens stop working within a minute. Events that were accepted before, or until then, may still
arrive afterwards: run the command again in two minutes, it cleans up what came. It may be repeated
as often as one likes, also when it was interrupted. Needs both stores, and a ClickHouse user who
may ALTER DELETE. Events of other projects are never touched.

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
    const [{ createProjects }, { createLetterLookup }, { createLetterDesk }] = await Promise.all([
      import('../postgres/projects.ts'),
      import('../postgres/letter-lookup.ts'),
      import('../postgres/letter-desk.ts'),
    ]);
    const projects = createProjects(db);
    const project = await projects.find(id);
    if (project === null) throw new CommandFailure(`There is no project ${id}. See \`weir project list\`.`);
    const what = options.keepEvents ? 'and keep its events' : 'with all its events and dead letters';
    const name = `"${project.name}" (${id})`;
    const again = project.deletedAt === null ? '' : ' (deleted before; this cleans up)';
    if (options.keepEvents) {
      await confirmed(cli, options, `Delete the project ${name} ${what}?`);
      await projects.delete(id);
      if (options.json) return printJson(cli.io, { deleted: id, keptEvents: true });
      return cli.io.stderr(`Project ${id} deleted: its tokens are revoked, its events and dead letters stay.\n`);
    }

    let isBegun = false;
    const done = withClickHouse(cli, async (client) => {
      const { countRows } = await import('../clickhouse/forget.ts');
      const [events] = await countRows(client, id);
      await confirmed(
        cli,
        options,
        `Delete the project ${name}${again} ${what}, for good? ClickHouse holds ${counted(events!.rows, 'event')} of it.`,
      );
      isBegun = true;
      await projects.delete(id);
      cli.io.stderr('Tokens revoked.\n');

      const lookup = createLetterLookup(db);
      const desk = createLetterDesk(db, { actor });
      const letters = await emptyLetters(cli, { lookup, desk }, id);
      const tables = await forget(cli, client, desk, id);
      report(cli, { id, letters, tables }, options);
    });
    await done.catch((error: unknown) => {
      if (!(error instanceof CommandFailure) || error.cause === undefined) throw error;
      const hint = isBegun
        ? 'The tokens are revoked, the rest is not finished: run this command again.'
        : 'Nothing was changed. To revoke its tokens at once, add --keep-events, and delete it whole later.';
      throw new CommandFailure(`${error.message}\n${hint}`, { cause: error });
    });
  });
}

/** Discards until nothing is left of the project, or only what is being replayed for longer than a lease lasts. */
async function emptyLetters(
  { io, clock }: Cli,
  { lookup, desk }: { lookup: LetterLookup; desk: LetterDesk },
  projectId: string,
): Promise<Emptied> {
  const selection = { by: 'project', projectId } as const;
  const say = createProgress({ io, clock });
  const deadline = clock.elapsed() + WAIT_FOR_LEASES_MS;
  let removed: Removed = { letters: 0, events: 0, shared: 0, doubtful: 0, unreadable: [] };
  for (;;) {
    const step = await desk.discard(selection, REASON, ({ letters }) =>
      say(() => `Dead letters: ${counted(letters, 'letter')} so far`),
    );
    removed = {
      letters: removed.letters + step.letters,
      events: removed.events + step.events,
      shared: removed.shared + step.shared,
      doubtful: removed.doubtful + step.doubtful,
      unreadable: step.unreadable,
    };
    const { replaying } = await lookup.count(selection);
    if (replaying.letters === 0 || clock.elapsed() > deadline) return { removed, left: replaying.letters };
    say(() => `Dead letters: waiting for ${counted(replaying.letters, 'letter')} being replayed at this moment`);
    await clock.sleep(POLL_MS);
  }
}

async function forget(
  { io, clock }: Cli,
  client: Parameters<Parameters<typeof withClickHouse>[1]>[0],
  desk: LetterDesk,
  projectId: string,
): Promise<Forgotten[]> {
  const [{ countLanded, forgetProject }, { MutationFailed }] = await Promise.all([
    import('../clickhouse/forget.ts'),
    import('../clickhouse/mutation.ts'),
  ]);
  const say = createProgress({ io, clock });
  // Before it is gone: the ledger can only be balanced with what is written down.
  const landed = await countLanded(client, projectId);
  if (landed > 0) await desk.noteForgotten(projectId, landed);
  try {
    return await forgetProject({ client, clock }, projectId, ({ table, rows, partsToDo }) =>
      say(() => `ClickHouse: deleting ${grouped(rows)} ${NAMES[table]}, ${counted(partsToDo, 'part')} to go`),
    );
  } catch (error) {
    if (!(error instanceof MutationFailed)) throw error;
    throw new CommandFailure(`${error.message}.`, { cause: error });
  }
}

function report(
  { io, exitWith }: Cli,
  { id, letters, tables }: { id: string; letters: Emptied; tables: readonly Forgotten[] },
  { json }: Options,
): void {
  const { removed, left } = letters;
  const isLeft = left > 0 || removed.unreadable.length > 0 || tables.some((table) => table.left > 0);
  if (isLeft) exitWith(1);
  if (json) return printJson(io, { deleted: id, deadLetters: { ...removed, left }, tables });

  const lines = [
    `Dead letters: ${counted(removed.events, 'event')} removed out of ${counted(removed.letters, 'letter')}` +
      (removed.shared > 0
        ? `, ${grouped(removed.shared)} of them shared with other projects, whose events stay.`
        : '.'),
    ...tables.map(({ table, rows }) => `ClickHouse: ${grouped(rows)} ${NAMES[table]} removed.`),
  ];
  if (left > 0) lines.push(`${counted(left, 'dead letter')} still being replayed.`);
  for (const { table, left } of tables) if (left > 0) lines.push(`${grouped(left)} ${NAMES[table]} arrived meanwhile.`);
  if (removed.unreadable.length > 0) {
    lines.push(
      `${counted(removed.unreadable.length, 'shared dead letter')} cannot be read, so nobody can tell whose events they hold: ${removed.unreadable.slice(0, 5).join(' ')}`,
      'Discard them whole with `weir dlq discard ID`, then run this command again.',
    );
  }
  lines.push(
    isLeft
      ? `Project ${id} is deleted, but not everything of it: run this command again.`
      : `Project ${id} deleted. Events that were still under way may arrive: run this command again in two minutes to remove them.`,
  );
  io.stderr(`${lines.join('\n')}\n`);
}
