import type { Command } from 'commander';
import { ACTOR_OPTION, actorOf } from '../actor.ts';
import { printJson, type Cli } from '../cli.ts';
import { withPostgres } from '../stores.ts';

type Options = { actor?: string; json?: boolean };

export function addPause(dlq: Command, cli: Cli): void {
  dlq
    .command('pause')
    .description('stop replaying dead letters in every process until `weir dlq resume`')
    .option(...ACTOR_OPTION)
    .option('--json', 'print one JSON object')
    .addHelpText(
      'after',
      `
Takes effect within five seconds and survives restarts. Weir finishes the letters it is replaying. New
events are stored as before; events that are refused wait in Postgres.

Examples:
  weir dlq pause`,
    )
    .action((options: Options) => move(cli, 'paused', options));

  dlq
    .command('resume')
    .description('replay dead letters again')
    .option(...ACTOR_OPTION)
    .option('--json', 'print one JSON object')
    .addHelpText('after', '\nExamples:\n  weir dlq resume')
    .action((options: Options) => move(cli, 'running', options));
}

async function move(cli: Cli, position: 'paused' | 'running', options: Options): Promise<void> {
  const actor = actorOf(cli, options);
  const isMoved = await withPostgres(cli, async (db) => {
    const { setDrain } = await import('../../operations/drain-switch.ts');
    return setDrain(db, { position, actor });
  });
  if (options.json) return printJson(cli.io, { drain: position, changed: isMoved });
  cli.io.stderr(
    isMoved
      ? `The drain is ${position}: takes effect in every process within 5 s.\n`
      : `The drain was ${position} already.\n`,
  );
}
