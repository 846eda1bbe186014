import type { Command } from 'commander';
import { ACTOR_OPTION, actorOf } from './actor.ts';
import { printJson, type Cli } from './cli.ts';
import { withPostgres } from './stores.ts';

type Options = { actor?: string; json?: boolean };

/** The kill switch. */
export function addIntake(program: Command, cli: Cli): void {
  const intake = program.command('intake').description('refuse new events in every process, or take them in again');

  intake
    .command('disable')
    .description('refuse new events with 503 until it is enabled again')
    .option(...ACTOR_OPTION)
    .option('--json', 'print one JSON object')
    .addHelpText(
      'after',
      `
Every process follows within five seconds, without a restart, and it stays so over restarts.
What was accepted before goes on to ClickHouse, and dead letters are replayed.

Examples:
  weir intake disable`,
    )
    .action((options: Options) => move(cli, 'disabled', options));

  intake
    .command('enable')
    .description('take new events in again')
    .option(...ACTOR_OPTION)
    .option('--json', 'print one JSON object')
    .addHelpText('after', '\nExamples:\n  weir intake enable')
    .action((options: Options) => move(cli, 'open', options));

  intake
    .command('status')
    .description('whether new events are taken in, and since when')
    .option('--json', 'print one JSON object')
    .addHelpText('after', '\nExamples:\n  weir intake status')
    .action(async (options: { json?: boolean }) => {
      const standing = await withPostgres(cli, async (db) => (await switchboardOf(db)).read('intake'));
      const disabledHere = cli.config().disabled;
      if (options.json) return printJson(cli.io, { ...standing, INGEST_DISABLED: disabledHere });
      const { position, since, by } = standing;
      const history =
        since === null ? 'never switched' : `since ${since.toISOString()}${by === null ? '' : `, by ${by}`}`;
      cli.io.stdout(`${position} (${history})\n`);
      if (disabledHere) {
        cli.io.stderr(
          'INGEST_DISABLED is set here: a process with that setting stays disabled, whatever the switch says.\n',
        );
      }
    });
}

async function move(cli: Cli, position: 'open' | 'disabled', options: Options): Promise<void> {
  const actor = actorOf(cli, options);
  const isMoved = await withPostgres(cli, async (db) => (await switchboardOf(db)).move('intake', position, actor));
  if (options.json) return printJson(cli.io, { intake: position, changed: isMoved });
  cli.io.stderr(
    isMoved ? `Intake is ${position}: every process follows within 5 s.\n` : `Intake was ${position} already.\n`,
  );
}

async function switchboardOf(db: Parameters<Parameters<typeof withPostgres>[1]>[0]) {
  const { createSwitchboard } = await import('../postgres/switchboard.ts');
  return createSwitchboard(db);
}
