/** What `weir doctor` says of a running Weir, as it says it of itself. */
import { type Check, fail, ok, warn } from './checks.ts';
import { checkRejections } from './rejection-check.ts';

const ANSWER_WITHIN_MS = 5_000;

/** Asks the health page at the service's address. Never rejects. */
export async function examineInstance(url: string): Promise<Check[]> {
  const name = 'running Weir';
  try {
    const answer = await fetch(new URL('/health', url), { signal: AbortSignal.timeout(ANSWER_WITHIN_MS) });
    const health = (await answer.json()) as { status?: unknown; reasons?: unknown; rejecting?: unknown };
    const rejected = checkRejections('rejected events', health.rejecting);
    const detail = `${url} is ${String(health.status)}${reasonsIn(health.reasons)}`;
    if (health.status === 'ok') return [ok(name, detail), ...rejected];
    const remedy = 'See docs/OPERATIONS.md for what each reason means.';
    return [health.status === 'down' ? fail(name, detail, remedy) : warn(name, detail, remedy), ...rejected];
  } catch {
    // Refused, too slow, or no JSON: for the operator all of these mean that it does not answer.
    const remedy = 'Check its log; if it hangs, stop it with SIGTERM and start it again.';
    return [fail(name, `${url} does not answer`, remedy)];
  }
}

function reasonsIn(reasons: unknown): string {
  return Array.isArray(reasons) && reasons.length > 0 ? `: ${reasons.map(textOf).join(', ')}` : '';
}

function textOf(reason: unknown): string {
  return typeof reason === 'string' ? reason : JSON.stringify(reason);
}
