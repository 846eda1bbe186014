import { Argument, type Command, Option } from 'commander';
import type { OperatorRole } from '../postgres/accounts/operators.ts';
import { ACTOR_OPTION, actorOf } from './actor.ts';
import { CommandFailure, printJson, type Cli } from './cli.ts';
import { confirmed } from './confirm.ts';
import { withPostgres } from './stores.ts';
import { textTable } from './table.ts';

type Options = { actor?: string; json?: boolean };
type WithPassword = Options & { passwordStdin?: boolean };

const ROLES: readonly OperatorRole[] = ['viewer', 'operator'];
const PASSWORD_OPTION = ['--password-stdin', 'read the password from stdin instead of asking for it'] as const;
const JSON_OPTION = ['--json', 'print one JSON object'] as const;

/** The accounts of the console. */
export function addOperator(program: Command, cli: Cli): void {
  const operator = program.command('operator').description('create, list and change the accounts of the console');
  addAdd(operator, cli);
  addList(operator, cli);
  addPasswd(operator, cli);
  addRole(operator, cli);
  addDisable(operator, cli);
  addEnable(operator, cli);
}

function addAdd(operator: Command, cli: Cli): void {
  operator
    .command('add')
    .description('create an account that may sign in to the console')
    .argument('<name>', 'the name to sign in with; it is in the audit of what the person does')
    .addOption(
      new Option('--role <role>', 'viewer: sees everything, changes nothing; operator: does everything')
        .choices(ROLES)
        .makeOptionMandatory(),
    )
    .option(...PASSWORD_OPTION)
    .option(...ACTOR_OPTION)
    .option(...JSON_OPTION)
    .addHelpText(
      'after',
      `
Weir keeps only a hash of the password (scrypt).

Examples:
  weir operator add mira --role operator
  weir operator add tv --role viewer --password-stdin < password`,
    )
    .action(async (name: string, options: WithPassword & { role: OperatorRole }) => {
      const actor = actorOf(cli, options);
      const password = await passwordFrom(cli, options);
      const { role } = options;
      await withPostgres(cli, async (db) => {
        const { addOperatorAccount } = await import('../operations/operators.ts');
        await addOperatorAccount(db, { name, role, password, actor });
      });
      if (options.json) return printJson(cli.io, { name, role });
      cli.io.stderr(`Account ${name} added, as ${role}.\n`);
    });
}

function addList(operator: Command, cli: Cli): void {
  operator
    .command('ls')
    .description('list the accounts')
    .option('--json', 'print one JSON array')
    .addHelpText('after', '\nExamples:\n  weir operator ls')
    .action(async (options: { json?: boolean }) => {
      const accounts = await withPostgres(cli, async (db) => {
        const { listOperators } = await import('../operations/operators.ts');
        return listOperators(db);
      });
      if (options.json) return printJson(cli.io, accounts);
      const rows = accounts.map(({ name, role, createdAt, disabledAt }) => [
        name,
        role,
        createdAt.toISOString(),
        disabledAt === null ? 'active' : `disabled ${disabledAt.toISOString()}`,
      ]);
      cli.io.stdout(textTable(['NAME', 'ROLE', 'CREATED', 'STATE'], rows));
    });
}

function addPasswd(operator: Command, cli: Cli): void {
  operator
    .command('passwd')
    .description('give an account another password, and end its sessions')
    .argument('<name>', 'the name of the account')
    .option(...PASSWORD_OPTION)
    .option(...ACTOR_OPTION)
    .option(...JSON_OPTION)
    .addHelpText('after', '\nExamples:\n  weir operator passwd mira')
    .action(async (name: string, options: WithPassword) => {
      const actor = actorOf(cli, options);
      const password = await passwordFrom(cli, options);
      await withPostgres(cli, async (db) => {
        const { changePassword } = await import('../operations/operators.ts');
        await changePassword(db, { name, password, actor });
      });
      if (options.json) return printJson(cli.io, { name });
      cli.io.stderr(`Account ${name} has another password, and its sessions have ended.\n`);
    });
}

function addRole(operator: Command, cli: Cli): void {
  operator
    .command('role')
    .description('give an account another role, and end its sessions')
    .argument('<name>', 'the name of the account')
    .addArgument(new Argument('<role>', 'what it may do').choices(ROLES))
    .option(...ACTOR_OPTION)
    .option(...JSON_OPTION)
    .addHelpText('after', '\nExamples:\n  weir operator role mira viewer')
    .action(async (name: string, role: OperatorRole, options: Options) => {
      const actor = actorOf(cli, options);
      await withPostgres(cli, async (db) => {
        const { changeRole } = await import('../operations/operators.ts');
        await changeRole(db, { name, role, actor });
      });
      if (options.json) return printJson(cli.io, { name, role });
      cli.io.stderr(`Account ${name} is ${role} now, and its sessions have ended.\n`);
    });
}

function addDisable(operator: Command, cli: Cli): void {
  operator
    .command('disable')
    .description('end the sessions of an account, and let it begin no other')
    .argument('<name>', 'the name of the account')
    .option('--yes', 'skip the confirmation')
    .option(...ACTOR_OPTION)
    .option(...JSON_OPTION)
    .addHelpText('after', '\nExamples:\n  weir operator disable mira --yes')
    .action(async (name: string, options: Options & { yes?: boolean }) => {
      const actor = actorOf(cli, options);
      await confirmed(cli, options, `Disable the account ${name}?`);
      await withPostgres(cli, async (db) => {
        const { disableOperator } = await import('../operations/operators.ts');
        await disableOperator(db, { name, actor });
      });
      if (options.json) return printJson(cli.io, { disabled: name });
      cli.io.stderr(`Account ${name} is disabled, and its sessions have ended.\n`);
    });
}

function addEnable(operator: Command, cli: Cli): void {
  operator
    .command('enable')
    .description('let a disabled account sign in again')
    .argument('<name>', 'the name of the account')
    .option(...ACTOR_OPTION)
    .option(...JSON_OPTION)
    .addHelpText('after', '\nExamples:\n  weir operator enable mira')
    .action(async (name: string, options: Options) => {
      const actor = actorOf(cli, options);
      await withPostgres(cli, async (db) => {
        const { enableOperator } = await import('../operations/operators.ts');
        await enableOperator(db, { name, actor });
      });
      if (options.json) return printJson(cli.io, { enabled: name });
      cli.io.stderr(`Account ${name} may sign in again.\n`);
    });
}

/** Never an argument: other users of the machine can read a command line. */
async function passwordFrom({ io, input }: Cli, { passwordStdin }: WithPassword): Promise<string> {
  // A file or an echo ends with a line break that nobody means.
  if (passwordStdin) return (await input.readAll()).replace(/\r?\n$/, '');
  if (!io.isTTY) {
    throw new CommandFailure(
      'This command asks for a password, but there is no terminal. Nothing was changed. Pass it with --password-stdin.',
    );
  }
  const password = await input.askSecret('Password: ');
  if ((await input.askSecret('Again: ')) !== password) {
    throw new CommandFailure('The two passwords differ. Nothing was changed.');
  }
  return password;
}
