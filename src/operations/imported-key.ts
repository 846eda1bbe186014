import { OperationRefused } from './refused.ts';

/** This many random letters and digits cannot be guessed. */
export const SAFE_KEY_CHARACTERS = 24;
const MAX_KEY_CHARACTERS = 512;

/**
 * Checks whether a key of another service may become a token: it must fit in a header, and not look like the other
 * kind. Throws `OperationRefused`.
 */
export function checkImportedKey(key: string, kind: 'public' | 'secret'): { readonly isGuessable: boolean } {
  const isSecret = kind === 'secret';
  // A public one may be the id of a site, `t.co`, that was never a secret.
  const minLength = isSecret ? 8 : 3;
  if (!/^[\x21-\x7e]+$/.test(key) || key.length < minLength || key.length > MAX_KEY_CHARACTERS) {
    throw new OperationRefused(
      'invalid',
      `The ${kind} key to import must be ${minLength} to ${MAX_KEY_CHARACTERS} printable ASCII characters without spaces.`,
    );
  }
  if (key.startsWith(isSecret ? 'mere_pub_' : 'mere_sec_')) {
    throw new OperationRefused(
      'invalid',
      `The key to import says that it is ${isSecret ? 'public' : 'secret'}: ${isSecret ? 'leave --secret out' : 'add --secret'}.`,
    );
  }
  return { isGuessable: key.length < SAFE_KEY_CHARACTERS };
}
