import type { Command } from 'commander';
import { ACTOR_OPTION, actorOf } from './actor.ts';
import { CommandFailure, printJson, type Cli } from './cli.ts';
import { unreadable, withPostgres } from './stores.ts';

type Options = { actor?: string; json?: boolean };

export function addConsole(program: Command, cli: Cli): void {
  const console = program.command('console').description('the page for operators: CONSOLE_PORT opens it');

  console
    .command('link')
    .description('print a link that signs in to the console, once, within ten minutes')
    .option(...ACTOR_OPTION)
    .option('--json', 'print one JSON object')
    .addHelpText(
      'after',
      `
Whoever opens the link is an operator, under your name in the audit. For more people make accounts:
weir operator add.

Examples:
  weir console link
  weir console link --actor mira`,
    )
    .action(async (options: Options) => {
      const name = actorOf(cli, options);
      const origin = await originOf(cli);
      const { LINK_VALID_MS, makeConsoleLink } = await import('../operations/console-link.ts');
      const url = await withPostgres(cli, (db) => makeConsoleLink(db, { origin, name, validMs: LINK_VALID_MS }));
      if (options.json) return printJson(cli.io, { url, validMs: LINK_VALID_MS });
      cli.io.stdout(`${url}\n`);
    });
}

/** Where the console is: as the settings say, or the Weir that runs here. */
async function originOf(cli: Cli): Promise<string> {
  const { console, dataDir } = cli.config();
  if (console.publicOrigin !== null) return console.publicOrigin;
  const { readRuntime } = await import('../service/runtime-file.ts');
  const runtime = readRuntime(dataDir);
  if (runtime.kind === 'running' && runtime.consoleUrl !== null) return runtime.consoleUrl;
  if (typeof console.port === 'number') {
    const { originsOf } = await import('../console/session/own-page.ts');
    return originsOf({ ...console, port: console.port })[0]!;
  }
  if (runtime.kind === 'unreadable') throw unreadable(dataDir, runtime);
  throw new CommandFailure(
    `No console is known here: the Weir of ${dataDir} runs without one, or not at all.\nStart one with CONSOLE_PORT, or name the console of another machine with CONSOLE_ORIGIN.`,
  );
}
