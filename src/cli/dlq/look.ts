import type { Command } from 'commander';
import type { Letter, LetterState, Selection } from '../../postgres/letter-lookup.ts';
import { printJson, type Cli } from '../cli.ts';
import { withPostgres } from '../stores.ts';
import { createTable, textTable } from '../table.ts';
import { age, counted, grouped } from '../words.ts';
import { lookupOf, parseCount, parseId, parseProject, totalOf } from './selection.ts';

const SHOWN = 20;

type LsOptions = {
  quarantined?: boolean;
  waiting?: boolean;
  group?: string;
  project?: string;
  limit: number;
  json?: boolean;
};

export function addLook(dlq: Command, cli: Cli): void {
  dlq
    .command('ls')
    .description('list dead letters, oldest first')
    .option('--quarantined', 'only those that wait for a person')
    .option('--waiting', 'only those that are replayed by themselves')
    .option('--group <group>', 'only those with one cause, from `weir dlq groups`')
    .option('--project <id>', 'only those that hold events of one project', parseProject)
    .option('--limit <count>', 'how many at most', parseCount, SHOWN)
    .option('--json', 'print one JSON object')
    .addHelpText(
      'after',
      '\nExamples:\n  weir dlq ls --quarantined\n  weir dlq ls --group 6f1c0d2e9a7b4c55 --limit 100',
    )
    .action(async (options: LsOptions, command: Command) => {
      if (options.quarantined && options.waiting)
        command.error('error: --quarantined and --waiting exclude each other');
      if (options.group && options.project) command.error('error: --group and --project exclude each other');
      const selection: Selection = options.group
        ? { by: 'group', group: options.group }
        : options.project
          ? { by: 'project', projectId: options.project }
          : { by: 'all' };
      const only: LetterState | null = options.quarantined ? 'quarantined' : options.waiting ? 'waiting' : null;
      const { letters, total } = await withPostgres(cli, async (db) => {
        const lookup = await lookupOf(db);
        const count = await lookup.count(selection);
        return {
          letters: await lookup.list(selection, only, options.limit),
          total: only === null ? totalOf(count).letters : count[only].letters,
        };
      });
      const more = Math.max(0, total - letters.length);
      if (options.json) return printJson(cli.io, { letters, more });
      if (letters.length === 0) return cli.io.stderr('There are no such dead letters.\n');
      cli.io.stdout(
        textTable(
          ['ID', 'STATE', 'EVENTS', 'PROJECT', 'GROUP', 'CAUSE', 'TRIES', 'CREATED', 'NEXT'],
          letters.map(line),
        ),
      );
      sayMore(cli, more, '--limit');
    });

  dlq
    .command('groups')
    .description('list the causes: letters that failed in the same way, most first')
    .option('--limit <count>', 'how many at most', parseCount, SHOWN)
    .option('--json', 'print one JSON object')
    .addHelpText('after', '\nExamples:\n  weir dlq groups\n  weir dlq groups --json')
    .action(async (options: { limit: number; json?: boolean }) => {
      const found = await withPostgres(cli, async (db) => (await lookupOf(db)).groups());
      const groups = found.slice(0, options.limit).map((group) => ({ ...group, lastError: unquoted(group.lastError) }));
      const more = found.length - groups.length;
      if (options.json) return printJson(cli.io, { groups, more });
      if (groups.length === 0) return cli.io.stderr('There are no dead letters.\n');
      const columns = [
        'GROUP',
        'CLASS',
        'CODE',
        'LETTERS',
        'EVENTS',
        'WAITING',
        'QUARANTINED',
        'FIRST',
        'LAST',
        'CAUSE',
      ];
      const numeric = new Set(['CODE', 'LETTERS', 'EVENTS', 'WAITING', 'QUARANTINED']);
      const rows = groups.map((group) => [
        group.group,
        group.errorClass,
        String(group.errorCode ?? ''),
        grouped(group.letters),
        grouped(group.events),
        grouped(group.waiting),
        grouped(group.quarantined),
        group.firstSeen.toISOString(),
        group.lastSeen.toISOString(),
        group.lastError,
      ]);
      const table = createTable(
        columns.map((name) => ({ name, isNumeric: numeric.has(name) })),
        rows,
      );
      cli.io.stdout([table.header(), ...rows.map(table.line)].join(''));
      sayMore(cli, more, '--limit');
    });

  dlq
    .command('stats')
    .description('how many dead letters there are, how large and how old, by state and class')
    .option('--json', 'print one JSON object')
    .addHelpText('after', '\nExamples:\n  weir dlq stats\n  weir dlq stats --json')
    .action(async (options: { json?: boolean }) => {
      const { stats, drain } = await withPostgres(cli, async (db) => {
        const { createSwitchboard } = await import('../../postgres/switchboard.ts');
        return { stats: await (await lookupOf(db)).stats(), drain: await createSwitchboard(db).read('drain') };
      });
      if (options.json) return printJson(cli.io, { ...stats, drain });
      const rows = stats.byClass.map(({ errorClass, state, letters, events, bytes }) => [
        errorClass,
        state,
        grouped(letters),
        grouped(events),
        grouped(bytes),
      ]);
      const { waiting, replaying, quarantined } = stats.byState;
      for (const [state, count] of Object.entries({ waiting, replaying, quarantined })) {
        rows.push(['total', state, grouped(count.letters), grouped(count.events), grouped(count.bytes)]);
      }
      const table = createTable(
        ['CLASS', 'STATE', 'LETTERS', 'EVENTS', 'BYTES'].map((name, index) => ({ name, isNumeric: index > 1 })),
        rows,
      );
      cli.io.stdout([table.header(), ...rows.map(table.line)].join(''));
      const oldest = stats.oldestAt === null ? 'none' : `${age(cli.clock.now() - stats.oldestAt.getTime())} old`;
      cli.io.stdout(`Oldest that is still replayed: ${oldest}. The drain is ${drain.position}.\n`);
    });

  dlq
    .command('audit')
    .description('what was done to dead letters, by whom, newest first')
    .option('--letter <id>', 'only what was done to one letter', parseId)
    .option('--limit <count>', 'how many at most', parseCount, SHOWN)
    .option('--json', 'print one JSON object')
    .addHelpText(
      'after',
      '\nExamples:\n  weir dlq audit --limit 50\n  weir dlq audit --letter 0198c0de-0000-7000-8000-000000000000',
    )
    .action(async (options: { letter?: string; limit: number; json?: boolean }) => {
      const { entries, total } = await withPostgres(cli, async (db) =>
        (await lookupOf(db)).audit(options.letter ?? null, options.limit),
      );
      const more = total - entries.length;
      if (options.json) return printJson(cli.io, { entries, more });
      if (entries.length === 0) return cli.io.stderr('The audit holds nothing of the kind.\n');
      cli.io.stdout(
        textTable(
          ['AT', 'ACTOR', 'ACTION', 'EVENTS', 'LETTER', 'DETAIL'],
          entries.map(({ at, actor, action, eventCount, letterId, detail }) => [
            at.toISOString(),
            actor,
            action,
            grouped(eventCount),
            /^[0-]+$/.test(letterId) ? '' : letterId,
            JSON.stringify(detail),
          ]),
        ),
      );
      sayMore(cli, more, '--limit');
    });
}

function line(letter: Letter): string[] {
  const { id, state, eventCount, projectIds, group, errorClass, errorCode, attemptCount, createdAt, visibleAt } =
    letter;
  const [projectId = ''] = projectIds;
  return [
    id,
    state,
    grouped(eventCount),
    projectIds.length > 1 ? `${projectIds.length} projects` : projectId,
    group,
    errorCode === null ? errorClass : `${errorClass} ${errorCode}`,
    grouped(attemptCount),
    createdAt.toISOString(),
    state === 'quarantined' ? `never: ${letter.quarantineReason ?? ''}` : visibleAt.toISOString(),
  ];
}

function sayMore({ io }: Cli, more: number, option: string): void {
  if (more > 0) io.stderr(`… and ${counted(more, 'more', 'more')}: ${option} shows them.\n`);
}

/** A cause without anything that may quote an event: Weir cuts it so already, and whoever reads cuts again. */
export function unquoted(text: string): string {
  return text.split(/['"{\n]|Column values/, 1)[0]!.trim();
}
