import { OperationRefused } from './refused.ts';

const MAX_CHARACTERS = 200;

/** A name for people, trimmed. Throws `OperationRefused` when it is empty or too long. */
export function checkedName(text: string): string {
  const name = text.trim();
  if (name !== '' && name.length <= MAX_CHARACTERS) return name;
  throw new OperationRefused('invalid', `A name has 1 to ${MAX_CHARACTERS} characters.`);
}
