import type { Command } from 'commander';
import type { DeadLetterEntry } from '../../postgres/dead-letters/dead-letter-queries.ts';
import type { DeadLetterState, Selection } from '../../postgres/dead-letters/selection.ts';
import { printJson, type Cli } from '../cli.ts';
import { withProgress } from '../progress.ts';
import { withPostgres } from '../stores.ts';
import { createTable, textTable } from '../table.ts';
import { age, counted, grouped } from '../../operations/wording.ts';
import { queriesOf, parseCount, parseId, parseProject } from './selection.ts';

const SHOWN = 20;
/** How many letters beyond the listed ones are counted; counting millions takes longer than listing a few. */
const COUNTED_BEYOND = 10_000;

type LsOptions = {
  quarantined?: boolean;
  waiting?: boolean;
  group?: string;
  project?: string;
  limit: number;
  json?: boolean;
};

export function addInspect(dlq: Command, cli: Cli): void {
  dlq
    .command('ls')
    .description('list dead letters, oldest first')
    .option('--quarantined', 'only quarantined letters')
    .option('--waiting', 'only letters that Weir still replays')
    .option('--group <group>', 'only letters with one cause, from `weir dlq groups`')
    .option('--project <id>', 'only letters that hold events of one project', parseProject)
    .option('--limit <count>', 'the maximum number to list', parseCount, SHOWN)
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
      const only: DeadLetterState | null = options.quarantined ? 'quarantined' : options.waiting ? 'waiting' : null;
      const most = options.limit + COUNTED_BEYOND;
      const { letters, total } = await withPostgres(cli, async (db) => {
        const queries = await queriesOf(db);
        const letters = await withProgress(cli, 'Listing', queries.list(selection, only, options.limit));
        if (letters.length < options.limit) return { letters, total: letters.length };
        return { letters, total: await withProgress(cli, 'Counting', queries.countUpTo(most, selection, only)) };
      });
      const more = Math.max(0, total - letters.length);
      const isAtLeast = total === most;
      if (options.json) return printJson(cli.io, { letters, more, isAtLeast });
      if (letters.length === 0) return cli.io.stderr('There are no such dead letters.\n');
      cli.io.stdout(
        textTable(
          ['ID', 'STATE', 'EVENTS', 'PROJECT', 'GROUP', 'CAUSE', 'TRIES', 'CREATED', 'NEXT'],
          letters.map(line),
        ),
      );
      sayMore(cli, more, '--limit', isAtLeast);
    });

  dlq
    .command('groups')
    .description('list the causes of failure with the number of letters, largest first')
    .option('--limit <count>', 'the maximum number to list', parseCount, SHOWN)
    .option('--json', 'print one JSON object')
    .addHelpText('after', '\nExamples:\n  weir dlq groups\n  weir dlq groups --json')
    .action(async (options: { limit: number; json?: boolean }) => {
      const found = await withPostgres(cli, async (db) => {
        const { groupDeadLetters } = await import('../../operations/group-dead-letters.ts');
        return withProgress(cli, 'Grouping', groupDeadLetters(db));
      });
      const groups = found.slice(0, options.limit);
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
    .description('show the number, size and age of dead letters, by state and class')
    .option('--json', 'print one JSON object')
    .addHelpText('after', '\nExamples:\n  weir dlq stats\n  weir dlq stats --json')
    .action(async (options: { json?: boolean }) => {
      const { stats, drain } = await withPostgres(cli, async (db) => {
        const { readDrain } = await import('../../operations/drain-switch.ts');
        const stats = await withProgress(cli, 'Counting', (await queriesOf(db)).stats());
        return { stats, drain: await readDrain(db) };
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
      cli.io.stdout(`Oldest letter still replayed: ${oldest}. The drain is ${drain.position}.\n`);
    });

  dlq
    .command('audit')
    .description('show what was done to dead letters and by whom, newest first')
    .option('--letter <id>', 'only the actions on one letter', parseId)
    .option('--limit <count>', 'the maximum number to list', parseCount, SHOWN)
    .option('--json', 'print one JSON object')
    .addHelpText(
      'after',
      '\nExamples:\n  weir dlq audit --limit 50\n  weir dlq audit --letter 0198c0de-0000-7000-8000-000000000000',
    )
    .action(async (options: { letter?: string; limit: number; json?: boolean }) => {
      const { entries, total } = await withPostgres(cli, async (db) =>
        (await queriesOf(db)).audit(options.letter ?? null, options.limit),
      );
      const more = total - entries.length;
      if (options.json) {
        const shown = entries.map(({ deadLetterId: letterId, ...entry }) => ({ ...entry, letterId }));
        return printJson(cli.io, { entries: shown, more });
      }
      if (entries.length === 0) return cli.io.stderr('The audit has no such entries.\n');
      cli.io.stdout(
        textTable(
          ['AT', 'ACTOR', 'ACTION', 'EVENTS', 'LETTER', 'DETAIL'],
          entries.map(({ at, actor, action, eventCount, deadLetterId, detail }) => [
            at.toISOString(),
            actor,
            action,
            grouped(eventCount),
            isOfMany(detail) ? `${grouped(detail.letters)} letters` : /^[0-]+$/.test(deadLetterId) ? '' : deadLetterId,
            JSON.stringify(detail),
          ]),
        ),
      );
      sayMore(cli, more, '--limit');
    });
}

function line(letter: DeadLetterEntry): string[] {
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

function sayMore({ io }: Cli, more: number, option: string, isAtLeast = false): void {
  if (more > 0) {
    io.stderr(`… and ${isAtLeast ? 'at least ' : ''}${counted(more, 'more', 'more')}: ${option} shows them.\n`);
  }
}

/** Whether an audit entry concerns several letters. */
const isOfMany = (detail: unknown): detail is { readonly letters: number } =>
  typeof (detail as { letters?: unknown } | null)?.letters === 'number';
