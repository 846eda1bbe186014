/** The accounts of the console. */
import {
  type OperatorAccount,
  type OperatorRole,
  type Operators,
  createOperators,
} from '../postgres/accounts/operators.ts';
import { hashPassword } from '../postgres/accounts/password-hash.ts';
import type { Database } from '../postgres/connection/pool.ts';
import { actorNamed } from './actor.ts';
import { OperationRefused } from './refused.ts';

const MIN_PASSWORD = 12;
const MAX_PASSWORD = 1_024;
const PRINTABLE = /^[^\p{C}\p{Z}](?:[^\p{C}]*[^\p{C}\p{Z}])?$/u;

type By = { readonly actor: string };
type Named = By & { readonly name: string };

/** Including disabled ones, by name. Throws `PostgresFailure`. */
export const listOperators = (db: Database): Promise<OperatorAccount[]> => createOperators(db, { actor: '' }).list();

/** An account that may sign in. Throws `OperationRefused`, `PostgresFailure`. */
export async function addOperatorAccount(
  db: Database,
  { name, role, password, actor }: Named & { readonly role: OperatorRole; readonly password: string },
): Promise<void> {
  actorNamed(name, 'The name');
  if (!PRINTABLE.test(name)) {
    throw new OperationRefused('invalid', 'The name must begin and end with a visible character and hold no others.');
  }
  checkPassword(password);
  const isAdded = await createOperators(db, { actor }).add({ name, role, passwordHash: await hashPassword(password) });
  if (!isAdded) {
    throw new OperationRefused('conflict', `There is an account ${name} already. See \`weir operator ls\`.`);
  }
}

/** Ends the sessions of the account. Throws `OperationRefused`, `PostgresFailure`. */
export async function changePassword(
  db: Database,
  { name, password, actor }: Named & { readonly password: string },
): Promise<void> {
  checkPassword(password);
  await change(db, { name, actor }, { passwordHash: await hashPassword(password) }, 'operator password');
}

/** Ends the sessions of the account. Throws `OperationRefused`, `PostgresFailure`. */
export const changeRole = (
  db: Database,
  { name, role, actor }: Named & { readonly role: OperatorRole },
): Promise<void> => change(db, { name, actor }, { role }, 'operator role');

/** Ends the sessions of the account, which can begin no other. Throws `OperationRefused`, `PostgresFailure`. */
export const disableOperator = (db: Database, named: Named): Promise<void> =>
  change(db, named, { isDisabled: true }, 'operator disabled');

/** The account may sign in again. Throws `OperationRefused`, `PostgresFailure`. */
export const enableOperator = (db: Database, named: Named): Promise<void> =>
  change(db, named, { isDisabled: false }, 'operator enabled');

async function change(
  db: Database,
  { name, actor }: Named,
  wanted: Parameters<Operators['change']>[1],
  action: string,
): Promise<void> {
  const isChanged = await createOperators(db, { actor }).change(name, wanted, action);
  if (!isChanged) throw new OperationRefused('not-found', `There is no account ${name}. See \`weir operator ls\`.`);
}

function checkPassword(password: string): void {
  if (password.length >= MIN_PASSWORD && password.length <= MAX_PASSWORD) return;
  throw new OperationRefused('invalid', `A password has ${MIN_PASSWORD} to ${MAX_PASSWORD} characters.`);
}
