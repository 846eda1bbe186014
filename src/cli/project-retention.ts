import type { Command } from 'commander';
import type { RetentionState } from '../pipeline/operator-port.ts';
import type { ChangedRetention } from '../operations/change-retention.ts';
import { OperationRefused } from '../operations/refused.ts';
import type { Project } from '../postgres/accounts/projects.ts';
import type { Database } from '../postgres/connection/pool.ts';
import { ACTOR_OPTION, actorOf } from './actor.ts';
import { CommandFailure, printJson, type Cli } from './cli.ts';
import { confirmed } from './confirm.ts';
import { createProgress } from './progress.ts';
import { parseRetention, showRetention } from './retention.ts';
import { eventStoreOf, withEvents, withPostgres } from './stores.ts';
import { counted, grouped } from '../operations/wording.ts';

type Options = { existing?: boolean; dryRun?: boolean; yes?: boolean; actor?: string; json?: boolean };

/** The requested retention, which may equal the current one. */
type Wish = { readonly project: Project; readonly retentionSeconds: number | null };

export function addProjectRetention(project: Command, cli: Cli): void {
  project
    .command('retention')
    .description('show or change how long the events of a project are kept')
    .argument('<id>', 'the id of the project')
    .argument('[duration]', '24h, 90d or any duration from 1m to 36500d; none keeps events forever', parseRetention)
    .option('--existing', 'also change stored events; without a duration, give them the current retention')
    .option('--dry-run', 'with --existing: only report how many events would change and how many would expire')
    .option('--yes', 'skip the confirmation')
    .option(...ACTOR_OPTION)
    .option('--json', 'print the outcome as JSON')
    .addHelpText(
      'after',
      `
Without a duration the command prints the current retention. A new one takes effect within a minute, for
the events that arrive from then on: each is stamped with its expiry on arrival. --existing also restamps
stored events. Events older than the new retention are deleted at once; expired events do not come back.
Restamping takes as long as rewriting what holds the events, and needs in ClickHouse a user with
the right ALTER UPDATE. After an interruption, or to include events in flight, run it again with
--existing. Events of other projects, hourly counts and identity links are never touched.

Examples:
  weir project retention 0198c0de-0000-7000-8000-000000000000
  weir project retention 0198c0de-0000-7000-8000-000000000000 90d
  weir project retention 0198c0de-0000-7000-8000-000000000000 24h --existing --dry-run
  weir project retention 0198c0de-0000-7000-8000-000000000000 none --existing --yes`,
    )
    .action(async (id: string, wanted: number | null | undefined, options: Options, command: Command) => {
      if (options.dryRun && !options.existing) {
        command.error('error: --dry-run reports what --existing would do: use both');
      }
      await withPostgres(cli, async (db) => {
        const { findProject } = await import('../operations/find-project.ts');
        const project = await findProject(db, id.toLowerCase());
        const retentionSeconds = wanted === undefined ? project.retentionSeconds : wanted;
        if (options.existing) return changeStored(cli, db, { project, retentionSeconds }, options);
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
  const { changeRetention } = await import('../operations/change-retention.ts');
  const isChanged = await changeRetention(db, { projectId: id, retentionSeconds, actor: actorOf(cli, options) });
  if (options.json) return printJson(cli.io, { id, name, retention, retentionSeconds, changed: isChanged });
  const said = isChanged
    ? `Retention of "${name}" is ${retention} for events that arrive from now on (after a minute at the latest).`
    : `Retention of "${name}" is ${retention} already.`;
  cli.io.stderr(`${said}\nStored events keep their expiry; to change it: weir project retention ${id} --existing\n`);
}

async function changeStored(cli: Cli, db: Database, wish: Wish, options: Options): Promise<void> {
  const { project, retentionSeconds } = wish;
  const actor = actorOf(cli, options);
  const wanted = { projectId: project.id, retentionSeconds };
  const say = createProgress(cli);
  let isBegun = false;
  const done = withEvents(cli, async (events) => {
    const { changeStoredRetention } = await import('../operations/change-retention.ts');
    if (options.dryRun) {
      return reportState(cli, wish, await events.measureRetention(project.id, retentionSeconds), options);
    }
    const confirm = async (state: RetentionState) => {
      cli.io.stderr(sentenceOf(wish, state));
      const old = counted(state.expiring, 'event');
      await confirmed(cli, options, `Set the retention of "${project.name}" and delete ${old}, for good?`);
    };
    const changed = await changeStoredRetention(
      { db, events },
      { ...wanted, actor, confirm, onBegin: () => (isBegun = true) },
      ({ rows, toDo, unit }) =>
        say(() => `${events.name}: changing ${counted(rows, 'event')}, ${counted(toDo, unit)} to go`),
    );
    report(cli, wish, changed, options);
  });
  await done.catch((error: unknown) => {
    const isStores = error instanceof CommandFailure || error instanceof OperationRefused;
    if (!isStores || error.cause === undefined) throw error;
    const hint = isBegun
      ? `New events get the retention ${showRetention(retentionSeconds)}; but not all stored events have it yet. Finish with: weir project retention ${project.id} --existing`
      : 'Nothing was changed. Without --existing the command changes the retention for new events only, which does not need the stored ones.';
    throw new CommandFailure(`${error.message}\n${hint}`, { cause: error });
  });
}

function reportState({ io }: Cli, wish: Wish, state: RetentionState, { json }: Options): void {
  if (!json) return io.stderr(`${sentenceOf(wish, state)}Nothing was changed.\n`);
  const { project, retentionSeconds } = wish;
  const { stored, differing, expiring } = state;
  const retention = showRetention(retentionSeconds);
  printJson(io, { id: project.id, name: project.name, retention, retentionSeconds, stored, differing, expiring });
}

/** What the retention means for stored events. */
function sentenceOf({ project, retentionSeconds }: Wish, { stored, differing, expiring }: RetentionState): string {
  const retention = showRetention(retentionSeconds);
  return (
    `"${project.name}" has ${counted(stored, 'event')} stored. With a retention of ${retention}, ${grouped(differing)} of them ` +
    `get another expiry, and ${grouped(expiring)} of those are too old and would be deleted at once.\n`
  );
}

function report(
  { io, exitWith, config }: Cli,
  { project, retentionSeconds }: Wish,
  { isChanged, rewritten, letters }: ChangedRetention,
  { json }: Options,
): void {
  const { id, name } = project;
  const { changed, expired, left } = rewritten;
  const retention = showRetention(retentionSeconds);
  if (left > 0) exitWith(1);
  if (json) {
    const stored = { changed, expired, left };
    return printJson(io, { id, name, retention, retentionSeconds, changed: isChanged, stored, deadLetters: letters });
  }

  const lines = [
    `Retention of "${name}" is ${retention}.`,
    `${eventStoreOf(config())}: ${counted(changed, 'event')} changed, ${grouped(expired)} of them too old and therefore deleted.`,
  ];
  if (left > 0) lines.push(`${counted(left, 'event')} with another expiry arrived meanwhile.`);
  if (letters > 0) {
    lines.push(`${counted(letters, 'dead letter')} may hold events with another expiry; they keep it when they land.`);
  }
  if (isChanged) lines.push('For up to a minute, new events may still get the previous expiry.');
  if (left > 0 || letters > 0 || isChanged) {
    const when = left > 0 ? 'now' : letters > 0 ? 'once they have landed' : 'in two minutes';
    lines.push(`To change those as well, run ${when}: weir project retention ${id} --existing`);
  }
  io.stderr(`${lines.join('\n')}\n`);
}
