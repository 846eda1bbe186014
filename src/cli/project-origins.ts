import type { Command } from 'commander';
import type { Project } from '../postgres/accounts/projects.ts';
import { ACTOR_OPTION, actorOf } from './actor.ts';
import { printJson, type Cli } from './cli.ts';
import { collectOrigin } from './origins.ts';
import { withPostgres } from './stores.ts';

type Options = { any?: boolean; actor?: string; json?: boolean };

export function addProjectOrigins(project: Command, cli: Cli): void {
  project
    .command('origins')
    .description('show or set which browser origins may use the tokens of a project')
    .argument('<id>', 'the id of the project')
    .argument('[origins...]', 'all that may, in place of those of before: https://app.example.com', collectOrigin, [])
    .option('--any', 'allow every origin')
    .option(...ACTOR_OPTION)
    .option('--json', 'print the outcome as JSON')
    .addHelpText(
      'after',
      `
Without an origin the command prints the current ones. New ones hold within a minute. A request without an
origin, as servers send it, is let in whatever the list says. https://*.example.com stands for every host
beneath example.com.

Examples:
  weir project origins 0198c0de-0000-7000-8000-000000000000
  weir project origins 0198c0de-0000-7000-8000-000000000000 https://shop.example.com https://*.shop.example.com
  weir project origins 0198c0de-0000-7000-8000-000000000000 --any`,
    )
    .action(async (text: string, origins: string[], options: Options, command: Command) => {
      const id = text.toLowerCase();
      if (options.any && origins.length > 0) command.error('error: --any excludes origins: use one of both');
      await withPostgres(cli, async (db) => {
        const { findProject } = await import('../operations/find-project.ts');
        if (!options.any && origins.length === 0) return show(cli, await findProject(db, id), options);
        const { changeOrigins } = await import('../operations/change-origins.ts');
        const changed = await changeOrigins(db, {
          projectId: id,
          allowedOrigins: origins,
          actor: actorOf(cli, options),
        });
        report(cli, await findProject(db, id), changed, options);
      });
    });
}

function show({ io }: Cli, { id, name, allowedOrigins }: Project, { json }: Options): void {
  if (json) return printJson(io, { id, name, allowedOrigins });
  io.stdout(allowedOrigins.length === 0 ? 'any\n' : allowedOrigins.map((origin) => `${origin}\n`).join(''));
}

function report({ io }: Cli, { id, name, allowedOrigins }: Project, changed: boolean, { json }: Options): void {
  if (json) return printJson(io, { id, name, allowedOrigins, changed });
  const who = allowedOrigins.length === 0 ? 'every origin' : allowedOrigins.join(', ');
  const when = changed ? 'from now on (after a minute at the latest)' : 'already';
  io.stderr(`Browsers may use the tokens of "${name}" from ${who} ${when}.\n`);
}
