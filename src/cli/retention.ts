import { InvalidArgumentError } from 'commander';
import { RETENTIONS, parseRetention as retentionIn } from '../operations/retention-text.ts';

export { showRetention } from '../operations/retention-text.ts';

/** In seconds; null keeps the events. Throws `InvalidArgumentError`. */
export function parseRetention(text: string): number | null {
  const seconds = retentionIn(text);
  if (seconds === undefined) throw new InvalidArgumentError(RETENTIONS);
  return seconds;
}
