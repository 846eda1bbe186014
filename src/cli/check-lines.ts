/** The verdicts of `weir doctor` as they are printed. */
import type { Check } from '../operations/examination/checks.ts';
import { printable } from '../operations/wording.ts';

const MARKS = { ok: 'ok  ', warn: 'WARN', fail: 'FAIL' } as const;

/** A line, and one for the remedy. */
export function linesOf({ name, outcome, detail, remedy }: Check): string {
  const line = `${MARKS[outcome]}  ${name}: ${printable(detail)}\n`;
  return remedy === null ? line : `${line}      ${remedy}\n`;
}
