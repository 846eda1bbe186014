import { OperationRefused } from './refused.ts';

/** The name under which Weir itself appears in the audit. */
const RESERVED = 'drain';
const MAX_CHARACTERS = 200;

/**
 * The name under which an action goes into the audit. `source` says where it came from, for the message. Throws
 * `OperationRefused` for an invalid name.
 */
export function actorNamed(name: string, source: string): string {
  if (name.trim() === '' || name.length > MAX_CHARACTERS) {
    throw new OperationRefused('invalid', `${source} must have 1 to ${MAX_CHARACTERS} characters.`);
  }
  if (name === RESERVED) {
    throw new OperationRefused(
      'invalid',
      `"${RESERVED}" is the name under which Weir itself appears in the audit. Give your own name with ${source}.`,
    );
  }
  return name;
}
