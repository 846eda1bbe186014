import { InvalidArgumentError, type Command } from 'commander';
import { isOrigin } from '../config/kinds.ts';
import type { Database } from '../postgres/pool.ts';
import { printJson, type Cli } from './cli.ts';
import { addProjectDelete } from './project-delete.ts';
import { withPostgres } from './stores.ts';
import { textTable } from './table.ts';

export function addProject(program: Command, cli: Cli): void {
  const project = program
    .command('project')
    .description('create, list and delete projects; every event belongs to one');

  project
    .command('create')
    .description('create a project and print its id')
    .argument('<name>', 'a name for people')
    .option('--retention-days <days>', 'events expire this many days after they arrived (default: never)', parseDays)
    .option(
      '--allow-origin <origin>',
      'a browser origin that may use the tokens; repeat it (default: every origin)',
      collectOrigin,
      [],
    )
    .option('--json', 'print the project as JSON')
    .addHelpText(
      'after',
      `
Examples:
  weir project create demo
  weir project create shop --retention-days 90 --allow-origin https://shop.example.com`,
    )
    .action(async (name: string, options: { retentionDays?: number; allowOrigin: string[]; json?: boolean }) => {
      const created = await withPostgres(cli, async (db) =>
        (await projectsOf(db)).create({
          name,
          retentionDays: options.retentionDays ?? null,
          allowedOrigins: options.allowOrigin,
        }),
      );
      if (options.json) return printJson(cli.io, created);
      cli.io.stdout(`${created.id}\n`);
      cli.io.stderr(`Project "${created.name}" created. Next: weir token create --project ${created.id}\n`);
    });

  project
    .command('list')
    .description('list the projects')
    .option('--json', 'print one JSON array')
    .addHelpText('after', '\nExamples:\n  weir project list\n  weir project list --json')
    .action(async (options: { json?: boolean }) => {
      const projects = await withPostgres(cli, async (db) => (await projectsOf(db)).list());
      if (options.json) return printJson(cli.io, projects);
      const rows = projects.map(({ id, name, retentionDays, allowedOrigins, createdAt }) => [
        id,
        name,
        retentionDays === null ? 'forever' : `${retentionDays} days`,
        allowedOrigins.length === 0 ? 'any' : allowedOrigins.join(' '),
        createdAt.toISOString(),
      ]);
      cli.io.stdout(textTable(['ID', 'NAME', 'RETENTION', 'ORIGINS', 'CREATED'], rows));
    });

  addProjectDelete(project, cli);
}

async function projectsOf(db: Database) {
  const { createProjects } = await import('../postgres/projects.ts');
  return createProjects(db);
}

function parseDays(text: string): number {
  const days = Number(text);
  if (!Number.isInteger(days) || days < 1 || days > 36_500)
    throw new InvalidArgumentError('A whole number of days, 1 to 36500.');
  return days;
}

function collectOrigin(text: string, earlier: string[]): string[] {
  if (!isOrigin(text))
    throw new InvalidArgumentError('An exact origin such as https://app.example.com, without a path.');
  return [...earlier, text];
}
