import type { Command } from 'commander';
import type { Database } from '../postgres/connection/pool.ts';
import { ACTOR_OPTION, actorOf } from './actor.ts';
import { printJson, type Cli } from './cli.ts';
import { collectOrigin } from './origins.ts';
import { addProjectDelete } from './project-delete.ts';
import { addProjectOrigins } from './project-origins.ts';
import { addProjectRetention } from './project-retention.ts';
import { withRetention } from '../operations/retention-text.ts';
import { parseRetention, showRetention } from './retention.ts';
import { withPostgres } from './stores.ts';
import { textTable } from './table.ts';

export function addProject(program: Command, cli: Cli): void {
  const project = program
    .command('project')
    .description('create, list, change and delete projects; every event belongs to one');

  project
    .command('create')
    .description('create a project and print its id')
    .argument('<name>', 'a name for people')
    .option(
      '--retention <duration>',
      'how long after arrival events expire: 24h, 90d or any duration from 1m; none keeps them forever',
      parseRetention,
      null,
    )
    .option(
      '--allow-origin <origin>',
      'a browser origin that may use the tokens; may be repeated (default: every origin)',
      collectOrigin,
      [],
    )
    .option(...ACTOR_OPTION)
    .option('--json', 'print the project as JSON')
    .addHelpText(
      'after',
      `
Examples:
  weir project create demo
  weir project create shop --retention 90d --allow-origin https://shop.example.com`,
    )
    .action(
      async (
        name: string,
        options: { retention: number | null; allowOrigin: string[]; actor?: string; json?: boolean },
      ) => {
        const wanted = { name, retentionSeconds: options.retention, allowedOrigins: options.allowOrigin };
        const created = await withPostgres(cli, async (db) => {
          const { createProject } = await import('../operations/create-project.ts');
          return createProject(db, wanted, { actor: actorOf(cli, options) });
        });
        if (options.json) return printJson(cli.io, withRetention(created));
        cli.io.stdout(`${created.id}\n`);
        cli.io.stderr(`Project "${created.name}" created. Next: weir token create --project ${created.id}\n`);
      },
    );

  project
    .command('list')
    .description('list the projects')
    .option('--json', 'print one JSON array')
    .addHelpText('after', '\nExamples:\n  weir project list\n  weir project list --json')
    .action(async (options: { json?: boolean }) => {
      const projects = await withPostgres(cli, async (db) => (await projectsOf(db)).list());
      if (options.json) return printJson(cli.io, projects.map(withRetention));
      const rows = projects.map(({ id, name, retentionSeconds, allowedOrigins, createdAt }) => [
        id,
        name,
        showRetention(retentionSeconds),
        allowedOrigins.length === 0 ? 'any' : allowedOrigins.join(' '),
        createdAt.toISOString(),
      ]);
      cli.io.stdout(textTable(['ID', 'NAME', 'RETENTION', 'ORIGINS', 'CREATED'], rows));
    });

  addProjectRetention(project, cli);
  addProjectOrigins(project, cli);
  addProjectDelete(project, cli);
}

async function projectsOf(db: Database) {
  const { createProjects } = await import('../postgres/accounts/projects.ts');
  return createProjects(db);
}
