import { InvalidArgumentError } from 'commander';
import { ORIGIN_RULE, isOriginPattern } from '../net/origins.ts';

/** One of several origins on a command line, after the earlier ones. */
export function collectOrigin(text: string, earlier: readonly string[]): string[] {
  if (!isOriginPattern(text)) throw new InvalidArgumentError(ORIGIN_RULE);
  return [...earlier, text];
}
