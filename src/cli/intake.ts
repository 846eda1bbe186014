import type { Command } from 'commander';
import { ACTOR_OPTION, actorOf } from './actor.ts';
import { printJson, type Cli } from './cli.ts';
import { withPostgres } from './stores.ts';

type Options = { actor?: string; json?: boolean };

/** The kill switch. */
export function addIntake(program: Command, cli: Cli): void {
  const intake = program.command('intake').description('refuse new events in every process, or accept them again');

  intake
    .command('disable')
    .description('refuse new events with 503 until `weir intake enable`')
    .option(...ACTOR_OPTION)
    .option('--json', 'print one JSON object')
    .addHelpText(
      'after',
      `
Takes effect in every process within five seconds, without a restart, and survives restarts.
Events accepted before are still stored, and dead letters are replayed.

Examples:
  weir intake disable`,
    )
    .action((options: Options) => move(cli, 'disabled', options));

  intake
    .command('enable')
    .description('accept new events again')
    .option(...ACTOR_OPTION)
    .option('--json', 'print one JSON object')
    .addHelpText('after', '\nExamples:\n  weir intake enable')
    .action((options: Options) => move(cli, 'open', options));

  intake
    .command('status')
    .description('show whether Weir accepts new events, and since when')
    .option('--json', 'print one JSON object')
    .addHelpText('after', '\nExamples:\n  weir intake status')
    .action(async (options: { json?: boolean }) => {
      const intake = await withPostgres(cli, async (db) => {
        const { readIntake } = await import('../operations/intake-switch.ts');
        return readIntake(db);
      });
      const disabledHere = cli.config().disabled;
      if (options.json) return printJson(cli.io, { ...intake, INGEST_DISABLED: disabledHere });
      const { position, since, by } = intake;
      const history =
        since === null ? 'never switched' : `since ${since.toISOString()}${by === null ? '' : `, by ${by}`}`;
      cli.io.stdout(`${position} (${history})\n`);
      if (disabledHere) {
        cli.io.stderr(
          'INGEST_DISABLED is set here: a process with that setting stays disabled, regardless of the switch.\n',
        );
      }
    });
}

async function move(cli: Cli, position: 'open' | 'disabled', options: Options): Promise<void> {
  const actor = actorOf(cli, options);
  const isMoved = await withPostgres(cli, async (db) => {
    const { setIntake } = await import('../operations/intake-switch.ts');
    return setIntake(db, { position, actor });
  });
  if (options.json) return printJson(cli.io, { intake: position, changed: isMoved });
  cli.io.stderr(
    isMoved
      ? `Intake is ${position}: takes effect in every process within 5 s.\n`
      : `Intake was ${position} already.\n`,
  );
}
