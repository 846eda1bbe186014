/**
 * How long a project's events are kept: shows it, changes it for what is to
 * come, and with `--existing` also for what is stored. Every step may be
 * repeated; after a crash, or for events that were still under way, the same
 * command does what is left.
 */
import type { ClickHouseClient } from '@clickhouse/client';
import type { Command } from 'commander';
import type { Restamped, Standing } from '../clickhouse/restamp.ts';
import type { Database } from '../postgres/pool.ts';
import type { Project } from '../postgres/projects.ts';
import { ACTOR_OPTION, actorOf } from './actor.ts';
import { CommandFailure, printJson, type Cli } from './cli.ts';
import { confirmed } from './confirm.ts';
import { createProgress } from './progress.ts';
import { parseRetention, showRetention } from './retention.ts';
import { withClickHouse, withPostgres } from './stores.ts';
import { counted, grouped } from './words.ts';

type Options = { existing?: boolean; dryRun?: boolean; yes?: boolean; actor?: string; json?: boolean };

/** What is asked for: the retention that shall hold, which may be the one that holds already. */
type Wish = { readonly project: Project; readonly retentionSeconds: number | null };

export function addProjectRetention(project: Command, cli: Cli): void {
  project
    .command('retention')
    .description('show or change how long the events of a project are kept')
    .argument('<id>', 'the id of the project')
    .argument('[duration]', '24h, 90d or any other from 1m to 36500d; none keeps events', parseRetention)
    .option('--existing', 'also for the events that are stored; without a duration, give them the one that holds')
    .option('--dry-run', 'with --existing: only say how many events would change and how many would expire')
    .option('--yes', 'do not ask')
    .option(...ACTOR_OPTION)
    .option('--json', 'print the outcome as JSON')
    .addHelpText(
      'after',
      `
Without a duration it prints the one that holds. A new one takes effect within a minute, for the
events that come in from then on: each is stamped with its expiry when it arrives. --existing stamps
those anew that are stored. What is older than the new retention is deleted at once, and what has
expired does not come back. That takes as long as rewriting the parts the events lie in, and needs a
ClickHouse user who may ALTER UPDATE. Interrupted, or events under way meanwhile? Run it again with
--existing. Events of other projects, hourly counts and identity links are never touched.

Examples:
  weir project retention 0198c0de-0000-7000-8000-000000000000
  weir project retention 0198c0de-0000-7000-8000-000000000000 90d
  weir project retention 0198c0de-0000-7000-8000-000000000000 24h --existing --dry-run
  weir project retention 0198c0de-0000-7000-8000-000000000000 none --existing --yes`,
    )
    .action(async (id: string, wanted: number | null | undefined, options: Options, command: Command) => {
      if (options.dryRun && !options.existing) {
        command.error('error: --dry-run tells what --existing would do: give both');
      }
      await withPostgres(cli, async (db) => {
        const project = await findProject(db, id.toLowerCase());
        const retentionSeconds = wanted === undefined ? project.retentionSeconds : wanted;
        if (options.existing) return restamp(cli, db, { project, retentionSeconds }, options);
        if (wanted === undefined) return show(cli, project, options);
        return change(cli, db, { project, retentionSeconds }, options);
      });
    });
}

function show({ io }: Cli, { id, name, retentionSeconds }: Project, { json }: Options): void {
  const retention = showRetention(retentionSeconds);
  if (json) return printJson(io, { id, name, retention, retentionSeconds });
  io.stdout(`${retention}\n`);
}

async function change(cli: Cli, db: Database, { project, retentionSeconds }: Wish, options: Options): Promise<void> {
  const { id, name } = project;
  const retention = showRetention(retentionSeconds);
  const isChanged = await (await keeperOf(cli, db, options)).change(id, retentionSeconds);
  if (options.json) return printJson(cli.io, { id, name, retention, retentionSeconds, changed: isChanged });
  const said = isChanged
    ? `Retention of "${name}" is ${retention}, for events that come in from a minute from now at the latest.`
    : `Retention of "${name}" is ${retention} already.`;
  cli.io.stderr(`${said}\nStored events keep their expiry; to change it: weir project retention ${id} --existing\n`);
}

async function restamp(cli: Cli, db: Database, wish: Wish, options: Options): Promise<void> {
  const { project, retentionSeconds } = wish;
  const keeper = await keeperOf(cli, db, options);
  let isBegun = false;
  const done = withClickHouse(cli, async (client) => {
    const { measureStanding } = await import('../clickhouse/restamp.ts');
    const standing = await measureStanding(client, project.id, retentionSeconds);
    if (options.dryRun) return reportStanding(cli, wish, standing, options);
    if (standing.expiring > 0) {
      cli.io.stderr(sentenceOf(wish, standing));
      const old = counted(standing.expiring, 'event');
      await confirmed(cli, options, `Set the retention of "${project.name}" and delete ${old}, for good?`);
    }
    isBegun = true;
    const isChanged = await keeper.change(project.id, retentionSeconds);
    if (standing.differing > 0) await keeper.noteRestamp(project.id, { ...standing, to: retentionSeconds });
    const restamped = await restampStored(cli, client, db, wish);
    const letters = await lettersOf(db, project.id);
    report(cli, { wish, isChanged, restamped, letters }, options);
  });
  await done.catch((error: unknown) => {
    if (!(error instanceof CommandFailure) || error.cause === undefined) throw error;
    const hint = isBegun
      ? `New events get the retention ${showRetention(retentionSeconds)}; of the stored ones not all have it. Finish with: weir project retention ${project.id} --existing`
      : 'Nothing was changed. Without --existing it changes for new events only, which does not need ClickHouse.';
    throw new CommandFailure(`${error.message}\n${hint}`, { cause: error });
  });
}

