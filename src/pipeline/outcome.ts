import { hash } from 'node:crypto';
import { InsertFailure } from './ports.ts';

/** Awaits `work` and returns its failure as a value, for callers with a plan B. */
export async function failureOf(work: Promise<unknown>): Promise<Error | null> {
  try {
    await work;
    return null;
  } catch (thrown) {
    return thrown instanceof Error ? thrown : new Error('non-Error thrown', { cause: thrown });
  }
}

/**
 * An error of a store as a failure. After an unforeseen error the rows may have landed: never a reason to drop or to
 * blame them.
 */
export function asInsertFailure(thrown: Error | null): InsertFailure | null {
  if (thrown === null || thrown instanceof InsertFailure) return thrown;
  return new InsertFailure('insert failed in an unforeseen way', { failureClass: 'ambiguous', cause: thrown });
}

/** The same for failures with the same cause: class, code, and the message without its numbers and ids. */
export function fingerprintOf({ failureClass, code, message }: InsertFailure): string {
  const normalised = message.replaceAll(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, 'ID').replaceAll(/\d+/g, 'N');
  return hash('sha256', `${failureClass} ${code} ${normalised}`).slice(0, 16);
}
