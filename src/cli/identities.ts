/**
 * Removes the identity links that earlier versions made of placeholder ids. Reports what it would do unless told to
 * apply it; may be repeated, also after an interruption.
 */
import type { Command } from 'commander';
import { type EventOperations, type RemovedLinks, StoreGaveUp, type WrongLinks } from '../pipeline/operator-port.ts';
import { ACTOR_OPTION, actorOf } from './actor.ts';
import { CommandFailure, printJson, type Cli } from './cli.ts';
import { confirmed } from './confirm.ts';
import { parseProject } from './dlq/selection.ts';
import { createProgress } from './progress.ts';
import { withEvents } from './stores.ts';
import { textTable } from './table.ts';
import { counted } from '../operations/wording.ts';

type Options = { project?: string; apply?: boolean; yes?: boolean; actor?: string; json?: boolean };
type Done = RemovedLinks & { readonly project: string };

export function addIdentities(program: Command, cli: Cli): void {
  const identities = program.command('identities').description('inspect the links between anonymous ids and users');
  identities
    .command('clean')
    .description('remove links of placeholder ids (undefined, null, …), which join strangers')
    .option('--project <id>', 'only links of this project', parseProject)
    .option('--apply', 'remove the links; without this option the command only lists them')
    .option('--yes', 'with --apply: skip the confirmation')
    .option(...ACTOR_OPTION)
    .option('--json', 'print the links found, or the changes made, as JSON')
    .addHelpText(
      'after',
      `
The views leave such links out already. This command removes them from the table of links and
restores the links that they hid: those of an id that was linked to a placeholder first and to a user
later, if the events are still stored. Other links are never touched. In ClickHouse, the user needs the
right ALTER DELETE.

Examples:
  weir identities clean
  weir identities clean --project 0198c0de-0000-7000-8000-000000000000 --apply
  weir identities clean --apply --yes --json`,
    )
    .action((options: Options) => clean(cli, options));
}

async function clean(cli: Cli, options: Options): Promise<void> {
  const actor = actorOf(cli, options);
  await withEvents(cli, async (events) => {
    const found = await events.findWrongLinks(options.project ?? null);
    const projects = [...new Set(found.map(({ projectId }) => projectId))];
    if (!options.apply || projects.length === 0) return show(cli, found, options, actor);

    const links = found.reduce((sum, { links }) => sum + links, 0);
    if (!options.json) cli.io.stderr(tableOf(found));
    await confirmed(
      cli,
      options,
      `Remove ${counted(links, 'link')} of placeholder ids, in ${counted(projects.length, 'project')}, for good?`,
    );
    const done: Done[] = [];
    for (const project of projects) done.push({ project, ...(await takeBack(cli, events, project)) });
    report(cli, done, options, actor);
  });
}

function show({ io, clock }: Cli, found: readonly WrongLinks[], { json, apply }: Options, actor: string): void {
  if (json && apply)
    return printJson(io, { applied: true, actor, at: new Date(clock.now()).toISOString(), projects: [] });
  if (json) return printJson(io, { applied: false, links: found });
  if (found.length === 0) return io.stderr('There are no links of placeholder ids.\n');
  io.stdout(tableOf(found));
  io.stderr('Nothing was changed. Add --apply to remove these links.\n');
}

function tableOf(found: readonly WrongLinks[]): string {
  return textTable(
    ['PROJECT', 'SIDE', 'ID', 'LINKS'],
    found.map(({ projectId, side, id, links }) => [projectId, side, id, String(links)]),
  );
}

async function takeBack({ io, clock }: Cli, events: EventOperations, projectId: string): Promise<RemovedLinks> {
  const say = createProgress({ io, clock });
  try {
    return await events.removeWrongLinks(projectId, ({ toDo, unit }) =>
      say(() => `Identity links of ${projectId}: ${counted(toDo, unit)} to go`),
    );
  } catch (error) {
    if (!(error instanceof StoreGaveUp)) throw error;
    throw new CommandFailure(`${error.message}. Fix that, then run this command again.`, { cause: error });
  }
}

function report({ io, clock, exitWith }: Cli, done: readonly Done[], { json }: Options, actor: string): void {
  const isLeft = done.some(({ left }) => left > 0);
  if (isLeft) exitWith(1);
  const at = new Date(clock.now()).toISOString();
  if (json) return printJson(io, { applied: true, actor, at, projects: done });
  const lines = done.map(
    ({ project, removed, restored, left }) =>
      `${project}: ${counted(removed, 'link')} removed, ${counted(restored, 'hidden link')} restored` +
      (left > 0 ? `, ${counted(left, 'link')} arrived meanwhile: run this command again.` : '.'),
  );
  io.stderr(`${lines.join('\n')}\nBy ${actor}, ${at}.\n`);
}