async function restampStored(
  { io, clock }: Cli,
  client: ClickHouseClient,
  db: Database,
  { project: { id }, retentionSeconds }: Wish,
): Promise<Restamped> {
  const [{ restampProject }, { MutationFailed }] = await Promise.all([
    import('../clickhouse/restamp.ts'),
    import('../clickhouse/mutation.ts'),
  ]);
  const say = createProgress({ io, clock });
  const confirmWanted = async () => {
    const now = (await findProject(db, id)).retentionSeconds;
    if (now === retentionSeconds) return;
    throw new CommandFailure(`Somebody set the retention to ${showRetention(now)} meanwhile: nothing more is changed.`);
  };
  try {
    return await restampProject(
      { client, clock },
      { projectId: id, retentionSeconds, confirmWanted },
      ({ rows, partsToDo }) =>
        say(() => `ClickHouse: changing ${counted(rows, 'event')}, ${counted(partsToDo, 'part')} to go`),
    );
  } catch (error) {
    if (!(error instanceof MutationFailed)) throw error;
    throw new CommandFailure(`${error.message}.`, { cause: error });
  }
}

function reportStanding({ io }: Cli, wish: Wish, standing: Standing, { json }: Options): void {
  if (!json) return io.stderr(`${sentenceOf(wish, standing)}Nothing was changed.\n`);
  const { project, retentionSeconds } = wish;
  const { stored, differing, expiring } = standing;
  const retention = showRetention(retentionSeconds);
  printJson(io, { id: project.id, name: project.name, retention, retentionSeconds, stored, differing, expiring });
}

/** What the retention means for what is stored. */
function sentenceOf({ project, retentionSeconds }: Wish, { stored, differing, expiring }: Standing): string {
  const retention = showRetention(retentionSeconds);
  return (
    `"${project.name}" has ${counted(stored, 'event')} stored. With a retention of ${retention}, ${grouped(differing)} of them ` +
    `get another expiry, and ${grouped(expiring)} of those are too old and deleted at once.\n`
  );
}

type Outcome = {
  readonly wish: Wish;
  readonly isChanged: boolean;
  readonly restamped: Restamped;
  /** Dead letters that hold events of the project. */
  readonly letters: number;
};

function report({ io, exitWith }: Cli, { wish, isChanged, restamped, letters }: Outcome, { json }: Options): void {
  const { project, retentionSeconds } = wish;
  const { id, name } = project;
  const { changed, expired, left } = restamped;
  const retention = showRetention(retentionSeconds);
  if (left > 0) exitWith(1);
  if (json) {
    const stored = { changed, expired, left };
    return printJson(io, { id, name, retention, retentionSeconds, changed: isChanged, stored, deadLetters: letters });
  }

  const lines = [
    `Retention of "${name}" is ${retention}.`,
    `ClickHouse: ${counted(changed, 'event')} changed, ${grouped(expired)} of them too old and deleted.`,
  ];
  if (left > 0) lines.push(`${counted(left, 'event')} with another expiry arrived meanwhile.`);
  if (letters > 0) {
    lines.push(`${counted(letters, 'dead letter')} may hold events with another expiry; they keep it when they land.`);
  }
  if (isChanged) lines.push('For up to a minute events still come in with the expiry of before.');
  if (left > 0 || letters > 0 || isChanged) {
    const when = left > 0 ? 'now' : letters > 0 ? 'once they have landed' : 'in two minutes';
    lines.push(`To change those as well, run ${when}: weir project retention ${id} --existing`);
  }
  io.stderr(`${lines.join('\n')}\n`);
}

async function findProject(db: Database, id: string): Promise<Project> {
  const { createProjects } = await import('../postgres/projects.ts');
  const project = await createProjects(db).get(id);
  if (project === null) throw new CommandFailure(`There is no project ${id}. See \`weir project list\`.`);
  return project;
}

async function keeperOf(cli: Cli, db: Database, options: Options) {
  const actor = actorOf(cli, options);
  const { createRetention } = await import('../postgres/retention.ts');
  return createRetention(db, { actor });
}

async function lettersOf(db: Database, projectId: string): Promise<number> {
  const { createLetterLookup } = await import('../postgres/letter-lookup.ts');
  const byState = await createLetterLookup(db).count({ by: 'project', projectId });
  return Object.values(byState).reduce((sum, { letters }) => sum + letters, 0);
}
